package detect

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// copied is the detector that comes out of what one writes.
func copied(t testing.TB, d *Detector) *Detector {
	t.Helper()
	var b bytes.Buffer
	if err := d.Encode(bufio.NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	out := New(d.brand, rules(t), d.canaries)
	if err := out.Decode(bufio.NewReader(&b)); err != nil {
		t.Fatal(err)
	}
	if b.Len() != 0 {
		t.Fatalf("%d bytes were not read", b.Len())
	}
	return out
}

// A detector that was written down and read says of every later entry what the one says
// that went on.
func TestAStateGoesOnAsIfNothingHadHappened(t *testing.T) {
	a, b := New(1, rules(t), nil), New(1, rules(t), nil)
	s := newSimulation(3, 12, 8, 1, 1, 20_000)
	s.limits = true
	n := 0
	s.run(30, func(i uint64, e *entry.Entry, ords []record.Ordinal) {
		if n++; n%3000 == 0 {
			b = copied(t, b)
		}
		if got, want := b.Observe(i, e, ords), a.Observe(i, e, ords); !reflect.DeepEqual(got, want) {
			t.Fatalf("entry %d: %+v, want %+v", i, got, want)
		}
	})
	if !reflect.DeepEqual(copied(t, b), a) || n < 10_000 {
		t.Fatalf("after %d entries another was learned", n)
	}
}

// fill makes every field of a value something else than nothing.
func fill(v reflect.Value, r *rand.Rand) {
	v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), r)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), r)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(string(rune('a' + r.IntN(26))))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(float32(r.NormFloat64())))
	case reflect.Int, reflect.Int64:
		v.SetInt(-1 - r.Int64N(1<<40))
	case reflect.Uint8:
		v.SetUint(1 + r.Uint64N(255))
	case reflect.Uint32:
		v.SetUint(1 + r.Uint64N(1<<32-1))
	case reflect.Uint64:
		v.SetUint(1 + r.Uint64())
	}
}

// Whatever a detector keeps is written: a field that somebody adds and forgets here
// comes back as nothing.
func TestNothingOfAStateIsForgotten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		d := New(1, rules(t), nil)
		p, q := &profile{}, &role{}
		fill(reflect.ValueOf(p).Elem(), r)
		fill(reflect.ValueOf(q).Elem(), r)
		p.inWeek = distinct{many: &sketch{}}
		fill(reflect.ValueOf(p.inWeek.many).Elem(), r)
		fill(reflect.ValueOf(&d.space).Elem(), r)
		limits := string(budget.DefaultRules().Encode())
		paced := &paces{}
		fill(reflect.ValueOf(paced).Elem(), r)
		d.budgets(limits)
		d.parts.Take(entry.BudgetPart{SHA256: "ab", Part: 1, Of: 2, Rules: limits})
		d.paced["agent"] = paced
		d.people[7], d.roles["agent"], d.day, d.next, d.stored, d.rulesText = p, q, 3, 4, 5, DefaultText()
		if got := copied(t, d); !reflect.DeepEqual(got, d) {
			t.Fatal("a field was written and not read, or not written")
		}
	}
	fields := map[string]int{"detector": reflect.TypeFor[Detector]().NumField()}
	if fields["detector"] != 16 { // brand, rules, their text, pinned, tried, canaries, people, roles, limits, their text, parts of others, paced, space, stored, day, next
		t.Errorf("a detector has %d fields: write the new one down in code", fields["detector"])
	}
}

// What is cut short, or of other defaults, is no state.
func TestAStateThatIsCutIsRefused(t *testing.T) {
	d := New(1, rules(t), nil)
	newSimulation(3, 2, 2, 1, 1, 2_000).run(3, func(i uint64, e *entry.Entry, ords []record.Ordinal) { d.Observe(i, e, ords) })
	var b bytes.Buffer
	if err := d.Encode(bufio.NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if n%7 != 0 && n > 300 {
			continue
		}
		if err := New(1, rules(t), nil).Decode(bufio.NewReader(bytes.NewReader(b.Bytes()[:n]))); err == nil {
			t.Fatalf("%d of %d bytes are taken for a state", n, b.Len())
		}
	}
	other := bytes.Clone(b.Bytes())
	other[5]++
	if err := New(1, rules(t), nil).Decode(bufio.NewReader(bytes.NewReader(other))); err == nil {
		t.Fatal("what was learned under other defaults was taken")
	}
}
