package handbook_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"go/ast"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/handbook"
)

// exchange are the lines of one block of the page's transcript.
type exchange struct {
	sent, received []string
}

// transcript returns the blocks whose lines begin with "C: " or "P: ".
func transcript(text string) (all []exchange) {
	for _, m := range regexp.MustCompile("(?s)\n```text\n([CP]: .*?)\n```").FindAllStringSubmatch(text, -1) {
		var e exchange
		for line := range strings.Lines(m[1]) {
			who, what, _ := strings.Cut(strings.TrimRight(line, "\n"), ":")
			if what = strings.TrimPrefix(what, " "); who == "C" {
				e.sent = append(e.sent, what)
			} else {
				e.received = append(e.received, what)
			}
		}
		all = append(all, e)
	}
	return all
}

// The handshake and the first request are, byte by byte, what the page says, with the real p.
func TestTranscript(t *testing.T) {
	all := transcript(page(t, "protocol"))
	if len(all) != 6 {
		t.Fatalf("the page has %d blocks of the transcript, want 6", len(all))
	}
	dir := t.TempDir()
	ca := controltest.NewCA(t)
	cert, key := controltest.Write(t, ca.Issue(t, "localhost", "127.0.0.1"), dir, "p")
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte("sesame photos\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := exec.Command(handbook.Binaries(t)+"/bin/p", "--front", "127.0.0.1:0", "--control", "127.0.0.1:0", "--admin", "", "--cert", cert, "--key", key,
		"--token-file", filepath.Join(dir, "tokens"), "--domain", "example.org", "--drain", "1s")
	stderr, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	log := bufio.NewReader(stderr)
	var listens []string
	for listens == nil {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatalf("p does not listen: %s %v", line, err)
		}
		listens = regexp.MustCompile(`msg="p listens".* front=(\S+) .*control=(\S+)`).FindStringSubmatch(line)
	}
	// Ends with p.
	go io.Copy(io.Discard, log)
	front, control := listens[1], listens[2]

	conn, err := tls.Dial("tcp", control, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", NextProtos: []string{"spdy-proxy-control/1", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(conn)
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}

	say(strings.ReplaceAll(strings.Join(all[0].sent, "\r\n"), "TOKEN", "sesame"))
	for i, want := range all[0].received {
		pattern := strings.NewReplacer("ID", `[0-9a-f]+`, "PORT", `\d+`).Replace(regexp.QuoteMeta(want))
		var got string
		if i == len(all[0].received)-1 {
			b := make([]byte, len(want))
			_, err = io.ReadFull(r, b)
			got = string(b)
		} else {
			got, err = r.ReadString('\n')
			got = strings.TrimSuffix(got, "\r\n")
		}
		if err != nil || !regexp.MustCompile("^"+pattern+"$").MatchString(got) {
			t.Fatalf("P says %q, %v; the page has %q", got, err, want)
		}
	}

	answer := make(chan string, 1)
	for i, e := range all[1:] {
		if slices.ContainsFunc(e.received, func(s string) bool { return strings.HasPrefix(s, "80 03 00 01") }) {
			// Ends with the answer; waited for below.
			go func() {
				req, _ := http.NewRequest(http.MethodGet, "http://"+front+"/", nil)
				req.Host = "photos.example.org"
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					answer <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				answer <- resp.Status + " " + string(body)
			}()
		}
		if len(e.received) > 0 {
			want := strings.Fields(strings.Join(e.received, " "))
			frame := make([]byte, 8)
			if _, err := io.ReadFull(r, frame); err != nil {
				t.Fatal(err)
			}
			frame = append(frame, make([]byte, int(frame[5])<<16|int(frame[6])<<8|int(frame[7]))...)
			if _, err := io.ReadFull(r, frame[8:]); err != nil {
				t.Fatal(err)
			}
			for at, w := range want {
				if at >= len(frame) || w != ".." && w != hex.EncodeToString(frame[at:at+1]) {
					t.Fatalf("block %d: P sends\n% x\nthe page has\n%s", i+2, frame, strings.Join(want, " "))
				}
			}
			if frame[3] == 1 {
				for _, name := range regexp.MustCompile("(?m)^\\| (`[:a-z-]+`(?:, `[:a-z-]+`)*) \\|").FindAllStringSubmatch(page(t, "protocol"), -1) {
					for n := range strings.SplitSeq(name[1], ", ") {
						if n = strings.Trim(n, "`"); !bytes.Contains(frame, []byte(n)) {
							t.Errorf("the request has no %s", n)
						}
					}
				}
			} else if len(frame) != len(want) {
				t.Errorf("block %d: the frame has %d bytes, the page has %d", i+2, len(frame), len(want))
			}
		}
		for _, line := range e.sent {
			for _, b := range strings.Fields(line) {
				n, err := strconv.ParseUint(b, 16, 8)
				if err != nil {
					t.Fatalf("%q is no byte", b)
				}
				say(string([]byte{byte(n)}))
			}
		}
	}
	if got, want := <-answer, "200 OK hello\n"; got != want {
		t.Errorf("the visitor got %q, want %q", got, want)
	}
}

// The statuses of the control port's answers that the page has are those that Refusal.Kind
// is known for, and 200.
func TestControlAnswers(t *testing.T) {
	var want []string
	for _, s := range load(t, "../control", func(dir string) bool { return strings.HasSuffix(dir, "controltest") }) {
		s.each(func(n ast.Node) { want = append(want, statusesIn(n)...) })
	}
	slices.Sort(want)
	want = slices.Compact(want)
	var got []string
	for _, row := range rows(page(t, "protocol"), "answer") {
		got = append(got, regexp.MustCompile(`\d{3}`).FindAllString(row[0], -1)...)
	}
	slices.Sort(got)
	if !slices.Equal(got, append([]string{"200"}, want...)) {
		t.Errorf("the page has the answers %q, the source 200 and %q", got, want)
	}
}

// statusesIn returns the statuses in the table kinds.
func statusesIn(n ast.Node) (found []string) {
	v, ok := n.(*ast.ValueSpec)
	if !ok || v.Names[0].Name != "kinds" {
		return nil
	}
	for _, e := range v.Values[0].(*ast.CompositeLit).Elts {
		found = append(found, statuses[e.(*ast.KeyValueExpr).Key.(*ast.SelectorExpr).Sel.Name])
	}
	return found
}
