package serve

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// atRest is the age from which on a file is not expected to grow. Summing what
// is read of it would cost a good part of the time that reading takes.
const atRest = 24 * time.Hour

// sumTable is that of CRC-32C, for which processors have an instruction: twice
// as fast as anything else that the standard library sums with. It is to find
// a file that was written anew by chance, not one made to be mistaken.
var sumTable = crc32.MakeTable(crc32.Castagnoli)

var errChanged = errors.New("the file changed while it was sent")

// A steadyFile reads a file as it was when the request came, or fails: bytes
// of two contents are never joined into one body of the announced length.
//
// It looks at the file's stamp after each read, so what it hands out was read
// before the change that it notices next. A file that shrank, or was changed
// and has the size it had, ends the body. One that grew may have been appended
// to (a log, a recording), and then the announced bytes are still right: before
// the last of them it reads again what went out, and compares. In a body of
// several ranges, or of a file that was at rest for a day, any change ends it.
// What the stamp does not show (see [etag]) is not seen.
//
// It implements io.ReadSeeker for http.ServeContent, which sets the
// Content-Range header before the first Read and then reads up to its end. It
// keeps the position itself: each lseek would be a call of the system for nothing.
type steadyFile struct {
	// Fixed when it is made.
	ctx    context.Context
	file   *os.File
	header http.Header // of the response
	was    stamp

	// Owned by the goroutine that reads: ServeContent's caller, or the one
	// that ServeContent starts for several ranges.
	begun      bool // a Read has been made, so what follows is known
	strict     bool // any change ends the body, so sum is not needed
	grew       bool // and must be compared before the end
	start, end int64
	at         int64
	sum        uint32 // of start to at, by sumTable

	// failed is set once the body cannot be completed.
	failed atomic.Bool
}

func (f *steadyFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekEnd:
		// The announced size is that of the stamp, whatever the file's is now.
		offset += f.was.size
	case io.SeekCurrent:
		offset += f.at
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	f.at = offset
	return offset, nil
}

func (f *steadyFile) Read(p []byte) (int, error) {
	n, err := f.read(p)
	if err != nil && !(err == io.EOF && f.at == f.end) {
		f.failed.Store(true)
	}
	return n, err
}

func (f *steadyFile) read(p []byte) (int, error) {
	if !f.begun {
		f.begin()
	}
	if f.at >= f.was.size {
		return 0, io.EOF
	}
	// No more than is there: ReadAt asks the system once more for what is missing.
	p = p[:min(int64(len(p)), f.was.size-f.at)]
	n, err := f.file.ReadAt(p, f.at)
	if err == io.EOF {
		err = errChanged // it is shorter than it was
	}
	if err == nil {
		err = f.look()
	}
	if err != nil {
		return 0, err
	}
	f.at += int64(n)
	if !f.strict {
		f.sum = crc32.Update(f.sum, sumTable, p)
	}
	if f.grew && f.at >= f.end {
		if err := f.compare(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// begin learns what will be read, which is known at the first Read.
func (f *steadyFile) begin() {
	f.begun = true
	f.start, f.end = f.at, f.was.size
	if part := f.header.Get("Content-Range"); part != "" {
		var first, last, size int64
		if _, err := fmt.Sscanf(part, "bytes %d-%d/%d", &first, &last, &size); err == nil {
			f.end = last + 1
		}
	}
	f.strict = strings.HasPrefix(f.header.Get("Content-Type"), "multipart/") || time.Since(f.was.changed) > atRest
}

// look fails if the file's stamp shows that its bytes may have changed.
func (f *steadyFile) look() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	is := stampOf(info)
	switch {
	case is.size == f.was.size && is.changed.Equal(f.was.changed):
		return nil
	case is.size <= f.was.size || f.strict:
		return errChanged
	}
	f.grew = true
	return nil
}

// compare fails if the file does not hold, from start to at, what was read there.
func (f *steadyFile) compare() error {
	var again uint32
	part := io.NewSectionReader(f.file, f.start, f.at-f.start)
	buf := make([]byte, 64<<10)
	for {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		n, err := part.Read(buf)
		again = crc32.Update(again, sumTable, buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if again != f.sum {
		return errChanged
	}
	return nil
}
