package front

import "github.com/dunglas/httpsfv"

// defaultPriority is that of a request without a Priority header (RFC 9218, 4.1).
const defaultPriority = 3

// maxPriority is how many bytes a Priority header may have, or it counts as
// absent: each of its members takes some hundred bytes as long as it is looked
// at. RFC 9651, 3.2 wants 1024 of them to be taken.
const maxPriority = 8 << 10

// parsePriority returns the urgency in a request's Priority header lines, 0 to
// 7. A header that is not a dictionary (RFC 9651, 3.2), and an urgency that is
// no integer of that range, count as absent.
func parsePriority(lines []string) uint8 {
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	if len(lines) == 0 || size > maxPriority {
		return defaultPriority
	}
	fields, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return defaultPriority
	}
	member, _ := fields.Get("u")
	item, _ := member.(httpsfv.Item)
	if urgency, ok := item.Value.(int64); ok && 0 <= urgency && urgency <= 7 {
		return uint8(urgency)
	}
	return defaultPriority
}
