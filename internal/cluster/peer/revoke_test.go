package peer

import (
	"net/http"
	"slices"
	"testing"

	"github.com/amahi/spdy"
)

// Tokens that are gone are told to a node by the link; nobody else can say so, nor in
// another form.
func TestRevoke(t *testing.T) {
	inCluster(t, "p1 p2", func(c *cluster) {
		p1, p2 := c.nodes["p1"], c.nodes["p2"]
		want := make([]Digest, MaxRevoked)
		for i := range want {
			want[i] = Digest{byte(i), byte(i >> 8), 31: 7}
		}
		if err := p1.links.Revoke(c.Context(), "p2", want); err != nil {
			t.Fatal(err)
		}
		if got := p2.took(); len(got) != 1 || got[0].node != "p1" || !slices.Equal(got[0].tokens, want) {
			t.Errorf("got %d messages, want that of p1", len(got))
		}
		if err := p1.links.Revoke(c.Context(), "p3", want); err == nil {
			t.Error("a node without a link was told")
		}
		if err := p1.links.Revoke(c.Context(), "p2", append(want, Digest{})); err == nil {
			t.Error("more tokens than there may be at once were taken")
		}

		// A visitor's header is a visitor's.
		x := p2.serve("films", "x.0", spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			if len(r.Header[headerRevoke]) > 0 {
				t.Error("the header is passed on")
			}
		})
		r, _ := p1.know("p2", x)
		req := c.request("POST", "/", nil)
		req.Header[headerRevoke] = []string{"1"}
		if a := c.read(r.RoundTrip(req)); a.status != 200 {
			t.Errorf("got %d, want C's answer", a.status)
		}
		if got := p2.took(); len(got) != 0 {
			t.Errorf("got %d messages of what a visitor has sent, want none", len(got))
		}
	})
}
