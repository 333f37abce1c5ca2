package generate

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/record"
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
	// drawn is of how many inventions the one is taken whose size is likest.
	drawn = 12
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

// form returns an id with its number blanked, if it is letters around one number, and
// the number; of any other kind of id it blanks every sign, and there is no number.
func form(id string) (string, uint64) {
	from := strings.IndexAny(id, "0123456789")
	if from >= 0 {
		to := from
		for to < len(id) && id[to] >= '0' && id[to] <= '9' {
			to++
		}
		if n, err := strconv.ParseUint(id[from:to], 10, 60); err == nil && !strings.ContainsAny(id[to:], "0123456789") {
			return id[:from] + strings.Repeat("#", to-from) + id[to:], n
		}
	}
	b := []byte(id)
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
			b[i] = 'x' // a digit of sixteen, most likely
		case c >= 'A' && c <= 'F':
			b[i] = 'X'
		case c >= 'g' && c <= 'z':
			b[i] = 'a'
		case c >= 'G' && c <= 'Z':
			b[i] = 'A'
		}
	}
	return string(b), 0
}

// fill draws an id of a form.
func (l *Likeness) fill(r *rand.Rand, form string) string {
	if digits := strings.Count(form, "#"); digits > 0 {
		from := strings.IndexByte(form, '#')
		low, high := uint64(1), uint64(1)
		for range digits {
			high *= 10
		}
		if s := l.numbers[form]; s != nil && s.high > s.low {
			if s.n*4 < s.high-s.low {
				low, high = s.low, s.high+1 // between the others
			} else {
				// They stand close: above them, so far that those who come next are not there soon.
				low = s.high + 1
				for far := uint64(1); far < high; far *= 10 {
					if far > 1000*s.high {
						high = far
						break
					}
				}
			}
		}
		n := strconv.FormatUint(low+r.Uint64N(max(high, low+1)-low), 10)
		if len(n) < digits {
			n = strings.Repeat("0", digits-len(n)) + n
		}
		return form[:from] + n + form[from+digits:]
	}
	b := []byte(form)
	for i, c := range b {
		switch c {
		case 'x':
			b[i] = "0123456789abcdef"[r.IntN(16)]
		case 'X':
			b[i] = "0123456789ABCDEF"[r.IntN(16)]
		case 'a':
			b[i] = byte('a' + r.IntN(26))
		case 'A':
			b[i] = byte('A' + r.IntN(26))
		}
	}
	return string(b)
}

// ExternalID draws a number of the form that the others have.
func (l *Likeness) ExternalID(r *rand.Rand) string {
	f, ok := l.ids.draw(r, 1)
	if !ok {
		f = "C#########"
	}
	return l.fill(r, f)
}

// Inventor invents customers after a likeness. Not for concurrent use.
type Inventor struct {
	Likeness *Likeness
	// Domain is that of e-mail addresses; empty for example domains.
	Domain string
	// ID draws an external id.
	ID func(r *rand.Rand) string
	// Purchases says that they get some.
	Purchases bool

	m *maker
	r *rand.Rand
}

// Customer invents a customer by a seed, whose value says all of them.
func (v *Inventor) Customer(seed uint64) (record.Customer, []record.Purchase) {
	v.begin(seed)
	at := v.country()
	c := v.profile(at)
	if want := v.Likeness.sizes[v.m.countries[at].code]; len(want) > 0 {
		// The size of a record is no secret: a likely one is aimed at.
		aim := want[v.r.IntN(len(want))]
		for range drawn {
			if x := v.profile(at); abs(size(&x)-aim) < abs(size(&c)-aim) {
				c = x
			}
		}
	}
	if !v.Purchases {
		return c, nil
	}
	return c, v.buy(&c)
}

func (v *Inventor) begin(seed uint64) {
	if v.m == nil {
		v.m = newMaker(seed)
	}
	v.m.seed = seed
	v.r = rand.New(rand.NewPCG(seed, streamCustomer))
}

func abs(n int) int { return max(n, -n) }

// country draws one that there are names of, as often as the others have it.
func (v *Inventor) country() int {
	for range 50 {
		code, ok := v.Likeness.countries.draw(v.r, 1)
		if !ok {
			break
		}
		if i := v.at(code); i >= 0 {
			return i
		}
	}
	return v.r.IntN(len(v.m.countries))
}

// at is where a country stands in the table, or -1.
func (v *Inventor) at(code string) int {
	return slices.IndexFunc(v.m.countries, func(c country) bool { return c.code == code })
}

func (v *Inventor) profile(at int) record.Customer {
	l, r := v.Likeness, v.r
	code := v.m.countries[at].code
	v.m.seed = r.Uint64()
	v.m.restart(streamPerson, 0)
	v.m.profileIn(0, 0, at, nil)
	c := record.Customer{Columns: v.m.out.Columns}
	mask, ok := in(l.masks, code).draw(r, 1)
	for f := range record.NumColumns {
		if ok && !mask.Has(f) {
			c.Set(f, "")
		}
	}
	if x, ok := in(l.locales, code).draw(r, common); ok && (!mask.Has(record.Locale) || x != "") && c.Get(record.Locale) != "" {
		c.Set(record.Locale, x)
	}
	c.Set(record.ExternalID, v.ID(r))
	if mail := c.Get(record.Email); mail != "" {
		local, domain, _ := strings.Cut(mail, "@")
		name, tag, tagged := strings.Cut(local, "+")
		local = strings.TrimSuffix(name, "0") + strconv.Itoa(r.IntN(1000))
		if tagged {
			local += "+" + tag
		}
		if v.Domain != "" {
			domain = v.Domain
		}
		c.Set(record.Email, local+"@"+domain)
	}
	if l.phones > 0 && r.IntN(l.phones) < l.compact {
		c.Set(record.Phone, strings.NewReplacer(" ", "", "-", "", "(", "", ")", "").Replace(c.Get(record.Phone)))
	}
	if c.Get(record.BirthDate) != "" {
		if decade, ok := l.born.draw(r, common); ok {
			c.Set(record.BirthDate, decade+strconv.Itoa(r.IntN(10))+c.Get(record.BirthDate)[4:])
			if _, err := time.Parse(time.DateOnly, c.Get(record.BirthDate)); err != nil { // the 29th of February
				c.Set(record.BirthDate, c.Get(record.BirthDate)[:8]+"01")
			}
		}
	}
	if c.Get(record.CreatedAt) != "" && l.created.n > 0 {
		created := v.within(&l.created).Format(time.RFC3339)
		if r.IntN(l.created.n) < l.midnight {
			created = created[:len(time.DateOnly)]
		}
		c.Set(record.CreatedAt, created)
	}
	if pattern, _ := l.patterns.draw(r, 1); pattern != "" {
		c.Attributes = map[string]string{}
		for name := range strings.SplitSeq(pattern, "\x00") {
			if t := l.values[name]; len(t.order) <= valuesMost {
				if x, ok := t.draw(r, common); ok {
					c.Attributes[name] = x
				}
			}
		}
	}
	return c
}

// within draws a time in one of the months counted.
func (v *Inventor) within(months *tally[string]) time.Time {
	month, _ := months.draw(v.r, 1)
	from, err := time.Parse("2006-01", month)
	if err != nil {
		from = time.Unix(periodStartUnix, 0).UTC()
	}
	to := from.AddDate(0, 1, 0)
	return from.Add(time.Duration(v.r.Int64N(int64(to.Sub(from)/time.Second))) * time.Second)
}

// buy gives purchases of what the others bought.
func (v *Inventor) buy(c *record.Customer) []record.Purchase {
	l := v.Likeness
	if len(l.bought) == 0 {
		return nil
	}
	return v.bought(c, l.bought[v.r.IntN(len(l.bought))], 0)
}

// More invents by a seed what a customer of an external id and a country, who bought so
// often already, buys next.
func (v *Inventor) More(seed uint64, id, country string, have int) []record.Purchase {
	v.begin(seed)
	var c record.Customer
	c.Set(record.ExternalID, id)
	c.Set(record.Country, country)
	for range drawn {
		n := v.Likeness.bought[v.r.IntN(len(v.Likeness.bought))]
		if n > 0 {
			return v.bought(&c, n, have)
		}
	}
	return nil
}

// bought returns so many purchases of a customer who has some already.
func (v *Inventor) bought(c *record.Customer, n, have int) []record.Purchase {
	l, r := v.Likeness, v.r
	known := l.names[:0:0]
	for _, name := range l.names {
		if l.products[name].buyers >= common {
			known = append(known, name)
		}
	}
	if len(known) == 0 {
		return nil
	}
	country := c.Get(record.Country)
	places := country
	if in(l.places, places).n == 0 {
		places = "" // of purchases without their customers
	}
	created, _ := time.Parse(time.DateOnly, c.Get(record.CreatedAt)[:min(len(time.DateOnly), len(c.Get(record.CreatedAt)))])
	later := l.dated > 0 && l.after*20 >= l.dated*19
	times := make([]time.Time, n)
	for i := range times {
		times[i] = v.within(&l.months)
		for range 20 {
			if !later || !times[i].Before(created) {
				break
			}
			times[i] = v.within(&l.months)
		}
		if later && times[i].Before(created) {
			times[i] = created.Add(time.Duration(r.IntN(48)) * time.Hour)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	out := make([]record.Purchase, 0, n)
	for i, at := range times {
		currency, ok := in(l.money, country).draw(r, 1)
		if i := v.at(country); !ok && i >= 0 {
			currency = v.m.countries[i].currency
		}
		name := known[r.IntN(len(known))]
		prices := l.products[name].prices[currency]
		for range 20 {
			if len(prices) > 0 {
				break
			}
			name = known[r.IntN(len(known))]
			prices = l.products[name].prices[currency]
		}
		if len(prices) == 0 { // nobody of the country bought what many did
			currency = l.products[name].currencies[0]
			prices = l.products[name].prices[currency]
		}
		p := record.Purchase{At: at, SKU: name[0], Description: name[1], Amount: prices[r.IntN(len(prices))], Currency: currency}
		p.Quantity, _ = l.pieces.draw(r, 1)
		if p.Quantity > 1 {
			p.Amount.Units *= p.Quantity
		}
		place, _ := in(l.places, places).draw(r, common)
		p.Store, p.Channel = place[0], place[1]
		p.ID = c.Get(record.ExternalID) + "-" + strconv.Itoa(have+i+1)
		if f, ok := l.buyForms.draw(r, 1); ok && r.IntN(l.numbered+l.buyForms.n) >= l.numbered {
			p.ID = l.fill(r, f)
		}
		out = append(out, p)
	}
	return out
}

// Renumber returns another external id of the form that one has: of numbers a higher one.
func Renumber(r *rand.Rand, id string) string {
	f, n := form(id)
	l := NewLikeness()
	digits := strings.Count(f, "#")
	if digits == 0 {
		return l.fill(r, f)
	}
	next := strconv.FormatUint(n+1+r.Uint64N(9*n+1000), 10)
	if len(next) > digits {
		return l.fill(r, f) // anywhere: above there is no room
	}
	from := strings.IndexByte(f, '#')
	return f[:from] + strings.Repeat("0", digits-len(next)) + next + f[from+digits:]
}
