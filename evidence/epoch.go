package evidence

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// Epoch is a part of a log that has an origin of its own. The first has no entry that
// begins it. A later one begins where a restore, or a loss that people accepted, left the
// log shorter than it was: its first entry, of the kind epoch, names the checkpoint that it
// goes on from and, where one is known, the newest one that is lost.
type Epoch struct {
	Number  uint64
	Origin  string
	First   uint64 // the entry that begins it, and how many entries it goes on from
	Cause   string // restore or accept-loss
	By      string // owner, two-people or break-glass
	Missing uint64 // entries that are known to be lost
	Kept    Lost   // the newest checkpoint known of what is lost
}

// Lost is a signed checkpoint of entries that a log does not have any more. Its origin is
// empty where none is known.
type Lost struct {
	Origin string
	Tree   tlog.Tree
}

// covers reports whether a checkpoint is of what this one says is lost. One that is not
// beyond the entries that the log has is so only where it is the very same.
func (l *Lost) covers(c *torchwood.Checkpoint, beyond bool) bool {
	return l.Origin == c.Origin && (c.Tree == l.Tree || beyond && c.N < l.Tree.N)
}

// key verifies the checkpoints of a log in each of its epochs: they differ in origin, and
// the brand's public key is one.
type key struct {
	note.Verifier
	public ed25519.PublicKey // nil for a key of another algorithm
}

// openKey reads a verifier key as it stands in log.vkey.
func openKey(vkey string) (*key, error) {
	vkey = strings.TrimSpace(vkey)
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("reading the verifier key: %w (it is the one line name+hash+key of log.vkey, and must come from the brand, not from whoever hands over the log)", err)
	}
	k := &key{Verifier: v}
	parts := strings.SplitN(vkey, "+", 3)
	if b, err := base64.StdEncoding.DecodeString(parts[len(parts)-1]); err == nil && len(b) == 1+ed25519.PublicKeySize && b[0] == algEd25519 {
		k.public = b[1:]
	}
	return k, nil
}

// algEd25519 is the algorithm of a checkpoint key in its text form, as in C2SP signed-note.
const algEd25519 = 1

// of returns the verifier of an origin, if that is of the same log.
func (k *key) of(origin string) (note.Verifier, error) {
	if origin == k.Name() {
		return k.Verifier, nil
	}
	log, _ := entry.SplitOrigin(k.Name())
	if other, _ := entry.SplitOrigin(origin); other != log || k.public == nil {
		return k.Verifier, nil // which refuses it
	}
	vkey, err := note.NewEd25519VerifierKey(origin, k.public)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(vkey)
}

// OpenCheckpoint returns a checkpoint if the key signed it and it is of the key's log, in
// whichever epoch. Signatures of others, such as witnesses, are left aside.
func OpenCheckpoint(vkey string, text []byte) (torchwood.Checkpoint, error) {
	k, err := openKey(vkey)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	return openCheckpoint(k, text)
}

func openCheckpoint(k *key, text []byte) (torchwood.Checkpoint, error) {
	origin, _, _ := strings.Cut(string(text), "\n")
	v, err := k.of(origin)
	if err != nil {
		v = k.Verifier
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(v.Name()), torchwood.SingleVerifierPolicy(v))
	c, _, err := torchwood.VerifyCheckpoint(text, policy)
	if err != nil {
		return torchwood.Checkpoint{}, fmt.Errorf("%w: it should be that of %s: %w", ErrSignature, k.Name(), err)
	}
	return c, nil
}

// begin takes the entry that begins an epoch: it names the checkpoint that was signed over
// what comes before it.
func (r *replay) begin(at uint64, d entry.EpochBegun) error {
	last := r.origin()
	log, _ := entry.SplitOrigin(last)
	number, ok := entry.EpochNumber(d.Name)
	if !ok || number != d.Epoch || number != uint64(len(r.report.Epochs)+2) {
		return fmt.Errorf("it begins epoch %d, and %d come before it", d.Epoch, len(r.report.Epochs)+1)
	}
	named, err := openCheckpoint(r.key, []byte(d.Checkpoint))
	if err != nil {
		return fmt.Errorf("the checkpoint that it names: %w", err)
	}
	root, err := r.tree.root()
	if err != nil {
		return fmt.Errorf("computing the root of the first %d entries: %w", at, err)
	}
	if named.Origin != last || uint64(named.N) != at || named.Hash != root {
		return fmt.Errorf("it goes on from a checkpoint of %d entries of %s, and not from the entries before it", named.N, named.Origin)
	}
	e := Epoch{Number: number, Origin: entry.EpochOrigin(log, d.Name), First: at, Cause: d.Cause, By: d.By, Missing: d.Missing}
	if d.Kept != "" {
		kept, err := openCheckpoint(r.key, []byte(d.Kept))
		if err != nil {
			return fmt.Errorf("the lost checkpoint that it names: %w", err)
		}
		e.Kept = Lost{kept.Origin, kept.Tree}
	}
	r.report.Epochs = append(r.report.Epochs, e)
	return nil
}

// origin is that of the epoch which the replay has reached.
func (r *replay) origin() string {
	if n := len(r.report.Epochs); n > 0 {
		return r.report.Epochs[n-1].Origin
	}
	log, _ := entry.SplitOrigin(r.head.Origin)
	return log
}

// end returns the epoch that follows the one of an origin, nil for the last, and whether the
// log has the one of the origin at all.
func (r *replay) end(origin string) (next *Epoch, known bool) {
	log, _ := entry.SplitOrigin(r.head.Origin)
	known = origin == log
	for i := range r.report.Epochs {
		e := &r.report.Epochs[i]
		if known {
			return e, true
		}
		known = e.Origin == origin
	}
	return nil, known
}

// continues holds the log, whose entries are those that were signed, against the older
// checkpoint.
func (r *replay) continues() error {
	if r.older == nil {
		return nil
	}
	next, known := r.end(r.older.Origin)
	lost, beyond := int64(0), !known
	switch {
	case known && next == nil && r.older.N > r.head.N:
		return r.shorter()
	case known && next != nil && r.older.N > int64(next.First):
		lost, beyond = r.older.N-int64(next.First), true
	case known && r.marked && r.olderRoot == r.older.Hash:
		r.report.OlderSize = uint64(r.older.N)
		return nil
	default: // of another history
		lost = r.older.N
	}
	for i := range r.report.Epochs {
		if r.report.Epochs[i].Kept.covers(r.older, beyond) {
			r.report.Lost = uint64(lost)
			return nil
		}
	}
	switch {
	case !known:
		return fmt.Errorf("%w: it is of %s, and the log has no such epoch: another copy of the log goes on under that name", ErrOlder, r.older.Origin)
	case next != nil && r.older.N > int64(next.First):
		return fmt.Errorf("%w: epoch %d of the log goes on from %d entries (%s), and the older checkpoint had %d: the last %d are missing, and no epoch names them",
			ErrShorter, next.Number, next.First, next.Cause, r.older.N, lost)
	}
	return fmt.Errorf("%w: its checkpoint over %d entries is signed, but its first %d entries are not those of the older checkpoint: they were replaced by somebody who has the signing key (root %s, it was %s)",
		ErrOlder, r.head.N, r.older.N, r.olderRoot, r.older.Hash)
}

func (r *replay) shorter() error {
	return fmt.Errorf("%w: the log of %s has %d entries and had %d: %d are missing at its end, or it was begun anew",
		ErrShorter, r.head.Origin, r.head.N, r.older.N, r.older.N-r.head.N)
}
