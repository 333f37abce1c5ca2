package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// An epoch of a log is what was signed under one origin, see package evidence. A restore, or
// a loss that was accepted, begins the next one: the tree goes on from the entries that are
// there, and the first entry names the checkpoint of the epoch before and what is known to
// be lost. So a server, an auditor or a witness that had seen more does not take what
// follows for a continuation of what they saw.

// ErrParted is returned for a log whose new epoch goes on from fewer entries than this
// server has seen.
var ErrParted = fault.New(fault.Unavailable, "the log began a new epoch without entries that this server has seen, so nothing is disclosed or changed here: run `cloakroom doctor` on the server's machine, and `cloakroom log follow` where the new epoch is right")

// epoch is one that begins in a log.
type epoch struct {
	name  string
	first uint64 // the entry that begins it
}

// epochOf is the name of the epoch that a projection has reached; empty in the first.
func (p *projection) epochOf() string {
	if n := len(p.epochs); n > 0 {
		return p.epochs[n-1].name
	}
	return ""
}

// begins takes the first entry of an epoch. Its group has no other before it, so what it
// goes on from is the projection's tree.
func (p *projection) begins(index uint64, e *entry.Entry) error {
	d, ok := e.Detail.(entry.EpochBegun)
	if !ok {
		return fmt.Errorf("entry %d begins an epoch: %w", index, entry.ErrNewer)
	}
	number, ok := entry.EpochNumber(d.Name)
	if !ok || number != d.Epoch || number != uint64(len(p.epochs)+2) || index != p.size {
		return fmt.Errorf("entry %d begins an epoch out of order: %w", index, ErrTampered)
	}
	text, _, _ := strings.Cut(d.Checkpoint, "\n\n") // its signatures follow
	named, err := torchwood.ParseCheckpoint(text + "\n")
	if err != nil {
		return fmt.Errorf("entry %d names no checkpoint: %w: %w", index, ErrTampered, err)
	}
	root, err := p.grow().root()
	if err != nil {
		return err
	}
	if _, name := entry.SplitOrigin(named.Origin); name != p.epochOf() || named.Tree != (tlog.Tree{N: int64(p.size), Hash: root}) {
		return fmt.Errorf("entry %d goes on from another log: %w", index, ErrTampered)
	}
	p.epochs = append(p.epochs, epoch{d.Name, index})
	return nil
}

// epochSigners are the signers of one log's epochs: they differ in the origin alone.
type epochSigners struct {
	mu   sync.Mutex
	name string
	last note.Signer
}

func (s *epochSigners) of(first note.Signer, name string) (note.Signer, error) {
	if name == "" {
		return first, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && s.name == name {
		return s.last, nil
	}
	cs, ok := first.(*checkpointSigner)
	if !ok {
		return nil, errors.New("this checkpoint key signs the first epoch of a log only")
	}
	next, _, err := NewSigner(entry.EpochOrigin(cs.Name(), name), cs.private.Seed())
	if err == nil {
		s.name, s.last = name, next
	}
	return next, err
}

// sign signs a checkpoint of an epoch.
func (c *chain) sign(name string, size uint64, root tlog.Hash) ([]byte, error) {
	s, err := c.signers.of(c.signer, name)
	if err != nil {
		return nil, err
	}
	return sign(s, size, root)
}

// verifierKey returns the key of a log's first epoch, as text. It verifies checkpoints of
// every epoch, with package evidence.
func (l *Ledger) verifierKey(ctx context.Context, brand record.BrandID) (string, error) {
	s, err := l.signer(ctx, brand)
	if err != nil {
		return "", fmt.Errorf("reading the checkpoint key of brand %d: %w", brand, err)
	}
	cs, ok := s.(*checkpointSigner)
	if !ok {
		return "", errors.New("this checkpoint key does not tell its public half")
	}
	return cs.vkey, nil
}

// VerifierKey returns the public key, as text, that verifies a brand's checkpoints: under
// the origin of the epoch that the log is in, as readers that know no epochs need it.
func (l *Ledger) VerifierKey(ctx context.Context, brand record.BrandID) (string, error) {
	vkey, err := l.verifierKey(ctx, brand)
	if err != nil {
		return "", err
	}
	_, cp, err := l.head(ctx, brand)
	if errors.Is(err, ErrNoLog) {
		return vkey, nil
	}
	if err != nil {
		return "", err
	}
	head, err := evidence.OpenCheckpoint(vkey, cp)
	if err != nil {
		return vkey, nil // whoever verifies finds it
	}
	v, err := note.NewVerifier(vkey)
	if err != nil || v.Name() == head.Origin {
		return vkey, err
	}
	s, err := l.signer(ctx, brand)
	if err != nil {
		return "", fmt.Errorf("reading the checkpoint key of brand %d: %w", brand, err)
	}
	return note.NewEd25519VerifierKey(head.Origin, s.(*checkpointSigner).private.Public().(ed25519.PublicKey))
}

// Beginning says why a log begins a new epoch, and what is known to be lost.
type Beginning struct {
	Cause, By     string
	First, Second uint64 // the principals who confirmed it
	Reason        string
	Kept          [][]byte // checkpoints that which the log may not continue; those under other keys are left aside
}

// BeginEpoch begins a new epoch of a log and returns its number. It is logged as an act of
// who.
func (l *Ledger) BeginEpoch(ctx context.Context, who identity.Who, b Beginning) (uint64, error) {
	c, err := l.chain(ctx, who.Brand)
	if err != nil {
		return 0, err
	}
	req, err := c.beginning(ctx, who, b)
	if err != nil {
		return 0, err
	}
	if err := c.await(ctx, req); err != nil {
		return 0, err
	}
	return req.entry.Detail.(entry.EpochBegun).Epoch, nil
}

// Statements that drop what was made of entries that are lost.
const (
	sqlForgetSnapshots     = `DELETE FROM log_snapshots WHERE brand = $1 AND size > $2`
	sqlForgetSnapshotParts = `DELETE FROM log_snapshot_parts WHERE brand = $1 AND size > $2`
	sqlForgetCheckpoints   = `DELETE FROM log_checkpoints WHERE brand = $1 AND size > $2`
	sqlForgetCommitments   = `DELETE FROM log_commitments WHERE brand = $1 AND entry >= $2`
	sqlForgetIndex         = `DELETE FROM log_index WHERE brand = $1`
)

// beginning is the request of an entry that begins an epoch. The draft completes its
// detail, under the lock.
func (c *chain) beginning(ctx context.Context, who identity.Who, b Beginning) (*request, error) {
	if err := CheckText("reason", b.Reason); err != nil {
		return nil, err
	}
	vkey, err := c.l.verifierKey(ctx, c.brand)
	if err != nil {
		return nil, err
	}
	d := entry.EpochBegun{Cause: b.Cause, By: b.By, First: b.First, Second: b.Second, Reason: b.Reason}
	var newest tlog.Tree
	for _, text := range b.Kept {
		cp, err := evidence.OpenCheckpoint(vkey, text)
		if err == nil && cp.N > newest.N {
			newest, d.Kept = cp.Tree, string(text)
		}
	}
	e := entryOf(who, entry.KindEpoch)
	e.Detail = d
	r := c.request(e, nil, nil)
	r.act = &act{begins: true, make: func(q db.Queryer, _ time.Time) error {
		brand, size := int64(c.brand), c.proj.size
		return q.Batch(ctx, []db.Stmt{
			{SQL: sqlForgetSnapshots, Args: []any{brand, size}},
			{SQL: sqlForgetSnapshotParts, Args: []any{brand, size}},
			{SQL: sqlForgetCheckpoints, Args: []any{brand, size}},
			{SQL: sqlForgetCommitments, Args: []any{brand, size}},
			{SQL: sqlForgetIndex, Args: []any{brand}},
		})
	}}
	return r, nil
}

// begin completes the entry that begins an epoch, of the log as it is under the lock.
func (d *draft) begin(r *request) {
	b, p := r.entry.Detail.(entry.EpochBegun), d.p
	b.Epoch = uint64(len(p.epochs) + 2)
	b.Name, b.Checkpoint, b.Missing = entry.NewEpochName(b.Epoch), string(p.checkpoint), 0
	if n := sizeOf([]byte(b.Kept)); n > p.size {
		b.Missing = n - p.size
	}
	r.entry.Detail, d.epoch = b, b.Name
}

// ErrFollows is returned where a server has nothing to follow.
var ErrFollows = fault.New(fault.Conflict, "no new epoch of this log lacks entries that this server has seen: there is nothing to confirm; `cloakroom log list` shows the state of every log")

// Follow lets this server follow a new epoch that lacks entries which it has seen: what it
// has seen is put aside as evidence, in the files that are returned. What it keeps in memory
// may be of what is lost, so that it serves the log again after a restart only.
func (l *Ledger) Follow(brand record.BrandID) (files []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.faults[brand]
	if !ok || f.Trouble != Parted {
		return nil, ErrFollows
	}
	if files, err = l.opts.Seen.Retire(brand); err != nil {
		return nil, err
	}
	f.Trouble = Followed
	l.faults[brand] = f
	return files, nil
}
