package budget

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrSnapshot is returned for bytes that Encode did not write.
var ErrSnapshot = fault.New(fault.Internal, "not a snapshot of budgets")

// Rules returns the rules that hold now.
func (b *Book) Rules() *Rules {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules
}

// Encode writes the book, so that DecodeBook gives one that decides alike. Two books
// that count the same write the same bytes. The book is locked meanwhile: encode one
// that nobody waits for.
func (b *Book) Encode(w *bufio.Writer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	codec.PutText(w, b.rules.Encode())
	codec.Put(w, uint64(b.logged), uint64(len(b.accounts)))
	keys := slices.SortedFunc(maps.Keys(b.accounts), func(x, y accountKey) int {
		return cmp.Or(cmp.Compare(x.class, y.class), cmp.Compare(x.holder.Kind, y.holder.Kind),
			cmp.Compare(x.holder.ID, y.holder.ID), cmp.Compare(x.holder.Role, y.holder.Role))
	})
	for _, key := range keys {
		a := b.accounts[key]
		codec.Put(w, uint64(key.class), uint64(key.holder.Kind), key.holder.ID)
		codec.PutText(w, key.holder.Role)
		a.encode(w)
	}
	return w.Flush() // the first error of all writes
}

// encode writes an account, without what is forgotten and only not yet swept.
func (a *account) encode(w *bufio.Writer) {
	n, searches := 0, 0
	for _, t := range a.tallies {
		n += t.count - t.absent
		if t.absent > 0 {
			searches++
		}
	}
	codec.Put(w, uint64(a.horizon), uint64(n))
	last := record.Ordinal(0)
	for ord, bucket := range a.last.all() {
		if bucket >= a.horizon {
			codec.Put(w, uint64(ord-last), uint64(bucket-a.horizon))
			last = ord
		}
	}
	codec.Put(w, uint64(searches))
	for _, t := range a.tallies {
		if t.absent > 0 {
			codec.Put(w, uint64(t.bucket-a.horizon), uint64(t.absent))
		}
	}
}

// account reads what encode wrote; that of earlier releases had no searches.
func (r reader) account(absent bool) *account {
	a := newAccount()
	a.horizon = uint32(r.Number(1<<31 - 1))
	count := map[uint32]int{}
	at := uint64(0)
	for range r.Number(1 << 32) {
		at += r.Number(1 << 32)
		bucket := a.horizon + uint32(r.Number(1<<31-1))
		if at == 0 || at >= uint64(record.FirstNobody) || bucket == 0 {
			r.Fail(ErrSnapshot)
		}
		if r.Err() != nil {
			break
		}
		a.last.set(record.Ordinal(at), bucket)
		count[bucket]++
	}
	for _, bucket := range slices.Sorted(maps.Keys(count)) {
		a.change(bucket, count[bucket])
	}
	if absent {
		r.absent(a)
	}
	a.swept = a.last.len()
	return a
}

// maxSnapshotText bounds the texts in a snapshot, which are read whole.
const maxSnapshotText = MaxText

// maxAbsent bounds the searches of one bucket, far above what can be logged in five minutes.
const maxAbsent = 1 << 40

// DecodeBook reads what Encode wrote. It reads no further.
func DecodeBook(r *bufio.Reader) (*Book, error) { return decodeBook(r, true) }

// DecodeOlderBook reads what Encode of earlier releases wrote, which counted a search that
// found nobody as a customer. Where there is such a search, the book does not say how many
// there were, so it is ErrSnapshot.
func DecodeOlderBook(r *bufio.Reader) (*Book, error) { return decodeBook(r, false) }

func decodeBook(r *bufio.Reader, absent bool) (*Book, error) {
	in := newReader(r)
	rules, err := DecodeRules(in.Text(maxSnapshotText))
	in.Fail(err)
	b := NewBook(rules)
	b.logged = int64(in.Number(1 << 62))
	for range in.Number(1 << 40) {
		var key accountKey
		key.class = Class(in.Number(uint64(numClasses) - 1))
		key.holder.Kind = HolderKind(in.Number(uint64(Approval)))
		key.holder.ID = in.Number(1<<64 - 1)
		key.holder.Role = string(in.Text(maxSnapshotText))
		if in.Err() != nil {
			break
		}
		b.accounts[key] = in.account(absent)
	}
	if err := in.fault(); err != nil {
		return nil, err
	}
	return b, nil
}

// fault is the first error, as that of a snapshot.
func (r reader) fault() error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}

// absent reads the searches of an account that found nobody.
func (r reader) absent(a *account) {
	last := uint32(0)
	for range r.Number(1 << 31) {
		bucket, n := a.horizon+uint32(r.Number(1<<31-1)), r.Number(maxAbsent)
		if bucket <= last || n == 0 || bucket >= 1<<31 {
			r.Fail(ErrSnapshot)
		}
		if r.Err() != nil {
			return
		}
		a.miss(int(n), bucket)
		last = bucket
	}
}

// reader reads accounts.
type reader struct{ *codec.Reader }

func newReader(r *bufio.Reader) reader { return reader{codec.NewReader(r, ErrSnapshot)} }
