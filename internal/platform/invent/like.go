package invent

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Bounds of what a Likeness holds.
const (
	// common is how many customers must have had a value before an invented one may have
	// it: what one or two had, a name in a description, is theirs.
	common = 3
	// learnMost is after how many customers, and of how many products, nothing more is
	// learned.
	learnMost = 4096
	// valuesMost is how many values of one attribute are told apart: one of more is free
	// text, which is not imitated.
	valuesMost = 50
	// pricesMost is how many prices of one product are kept.
	pricesMost = 8
)

// Likeness is what customers have in common, as far as others need it to look like
// them: how often which countries, columns, attributes, products, numbers of purchases
// and forms of numbers are. It keeps no name, no address, no date of a person and nothing
// that fewer than three had, is bounded, and lives in memory. Not for concurrent use.
type Likeness struct {
	seen      int
	countries tally[string]
	masks     map[string]*tally[record.FieldSet] // by country: which columns have a value
	locales   map[string]*tally[string]
	compact   int // of the telephone numbers, those without spaces
	phones    int
	created   tally[string] // months
	midnight  int           // of those created, those with a day and no time
	born      tally[string] // decades
	sizes     map[string][]int

	patterns tally[string] // which attributes somebody has, joined
	values   map[string]*tally[string]

	ids     tally[string] // forms of external ids
	numbers map[string]*span

	bought   []int // numbers of purchases
	products map[[2]string]*product
	names    [][2]string // of products
	money    map[string]*tally[string]
	places   map[string]*tally[[2]string] // store and channel, by country
	pieces   tally[int64]
	months   tally[string]
	after    int // of the purchases, those not before the customer was created
	dated    int
	numbered int // of the purchase ids, those that are the customer's with a number
	buyForms tally[string]
}

// product is one that customers bought.
type product struct {
	buyers, last int
	currencies   []string
	prices       map[string][]record.Amount // of one piece, by currency
}

// span is which numbers were seen in one form.
type span struct {
	low, high uint64
	n         uint64
}

// tally counts values in the order in which they came.
type tally[T comparable] struct {
	n     int
	of    map[T]int
	order []T
}

func (t *tally[T]) add(v T) {
	if t.of == nil {
		t.of = map[T]int{}
	}
	if _, ok := t.of[v]; !ok {
		if len(t.order) >= learnMost {
			return
		}
		t.order = append(t.order, v)
	}
	t.of[v]++
	t.n++
}

// draw returns a value as often as it was counted, of those that at least so many had.
func (t *tally[T]) draw(r *rand.Rand, least int) (none T, ok bool) {
	if t == nil {
		return none, false
	}
	total := 0
	for _, v := range t.order {
		if t.of[v] >= least {
			total += t.of[v]
		}
	}
	if total == 0 {
		return none, false
	}
	at := r.IntN(total)
	for _, v := range t.order {
		if t.of[v] < least {
			continue
		}
		if at -= t.of[v]; at < 0 {
			return v, true
		}
	}
	return none, false
}

func in[T comparable](m map[string]*tally[T], key string) *tally[T] {
	if m[key] == nil {
		m[key] = &tally[T]{}
	}
	return m[key]
}

// NewLikeness returns one that has learned nothing.
func NewLikeness() *Likeness {
	return &Likeness{masks: map[string]*tally[record.FieldSet]{}, locales: map[string]*tally[string]{}, sizes: map[string][]int{},
		values: map[string]*tally[string]{}, numbers: map[string]*span{}, products: map[[2]string]*product{},
		money: map[string]*tally[string]{}, places: map[string]*tally[[2]string]{}}
}

// Seen is of how many customers it learned.
func (l *Likeness) Seen() int { return l.seen }

// Full reports whether nothing more is learned.
func (l *Likeness) Full() bool { return l.seen >= learnMost }

// Number learns the form of an external id.
func (l *Likeness) Number(id string) {
	form, number := form(id)
	l.ids.add(form)
	if number == 0 {
		return
	}
	s := l.numbers[form]
	if s == nil {
		s = &span{low: number}
		l.numbers[form] = s
	}
	s.low, s.high, s.n = min(s.low, number), max(s.high, number), s.n+1
}

// Learn learns from a customer, but for their external id.
func (l *Likeness) Learn(c *record.Customer, purchases []record.Purchase) {
	if l.seen >= learnMost {
		return
	}
	l.seen++
	country := c.Get(record.Country)
	l.countries.add(country)
	var mask record.FieldSet
	for f := range record.NumColumns {
		if c.Get(f) != "" {
			mask = mask.With(f)
		}
	}
	in(l.masks, country).add(mask)
	in(l.locales, country).add(c.Get(record.Locale))
	if p := c.Get(record.Phone); p != "" {
		l.phones++
		if !strings.ContainsAny(p, " -()") {
			l.compact++
		}
	}
	created := c.Get(record.CreatedAt)
	if len(created) >= len("2006-01") {
		l.created.add(created[:len("2006-01")])
		if len(created) == len(time.DateOnly) {
			l.midnight++
		}
	}
	if b := c.Get(record.BirthDate); len(b) >= 4 {
		l.born.add(b[:3])
	}
	l.sizes[country] = append(l.sizes[country], size(c))
	names := make([]string, 0, len(c.Attributes))
	for name, v := range c.Attributes {
		names = append(names, name)
		if t := in(l.values, name); len(t.order) <= valuesMost {
			t.add(v)
		}
	}
	slices.Sort(names)
	l.patterns.add(strings.Join(names, "\x00"))
	l.buys(c.Get(record.ExternalID), country, created, purchases)
}

// LearnPurchases learns from purchases of a customer of whom only the external id is
// known, if that.
func (l *Likeness) LearnPurchases(id string, purchases []record.Purchase) {
	if l.seen >= learnMost {
		return
	}
	l.seen++
	l.buys(id, "", "", purchases)
}

func (l *Likeness) buys(id, country, created string, purchases []record.Purchase) {
	l.bought = append(l.bought, len(purchases))
	for i := range purchases {
		p := &purchases[i]
		key := [2]string{p.SKU, p.Description}
		x := l.products[key]
		if x == nil {
			if len(l.products) >= learnMost {
				continue
			}
			x = &product{prices: map[string][]record.Amount{}}
			l.products[key], l.names = x, append(l.names, key)
		}
		if x.last != l.seen {
			x.buyers, x.last = x.buyers+1, l.seen
		}
		if a := p.Amount; len(x.prices[p.Currency]) < pricesMost {
			if p.Quantity > 1 {
				a.Units /= p.Quantity
			}
			if len(x.prices[p.Currency]) == 0 {
				x.currencies = append(x.currencies, p.Currency)
			}
			x.prices[p.Currency] = append(x.prices[p.Currency], a)
		}
		in(l.money, country).add(p.Currency)
		in(l.places, country).add([2]string{p.Store, p.Channel})
		l.pieces.add(p.Quantity)
		l.months.add(p.At.UTC().Format("2006-01"))
		if len(created) >= len(time.DateOnly) {
			l.dated++
			if p.At.UTC().Format(time.DateOnly) >= created[:len(time.DateOnly)] {
				l.after++
			}
		}
		if rest, ok := strings.CutPrefix(p.ID, id+"-"); ok && id != "" && len(rest) < 6 && strings.Trim(rest, "0123456789") == "" {
			l.numbered++
			continue
		}
		f, _ := form(p.ID)
		l.buyForms.add(f)
	}
}

// size is about how long a customer's record is.
func size(c *record.Customer) (n int) {
	for _, v := range c.Columns {
		n += len(v)
	}
	for k, v := range c.Attributes {
		n += len(k) + len(v)
	}
	return n
}
