// Package evidence verifies the log of a brand offline: from the files that
// `cloakroom log tiles` writes, the brand's public verifier key and, better, an
// older checkpoint that the reader kept. It needs no server, no database and no
// secret, and it trusts nothing that it reads.
//
// # What is found, and what it takes
//
// [Verify] reads every entry, computes the root of the tree anew and compares it
// with the one that the brand's key signed. An entry edited, removed, added or moved
// after the signing is thereby found with the public key alone.
//
// An older checkpoint finds the rest: a log that was cut and is shown with an old
// signature ([ErrShorter]), and one that was written anew by somebody who holds the
// signing key ([ErrOlder]). A stranger to both should therefore keep a checkpoint
// now and then, where the log's keeper cannot reach it: nothing inside the log can
// show that its end is missing.
//
// # Epochs
//
// A log that was restored from a backup, or that lost entries in a failover, goes on in a
// new [Epoch]: under another origin, with an entry that names the checkpoint that it goes on
// from and what is known to be lost. The tree and the public key stay, so the verifier key
// and the checkpoints of one epoch verify the others.
//
// # One customer
//
// [CustomerProof] is what a customer may be handed: one entry, that it is in the
// log, and that one commitment is in it. The brand's key verifies it; only the
// customer's log key opens it, so that a stranger learns of an entry and of nobody
// in it.
//
// # Formats
//
// The files follow C2SP: tlog-tiles, tlog-checkpoint and signed-note. Any reader of
// these can check the tree. What this package adds is that each leaf is read
// strictly, as an entry that says one thing only.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// What a verification may find. Every error of this package that tells of the log
// wraps one of these, and says in words where.
var (
	// ErrSignature means that a checkpoint was not signed by the key given, or is
	// that of another log.
	ErrSignature = errors.New("the checkpoint is not signed by this key for this log")
	// ErrRoot means that the files hold something else than what was signed.
	ErrRoot = errors.New("the log is not what was signed")
	// ErrOlder means that the log, though signed, is not a continuation of the older
	// checkpoint: its past was written anew.
	ErrOlder = errors.New("the log does not continue the older checkpoint")
	// ErrShorter means that the log has fewer entries than the older checkpoint had.
	ErrShorter = errors.New("the log is shorter than the older checkpoint")
	// ErrMissing means that a file that the checkpoint calls for is absent.
	ErrMissing = errors.New("a part of the log is missing")
	// ErrEntry means that an entry cannot be read, or cannot stand where it stands.
	ErrEntry = errors.New("an entry of the log is not valid")
	// ErrProof means that a proof does not lead to the root that it is for.
	ErrProof = entry.ErrProof
)

// Entry is what one leaf of the log says.
type Entry = entry.Entry

// Kind is what an entry records.
type Kind = entry.Kind

// Report says what was verified. First and Last are the times of the first and the
// last entry, zero in an empty log; of an entry of version 2 the leaf has the UTC day.
type Report struct {
	Origin    string
	Size      uint64
	OlderSize uint64 // entries under the older checkpoint; zero without one, or where it is of what is lost
	First     time.Time
	Last      time.Time
	Counts    map[Kind]uint64
	// Newer counts the entries that a newer version of Cloakroom wrote: their leaves are
	// what was signed, and what they say is not known here. Critical counts those of them
	// that move budgets or rights, or that cannot be read at all.
	Newer, Critical uint64
	// Epochs are those that begin in the log: every one but the first.
	Epochs []Epoch
	// Lost is how many entries of the older checkpoint, at most, the log does not have any
	// more. An epoch of the log says so; what none says is [ErrShorter] or [ErrOlder].
	Lost uint64
}

// Incomplete reports whether the log is what was signed, and says things that this
// release does not understand and that matter for the rest: it is not well, and not
// changed.
func (r *Report) Incomplete() bool { return r.Critical > 0 }

// checkpointPath is where C2SP tlog-tiles puts the checkpoint.
const checkpointPath = "checkpoint"

// Verify reads the whole log from src and checks that it is what the key vkey
// signed, that every entry is valid, that days never step back and that all belong
// to one brand, and that each epoch goes on from what was signed before it. Entries that a newer version wrote are verified as leaves and counted,
// see [Report.Incomplete]. Where older is given, a checkpoint as the reader kept it, the log
// must also continue it.
//
// If each is not nil, it is called with every entry in order, while the log is being
// read: what it was shown counts only once Verify has returned without an error. An
// error of each ends the reading and is returned as it is.
//
// Memory is bounded by one entry bundle of 256 entries, however long the log.
func Verify(ctx context.Context, src Source, vkey string, older []byte, each func(index uint64, e Entry) error) (Report, error) {
	key, err := openKey(vkey)
	if err != nil {
		return Report{}, err
	}
	text, err := read(ctx, src, checkpointPath, "")
	if err != nil {
		return Report{}, err
	}
	head, err := openCheckpoint(key, text)
	if err != nil {
		return Report{}, fmt.Errorf("opening the checkpoint: %w", err)
	}
	r := newReplay(src, key, head, each)
	if len(older) > 0 {
		before, err := openCheckpoint(key, older)
		if err != nil {
			return Report{}, fmt.Errorf("opening the older checkpoint: %w", err)
		}
		r.older = &before
		if before.Origin == head.Origin && before.N > head.N {
			return Report{}, r.shorter()
		}
	}
	if err := r.run(ctx); err != nil {
		return Report{}, err
	}
	return r.report, r.verdict()
}
