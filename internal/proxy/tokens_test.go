package proxy_test

import (
	"strings"
	"testing"
)

// What is added to the token file is good without a word to P. What is taken out, and a
// file that cannot be read, change nothing before Reload.
func TestTokensAdded(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		f.write("token", "good-token film\n")
		x := startP(t, f, nil)
		come := func(name, token, refused string) {
			t.Helper()
			conn, err := dialer(t, x, name, token+".0", token).Dial(deadline(t))
			switch {
			case err == nil:
				t.Cleanup(func() { conn.Close() })
				if refused != "" {
					t.Errorf("%s is let in as %q", token, name)
				}
			case refused == "" || !strings.Contains(err.Error(), refused):
				t.Errorf("%s as %q: got %v, want %q", token, name, err, refused)
			}
		}
		come("film", "good-token", "")
		come("wiki", "wiki-token", "401")
		f.write("token", "good-token film\nwiki-token wi\x00\n")
		come("wiki", "wiki-token", "401")
		f.write("token", "good-token film\nwiki-token wiki\n")
		come("wiki", "wiki-token", "")
		come("photos", "good-token", "403")
		f.write("token", "good-token photos\n")
		come("photos", "good-token", "")
		come("film", "good-token", "")
		come("wiki", "wiki-token", "")
		const line = "what was added to the token file is known from now on"
		if n, less := x.log.count(line), x.log.count(line+", what was taken out of it is let in until SIGHUP"); n != 2 || less != 1 {
			t.Errorf("%d lines about it, %d of them of what was taken out, want one for each change, and one", n, less)
		}
		x.Reload()
		x.log.wait("its token is gone", 1)
		come("film", "good-token", "403")
		come("wiki", "wiki-token", "401")
	})
}
