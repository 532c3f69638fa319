package tokenfile

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

const sample = "# the tokens\n\n" +
	"aaaa *   # for tests\n" +
	"bbbb photos films\r\n" +
	"#cccc old\n" +
	"dddd photos"

func put(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return file
}

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEntries(t *testing.T) {
	f, err := Read(put(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(f.Entries())
	never := time.Time{}
	want := fmt.Sprint([]Entry{{Fingerprint("aaaa"), []string{"*"}, never, "for tests"}, {Fingerprint("bbbb"), []string{"photos", "films"}, never, ""}, {Fingerprint("dddd"), []string{"photos"}, never, ""}})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, secret := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is in %s", secret, got)
		}
	}
	if len(Fingerprint("aaaa")) != 8 || Fingerprint("aaaa") == Fingerprint("bbbb") {
		t.Errorf("fingerprints are %s and %s", Fingerprint("aaaa"), Fingerprint("bbbb"))
	}
}

// All else stays as it is, byte by byte.
func TestEdit(t *testing.T) {
	for _, tt := range []struct {
		what   string
		change func(*File) error
		want   string
	}{
		{"nothing", func(*File) error { return nil }, sample},
		{"add", func(f *File) error { return f.Add("eeee", []string{"wiki", "@"}, time.Time{}, "of\nAnna") }, sample + "\neeee wiki @  # of Anna\n"},
		{"remove a token", func(f *File) error { _, err := f.Remove(Fingerprint("aaaa"), nil); return err }, strings.Replace(sample, "aaaa *   # for tests\n", "", 1)},
		{"remove a name", func(f *File) error { _, err := f.Remove("photos", nil); return err },
			"# the tokens\n\naaaa *   # for tests\nbbbb films\n#cccc old\n"},
	} {
		file := put(t, sample)
		if err := Edit(file, tt.change); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		if got := content(t, file); got != tt.want {
			t.Errorf("%s: got\n%q\nwant\n%q", tt.what, got, tt.want)
		}
		if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", tt.what, info.Mode(), err)
		}
		if list, _ := filepath.Glob(filepath.Dir(file) + "/*"); len(list) != 1 {
			t.Errorf("%s: left %q", tt.what, list)
		}
	}
}

// What is refused leaves the file as it was.
func TestEditRefused(t *testing.T) {
	for _, tt := range []struct {
		what   string
		change func(*File) error
		says   string
	}{
		{"no such name", func(f *File) error { _, err := f.Remove("nobody", nil); return err }, `"nobody"`},
		{"a bad name", func(f *File) error { return f.Add("eeee", []string{"a_b"}, time.Time{}, "") }, `"a_b" is not a name`},
		{"a token of two words", func(f *File) error { return f.Add("eeee wiki", []string{"a"}, time.Time{}, "") }, "says something else"},
		{"a token with a #", func(f *File) error { return f.Add("eeee#1", []string{"a"}, time.Time{}, "") }, "would be refused: line 7"},
		{"no name", func(f *File) error { return f.Add("eeee", nil, time.Time{}, "") }, "would be refused: line 7"},
		{"an error", func(*File) error { return errors.New("no") }, "no"},
		{"the last token", func(f *File) error {
			for _, e := range f.Entries() {
				f.Remove(e.Fingerprint, nil)
			}
			return nil
		}, "there is no token in it"},
	} {
		file := put(t, sample)
		err := Edit(file, tt.change)
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "eeee") {
			t.Errorf("%s: got %v, want %q", tt.what, err, tt.says)
		}
		if got := content(t, file); got != sample {
			t.Errorf("%s: the file is\n%s", tt.what, got)
		}
		if list, _ := filepath.Glob(filepath.Dir(file) + "/*"); len(list) != 1 {
			t.Errorf("%s: left %q", tt.what, list)
		}
	}
	missing := filepath.Join(t.TempDir(), "none", "token")
	if err := Edit(missing, func(*File) error { return nil }); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Read(missing); err == nil || !strings.Contains(err.Error(), "--token-file") {
		t.Errorf("no file: %v", err)
	}
}

// notNames would say more, or less, in a line than one name.
var notNames = []string{
	"wiki\nmy-own-token *", "wiki\r\nmy-own-token *", "photos *", "blog #", "#", "blog#", "", " ", "photos ", "\tphotos", "a\u00a0b", "a\u2028b", "a\x00b",
	"\ufeffa", "join-by=2030-01-01T00:00:00Z", "x join-by=2030-01-01T00:00:00Z", "* *", "**", "*.", "*.@", "*.*.example.net", "*.example.net *", "a_b",
}

// FuzzAdd holds that a line that is added is read as its token, these names and this
// limit, or not added.
func FuzzAdd(f *testing.F) {
	for _, name := range notNames {
		f.Add(name, "photos", "")
	}
	names := []string{"*", "@", "Photos", "photos.example.net", "*.example.net", "MÜNCHEN", "xn--mnchen-3ya"}
	for _, name := range names {
		f.Add(name, "films", " # * \nx *")
	}
	by := time.Date(2026, 11, 30, 1, 2, 3, 4, time.Local)
	f.Fuzz(func(t *testing.T, a, b, comment string) {
		edited := parse(sample)
		before := len(edited.Entries())
		err := edited.Add("eeee", []string{a, b}, by, comment)
		if slices.Contains(notNames, a) && err == nil || slices.Contains(names, a) && slices.Contains(append(names, "films"), b) && err != nil {
			t.Errorf("%q: %v", a, err)
		}
		if err != nil {
			if len(edited.Entries()) != before || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d tokens after the error %q, want %d and one line", len(edited.Entries()), err, before)
			}
			return
		}
		got, want := parse(edited.text()).Entries(), fmt.Sprintf("%q", []string{a, b})
		if len(got) != before+1 {
			t.Fatalf("%d tokens, want one more than %d", len(got), before)
		}
		if e := got[before]; e.Fingerprint != Fingerprint("eeee") || fmt.Sprintf("%q", e.Names) != want || !e.JoinBy.Equal(by.Truncate(time.Second)) {
			t.Errorf("read as %+v, want %s", e, want)
		}
	})
}

func TestEditNewFileAndLink(t *testing.T) {
	dir := t.TempDir()
	add := func(f *File) error { return f.Add(New(), []string{"a"}, time.Time{}, "") }
	file := filepath.Join(dir, "token")
	if err := Edit(file, add); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("token", link); err != nil {
		t.Skip(err)
	}
	if err := Edit(link, add); err != nil {
		t.Fatal(err)
	}
	if f, err := Read(file); err != nil || len(f.Entries()) != 2 {
		t.Errorf("the file has %v, %v; want two tokens", f, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is no link any more")
	}
}

// Of edits at once none is lost: it is done, or refused.
func TestEditsAtOnce(t *testing.T) {
	file := put(t, sample)
	var done, refused int
	var mu sync.Mutex
	var running sync.WaitGroup
	for range 20 {
		// Ends after one edit; waited for below.
		running.Go(func() {
			err := Edit(file, func(f *File) error { return f.Add(New(), []string{"x"}, time.Time{}, "") })
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case strings.Contains(err.Error(), "another edit is under way"):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	running.Wait()
	f, err := Read(file)
	if err != nil || len(f.Entries()) != 3+done || done == 0 || done+refused != 20 {
		t.Errorf("%d done, %d refused, %d tokens, %v", done, refused, len(f.Entries()), err)
	}
}

// Another edit is waited for, as it takes a moment; one that was cut off is not for long.
func TestEditWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := put(t, sample)
		lock := file + ".new"
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer time.AfterFunc(editTime/2, func() { os.Remove(lock) }).Stop()
		add := func(f *File) error { f.Add(New(), []string{"x"}, time.Time{}, ""); return nil }
		if err := Edit(file, add); err != nil {
			t.Errorf("beside one that ends: %v", err)
		}
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := Edit(file, add); err == nil || !strings.Contains(err.Error(), "another edit is under way") {
			t.Errorf("beside one that was cut off: %v", err)
		}
		if d := time.Since(begun); d > 2*editTime {
			t.Errorf("that took %v, want at most %v", d, 2*editTime)
		}
	})
}

// What an edit that was cut off has left is in the way of no other, and what one has
// that goes on for long is not taken for that.
func TestEditAfterOneThatWasCutOff(t *testing.T) { synctest.Test(t, testEditAfterOneThatWasCutOff) }

func testEditAfterOneThatWasCutOff(t *testing.T) {
	file := put(t, sample)
	next := file + ".new"
	add := func(f *File) error { return f.Add("eeee", []string{"x"}, time.Time{}, "") }
	leave := func() *os.File {
		t.Helper()
		w, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		lock(w)
		_, err = w.WriteString("aa")
		old := time.Now().Add(-time.Hour)
		if err := errors.Join(err, os.Chtimes(next, old, old)); err != nil {
			t.Fatal(err)
		}
		return w
	}
	leave().Close()
	begun := time.Now()
	if err := Edit(file, add); err != nil || content(t, file) != sample+"\neeee x\n" {
		t.Errorf("%v, and the file is\n%s", err, content(t, file))
	}
	if took := time.Since(begun); took >= editTime {
		t.Errorf("it took %v", took)
	}
	w := leave()
	defer w.Close()
	if removeLeft(next) {
		t.Error("one that is under way was removed")
	}
	if text := content(t, next); text != "aa" {
		t.Errorf("one that is under way has %q", text)
	}
}

// A link in the place of what an edit leaves is not followed.
func TestLinkThatLooksCutOff(t *testing.T) {
	file := put(t, sample)
	other := filepath.Join(t.TempDir(), "other")
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(other, []byte("text"), 0o600), os.Chtimes(other, old, old)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, file+".new"); err != nil {
		t.Skip(err)
	}
	if runtime.GOOS != "windows" && removeLeft(file+".new") {
		t.Error("a link was followed")
	}
	if content(t, other) != "text" {
		t.Errorf("the other file has %q", content(t, other))
	}
}

// Whose file it is may have made it as long as he likes, at no cost.
func TestTooLarge(t *testing.T) {
	file := put(t, sample)
	if err := os.Truncate(file, maxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); !errors.Is(err, errTooLarge) {
		t.Errorf("Read: %v, want that it is too large", err)
	}
	err := Edit(file, func(*File) error { return errors.New("it was read") })
	if !errors.Is(err, errTooLarge) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Edit: %v, want that it is too large", err)
	}
}

func TestRemoveAmbiguous(t *testing.T) {
	f := parse("aaaa " + Fingerprint("bbbb") + "\nbbbb x\n")
	if _, err := f.Remove(Fingerprint("bbbb"), nil); err == nil || !strings.Contains(err.Error(), "a name") {
		t.Errorf("got %v", err)
	}
	was, err := f.Remove("x", nil)
	if err != nil || len(was) != 1 || was[0].Fingerprint != Fingerprint("bbbb") || len(f.Entries()) != 1 {
		t.Errorf("got %v, %v", was, err)
	}
}

// Invitations that were used lose their limit.
func TestInvitations(t *testing.T) {
	now := time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC)
	f := parse("aaaa x join-by=2026-11-30T01:02:02Z  # one\nbbbb y  join-by=2026-11-30T01:02:02Z z\ncccc x join-by=2026-11-30T01:02:04Z\ndddd x\n")
	if got := f.Entries()[1]; !got.JoinBy.Equal(now.Add(-time.Second)) || fmt.Sprint(got.Names) != "[y z]" {
		t.Errorf("got %+v", got)
	}
	if err := f.Add("eeee", []string{"w"}, now, "new"); err != nil {
		t.Fatal(err)
	}
	settled := f.Settle(func(token string) bool { return token == "bbbb" || token == "dddd" })
	if len(settled) != 1 || settled[0].Fingerprint != Fingerprint("bbbb") || !settled[0].JoinBy.IsZero() {
		t.Errorf("settled: %+v, want the second", settled)
	}
	if _, err := f.Remove("z", nil); err != nil {
		t.Fatal(err)
	}
	if want := "aaaa x join-by=2026-11-30T01:02:02Z  # one\nbbbb y\ncccc x join-by=2026-11-30T01:02:04Z\ndddd x\neeee w join-by=2026-11-30T01:02:03Z  # new\n"; f.text() != want {
		t.Errorf("got\n%s\nwant\n%s", f.text(), want)
	}
}

// The group that root lends a file to may read it after an edit, too: p's. Whatever else
// others may do ends.
func TestEditOfAFileThatIsLent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	for _, tt := range []struct {
		uid, gid   int
		mode, want os.FileMode
	}{
		{0, 65534, 0o640, 0o640},
		{0, 65534, 0o440, 0o440},
		{0, 65534, 0o600, 0o600},
		{0, 65534, 0o664, 0o640},
		{0, 0, 0o640, 0o600},
		{65534, 65534, 0o640, 0o600},
	} {
		file := put(t, sample)
		if err := errors.Join(os.Chown(file, tt.uid, tt.gid), os.Chmod(file, tt.mode)); err != nil {
			t.Fatal(err)
		}
		if err := Edit(file, func(f *File) error { return f.Add(New(), []string{"a"}, time.Time{}, "") }); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("stat", "-c", "%u:%g %a", file).Output(); err != nil || string(out) != fmt.Sprintf("%d:%d %o\n", tt.uid, tt.gid, tt.want) {
			t.Errorf("%d:%d %o: afterwards %q, %v; want the mode %o", tt.uid, tt.gid, tt.mode, out, err, tt.want)
		}
		var log testlog.Buffer
		control.WarnReadable(slog.New(slog.NewTextHandler(&log, nil)), "token file", file)
		if log.String() != "" {
			t.Errorf("%d:%d %o: afterwards %s", tt.uid, tt.gid, tt.mode, &log)
		}
	}
}

// A new file that root makes is of whose the folder is: a service's, say, which is to
// read it and may write it.
func TestEditForTheFoldersOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tokens")
	for range 2 { // a new one, and one that is there
		if err := Edit(file, func(f *File) error { return f.Add(New(), []string{"a"}, time.Time{}, "") }); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("stat", "-c", "%u:%g %a", file).Output(); err != nil || string(out) != "65534:65534 600\n" {
			t.Errorf("owner and mode are %q, %v", out, err)
		}
	}

	// He could have root write elsewhere.
	elsewhere := put(t, "# root's\n")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	if err := Edit(link, func(f *File) error { return f.Add(New(), []string{"a"}, time.Time{}, "") }); err == nil {
		t.Error("root follows a link of somebody else")
	}
	if _, err := Read(link); err == nil {
		t.Error("root reads what a link of somebody else leads to")
	}
	if got := content(t, elsewhere); got != "# root's\n" {
		t.Errorf("elsewhere, the file is\n%s", got)
	}
}
