package control

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// An invitation has to be used in time; what was, is good ever after, though the file
// still has the limit.
func TestJoinBy(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
		end := time.Now().Add(time.Hour)
		text := "used a " + JoinBy(end) + "\nunused b " + JoinBy(end) + "\nmine c\ntwice d " + JoinBy(end) + "\ntwice e\n"
		p.Auth.Set(tokens(t, text))
		d := p.bubbleDialer(ln, "192.0.2.1:1")
		come := func(name, token string) error {
			d.Name = name
			return p.try(t, d, token)
		}
		for name, token := range map[string]string{"a": "used", "b": "unused", "c": "mine", "d": "twice"} {
			if err := come(name, token); err != nil {
				t.Errorf("in time, %s: %v", name, err)
			}
		}
		used := credentialOf("used")
		if !p.Auth.Joined(used) || p.Auth.Joined(used) || p.Auth.Joined(credentialOf("mine")) || p.Auth.Joined(credentialOf("nobody's")) {
			t.Error("the first to join is not the first, or is it twice")
		}
		if !p.Auth.HasJoined("used") || p.Auth.HasJoined("unused") {
			t.Error("who has joined is mistaken")
		}
		time.Sleep(time.Until(end))
		synctest.Wait()
		p.Auth.Set(tokens(t, text)) // as a reload does
		for name, token := range map[string]string{"a": "used", "c": "mine", "d": "twice"} {
			if err := come(name, token); err != nil {
				t.Errorf("later, %s: %v", name, err)
			}
		}
		err := come("b", "unused")
		if !isRefused(err, 401) || !strings.Contains(err.Error(), "the invitation has expired: it had to be used by 2000-01-01 01:00 UTC") || strings.Contains(err.Error(), "\n") {
			t.Errorf("too late: %v", err)
		}
		if p.Auth.Served("b") || p.Auth.Valid(credentialOf("unused"), "b") || !p.Auth.Served("a") {
			t.Error("what was not used in time still serves its name, or what was does not")
		}
		var named []string
		p.Auth.Named(func(_ Credential, name string) { named = append(named, name) })
		if len(named) != 4 {
			t.Errorf("the names of good tokens are %q", named)
		}
	})
}

func TestCutJoinBy(t *testing.T) {
	at := time.Date(2026, 11, 30, 1, 2, 3, 0, time.FixedZone("", 3600))
	names, by, err := CutJoinBy([]string{"a", JoinBy(at), "b"})
	if strings.Join(names, " ") != "a b" || !by.Equal(at) || err != nil || JoinBy(at) != "join-by=2026-11-30T00:02:03Z" {
		t.Errorf("got %q, %v, %v", names, by, err)
	}
	if names, by, err := CutJoinBy([]string{"a"}); len(names) != 1 || !by.IsZero() || err != nil {
		t.Errorf("without: %q, %v, %v", names, by, err)
	}
	for _, bad := range []string{"join-by=", "join-by=tomorrow", "join-by=2026-11-30"} {
		if _, err := ParseTokens(strings.NewReader("x *\nsesame a " + bad + "\n")); err == nil || !strings.Contains(err.Error(), "line 2: ") || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := ParseTokens(strings.NewReader("sesame " + JoinBy(at) + "\n")); err == nil || !strings.Contains(err.Error(), "without a name") {
		t.Errorf("no name: %v", err)
	}
}
