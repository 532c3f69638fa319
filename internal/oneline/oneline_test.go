package oneline

import (
	"encoding/json"
	"testing"
)

func TestCleanAndAppend(t *testing.T) {
	for _, tt := range []struct {
		name, in, clean, escaped string
	}{
		{"plain", `GET /a?b=c "é" 日本`, `GET /a?b=c "é" 日本`, `GET /a?b=c "é" 日本`},
		{"nothing", "", "", ""},
		{"the end of a line", "a\r\nb\n", "a  b", `a\u000d\u000ab\u000a`},
		{"C0 and DEL", "\x00\x1b[31m\x7f.", "[31m .", `\u0000\u001b[31m\u007f.`},
		{"C1", "a\u0080\u0085\u009b31m\u009f\u00a0b", "a   31m \u00a0b", `a\u0080\u0085\u009b31m\u009f` + "\u00a0b"},
		{"C1 that is no UTF-8", "a\x9b31m", "a\ufffd31m", "a\ufffd31m"},
		{"line and paragraph separators", "a\u2028b\u2029c", "a b c", `a\u2028b\u2029c`},
		{"marks of direction", "a\u202egnp.exe\u2066\u061c.", "a gnp.exe  .", `a\u202egnp.exe\u2066\u061c.`},
		{"joiners, as in names", "👩\u200d👧 می\u200cخواهم", "👩\u200d👧 می\u200cخواهم", "👩\u200d👧 می\u200cخواهم"},
		{"not UTF-8", "a\xff\xc3", "a\ufffd\ufffd", "a\ufffd\ufffd"},
	} {
		if got := Clean(tt.in); got != tt.clean {
			t.Errorf("%s: Clean is %q, want %q", tt.name, got, tt.clean)
		}
		if got := string(Append([]byte("> "), tt.in)); got != "> "+tt.escaped {
			t.Errorf("%s: Append is %q, want %q", tt.name, got, "> "+tt.escaped)
		}
		if got := string(Append(nil, []byte(tt.in))); got != tt.escaped {
			t.Errorf("%s: Append of bytes is %q, want %q", tt.name, got, tt.escaped)
		}
	}
}

// What Append makes of JSON is the same JSON.
func TestAppendKeepsJSON(t *testing.T) {
	const text = "a\u0085\u009b\u007f\u202e\u2028\nb\"\\"
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	b = Append(nil, b)
	for _, r := range string(b) {
		if Unsafe(r) {
			t.Errorf("%q is left in %q", r, b)
		}
	}
	var got string
	if err := json.Unmarshal(b, &got); err != nil || got != text {
		t.Errorf("%q reads as %q, %v; want %q", b, got, err, text)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("a\u009b31m\xff\u202e\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{string(Append(nil, s)), Clean(s)} {
			for _, r := range got {
				if Unsafe(r) {
					t.Fatalf("%q became %q", s, got)
				}
			}
		}
	})
}

func TestCount(t *testing.T) {
	for n, want := range []string{"0 tokens", "1 token", "2 tokens"} {
		if got := Count(n, "token"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
