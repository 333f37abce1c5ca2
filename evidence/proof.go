package evidence

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// VerifyInclusion checks that leaf is entry index of the log whose checkpoint the
// key vkey signed, and returns what it says and how many entries that log has.
func VerifyInclusion(vkey string, checkpoint, leaf []byte, index uint64, proof tlog.RecordProof) (Entry, uint64, error) {
	key, err := openKey(vkey)
	if err != nil {
		return Entry{}, 0, err
	}
	head, err := openCheckpoint(key, checkpoint)
	if err != nil {
		return Entry{}, 0, fmt.Errorf("opening the checkpoint: %w", err)
	}
	if index > math.MaxInt64 || int64(index) >= head.N {
		return Entry{}, 0, fmt.Errorf("%w: there is no entry %d in a log of %d", ErrProof, index, head.N)
	}
	if err := tlog.CheckRecord(proof, head.N, head.Hash, int64(index), tlog.RecordHash(leaf)); err != nil {
		return Entry{}, 0, fmt.Errorf("%w: entry %d is not in the log of %d entries that was signed: %w", ErrProof, index, head.N, err)
	}
	e, err := entry.Unmarshal(leaf)
	if err != nil {
		return Entry{}, 0, fmt.Errorf("%w: entry %d cannot be read: %w", ErrEntry, index, err)
	}
	return e, uint64(head.N), nil
}

// CustomerProof shows that one customer is among those of one entry of a log. It can
// be handed to anybody: without the customer's log key it names nobody.
type CustomerProof struct {
	Brand      record.BrandID   `json:"brand"`      // the brand whose log it is
	Entry      uint64           `json:"entry"`      // the entry's number in the log
	Leaf       []byte           `json:"leaf"`       // the entry, as it was logged
	Customers  int              `json:"customers"`  // how many customers the entry has
	Position   int              `json:"position"`   // the place of this one among them
	Commitment tlog.Hash        `json:"commitment"` // what stands for this customer
	Path       []tlog.Hash      `json:"path"`       // from the commitment to the entry's root
	Inclusion  tlog.RecordProof `json:"inclusion"`  // from the entry to the log's root
	Checkpoint string           `json:"checkpoint"` // the log's root, signed
	// Of an entry of version 2: the customer's pseudonym of the reader, what the
	// commitment is made of beside it, and the values of the entry that are shown.
	Reader []byte        `json:"reader,omitempty"`
	Core   []byte        `json:"core,omitempty"`
	Shown  []entry.Shown `json:"shown,omitempty"`
}

// Verify checks the whole way from the commitment to the signature of the key vkey,
// and returns what the entry says.
func (p CustomerProof) Verify(vkey string) (Entry, error) {
	e, err := p.verifyEntry(vkey)
	if err != nil {
		return Entry{}, err
	}
	path := make([][32]byte, len(p.Path))
	for i, h := range p.Path {
		path[i] = h
	}
	if err := entry.VerifyPath(e.Root, p.Customers, p.Position, p.Commitment, path); err != nil {
		return Entry{}, fmt.Errorf("the commitment is not among those of entry %d: %w", p.Entry, err)
	}
	if e.LeafVersion() == entry.Version1 {
		if len(p.Reader)+len(p.Core)+len(p.Shown) > 0 {
			return Entry{}, fmt.Errorf("%w: entry %d is of version 1, which binds no reader", ErrProof, p.Entry)
		}
		return e, nil
	}
	if len(p.Reader) != 16 || len(p.Core) != 32 || entry.WithReader([32]byte(p.Core), [16]byte(p.Reader)) != p.Commitment {
		return Entry{}, fmt.Errorf("%w: the pseudonym of the reader is not the one that entry %d is committed to", ErrProof, p.Entry)
	}
	return e, nil
}

// verifyEntry checks the way from the entry to the signature, and the values shown of it.
func (p CustomerProof) verifyEntry(vkey string) (Entry, error) {
	e, _, err := VerifyInclusion(vkey, []byte(p.Checkpoint), p.Leaf, p.Entry, p.Inclusion)
	if err != nil {
		return Entry{}, err
	}
	if e.Brand != p.Brand {
		return Entry{}, fmt.Errorf("%w: it is said to be of brand %d, and entry %d is of brand %d", ErrProof, p.Brand, p.Entry, e.Brand)
	}
	if p.Customers < 1 || entry.Bucket(p.Customers) != e.Count {
		return Entry{}, fmt.Errorf("%w: entry %d is not one of %d customers", ErrProof, p.Entry, p.Customers)
	}
	if e.LeafVersion() == entry.Version1 {
		return e, nil
	}
	for _, s := range p.Shown {
		if err := e.Reveal(s); err != nil {
			return Entry{}, fmt.Errorf("entry %d: %w", p.Entry, err)
		}
	}
	return e, nil
}

// Opens reports whether the commitment is that of the customer whose log key this
// is, as the disclosure with that counter. The proof itself is [CustomerProof.Verify]'s
// matter. Counters of one customer run without gaps from 0: a number without a proof
// is a disclosure withheld.
func (p CustomerProof) Opens(logKey []byte, counter uint32) bool {
	e, err := entry.Unmarshal(p.Leaf)
	if err != nil {
		return false
	}
	c := entry.Committed{Nonce: e.Nonce, Fields: e.Fields, Counter: counter}
	core := entry.Core(logKey, c)
	if e.LeafVersion() == entry.Version1 {
		return tlog.Hash(core) == p.Commitment
	}
	return len(p.Reader) == 16 && tlog.Hash(entry.WithReader(core, [16]byte(p.Reader))) == p.Commitment
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
