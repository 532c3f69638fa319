package front

import (
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy"
)

func TestParsePriority(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  uint8
	}{
		{nil, 3},
		{[]string{""}, 3},
		{[]string{"u=0"}, 0},
		{[]string{"u=7"}, 7},
		{[]string{"u=5, i"}, 5},
		{[]string{"i, u=5"}, 5},
		{[]string{"i"}, 3},
		{[]string{"u=1", "u=2"}, 2},
		{[]string{"u=1, u=2"}, 2},
		{[]string{"u=1, u=9"}, 3}, // the last one counts, and is out of range
		{[]string{"u=9, u=1"}, 1},
		{[]string{" u=4 , i=?0 "}, 4},
		{[]string{"u=4\t,\ti"}, 4},
		{[]string{"u=4;a=1;b"}, 4},
		{[]string{"u=4;a=\"x\\\"y,z\", i"}, 4},
		{[]string{`x="u=0", u=6`}, 6},
		{[]string{"x=(1 2 \"a\";q=0.5), u=6"}, 6},
		{[]string{"x=(), u=6"}, 6},
		{[]string{"x=:YWJj:, u=6"}, 6},
		{[]string{"x=@1659578233, u=6"}, 6},
		{[]string{`x=%"f%c3%bc", u=6`}, 6},
		{[]string{"x=tok/en:a, u=6"}, 6},
		{[]string{"x=1.5, u=6"}, 6},
		{[]string{"*x.y_z-1, u=6"}, 6},
		{[]string{"u=07"}, 7}, // an integer may begin with zeros
		{[]string{"u=-0"}, 0},

		{[]string{"u=8"}, 3},
		{[]string{"u=-1"}, 3},
		{[]string{"u=70"}, 3},
		{[]string{"u=1.0"}, 3},
		{[]string{"u"}, 3},
		{[]string{"u=?1"}, 3},
		{[]string{`u="1"`}, 3},
		{[]string{"u=(1)"}, 3},
		{[]string{"u=a"}, 3},
		{[]string{"U=1"}, 3},
		{[]string{"u=1,"}, 3},
		{[]string{",u=1"}, 3},
		{[]string{"u=1,,i"}, 3},
		{[]string{"u=1 i"}, 3},
		{[]string{"u = 1"}, 3},
		{[]string{"u=1;"}, 3},
		{[]string{"u=1;A"}, 3},
		{[]string{"u="}, 3},
		{[]string{"u=1, x=(1"}, 3},
		{[]string{"u=1, x=(1,2)"}, 3},
		{[]string{`u=1, x="a`}, 3},
		{[]string{`u=1, x="\a"`}, 3},
		{[]string{"u=1, x=:a"}, 3},
		{[]string{"u=1, x=?2"}, 3},
		{[]string{"u=1, x=1234567890123456"}, 3},
		{[]string{"u=1, x=1.2345"}, 3},
		{[]string{"u=1, x=1."}, 3},
		{[]string{"u=1, x=@1.5"}, 3},
		{[]string{"u=1\x00"}, 3},
		{[]string{"\tu=1"}, 3},
		{[]string{"ü=1, u=1"}, 3},
		{[]string{`u=1, x=%"%ff"`}, 3},
		{[]string{`u=1, x=%"f%C3%BC"`}, 3},
		{[]string{"u=1, x=:Y:"}, 3},

		{[]string{"u=1" + strings.Repeat(",a", 1024)}, 1},
		{[]string{"u=1" + strings.Repeat(",a", maxPriority/2-2)}, 1},
		{[]string{"u=1" + strings.Repeat(",a", maxPriority/2-2), "a,b,c"}, 3},
	} {
		if got := parsePriority(test.lines); got != test.want {
			t.Errorf("parsePriority(%.100q) = %d, want %d", test.lines, got, test.want)
		}
	}
}

func FuzzParsePriority(f *testing.F) {
	for _, s := range []string{"u=5, i", `x=("a";b=1 2);c=:YQ==:, u=1`, "a=@1,b=%\"x\",*=?1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := parsePriority([]string{s}); got > 7 {
			t.Errorf("parsePriority(%q) = %d", s, got)
		}
	})
}

func TestPriorityIsTheStreams(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		p, _ := spdy.PriorityFrom(r.Context())
		w.Write([]byte{'0' + p})
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for header, want := range map[string]string{"": "3", "u=0": "0", "u=6, i": "6", "u=8": "3", "u=": "3"} {
			r := v.request(t, "GET", "/", nil)
			if header != "" {
				r.Header.Set("Priority", header)
			}
			if got := v.do(t, r).body; got != want {
				t.Errorf("Priority %q: the stream has %s, want %s", header, got, want)
			}
		}
	})
}
