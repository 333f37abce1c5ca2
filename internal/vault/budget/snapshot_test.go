package budget

import (
	"bufio"
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

func encoded(t interface{ Fatal(...any) }, b *Book) []byte {
	var out bytes.Buffer
	if err := b.Encode(bufio.NewWriter(&out)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A book that was encoded half-way and decoded counts and decides as the one that
// lived through everything.
func TestADecodedBookDecidesAlike(t *testing.T) {
	t.Parallel()
	rules, err := NewRules([]Rule{
		{Kind: Lineage, Class: Clear, Window: Hour, Limit: 6}, {Kind: Principal, Class: Clear, Window: Day, Limit: 9},
		{Kind: Role, Class: Clear, Window: Month, Limit: 40}, {Kind: Brand, Class: Clear, Window: Hour, Limit: 30},
		{Kind: Lineage, Class: Masked, Window: Day, Limit: 5}, {Kind: Principal, Class: Masked, Window: Day, Limit: 9},
		{Kind: Role, Class: Masked, Window: Day, Limit: 9}, {Kind: Brand, Class: Masked, Window: Month, Limit: 9},
	})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		a := NewBook(rules)
		b := a
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		cut := rapid.IntRange(0, 40).Draw(t, "cut")
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if i == cut {
				was := encoded(t, a)
				b, err = DecodeBook(bufio.NewReader(bytes.NewReader(was)))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(was, encoded(t, b)) {
					t.Fatal("encodes otherwise than what it came from")
				}
			}
			now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Minute, 7 * time.Minute, time.Hour, 25 * time.Hour, 31 * 24 * time.Hour}).Draw(t, "later"))
			id := rapid.Uint64Range(1, 3).Draw(t, "who")
			d := Disclosure{At: now, Lineage: id, Principal: id / 2, Role: "support-agent", Class: Class(rapid.IntRange(0, 1).Draw(t, "class"))}
			for _, o := range rapid.SliceOfN(rapid.Uint32Range(1, 12), 0, 4).Draw(t, "customers") {
				d.Ords = append(d.Ords, record.Ordinal(o))
			}
			d.Absent = rapid.IntRange(0, 2).Draw(t, "absent")
			x, y := a.Begin(now), b.Begin(now)
			ex, ey := x.Decide(d), y.Decide(d)
			if !reflect.DeepEqual(ex, ey) {
				t.Fatalf("one says %v, the other %v", ex, ey)
			}
			x.Commit()
			if a != b {
				y.Commit()
			}
			for _, h := range d.holders() {
				if u, v := a.Usage(h, now), b.Usage(h, now); !reflect.DeepEqual(u, v) {
					t.Fatalf("%s: %v and %v", h, u, v)
				}
			}
		}
		if !bytes.Equal(encoded(t, a), encoded(t, b)) {
			t.Fatal("they end unlike")
		}
	})
}

// Whoever took nothing for 30 days costs nothing, and finds their budget whole; whoever
// took something is counted to the end of the window.
func TestIdleAccountsGo(t *testing.T) {
	t.Parallel()
	b := NewBook(DefaultRules())
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	take := func(who uint64, at time.Time) {
		t.Helper()
		if err := b.Apply(Disclosure{At: at, Lineage: who, Principal: who, Role: "analyst", Ords: []record.Ordinal{record.Ordinal(who)}}); err != nil {
			t.Fatal(err)
		}
	}
	for who := range uint64(1000) {
		take(who+1, start)
	}
	if n := len(b.accounts); n != 2002 {
		t.Fatalf("%d accounts of 1,000 principals with a credential each, a role and the brand", n)
	}
	last := start.Add(29 * 24 * time.Hour)
	take(1, last)
	if n := len(b.accounts); n != 2002 {
		t.Fatalf("%d accounts after 29 days", n)
	}
	used := func(at time.Time) int {
		n := 0
		for _, u := range b.Usage(Holder{Kind: Brand}, at) {
			if u.Class == Clear && u.Window == Month {
				n = u.Count
			}
		}
		return n
	}
	if n := used(last); n != 1000 {
		t.Fatalf("the brand counts %d", n)
	}
	take(2, start.Add(32*24*time.Hour))
	if n := len(b.accounts); n != 6 {
		t.Fatalf("%d accounts after 32 days, of two principals, a role and the brand", n)
	}
	if n := used(start.Add(32 * 24 * time.Hour)); n != 2 {
		t.Fatalf("the brand counts %d", n)
	}
}

func FuzzDecodeBook(f *testing.F) {
	b := NewBook(DefaultRules())
	b.Apply(Disclosure{At: time.Unix(1e9, 0), Lineage: 1, Principal: 2, Role: "analyst", Ords: []record.Ordinal{1, 5, 70000}})
	b.Apply(Disclosure{At: time.Unix(1e9, 0), Lineage: 1, Principal: 2, Role: "analyst", Class: Search, Absent: 3})
	f.Add(encoded(f, b))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := DecodeBook(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeBook(bufio.NewReader(bytes.NewReader(encoded(t, b))))
		if err != nil || !bytes.Equal(encoded(t, b), encoded(t, again)) {
			t.Fatal("does not encode as it was decoded:", err)
		}
	})
}
