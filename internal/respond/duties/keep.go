package duties

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/cloakroom/cloakroom/api"
)

// maxKept bounds what a kept book may become when it is read.
const maxKept = 4 << 20

// Keep returns the book as an incident keeps it in its log: packed, without worked cases.
func (b *Book) Keep() (string, error) {
	text, err := b.pack()
	if err != nil {
		return "", err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", fmt.Errorf("packing the rules: %w", err)
	}
	return base64.StdEncoding.EncodeToString(z.EncodeAll(text, nil)), nil
}

// Kept reads what [Book.Keep] wrote. Its rules were proved when they were kept.
func Kept(text string) (*Book, error) {
	fault := func(err error) (*Book, error) {
		return nil, fmt.Errorf("reading the rules that an incident keeps: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fault(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderMaxMemory(maxKept), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fault(err)
	}
	defer z.Close()
	plain, err := io.ReadAll(io.LimitReader(z, maxKept))
	if err != nil {
		return fault(err)
	}
	var p packed
	if err := json.Unmarshal(plain, &p); err != nil {
		return fault(err)
	}
	b := &Book{sets: p.Sets, laws: p.Laws, Overlay: p.Overlay}
	if err := b.finish(); err != nil {
		return fault(err)
	}
	return b, nil
}

// Compare says what another book changes for one situation: other verdicts, other ends, and
// rules that say something else.
func Compare(before, after *Book, s *Situation) []api.DutyChange {
	out := changes(before.Decide(s), after.Decide(s))
	for i := range out {
		x, y := before.byID[out[i].Rule], after.byID[out[i].Rule]
		out[i].Rules = x == nil || y == nil || !same(x, y)
	}
	for _, r := range after.order {
		old := before.byID[r.ID]
		if old == nil || same(old, r) || slices.ContainsFunc(out, func(c api.DutyChange) bool { return c.Rule == r.ID }) {
			continue
		}
		v := after.decide(r, s)
		out = append(out, api.DutyChange{Rule: r.ID, Before: v.Verdict, After: v.Verdict, Due: v.Due, WasDue: v.Due, Rules: true})
	}
	return out
}

func same(x, y *bound) bool {
	one, two := *x.Rule, *y.Rule
	one.Cases, two.Cases = nil, nil
	a, errA := json.Marshal(one)
	b, errB := json.Marshal(two)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// WhatChanges says which verdicts and ends differ between two situations under one book.
func (b *Book) WhatChanges(before, after *Situation) []api.DutyChange {
	return changes(b.Decide(before), b.Decide(after))
}

func changes(before, after []api.Duty) (out []api.DutyChange) {
	was := map[string]*api.Duty{}
	for i := range before {
		was[before[i].Rule] = &before[i]
	}
	for i := range after {
		d, old := &after[i], was[after[i].Rule]
		delete(was, d.Rule)
		switch {
		case old == nil:
			out = append(out, api.DutyChange{Rule: d.Rule, After: d.Verdict, Due: d.Due})
		case old.Verdict != d.Verdict || !old.Due.Equal(d.Due):
			out = append(out, api.DutyChange{Rule: d.Rule, Before: old.Verdict, After: d.Verdict, Due: d.Due, WasDue: old.Due})
		}
	}
	for i := range before {
		if d := &before[i]; was[d.Rule] != nil {
			out = append(out, api.DutyChange{Rule: d.Rule, Before: d.Verdict, WasDue: d.Due})
		}
	}
	return out
}
