package invent

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// drawn is of how many inventions the one is taken whose size is likest.
const drawn = 12

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
