package seal

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Put says what to write of one customer.
type Put struct {
	Ord      record.Ordinal  // 0: find by the external id, and make if there is none
	Set      record.FieldSet // the columns to replace; Attributes replaces all of them, unless Merge
	Customer record.Customer
	// Merge lays attributes over those kept: one with an empty value is taken away.
	Merge bool
	// Mark is how far the feed had come that sent it; zero: no feed did. What is older than
	// the customer's mark changes nothing.
	Mark record.Mark
	// Known makes nobody: who is not there is ErrNoCustomer.
	Known bool
	// Ask adds to the standing that an erasure was asked for.
	Ask bool
	// Country is that of a national phone number of a customer without one; empty: none.
	Country string
	// Returns lets in somebody whom tombstones keep out: they are a customer again.
	Returns bool
	// By is the principal who sends it, for the list of rows that stay out.
	By uint64
	// Purchases are added to those kept, as PreparePurchases does; a new customer is
	// made with them.
	Purchases []record.Purchase
}

// Append says which purchases to add to one customer.
type Append struct {
	Ord        record.Ordinal // 0: find by the external id
	ExternalID string
	Purchases  []record.Purchase
}

// Outcome is what a write does to a customer or purchase.
type Outcome uint8

// The outcomes.
const (
	Created Outcome = iota
	Updated
	Unchanged
	Failed
)

// change is one customer as it will be written.
type change struct {
	ord        record.Ordinal
	made       bool // a new customer
	secret     secret
	aead       cipher.AEAD // under the data key, if it was needed
	logKey     [keyBytes]byte
	kek        int
	wrapped    []byte // of a new customer
	version    uint64 // before
	epoch      uint32 // before
	segments   int    // before
	profile    []byte // sealed anew, nil: stays
	external   int64
	oldExt     []int64  // replaced, under every key; none: it stays
	gone, come []int64  // lookups
	room       [4]int64 // for come, of an address and a number
	former     []former
	mailed     bool // it replaces an e-mail address
	early      bool // its external id is another's by the same write
	rewrite    bool // all segments are replaced, in the next epoch
	packed     [][]byte
	one        [1][]byte // for packed, which is no longer at most customers
}

type former struct {
	field       record.Field
	fingerprint int64
}

// Prepared is a write that is sealed and not yet logged.
type Prepared struct {
	brand    record.BrandID
	changes  []*change        // by ordinal
	ords     []record.Ordinal // of each thing asked for, 0: nobody
	outcomes []Outcome
	detail   [][]Outcome // of purchases
	errs     []error
	notes    []Note
	uses     []keys.Use // that have to be the newest when it is applied

	// Of what tombstones keep out:
	tombs    *tombs
	held     []bool      // which of the things asked for; nil: none
	whole    []bool      // of those, which are of nobody who is there
	stays    []*withheld // rows to keep
	drops    []int64     // rows to keep no longer
	returned int
}

// Ords are the customers that will change, ascending.
func (p *Prepared) Ords() []record.Ordinal {
	out := make([]record.Ordinal, len(p.changes))
	for i := range p.changes {
		out[i] = p.changes[i].ord
	}
	return out
}

// Commitment returns a ledger.Commit for the customers that will change.
func (p *Prepared) Commitment(fields record.FieldSet) ledger.Commit {
	return func(i int, c entry.Committed) [32]byte {
		c.Fields = fields
		return entry.Commitment(p.changes[i].logKey[:], c)
	}
}

// Ord returns the customer that the i-th thing asked for is of, 0 if there is none.
func (p *Prepared) Ord(i int) record.Ordinal { return p.ords[i] }

// Outcome returns what becomes of the i-th thing asked for.
func (p *Prepared) Outcome(i int) Outcome { return p.outcomes[i] }

// Purchases returns what becomes of the purchases of the i-th thing asked for.
func (p *Prepared) Purchases(i int) []Outcome { return p.detail[i] }

// Unchanged is how many of the things asked for are as asked already.
func (p *Prepared) Unchanged() (n int) {
	for _, o := range p.outcomes {
		if o == Unchanged {
			n++
		}
	}
	return n
}

// Changes is what a write does to customers who are there already.
type Changes struct {
	Made    int              // customers who were not there
	Profile []record.Ordinal // those whose stored profile changes, ascending
	Mails   int              // of them, those whose e-mail address is another
}

// Changes returns what the write does to customers who are there already.
func (p *Prepared) Changes() (out Changes) {
	for _, c := range p.changes {
		switch {
		case c.early: // it gives way, which nobody asked for
		case c.made:
			out.Made++
		case c.profile != nil:
			out.Profile = append(out.Profile, c.ord)
			if c.mailed {
				out.Mails++
			}
		}
	}
	return out
}

// Err returns why the i-th thing failed. It holds no value.
func (p *Prepared) Err(i int) error { return p.errs[i] }

// Note is what is to be known of a write of a customer that did not fail.
type Note struct {
	Cleared record.FieldSet // held a value that is taken away
	Values  int             // how many: attributes count one by one
	Unfound record.FieldSet // hold a value that was written and by which nobody can be found
}

// Note returns what is to be known of the i-th thing asked for.
func (p *Prepared) Note(i int) Note { return p.notes[i] }

func (p *Prepared) fail(i int, err error) { p.outcomes[i], p.errs[i] = Failed, err }

func (p *Prepared) sort() {
	slices.SortFunc(p.changes, func(a, b *change) int { return int(int64(a.ord) - int64(b.ord)) })
}

const (
	sqlReserve = `UPDATE ordinals SET next = next + $1 WHERE one = 1 AND next + $1 <= $2 RETURNING next`
)

// reserve takes n ordinals that nobody else gets.
func (s *Store) reserve(ctx context.Context, n int) (record.Ordinal, error) {
	var next int64
	err := s.db.Tx(ctx, func(q db.Queryer) error { return q.Row(ctx, sqlReserve, n, int64(record.FirstNobody)).Scan(&next) })
	if errors.Is(err, db.ErrNoRows) {
		return 0, ErrNoOrdinals
	}
	if err != nil {
		return 0, fmt.Errorf("reserving ordinals: %w", err)
	}
	return record.Ordinal(next - int64(n)), nil
}

// PrepareCustomers compares customers with what is kept, and seals what changes, on
// all cores. Each customer may stand once. Values must have passed
// record.Customer.Check and record.Purchase.Check.
func (s *Store) PrepareCustomers(ctx context.Context, brand record.BrandID, puts []Put) (*Prepared, error) {
	return s.PrepareAmong(ctx, brand, puts, nil)
}

// PrepareAmong is PrepareCustomers with others among those who are made; nil for none.
func (s *Store) PrepareAmong(ctx context.Context, brand record.BrandID, puts []Put, among *Among) (*Prepared, error) {
	return s.prepareCustomers(ctx, brand, puts, among, true)
}

// PrepareNew is PrepareAmong for customers of whom nobody should be there: it looks for
// none of them by external id. Where one is there all the same, Apply refuses the write
// with ErrConflict.
func (s *Store) PrepareNew(ctx context.Context, brand record.BrandID, puts []Put, among *Among) (*Prepared, error) {
	return s.prepareCustomers(ctx, brand, puts, among, false)
}

func (s *Store) prepareCustomers(ctx context.Context, brand record.BrandID, puts []Put, among *Among, look bool) (*Prepared, error) {
	own := len(puts)
	puts = among.all(puts)
	k, found, err := s.find(ctx, brand, len(puts), look, func(i int) (string, bool) {
		return puts[i].Customer.Get(record.ExternalID), puts[i].Ord == 0 || i < own && puts[i].Set.Has(record.ExternalID)
	})
	if err != nil {
		return nil, err
	}
	if among != nil {
		among.find(found, own)
	}
	p := newPrepared(brand, len(puts))
	p.uses = append(k.indexUses(), keys.Use{Brand: brand, Kind: keys.KEK, Version: k.kek.Version})
	guard, err := s.wards(ctx, k, puts[:own], found)
	if err != nil {
		return nil, err
	}
	var known []record.Ordinal
	var fresh []int
	made := make([]bool, len(puts))
	g := p.guard(guard, puts)
	buys := false
	for i := range puts {
		buys = buys || len(puts[i].Purchases) > 0
		switch {
		case puts[i].Ord != 0:
			p.ords[i] = puts[i].Ord
			if found[i].err != nil {
				p.fail(i, found[i].err)
			} else if other := found[i].ord; i < own && other != 0 && other != puts[i].Ord {
				p.fail(i, ErrNumberTaken)
			}
		case found[i].err != nil:
			p.fail(i, found[i].err)
		case puts[i].Known && found[i].ord == 0:
			p.fail(i, ErrNoCustomer)
		default:
			p.ords[i] = found[i].ord
		}
		switch {
		case p.ords[i] != 0:
			known = append(known, p.ords[i])
		case p.outcomes[i] == Failed:
		case i < own && g.keepsOut(i):
		case i < own && g.again[i] != 0: // under the ordinal that the token is of
			p.ords[i], made[i] = g.again[i], true
		default:
			fresh, made[i] = append(fresh, i), true
		}
	}
	have, err := s.fetch(ctx, brand, known, buys)
	if err != nil {
		return nil, err
	}
	pk, err := s.packer(ctx, brand, len(puts), func(i int) []record.Purchase { return puts[i].Purchases })
	if err != nil {
		return nil, err
	}
	if among != nil {
		fresh = among.place(p, fresh, made, own)
	}
	var first record.Ordinal
	if more := g.nameless(); len(fresh)+len(more) > 0 {
		if first, err = s.reserve(ctx, len(fresh)+len(more)); err != nil {
			return nil, err
		}
		for n, i := range slices.Concat(fresh, more) {
			p.ords[i] = first + record.Ordinal(n)
		}
	}
	changes := make([]change, len(fresh)) // by ordinal
	err = p.each(len(puts), func(i int) (*change, error) {
		if p.outcomes[i] == Failed {
			return nil, nil
		}
		if g.stays[i] != nil {
			return nil, g.answer(i)
		}
		if made[i] {
			c := &change{}
			if g.again[i] == 0 {
				c = &changes[p.ords[i]-first]
			}
			who := puts[i].made()
			p.notes[i].Unfound = unfound(who, puts[i].Set)
			err := k.create(c, brand, p.ords[i], who, found[i].value)
			if err == nil {
				p.detail[i], err = pk.pack(c, i, puts[i].Purchases)
			}
			return c, err
		}
		r := have[p.ords[i]]
		if r == nil {
			if g.patches(i) {
				return nil, g.answer(i)
			}
			p.fail(i, ErrNoCustomer)
			return nil, nil
		}
		put, err := &puts[i], error(nil)
		if i < own {
			if put, err = g.lessen(brand, r, i); errors.Is(err, errOtherExternal) {
				p.fail(i, err)
				return nil, nil
			} else if err != nil {
				return nil, err
			}
		}
		c, err := k.update(brand, r, put, &p.notes[i])
		if c != nil && among != nil {
			c.early = among.giving(c.ord)
		}
		if _, refused := errors.AsType[*record.FieldError](err); refused || errors.Is(err, errOtherExternal) {
			p.fail(i, err)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		p.outcomes[i] = Unchanged
		if c != nil || g.changed[i] {
			p.outcomes[i] = Updated
		}
		if len(puts[i].Purchases) == 0 {
			return c, nil
		}
		with, outcomes, err := pk.append(r, puts[i].Purchases)
		p.detail[i] = outcomes
		if c == nil || with == nil {
			return cmp.Or(c, with), err
		}
		c.rewrite, c.packed = with.rewrite, with.packed
		return c, err
	})
	g.done()
	return p, err
}

func newPrepared(brand record.BrandID, n int) *Prepared {
	return &Prepared{brand: brand, ords: make([]record.Ordinal, n), outcomes: make([]Outcome, n), errs: make([]error, n), notes: make([]Note, n), detail: make([][]Outcome, n)}
}

// each gathers the changes that fn makes, on all cores. fn may touch what belongs to
// its number only.
func (p *Prepared) each(n int, fn func(i int) (*change, error)) error {
	made := make([]*change, n)
	err := share(n, func(i int) error {
		c, err := fn(i)
		if c != nil && err == nil {
			c.logKey, c.aead = [keyBytes]byte(c.secret.logKey()), nil // which is large, and has done its work
			made[i] = c
		}
		return err
	})
	if err != nil {
		return err
	}
	p.changes = slices.DeleteFunc(made, func(c *change) bool { return c == nil })
	p.sort()
	return nil
}

var errNotTaken = errors.New("is not made among the others")

// errOtherExternal refuses one of two external ids with one index value, which is one of
// 2^64. Under another key their values differ.
var errOtherExternal = errors.New("external_id: has the index value of another customer's id, so neither was changed: rotate the index key (`cloakroom key rotate --kind index`) and write it again")

// firstVersion is the version of a new customer's profile.
const firstVersion = 1

// create fills in the change that makes a customer.
func (k *brandKeys) create(ch *change, brand record.BrandID, ord record.Ordinal, c *record.Customer, external int64) (err error) {
	ch.ord, ch.made, ch.secret, ch.kek, ch.external = ord, true, newSecret(), k.kek.Version, external
	ch.come = k.lookups(ch.room[:0], c)
	m := k.memory.Get().(*memory)
	defer k.memory.Put(m)
	ch.wrapped = m.closed(k.wrap, ch.secret[:], appendWrapPlace(m.place[:0], brand, ord, ch.kek))
	if ch.aead, err = opener.GCM(ch.secret.dek()); err != nil {
		return fmt.Errorf("sealing a customer: %w", err)
	}
	m.plain = record.AppendCustomer(m.plain[:0], c)
	ch.profile = m.closed(ch.aead, m.plain, appendPlace(m.place[:0], brand, ord, profileRecord, firstVersion))
	return nil
}

// sameExternal reports whether a customer who was found by the index value of an external
// id really has this id. The index values of the two are one, so that they say nothing.
func sameExternal(c *record.Customer, id string) bool {
	want, err := record.NormalExternalID(id)
	if err != nil {
		return false
	}
	got, err := record.NormalExternalID(c.Get(record.ExternalID))
	return err == nil && got == want
}

// made is the customer that a put makes where nobody is there.
func (p *Put) made() *record.Customer {
	out := &p.Customer
	if p.Mark.Source != 0 {
		c := *out
		c.Mark(p.Mark)
		out = &c
	}
	if number := out.Get(record.Phone); p.Country != "" && number != "" && number[0] != '+' && out.Get(record.Country) == "" {
		if read, err := record.ReadPhone(number, p.Country); err == nil {
			c := *out
			c.Set(record.Phone, read)
			out = &c
		}
	}
	if !p.Merge {
		return out
	}
	for _, v := range out.Attributes {
		if v == "" {
			c := *out
			c.Attributes = maps.Clone(c.Attributes)
			maps.DeleteFunc(c.Attributes, func(_, v string) bool { return v == "" })
			return &c
		}
	}
	return out
}

// unfound are those of set that hold a value by which nobody can find the customer, as
// far as that depends on the customer: a national number without a country. Of every
// other value the caller knows.
func unfound(c *record.Customer, set record.FieldSet) (out record.FieldSet) {
	if number := c.Get(record.Phone); set.Has(record.Phone) && number != "" && number[0] != '+' {
		if _, err := record.ReadPhone(number, c.Get(record.Country)); err != nil {
			out = out.With(record.Phone)
		}
	}
	return out
}

// laid is a customer with a put laid over them. A number that says no country is kept
// with that of the day: another country later does not make it another person's.
func (p *Put) laid(old *record.Customer, note *Note) (record.Customer, error) {
	c := *old
	for _, f := range record.Texts {
		if !p.Set.Has(f) {
			continue
		}
		v := p.Customer.Get(f)
		c.Set(f, v)
		if v == "" && old.Get(f) != "" {
			note.Cleared = note.Cleared.With(f)
			note.Values++
		}
	}
	country := record.Country
	if p.Set.Has(record.Phone) {
		if n, err := record.ReadPhone(c.Get(record.Phone), cmp.Or(c.Get(country), p.Country)); err == nil {
			c.Set(record.Phone, n)
		}
	} else if c.Get(country) != old.Get(country) && old.Get(record.Phone) != "" {
		if n, err := record.ReadPhone(old.Get(record.Phone), old.Get(country)); err == nil {
			c.Set(record.Phone, n)
		}
	}
	if p.Mark.Source != 0 {
		c.Mark(p.Mark)
	}
	if p.Ask {
		asked, err := record.ReadStanding(c.Get(record.Standing) + "," + record.ErasureAsked)
		if err != nil {
			return c, &record.FieldError{Field: record.Standing.String(), Reason: err.Error()}
		}
		c.Set(record.Standing, asked)
	}
	note.Unfound = unfound(&c, p.Set)
	switch {
	case !p.Set.Has(record.Attributes):
	case !p.Merge:
		c.Attributes = p.Customer.Attributes
	default:
		c.Attributes = maps.Clone(old.Attributes)
		if c.Attributes == nil {
			c.Attributes = make(map[string]string, len(p.Customer.Attributes))
		}
		for name, v := range p.Customer.Attributes {
			if v != "" {
				c.Attributes[name] = v
			} else if c.Attributes[name] != "" {
				delete(c.Attributes, name)
				note.Cleared = note.Cleared.With(record.Attributes)
				note.Values++
			}
		}
		limits := record.Customer{Attributes: c.Attributes}
		return c, limits.Check()
	}
	return c, nil
}

// formerLabel is what the fingerprint of a former value is bound to.
func formerLabel(f record.Field, ord record.Ordinal) string {
	return fmt.Sprintf("cloakroom former 1 %s %d", f, ord)
}

// update returns nil where nothing changes.
func (k *brandKeys) update(brand record.BrandID, r *rows, put *Put, note *Note) (*change, error) {
	var old record.Customer
	if err := r.openProfile(brand, &old); err != nil {
		return nil, err
	}
	if put.Ord == 0 && !sameExternal(&old, put.Customer.Get(record.ExternalID)) {
		return nil, errOtherExternal
	}
	*note = Note{}
	if old.Covers(put.Mark) {
		return nil, nil
	}
	c, err := put.laid(&old, note)
	if err != nil {
		return nil, err
	}
	ch := &change{ord: r.ord, secret: r.secret, version: r.version, epoch: r.epoch, segments: r.segments}
	var changed []former
	for f := record.Field(0); f < record.NumColumns; f++ {
		if c.Get(f) != old.Get(f) && old.Get(f) != "" {
			ch.mailed = ch.mailed || f == record.Email
			changed = append(changed, former{f, blind(k.history, formerLabel(f, r.ord), old.Get(f))})
		}
	}
	if c.Columns == old.Columns && maps.Equal(c.Attributes, old.Attributes) {
		return nil, nil
	}
	ch.former = changed
	was, err := k.externals(old.Get(record.ExternalID))
	if err != nil {
		return nil, err
	}
	now, err := k.externals(c.Get(record.ExternalID))
	if err != nil {
		return nil, err
	}
	if now[0] != was[0] {
		ch.external, ch.oldExt = now[0], was
	}
	gone := k.everyLookup(&old)
	for _, v := range k.lookups(nil, &c) {
		if !gone[v] || k.moving() { // while keys move it may not be there yet
			ch.come = append(ch.come, v)
		}
		delete(gone, v)
	}
	ch.gone = slices.Collect(maps.Keys(gone))
	ch.profile, err = sealed(nil, r.secret.dek(), record.AppendCustomer(nil, &c), place(brand, r.ord, profileRecord, r.version+1))
	if err != nil {
		return nil, fmt.Errorf("sealing a customer: %w", err)
	}
	return ch, nil
}
