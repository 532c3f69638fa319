package accesslog

// escapes are the bytes that a text is not written with as they are. Hardly any has one.
type escapes struct {
	below byte // what is less, and what is above '~'; quotes and backslashes too
	html  bool // <, > and & too
}

var (
	quoted = escapes{below: ' '}             // in Combined, between quotes
	words  = escapes{below: ' ' + 1}         // in Combined, without them
	markup = escapes{below: ' ', html: true} // in JSON
)

// hex are the digits of what is escaped.
const hex = "0123456789abcdef"

const (
	each = 0x0101010101010101 // a byte, in each of eight
	tops = 0x80 * each
)

// clean returns how much of s, from its beginning, is sure to have none of them. It looks at
// eight bytes at a time, as looking is most of what a line costs; of a shorter text it says 0.
func (e escapes) clean(s string) int {
	if len(s) < 8 {
		return 0
	}
	i := 0
	for ; i < len(s)-8; i += 8 {
		if e.some(eight(s[i:])) {
			return i
		}
	}
	if e.some(eight(s[len(s)-8:])) {
		return i
	}
	return len(s)
}

// eight returns the first eight bytes of s, the first one lowest.
func eight(s string) uint64 {
	_ = s[7] // one check, and one load
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// some reports whether one of the eight bytes of x is to be escaped.
func (e escapes) some(x uint64) bool {
	// With its top bit set, a byte is above '~'. Without, taking n away sets that bit if the
	// byte is less than n; the next one lends to it only then, when one is found anyhow.
	bad := x | (x - uint64(e.below)*each) | ((x ^ '"'*each) - each) | ((x ^ '\\'*each) - each) | ((x ^ 0x7f*each) - each)
	if e.html { // '<' is '>' without 2
		bad |= (((x | 2*each) ^ '>'*each) - each) | ((x ^ '&'*each) - each)
	}
	return bad&tops != 0
}
