package canary

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	sealed "github.com/cloakroom/cloakroom/internal/vault/seal"
)

const (
	// learnedLeast is of how many customers a likeness has to be before canaries are made
	// after it.
	learnedLeast = 50
	// tries bounds how often a canary is invented anew because its number or address is
	// somebody's.
	tries = 20
)

// style is how canaries are numbered, and where mail to them goes.
type style struct {
	Domain string `json:"domain,omitempty"`
	Prefix string `json:"prefix,omitempty"` // with Digits: what external ids are made of
	Digits int    `json:"digits,omitempty"` // 0: as the brand's are
}

// random is a seed that nobody knows and that is kept nowhere.
func random() uint64 {
	var b [8]byte
	crand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// errNumbers is returned where drawing again and again finds too few free external ids.
var errNumbers = fmt.Errorf("%w: too many of the drawn external ids are customers' already: give more --digits or another --prefix", ErrRequest)

// inventor returns what invents customers after a likeness.
func (y style) inventor(like *invent.Likeness) *invent.Inventor {
	v := &invent.Inventor{Likeness: like, Domain: y.Domain, Purchases: true, ID: like.ExternalID}
	if y.Digits > 0 {
		low := uint64(1)
		for range y.Digits - 1 {
			low *= 10
		}
		v.ID = func(r *rand.Rand) string { return y.Prefix + strconv.FormatUint(low+r.Uint64N(9*low), 10) }
	}
	return v
}

// invent makes n customers, each of a seed of its own. No two have one external id or
// address, and none has what used says somebody has; used learns theirs.
func (y style) invent(like *invent.Likeness, n int, used map[string]bool, seed func() uint64) ([]sealed.Put, error) {
	v := y.inventor(like)
	out := make([]sealed.Put, 0, n)
	for range n {
		for try := 0; ; try++ {
			c, bought := v.Customer(seed())
			id, err := record.NormalExternalID(c.Get(record.ExternalID))
			if err != nil {
				return nil, fmt.Errorf("inventing an external id: %w", err)
			}
			mail, err := record.NormalEmail(c.Get(record.Email))
			if used[id] || err == nil && used[mail] {
				if try == tries {
					return nil, errNumbers
				}
				continue
			}
			used[id] = true
			if err == nil {
				used[mail] = true
			}
			out = append(out, sealed.Put{Set: record.AllFields.Without(record.Purchases), Customer: c, Purchases: bought})
			break
		}
	}
	return out, nil
}

// used are the numbers and addresses of canaries.
func used(list []Canary) map[string]bool {
	out := make(map[string]bool, 2*len(list))
	for _, d := range list {
		if id, err := record.NormalExternalID(d.ExternalID); err == nil {
			out[id] = true
		}
		if mail, err := record.NormalEmail(d.Email); err == nil {
			out[mail] = true
		}
	}
	return out
}

// general is a likeness to nobody's customers: for a brand that has hardly any.
func general(brand string) *invent.Likeness {
	like := invent.NewLikeness()
	for c := range invent.Customers(invent.Config{Customers: 300, Seed: random(), Brands: []string{brand}}) {
		like.Learn(&c.Customer, c.Purchases)
	}
	return like
}
