package detect

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// StateVersion is of what a detector learns and how Encode writes it. Raise it with
// every change of either, and servers learn again from the log.
const StateVersion = 6

var errState = errors.New("not the state of a detector")

// Encode writes what the detector learned. A detector that Decode makes of it says of
// every later entry what this one would.
func (d *Detector) Encode(w *bufio.Writer) error {
	c := &coder{w: w}
	d.code(c)
	if c.err == nil {
		c.err = w.Flush()
	}
	return c.err
}

// Decode makes a new detector what Encode wrote.
func (d *Detector) Decode(r *bufio.Reader) error {
	c := &coder{r: r}
	d.code(c)
	return c.err
}

// code writes or reads the state: one order for both.
func (d *Detector) code(c *coder) {
	base := sha256.Sum256([]byte(defaultText)) // what was learned under other defaults is another state
	have := string(base[:])
	if c.text(&have); have != string(base[:]) {
		c.fail(errState)
		return
	}
	code(c, &d.next)
	code(c, &d.day)
	if c.text(&d.rulesText); c.r != nil && d.rulesText != "" && c.err == nil {
		rules, err := ParseRules(d.rulesText)
		if err != nil {
			c.fail(fmt.Errorf("%w: %w", errState, err))
			return
		}
		d.rules = rules
	}
	codeMap(c, d.people, func() *profile { return &profile{} }, func(k *uint64) { code(c, k) }, (*profile).code)
	codeMap(c, d.roles, func() *role { return &role{} }, c.text, (*role).code)
	codeList(c, &d.space.blocks, func(x *uint64) { code(c, x) })
	code(c, &d.space.count)
	code(c, &d.stored)
	if c.text(&d.limitsText); c.r != nil && d.limitsText != "" && c.err == nil {
		d.budgets(d.limitsText)
	}
	parts := d.parts.String()
	if c.text(&parts); c.r != nil && c.err == nil {
		if d.parts, c.err = budget.ParseParts(parts); c.err != nil {
			return
		}
	}
	codeMap(c, d.paced, func() *paces { return &paces{} }, c.text, (*paces).code)
}

func (p *profile) code(c *coder) {
	c.text(&p.role)
	code(c, &p.first)
	code(c, &p.last)
	code(c, &p.active)
	code(c, &p.activeDays)
	code(c, &p.hour)
	p.inHour.code(c)
	code(c, &p.day)
	for i := range p.days {
		p.days[i].code(c)
		code(c, &p.dayOf[i])
	}
	p.inWeek.code(c)
	p.all.code(c)
	for i := range p.ofDay {
		p.ofDay[i].code(c)
		code(c, &p.seenAt[i])
	}
	for i := range p.ofWeek {
		p.ofWeek[i].code(c)
	}
	p.hours.code(c)
	p.dayAll.code(c)
	for i := range p.weekday {
		p.weekday[i].code(c)
	}
	p.daily.code(c)
	p.weekAll.code(c)
	p.weekly.code(c)
	c.float(&p.drift)
	p.driftSquare.code(c)
	p.lately.code(c)
	p.latelyUsual.code(c)
	code(c, &p.frozenOn)
	codeList(c, &p.recent, func(x *uint32) { code(c, x) })
	code(c, &p.fresh)
	p.walking.code(c)
	codeList(c, &p.purposes, c.text)
	codeList(c, &p.actions, c.text)
	codeList(c, &p.credentials, func(x *uint64) { code(c, x) })
	code(c, &p.young.credential)
	code(c, &p.young.until)
	code(c, &p.young.told)
	for i := range p.fields {
		code(c, &p.fields[i])
	}
	for i := range p.refused {
		r := &p.refused[i]
		code(c, &r.hour)
		code(c, &r.n)
		r.usual.code(c)
		r.episode.code(c)
	}
	for i := range p.raised {
		p.raised[i].code(c)
	}
	code(c, &p.highDay)
	code(c, &p.fullDay)
	p.harms.code(c)
	p.month.code(c)
}

func (r *role) code(c *coder) {
	for _, l := range []*level{&r.hours, &r.days, &r.weeks, &r.walking} {
		l.code(c)
	}
	for _, s := range []*spread{&r.hourSpread, &r.daySpread, &r.weekSpread} {
		s.code(c)
	}
	code(c, &r.activeHours)
	code(c, &r.activeDays)
	code(c, &r.present)
	code(c, &r.daysKnown)
	r.high.code(c)
	r.full.code(c)
}

func (w *crowd) code(c *coder) {
	code(c, &w.today)
	w.all.code(c)
	for i := range w.on {
		w.on[i].code(c)
	}
	w.spread.code(c)
	w.episode.code(c)
}

func (e *episode) code(c *coder) {
	code(c, &e.at)
	code(c, &e.n)
	on := uint8(0)
	if e.on {
		on = 1
	}
	if e.closed {
		on |= 2
	}
	code(c, &on)
	e.on = on&1 == 1
	e.closed = on&2 == 2
	code(c, &e.last)
	codeList(c, &e.said, func(x *uint64) { code(c, x) })
}

func (l *level) code(c *coder) { c.floats(&l.Sum, &l.Weight) }

func (s *spread) code(c *coder) { c.floats(&s.Over, &s.Square, &s.Weight) }

func (s *distinct) code(c *coder) {
	code(c, &s.absent)
	sketched := uint8(0)
	if s.many != nil {
		sketched = 1
	}
	if code(c, &sketched); sketched == 0 {
		last := uint32(0)
		codeList(c, &s.few, func(x *uint32) { // ascending
			step := *x - last
			code(c, &step)
			*x = last + step
			last = *x
		})
		return
	}
	if s.many == nil {
		s.many = &sketch{}
	}
	for i := range s.many.rank {
		code(c, &s.many.rank[i])
	}
	code(c, &s.many.sum)
	code(c, &s.many.empty)
}

// coder writes values to w or reads them from r, and keeps the first error: after it
// everything that is read is 0.
type coder struct {
	w   *bufio.Writer
	r   *bufio.Reader
	err error
}

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *coder) number(n uint64) uint64 {
	switch {
	case c.err != nil:
		return 0
	case c.w != nil:
		_, c.err = c.w.Write(binary.AppendUvarint(c.w.AvailableBuffer(), n))
		return n
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		c.fail(err)
		return 0
	}
	return n
}

// code writes or reads a whole number of any type.
func code[N ~int | ~int64 | ~uint8 | ~uint32 | ~uint64](c *coder, n *N) {
	// Zigzag, as negative numbers are possible though rare.
	v := int64(*n)
	u := c.number(uint64(v)<<1 ^ uint64(v>>63))
	*n = N(int64(u>>1) ^ -int64(u&1))
}

// maxText bounds a text that is read, and maxList a list: far beyond any state.
const (
	maxText = budget.MaxText + 1<<10
	maxList = 1 << 28
)

func (c *coder) text(s *string) {
	n := c.number(uint64(len(*s)))
	if n > maxText {
		c.fail(errState)
	}
	switch {
	case c.err != nil:
	case c.w != nil:
		_, c.err = c.w.WriteString(*s)
	default:
		b := make([]byte, n)
		_, c.err = io.ReadFull(c.r, b)
		*s = string(b)
	}
}

func (c *coder) float(f *float64) {
	// Reversed, since most are small fractions of two.
	bits := c.number(reverse(math.Float64bits(*f)))
	*f = math.Float64frombits(reverse(bits))
}

func reverse(x uint64) (out uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], x)
	return binary.LittleEndian.Uint64(b[:])
}

// floats writes or reads numbers that are often all zero: one byte then.
func (c *coder) floats(fs ...*float32) {
	some := uint8(0)
	for _, f := range fs {
		if math.Float32bits(*f) != 0 {
			some = 1
		}
	}
	if code(c, &some); some == 0 {
		return
	}
	var b [4]byte
	for _, f := range fs {
		switch {
		case c.err != nil:
		case c.w != nil:
			binary.BigEndian.PutUint32(b[:], math.Float32bits(*f))
			_, c.err = c.w.Write(b[:])
		default:
			_, c.err = io.ReadFull(c.r, b[:])
			*f = math.Float32frombits(binary.BigEndian.Uint32(b[:]))
		}
	}
}

func codeList[T any](c *coder, list *[]T, each func(*T)) {
	n := c.number(uint64(len(*list)))
	if n > maxList {
		c.fail(errState)
	}
	for i := 0; uint64(i) < n && c.err == nil; i++ {
		if c.r != nil {
			var x T
			each(&x)
			*list = append(*list, x)
			continue
		}
		x := (*list)[i]
		each(&x)
	}
}

func codeMap[K cmp.Ordered, V any](c *coder, m map[K]V, fresh func() V, key func(*K), value func(V, *coder)) {
	n := c.number(uint64(len(m)))
	if n > maxList {
		c.fail(errState)
	}
	if c.r != nil {
		for range n {
			if c.err != nil {
				return
			}
			var k K
			v := fresh()
			key(&k)
			value(v, c)
			m[k] = v
		}
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		key(&k)
		value(m[k], c)
	}
}
