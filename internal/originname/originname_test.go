package originname

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for in, want := range map[string]Name{
		"films": "films", "FiLmS-2": "films-2", "A-1": "a-1", "7": "7", "0": "0", "a": "a", "xn--bcher-kva": "xn--bcher-kva", long: Name(long),
		"r3---sn": "r3---sn",
	} {
		for what, parse := range map[string]func(string) (Name, error){"Parse": Parse, "ParseLabel": ParseLabel} {
			if got, err := parse(in); err != nil || got != want {
				t.Errorf("%s(%q) = %q, %v; want %q", what, in, got, err, want)
			}
		}
	}
	for _, in := range []string{
		"-", "-a", "a-", "a_b", "a b", "\u212a", "a\x00", "a\n", "*", "@a", "@@", long + "a",
	} {
		for what, parse := range map[string]func(string) (Name, error){"Parse": Parse, "ParseLabel": ParseLabel} {
			if got, err := parse(in); err == nil {
				t.Errorf("%s(%q) = %q, want an error", what, in, got)
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("%s(%q): %q is not one line", what, in, err)
			}
		}
	}
	if got, err := ParseLabel("a.b"); err == nil {
		t.Errorf("ParseLabel took the host name a.b as %q", got)
	}
}

func TestDefault(t *testing.T) {
	for _, in := range []string{"", "@"} {
		if got, err := Parse(in); err != nil || got != "" {
			t.Errorf("Parse(%q) = %q, %v; want the default origin", in, got, err)
		}
		for what, parse := range map[string]func(string) (Name, error){"ParseLabel": ParseLabel, "parseHost": parseHost, "ParseNamed": ParseNamed} {
			if got, err := parse(in); err == nil {
				t.Errorf("%s(%q) = %q, want an error", what, in, got)
			}
		}
	}
	if got := Name("").String(); got != "@" {
		t.Errorf("the default origin is %q, want @", got)
	}
	if got := Name("films").String(); got != "films" {
		t.Errorf("films is %q", got)
	}
}

func TestHostNames(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + strings.Repeat("b", 9) // 253
	for in, want := range map[string]Name{
		"photos.example.com": "photos.example.com", "Photos.EXAMPLE.com": "photos.example.com", "a.b": "a.b", "1.2.3.x4": "1.2.3.x4",
		"fotos.münchen.de": "fotos.xn--mnchen-3ya.de", "xn--mnchen-3ya.DE": "xn--mnchen-3ya.de", long: Name(long),
	} {
		got, err := Parse(in)
		if err != nil || got != want || !got.Host() {
			t.Errorf("Parse(%q) = %q, %v; want the host name %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		".", "a.", ".a", "a..b", "a.b.", "127.0.0.1", "1.2", "*.example.com", "a_b.example.com", "a.-b", "a b.c", "example.com:80", "[::1]", "a/b.c",
		"photos。example。com", "a.b．c", long + "b", strings.Repeat("ü.", 2000), "http://a.b",
		"אא.1a", // RFC 5893, 2: the rule is one of all labels
	} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %q, want an error", in, got)
		} else if strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("Parse(%q): %q is not one line", in, err)
		}
	}
}

// Internationalised names (RFC 5891): as people write them, and as A-labels.
func TestInternationalised(t *testing.T) {
	for in, want := range map[string]struct {
		name    Name
		unicode string
	}{
		"münchen":        {"xn--mnchen-3ya", "münchen"},
		"MÜNCHEN":        {"xn--mnchen-3ya", "münchen"},
		"mu\u0308nchen":  {"xn--mnchen-3ya", "münchen"},
		"XN--MNCHEN-3YA": {"xn--mnchen-3ya", "münchen"},
		"straße":         {"xn--strae-oqa", "straße"},
		"ΣΊΣΥΦΟΣ":        {"xn--kxa6akbbkh", "σίσυφοσ"},
		"日本語":            {"xn--wgv71a119e", "日本語"},
		"ひらがなとカタカナと漢字abc": {"xn--abc-uj4akcuxedb41xja0g0hd4y1xd6mb", ""},
		"한국어":               {"xn--3e0bs9hfvinn1a", ""},
		"עברית":             {"xn--5dbqzzl", "עברית"},
		"क्ष":               {"xn--11b3d8b", ""},
		"fotos.例え.テスト":      {"fotos.xn--r8jz45g.xn--zckzah", "fotos.例え.テスト"},
		"films":             {"films", "films"},
		"films.example.com": {"films.example.com", "films.example.com"},
	} {
		got, err := Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			continue
		}
		if want.unicode != "" && (got != want.name || got.Unicode() != want.unicode) {
			t.Errorf("Parse(%q) = %q, for people %q; want %q, %q", in, got, got.Unicode(), want.name, want.unicode)
		}
		// What is sent is what comes in at P, and says the same there.
		if again, err := Parse(string(got)); err != nil || again != got {
			t.Errorf("Parse(%q) = %q, %v; want the same", got, again, err)
		}
		if again, err := Parse(got.Unicode()); err != nil || again != got {
			t.Errorf("Parse(%q) = %q, %v; want %q", got.Unicode(), again, err, got)
		}
	}
}

// What looks like another name, or like nothing, is refused in one line.
func TestDeceptive(t *testing.T) {
	for what, in := range map[string]string{
		"a Cyrillic а among Latin letters": "pаypal",
		"the same as an A-label":           "xn--pypal-4ve",
		"a Greek omicron":                  "gοogle",
		"letters of full width":            "ｐａｙｐａｌ",
		"a ligature":                       "münchen-ﬁlm",
		"a Kelvin sign":                    "\u212a",
		"a soft hyphen":                    "mün\u00adchen",
		"a space of no width":              "mün\u200bchen",
		"a joiner between Latin letters":   "mün\u200dchen",
		"a mark that turns the direction":  "mün\u202echen",
		"a dot that is none":               "münchen\u3002de",
		"a slash that is none":             "münchen\u2215de",
		"a heart":                          "i❤münchen",
		"a mark without a letter":          "\u0308ab",
		"an A-label of ASCII":              "xn--films-",
		"an A-label of nothing":            "xn--",
		"an A-label that is no Punycode":   "xn--zzzzzzzzzzzzzzzz9",
		"an A-label of what is upper case": "xn--Mnchen-9xa-",
		"not UTF-8":                        "m\xfcnchen",
		"too long as an A-label":           strings.Repeat("ü", 62),
		"far too long":                     strings.Repeat("ü", 1<<16),
		"both directions":                  "aא",
	} {
		if got, err := Parse(in); err == nil {
			t.Errorf("%s: Parse(%q) = %q, want an error", what, in, got)
		} else if strings.ContainsAny(err.Error(), "\n\r\u200b\u202e") || len(err.Error()) > 700 {
			t.Errorf("%s: %q is not one line that a person can read", what, err)
		}
	}
}

func TestDomains(t *testing.T) {
	d, err := ParseDomains([]string{"Example.Org", "", " *.münchen.de ", ".sub.example.org.", "example.org", "localhost"})
	if want := (Domains{"example.org", "xn--mnchen-3ya.de", "sub.example.org", "localhost"}); err != nil || !slices.Equal(d, want) {
		t.Fatalf("got %q, %v; want %q", d, err, want)
	}
	for _, in := range []string{"*", ".", "example.org:80", "[::1]", "a b", "http://example.org", "*.*.example.org", "127.0.0.1", "a..b", "-a.example.org", "a\nb"} {
		if got, err := ParseDomains([]string{"ok", in}); err == nil {
			t.Errorf("ParseDomains(%q) = %q, want an error", in, got)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseDomains(%q): %q is not one line", in, err)
		}
	}
	for host, want := range map[string]string{
		"films.example.org": "films", "a.films.example.org": "a.films", "films.sub.example.org": "films", "sub.example.org": "sub", "films.localhost": "films",
		"films.xn--mnchen-3ya.de": "films",
	} {
		if rest, ok := d.Below(host); !ok || rest != want {
			t.Errorf("below the domains, %q is %q, %v; want %q", host, rest, ok, want)
		}
	}
	for _, host := range []string{"", "example.org", "filmsexample.org", "org", "localhost", "films.example.net"} {
		if rest, ok := d.Below(host); ok {
			t.Errorf("%q is %q below a domain, want nothing", host, rest)
		}
	}
	for in, want := range map[Name]Name{
		"": "", "films": "films", "films.example.org": "films", "films.sub.example.org": "films", "sub.example.org": "sub", "a.films.example.org": "a.films.example.org",
		"example.org": "example.org", "films.example.net": "films.example.net",
	} {
		if got := d.Canonical(in); got != want {
			t.Errorf("%q is the origin %q, want %q", in, got, want)
		}
	}
	for in, want := range map[Name][]string{
		"": nil, "films": {"films.example.org", "films.xn--mnchen-3ya.de", "films.sub.example.org", "films.localhost"}, "a.b": {"a.b"},
	} {
		if got := d.Hosts(in); !slices.Equal(got, want) {
			t.Errorf("the hosts of %q are %q, want %q", in, got, want)
		}
		for _, host := range d.Hosts(in) {
			if got := d.Canonical(Name(host)); got != in {
				t.Errorf("%q, a host of %q, is the origin %q", host, in, got)
			}
		}
	}
	for in, want := range map[string]Name{"@": "", "Films": "films", "FILMS.Example.org": "films", "films.münchen.de": "films", "films.example.net": "films.example.net"} {
		if got, err := d.Parse(in); got != want || err != nil {
			t.Errorf("%q is the origin %q, %v; want %q", in, got, err, want)
		}
	}
	if got, err := d.Parse("a_b"); got != "" || err == nil {
		t.Errorf("a_b is the origin %q", got)
	}
	if got := Domains(nil).Hosts("films"); got != nil {
		t.Errorf("without a domain, films has the hosts %q", got)
	}
}

// Whatever is written, a name has a form of its own that says the same again, fit
// for a path, a header and a Host.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"films", "münchen", "XN--MNCHEN-3YA", "photos.example.com", "日本語.example", "pаypal", "xn--", "a.1", "@", "mu\u0308n", "א1.b", "\u212a", "a\u200db", "XN--BBeeeeee3K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		if n == "" {
			return
		}
		if len(n) > maxHost || strings.Trim(string(n), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.Contains(string(n), "..") {
			t.Errorf("Parse(%q) = %q", s, n)
		}
		for _, form := range []string{string(n), n.Unicode(), strings.ToUpper(string(n))} {
			if again, err := Parse(form); err != nil || again != n {
				t.Errorf("Parse(%q) = %q, of which %q gives %q, %v", s, n, form, again, err)
			}
		}
	})
}
