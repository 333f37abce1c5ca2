package detect_test

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// writer feeds writes of one principal to a detector.
type writer struct {
	t    *testing.T
	d    *detect.Detector
	at   time.Time
	next uint64
}

func newWriter(t *testing.T) *writer {
	t.Helper()
	r, err := detect.DefaultRules()
	if err != nil {
		t.Fatal(err)
	}
	return &writer{t: t, d: detect.New(1, r, nil), at: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
}

func upTo(from, n int) (out []record.Ordinal) {
	for i := range n {
		out = append(out, record.Ordinal(from+i))
	}
	return out
}

func (w *writer) see(kind entry.Kind, class string, d entry.Detail, ords []record.Ordinal) (rules []detect.Rule) {
	e := entry.Entry{Kind: kind, At: w.at, Brand: 1, Principal: 7, Lineage: 70, Credential: 70, Role: "application", Class: class, Detail: d}
	for _, a := range w.d.Observe(w.next, &e, ords) {
		switch a.Rule {
		case detect.Overwrite, detect.Erasures, detect.Emails, detect.Rewrite:
			rules = append(rules, a.Rule)
		}
	}
	w.next++
	w.at = w.at.Add(time.Second)
	return rules
}

func (w *writer) change(by string, mails int, ords ...record.Ordinal) []detect.Rule {
	d := entry.Wrote{Changed: len(ords), Mails: mails, By: by, Who: entry.Who(ords, ords)}
	return w.see(entry.KindWrite, "write", entry.Written{Wrote: d}, ords)
}

// A key that overwrites everybody, one that erases and one that takes accounts over are
// noticed on the first day; the same customers again and honest days are not.
func TestWhatDestroysIsNoticed(t *testing.T) {
	t.Parallel()
	seen := func(rules []detect.Rule, want detect.Rule) bool {
		for _, r := range rules {
			if r == want {
				return true
			}
		}
		return false
	}
	w := newWriter(t)
	for day := range 30 { // a shop's days
		for n := range 40 {
			if got := w.change("", n%10/9, record.Ordinal(1+day*40+n)); len(got) > 0 {
				t.Fatalf("an honest day %d: %v", day, got)
			}
		}
		w.at = w.at.Add(24*time.Hour - 40*time.Second)
	}
	for range 1000 {
		if got := w.change("", 0, 5); len(got) > 0 {
			t.Fatalf("one customer again and again: %v", got)
		}
	}
	var b bytes.Buffer
	if err := w.d.Encode(bufio.NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	r, _ := detect.DefaultRules()
	w.d = detect.New(1, r, nil)
	if err := w.d.Decode(bufio.NewReader(&b)); err != nil {
		t.Fatal(err)
	}
	at := 0
	for n := range 500 {
		if seen(w.change("", 1, record.Ordinal(5000+n)), detect.Overwrite) && at == 0 {
			at = n + 1
		}
	}
	if at == 0 || at > 220 {
		t.Errorf("500 overwritten customers were noticed at %d", at)
	}

	for name, c := range map[string]struct {
		want  detect.Rule
		do    func(w *writer, n int) []detect.Rule
		least int
	}{
		"erased":    {detect.Erasures, func(w *writer, n int) []detect.Rule { return w.see(entry.KindErasure, "erase", nil, upTo(n+1, 1)) }, 15},
		"addresses": {detect.Emails, func(w *writer, n int) []detect.Rule { return w.change("", 1, record.Ordinal(n+1)) }, 25},
		"approved":  {detect.Emails, func(w *writer, n int) []detect.Rule { return w.change(entry.ByApproval, 1, record.Ordinal(n+1)) }, 25},
	} {
		w := newWriter(t)
		for n := range 2*c.least - 1 {
			if got := seen(c.do(w, n), c.want); got != (n+1 == c.least) {
				t.Errorf("%s: at %d of %d the alarm is %v", name, n+1, c.least, got)
			}
		}
	}
}

// Whoever has the machine loads a million new customers unnoticed, and a tenth of those
// that are stored cannot be changed in a day without an alarm.
func TestAnOwnerWhoRewritesATenthIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWriter(t)
	load := upTo(1, 1000)
	for range 2 {
		d := entry.Imported{Wrote: entry.Wrote{New: 500, By: entry.ByOwner}}
		if got := w.see(entry.KindImport, "", d, load[:500]); len(got) > 0 {
			t.Fatalf("a first load: %v", got)
		}
		load = load[500:]
	}
	total := 0
	for n := 0; n < 20; n++ {
		got := w.change(entry.ByOwner, 10, upTo(1+10*n, 10)...)
		total += len(got)
		if len(got) > 0 && (got[0] != detect.Rewrite || n != 9) && n < 19 {
			t.Errorf("after %d of 1,000: %v", 10*(n+1), got)
		}
	}
	if total == 0 {
		t.Error("a fifth of the customers was rewritten unnoticed")
	}
}

// A write that was accepted to wait and is not written is an alarm each time, and no rules
// switch it off; a write that was refused at once is none.
func TestALostWriteIsAnAlarm(t *testing.T) {
	t.Parallel()
	w := newWriter(t)
	said := func(reason string) (out []detect.Rule) {
		e := entry.Entry{Kind: entry.KindRefusal, At: w.at, Brand: 1, Principal: 7, Lineage: 70, Role: "application", Detail: entry.Refused{Action: "write", Reason: reason, Times: 1}}
		for _, a := range w.d.Observe(w.next, &e, nil) {
			out = append(out, a.Rule)
		}
		w.next++
		return out
	}
	for _, reason := range []string{entry.LostApproval, entry.LostForged, entry.LostOld, entry.LostOld} {
		if got := said(reason); len(got) != 1 || got[0] != detect.Lost {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if got := said("budget-exhausted"); len(got) != 0 {
		t.Errorf("a refusal at once: %v", got)
	}
}
