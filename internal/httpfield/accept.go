package httpfield

import (
	"iter"
	"strconv"
	"strings"
)

// Weighted yields the elements of an Accept or Accept-Encoding header, in lower
// case, each with its weight from 0 to 1 (RFC 9110, 12.4.2). An element with a
// weight that is none has the weight 0.
func Weighted(headers []string) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, header := range headers {
			for element := range strings.SplitSeq(header, ",") {
				name, params, _ := strings.Cut(element, ";")
				name = strings.ToLower(strings.Trim(name, " \t"))
				if name == "" {
					continue
				}
				weight := 1.0
				for param := range strings.SplitSeq(params, ";") {
					key, value, found := strings.Cut(strings.Trim(param, " \t"), "=")
					if found && Equal(key, "q") {
						q, err := strconv.ParseFloat(value, 64)
						if err != nil || !(q >= 0 && q <= 1) {
							q = 0
						}
						weight = q
					}
				}
				if !yield(name, weight) {
					return
				}
			}
		}
	}
}
