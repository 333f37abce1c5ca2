package cards

import (
	"cmp"
	"slices"
)

// Range is a range of one issuer at one of its lengths.
type Range struct {
	Name              string
	Low, High, Length int
}

// Issued returns every range at every length, those of one issuer and length together.
func Issued() []Range {
	var out []Range
	seen := map[issuer]bool{}
	for _, list := range known {
		for _, is := range list {
			if !seen[is] {
				seen[is] = true
				for n, ok := range is.lengths {
					if ok {
						out = append(out, Range{is.name, is.low, is.high, n})
					}
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Length, b.Length), cmp.Compare(a.Low, b.Low))
	})
	return out
}

// IBANs is the length of an IBAN by its country.
var IBANs = ibans

// Search is what Contains asks when a text is plausible.
func (f *Finder) Search(text string) bool { return f.search(text) }
