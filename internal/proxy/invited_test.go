package proxy_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
)

// An invitation that is used in time has its limit taken out of the token file, and
// all else there stays. One that is used too late is refused, and says why.
func TestInvitations(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		by := control.JoinBy(time.Now().Add(5 * time.Second))
		f.write("token", "# mine\ngood-token *\nearly film "+by+"  # invited\nlate photos "+by+"\n")
		x := startP(t, f, nil)
		come := func(name, token, instance string) error {
			conn, err := dialer(t, x, name, instance, token).Dial(deadline(t))
			if err == nil {
				t.Cleanup(func() { conn.Close() })
			}
			return err
		}
		if err := come("film", "early", "a.0"); err != nil {
			t.Fatal(err)
		}
		x.log.wait("an invitation was used, its token is good from now on", 1)
		const settled = "# mine\ngood-token *\nearly film  # invited\nlate photos "
		if text, err := os.ReadFile(f.path("token")); err != nil || string(text) != settled+by+"\n" {
			t.Errorf("the file is\n%s, %v", text, err)
		}
		time.Sleep(5 * time.Second)
		err := come("photos", "late", "b.0")
		if err == nil || !strings.Contains(err.Error(), "the invitation has expired") {
			t.Errorf("too late: %v", err)
		}
		if err := come("film", "early", "c.0"); err != nil {
			t.Errorf("who was in time comes back: %v", err)
		}
		x.Reload()
		if n := x.log.count("origin disconnected"); n > 0 {
			t.Errorf("%d were sent away", n)
		}
		if n := x.log.count("an invitation was used"); n != 1 {
			t.Errorf("%d lines about it", n)
		}
	})
}

// Where the token file cannot be replaced, that is said, and tried again.
func TestInvitationNotSettled(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		by := control.JoinBy(time.Now().Add(5 * time.Second))
		f.write("token", "early film "+by+"\n")
		f.write("token.new", "") // another edit's
		x := startP(t, f, nil)
		conn, err := dialer(t, x, "film", "a.0", "early").Dial(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		x.log.wait("its limit stays in the token file", 1)
		time.Sleep(10 * time.Second)
		x.Reload()
		if n := x.log.count("origin disconnected"); n > 0 {
			t.Error("it was sent away")
		}
		os.Remove(f.path("token.new"))
		x.Reload()
		if text, err := os.ReadFile(f.path("token")); err != nil || string(text) != "early film\n" {
			t.Errorf("the file is %q, %v", text, err)
		}
	})
}
