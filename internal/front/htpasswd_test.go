package front

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// hash makes a hash at the least cost, as htpasswd -B writes it.
func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(h), "$2a$", "$2y$", 1)
}

func writeHtpasswd(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadHtpasswd(t *testing.T) {
	good := "anna:" + hash(t, "secret")
	for _, test := range []struct{ name, content, wrong string }{
		{"one user", good + "\n", ""},
		{"comments, empty lines, CRLF", "\ufeff# people\r\n\r\n" + good + "\r\n", ""},
		{"no user", "# nobody\n", "there is no user in it"},
		{"no colon", good + "\nbert\n", "line 2: USER:HASH"},
		{"no name", ":" + hash(t, "x") + "\n", "line 1: USER:HASH"},
		{"a user twice", good + "\n" + good + "\n", `line 2: user "anna" is there twice`},
		{"SHA-1", "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", "line 1: the hash is not bcrypt's"},
		{"APR1", "anna:$apr1$abcdefgh$0123456789012345678901\n", "line 1: the hash is not bcrypt's"},
		{"plain text", "anna:SECRET\n", "line 1: the hash is not bcrypt's"},
		{"cut short", good[:50] + "\n", "line 1: the hash is not bcrypt's"},
		{"odd characters", good[:60] + "!!!!!" + "\n", "line 1: the hash is not bcrypt's"},
		{"a cost that takes hours", strings.Replace(good, "$04$", "$31$", 1) + "\n", "line 1: bcrypt's cost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "htpasswd")
			writeHtpasswd(t, path, test.content)
			_, err := LoadHtpasswd(path)
			if test.wrong == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v, want the path and %q", err, test.wrong)
			}
			for _, secret := range []string{"SECRET", "$2y$", "$apr1$", "{SHA}"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes %s: %v", secret, err)
				}
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := LoadHtpasswd(missing); err == nil || !strings.Contains(err.Error(), missing+" is missing: ") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestContract401(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	writeHtpasswd(t, path, "anna:"+hash(t, "se:cret")+"\nbert:"+hash(t, "other")+"\n")
	auth, err := LoadHtpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Auth = auth })
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		for _, test := range []struct {
			name, user, password string
			ok                   bool
		}{
			{"nothing given", "", "", false},
			{"right", "anna", "se:cret", true},
			{"right again", "anna", "se:cret", true},
			{"another user's", "bert", "se:cret", false},
			{"wrong", "anna", "se:cre", false},
			{"empty", "anna", "", false},
			{"unknown user", "carl", "se:cret", false},
		} {
			r := v.request(t, "GET", "/", nil)
			if test.user != "" {
				r.SetBasicAuth(test.user, test.password)
			}
			got := v.do(t, r)
			rec := s.record(t)
			if test.ok {
				if got.StatusCode != 200 || got.seen(t).Header.Get("Authorization") != "" {
					t.Errorf("%s: %d, C saw the Authorization %q", test.name, got.StatusCode, got.seen(t).Header.Get("Authorization"))
				}
				if rec.User != test.user {
					t.Errorf("%s: record of the user %q", test.name, rec.User)
				}
				continue
			}
			got.wantRefusal(t, 401, reasonDenied)
			if h := got.Header.Get("WWW-Authenticate"); !strings.HasPrefix(h, "Basic realm=") {
				t.Errorf("%s: WWW-Authenticate %q", test.name, h)
			}
			if rec.User != "" {
				t.Errorf("%s: record of the user %q, who did not prove it", test.name, rec.User)
			}
		}
		r := v.request(t, "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer x")
		v.do(t, r).wantRefusal(t, 401, reasonDenied)
		s.record(t)
	})
}

func TestReloadHtpasswd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	writeHtpasswd(t, path, "anna:"+hash(t, "old")+"\n")
	h, err := LoadHtpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(password string, want bool) {
		t.Helper()
		for range 2 { // the second time from memory
			if ok, err := h.verify(t.Context(), "anna", password, netip.Addr{}); ok != want || err != nil {
				t.Errorf("%q: %v, %v; want %v", password, ok, err, want)
			}
		}
	}
	want("old", true)
	writeHtpasswd(t, path, "anna:broken\n")
	if err := h.Reload(); err == nil {
		t.Error("Reload took a broken file")
	}
	want("old", true)
	writeHtpasswd(t, path, "anna:"+hash(t, "new")+"\n")
	if err := h.Reload(); err != nil {
		t.Error(err)
	}
	want("old", false)
	want("new", true)
}

// slow is a check that lasts until the test lets it go.
type slow struct {
	calls chan string
	free  chan bool
}

func (s slow) compare(_ []byte, p string) bool {
	s.calls <- p
	<-s.free
	return p == "right"
}

// slowly makes h's checks slow, one at a time.
func slowly(h *Htpasswd) slow {
	s := slow{make(chan string, 1000), make(chan bool)}
	h.compare, h.slots = s.compare, make(chan struct{}, 1)
	return s
}

func loadHtpasswd(t *testing.T, lines ...string) *Htpasswd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	writeHtpasswd(t, path, strings.Join(lines, "\n"))
	h, err := LoadHtpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A visitor that closes its sending side gets its answer, though its password is not
// checked yet.
func TestHalfClosedBeforeCheck(t *testing.T) {
	users := loadHtpasswd(t, "anna:"+hash(t, "right"))
	inBubble(t, 100, func(c *Config) { c.Auth = users }, func(http.ResponseWriter, *http.Request) {}, func(b *bubble) {
		check := slowly(users)
		b.conn = &fakeConn{}
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uYTpyaWdodA==\r\n\r\n")
		synctest.Wait()
		conn.CloseWrite()
		synctest.Wait()
		close(check.free)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
			b.Errorf("got %v, %v, want 200", resp, err)
		}
	})
}

// bcrypt runs once for a password that comes many times at once, again for each
// guess, as long for a user that does not exist, and not for what was right.
func TestBcryptIsBounded(t *testing.T) { synctest.Test(t, testBcryptIsBounded) }

func testBcryptIsBounded(t *testing.T) {
	h := loadHtpasswd(t, "anna:"+hash(t, "x"))
	check := slowly(h)
	addr := netip.MustParseAddr("2001:db8::1")
	neighbour := netip.MustParseAddr("2001:db8::2")

	var page sync.WaitGroup
	for range 20 {
		page.Go(func() {
			if ok, err := h.verify(t.Context(), "anna", "right", addr); !ok || err != nil {
				t.Errorf("right: %v, %v", ok, err)
			}
		})
	}
	<-check.calls
	check.free <- true
	page.Wait()
	if len(check.calls) > 0 {
		t.Errorf("%d more checks of the same password", len(check.calls))
	}
	if ok, _ := h.verify(t.Context(), "anna", "right", addr); !ok || len(check.calls) > 0 {
		t.Errorf("what was right: %v, %d checks", ok, len(check.calls))
	}

	var guesses sync.WaitGroup
	for i := range maxGuesses {
		guesses.Go(func() {
			user := []string{"anna", "nobody"}[i%2]
			if ok, err := h.verify(t.Context(), user, fmt.Sprint(i), addr); ok || err != nil {
				t.Errorf("guess %d: %v, %v", i, ok, err)
			}
		})
	}
	synctest.Wait()
	if _, err := h.verify(t.Context(), "anna", "one more", neighbour); !errors.Is(err, errGuessing) {
		t.Errorf("one guess more of the same /64: %v, want errGuessing", err)
	}
	if ok, _ := h.verify(t.Context(), "anna", "right", addr); !ok {
		t.Error("what was right is refused because of the guesses")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.verify(gone, "anna", "6", addr); !errors.Is(err, context.Canceled) {
		t.Errorf("A that left: %v", err)
	}
	for range maxGuesses {
		<-check.calls
		check.free <- true
	}
	guesses.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.guesses.one)+len(h.guesses.wide)+len(h.turns) != 0 || len(h.file.verified) != 1 {
		t.Errorf("left over: %v, %v, %d verified", h.guesses, h.turns, len(h.file.verified))
	}
}

// Who leaves before its turn is not checked, and takes nobody along who asks for
// the same.
func TestGuesserLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := loadHtpasswd(t, "anna:"+hash(t, "x"))
		check := slowly(h)
		ask := func(ctx context.Context, password, client string) <-chan error {
			ended := make(chan error, 1)
			// Ends when verify does, and is waited for.
			go func() {
				ok, err := h.verify(ctx, "anna", password, netip.MustParseAddr(client))
				if err == nil && ok != (password == "right") {
					err = fmt.Errorf("%q is %v", password, ok)
				}
				ended <- err
			}()
			synctest.Wait()
			return ended
		}
		first := ask(t.Context(), "first", "192.0.2.1")
		ctx, leave := context.WithCancel(t.Context())
		var left []<-chan error
		for i := range 5 {
			left = append(left, ask(ctx, fmt.Sprint("guess ", i), "192.0.2.2"))
		}
		left = append(left, ask(ctx, "right", "192.0.2.2"))
		stays := ask(t.Context(), "right", "192.0.2.3")
		leave()
		for _, l := range left {
			if err := <-l; !errors.Is(err, context.Canceled) {
				t.Errorf("who left: %v", err)
			}
		}
		check.free <- true
		check.free <- true
		for _, e := range []<-chan error{first, stays} {
			if err := <-e; err != nil {
				t.Error(err)
			}
		}
		if a, b := <-check.calls, <-check.calls; a != "first" || b != "right" || len(check.calls) != 0 {
			t.Errorf("checked %q and %q, and %d more; want the first and the right one alone", a, b, len(check.calls))
		}
	})
}

// One who guesses much does not keep another waiting for all of it.
func TestGuessesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := loadHtpasswd(t, "anna:"+hash(t, "x"))
		check := slowly(h)
		var asked sync.WaitGroup
		ask := func(password, client string) {
			asked.Go(func() { h.verify(t.Context(), "anna", password, netip.MustParseAddr(client)) })
			synctest.Wait()
		}
		for i := range maxGuesses {
			ask(fmt.Sprint("guess ", i), fmt.Sprintf("2001:db8:0:%x::1", i%2))
		}
		ask("right", "192.0.2.1")
		for i := range maxGuesses + 1 {
			if password := <-check.calls; (password == "right") != (i == 1) {
				t.Errorf("check %d is that of %q; want the other's as the second", i, password)
			}
			check.free <- true
			synctest.Wait()
		}
		asked.Wait()
	})
}

// Guesses are counted by IPv6 /64, and by /48.
func TestGuessesOfNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := loadHtpasswd(t, "anna:"+hash(t, "x"))
		check := slowly(h)
		var asked sync.WaitGroup
		n := 0
		ask := func(client string) {
			n++
			guess := fmt.Sprint(n)
			asked.Go(func() { h.verify(t.Context(), "anna", guess, netip.MustParseAddr(client)) })
			synctest.Wait()
		}
		for i := range addrkey.SiteFactor * maxGuesses {
			ask(fmt.Sprintf("2001:db8:0:%x::1", i/maxGuesses))
		}
		for _, c := range []struct {
			client string
			want   error
		}{{"2001:db8::2", errGuessing}, {"2001:db8:0:ffff::1", errGuessing}} {
			if _, err := h.verify(t.Context(), "anna", "one more", netip.MustParseAddr(c.client)); err != c.want {
				t.Errorf("%s: %v, want %v", c.client, err, c.want)
			}
		}
		ask("2001:db8:1::1")
		ask("192.0.2.1")
		for range n {
			<-check.calls
			check.free <- true
		}
		asked.Wait()
	})
}

// Behind a trusted proxy, one client's guesses are not another's.
func TestGuessesBehindProxy(t *testing.T) {
	h := loadHtpasswd(t, "anna:"+hash(t, "x"))
	check := slowly(h)
	s := newStage(t, func(c *Config) {
		c.Auth = h
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	s.connect(t, "", "", echo)
	v := s.visitors[0]
	var asked sync.WaitGroup
	ask := func(client, password string, status int) {
		r := v.request(t, "GET", "/", nil)
		r.SetBasicAuth("anna", password)
		r.Header.Set("X-Forwarded-For", client)
		asked.Go(func() {
			if got := v.do(t, r); got.StatusCode != status {
				t.Errorf("%s with %q: %d, want %d", client, password, got.StatusCode, status)
			}
		})
	}
	for i := range maxGuesses {
		ask("192.0.2.66", fmt.Sprint(i), 401)
	}
	counted := func(client string) int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.guesses.one[netip.MustParseAddr(client)].requests
	}
	waitFor(t, "the guesses are counted", func() bool { return counted("192.0.2.66") >= maxGuesses })
	ask("192.0.2.66", "one more", 429)
	if r := s.record(t); r.Status != 429 || r.Client != netip.MustParseAddr("192.0.2.66") {
		t.Errorf("one guess more: %d for %v", r.Status, r.Client)
	}
	ask("192.0.2.1", "right", 200)
	for range maxGuesses + 1 {
		await(t, "a check", check.calls)
		check.free <- true
	}
	asked.Wait()
}

// A name that is not there takes as long as one of those that are, always as
// long, also after a restart, and mostly where the file has changed.
func TestUnknownUserTakesAsLong(t *testing.T) {
	var lines []string
	for i := range 40 {
		h, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost+i%4/3) // a quarter costs more
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("user%d:%s", i, h))
	}
	costs := func(lines []string) (costs [1000]int, dear int) {
		p := loadHtpasswd(t, lines...).file
		for i := range costs {
			h, known := p.hash(fmt.Sprint("nobody", i))
			cost, err := bcrypt.Cost(h)
			if known || err != nil {
				t.Fatal(known, err)
			}
			if costs[i] = cost; cost > bcrypt.MinCost {
				dear++
			}
		}
		if h, known := p.hash("user3"); !known || "user3:"+string(h) != lines[3] {
			t.Errorf("a user that is there has the hash %s", h)
		}
		return costs, dear
	}
	before, dear := costs(lines)
	if dear < 150 || dear > 350 {
		t.Errorf("%d of 1000 names take longer, want about the quarter that it is of those who are there", dear)
	}
	if again, _ := costs(lines); again != before {
		t.Error("after a restart other names take longer")
	}
	changed := 0
	after, _ := costs(append(lines, "new:"+hash(t, "x")))
	for i := range after {
		if after[i] != before[i] {
			changed++
		}
	}
	if changed > 40 {
		t.Errorf("a new user changed how long %d of 1000 names take, want few", changed)
	}
	alike := loadHtpasswd(t, "a:"+hash(t, "x"), "b:"+hash(t, "x")).file
	if len(alike.decoys) != 1 {
		t.Errorf("%d decoys where all cost the same, want 1", len(alike.decoys))
	}
}

func TestVerifiedIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	writeHtpasswd(t, path, "anna:"+hash(t, "x")+"\n")
	h, err := LoadHtpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxVerified {
		h.file.verified[h.file.digest("a", fmt.Sprint(i))] = struct{}{}
	}
	if ok, err := h.verify(t.Context(), "anna", "x", netip.Addr{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if h.file.digest("a", "bc") == h.file.digest("ab", "c") {
		t.Error("one digest for two users")
	}
	if n := len(h.file.verified); n != maxVerified {
		t.Errorf("%d remembered, want %d", n, maxVerified)
	}
}
