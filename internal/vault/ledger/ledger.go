// Package ledger keeps the log of each brand, and with it the budgets: nothing is
// released before the entry that says so is durable, and the same transaction
// decides whether the budgets allow it.
//
// # The way in
//
// [Ledger.Hold] takes a grant and refuses early what the budgets would refuse
// anyway. [Ledger.Append] decides and logs. [Ledger.Record] logs what releases
// nothing. Both answer with a [Receipt] after the commit, and only then.
//
// # Group commit
//
// One committer for each brand takes whatever queued while the last commit ran. In
// one transaction it locks the brand's head, applies the groups that other servers
// appended since, reads the database's clock, accepts or refuses each request,
// inserts one row for all of them and moves the head with a signed checkpoint.
// There is no leader: whoever holds the lock knows all that was ever logged.
//
// # The projection
//
// Budgets, and how often each customer was released, follow from the entries. They
// change by committed entries only. A transaction that fails leaves nothing in
// them, and one whose outcome is unknown is found, or not, when the next group
// reads what was appended since. Nothing is ever retried that may have happened.
package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// Signer returns the key that signs the checkpoints of a brand.
type Signer func(ctx context.Context, brand record.BrandID) (note.Signer, error)

// Options configure a ledger.
type Options struct {
	// Timeout bounds one group commit. 0 means DefaultTimeout.
	Timeout time.Duration
	// Queue bounds the requests that wait for a brand's committer. 0 means
	// DefaultQueue. Those beyond wait until their own deadline.
	Queue int
	// RefusalWindow is how long repeats of a refusal are counted before they are
	// logged together. 0 means DefaultRefusalWindow; a negative one, that each is an
	// entry: for a simulation, whose minutes are not this host's.
	RefusalWindow time.Duration
	// SnapshotEvery is how many entries come, at least, between two snapshots of what
	// follows from a brand's log. 0 means DefaultSnapshotEvery.
	SnapshotEvery uint64
	// IndexSpan is how many entries are indexed together. 0 means DefaultIndexSpan.
	IndexSpan uint64
	// Committed, if set, gets the entries of every group commit of this server. It must
	// not block, and must not change them.
	Committed func(brand record.BrandID, entries []follow.Entry)
	// Void, if set, gets the rows that are found to be not what the log says. It must not
	// block.
	Void func(void []rights.Void)
	// Moved, if set, is called when an entry of a log, of any server, took rights away. It
	// must not block.
	Moved func()
	// Seen keeps the newest checkpoints outside the database. Nil keeps none.
	Seen *Seen
	// TroubleAfter is how long a log has to be unwritable before Watch hands it on. 0 means
	// a default.
	TroubleAfter time.Duration
}

// The defaults of Options.
const (
	DefaultTimeout       = 15 * time.Second
	DefaultQueue         = 1024
	DefaultRefusalWindow = time.Minute
)

// Ledger is open on one database. It is safe for concurrent use.
type Ledger struct {
	db     *db.DB
	ring   *keys.Ring
	signer Signer
	opts   Options

	mu      sync.Mutex
	chains  map[record.BrandID]*chain
	closed  bool
	faults  map[record.BrandID]Fault
	owed    map[record.BrandID][]owedStop
	apart   func(there time.Time) time.Duration // of the two clocks
	audited map[record.BrandID]Audited
	epochs  map[record.BrandID][]epoch // that begin in each log, as far as this server looked
	quit    chan struct{}
	wg      sync.WaitGroup
	stats   stats
}

// Open returns a ledger, whose entries' values are sealed with keys of the ring. Logs are
// read when they are first asked for.
func Open(d *db.DB, ring *keys.Ring, signer Signer, opts Options) *Ledger {
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Queue == 0 {
		opts.Queue = DefaultQueue
	}
	if opts.RefusalWindow == 0 {
		opts.RefusalWindow = DefaultRefusalWindow
	}
	if opts.SnapshotEvery == 0 {
		opts.SnapshotEvery = DefaultSnapshotEvery
	}
	if opts.IndexSpan == 0 {
		opts.IndexSpan = DefaultIndexSpan
	}
	if opts.TroubleAfter == 0 {
		opts.TroubleAfter = troubleAfter
	}
	l := &Ledger{
		db: d, ring: ring, signer: signer, opts: opts, chains: map[record.BrandID]*chain{}, quit: make(chan struct{}),
		faults: map[record.BrandID]Fault{}, audited: map[record.BrandID]Audited{}, epochs: map[record.BrandID][]epoch{},
		apart: d.Apart, owed: map[record.BrandID][]owedStop{},
	}
	l.readOwed()
	return l
}

// Close writes the refusals that are still counted and a snapshot where it spares the
// next start much, and ends the committers.
// Requests that wait are refused.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.quit)
	l.wg.Wait()
	return l.opts.Seen.Close()
}

const (
	sqlInsertHead = `INSERT INTO log_heads (brand, size, at, checkpoint) VALUES ($1, 0, $2, $3)`
	sqlInsertTip  = `INSERT INTO log_tips (brand, size, at, checkpoint) VALUES ($1, $2, $3, $4)`
	sqlReadHead   = `SELECT size, at, checkpoint FROM log_tips WHERE brand = $1 ORDER BY size DESC LIMIT 1`
)

// Fence waits for the group commits that are under way on any server, by passing
// through the lock of each brand's log. Those that begin after it see every change
// that was committed before it.
func (l *Ledger) Fence(ctx context.Context, brands ...record.BrandID) error {
	for _, brand := range brands {
		err := l.db.Pipeline(ctx, func() []db.Stmt { return l.lock(brand) }, func(db.Queryer) ([]db.Stmt, error) { return nil, nil })
		if err != nil {
			return unavailable(fmt.Errorf("waiting for the log of brand %d: %w", brand, err))
		}
	}
	return nil
}

// Create begins an empty log, inside the transaction that creates the brand.
func Create(ctx context.Context, q db.Queryer, brand record.BrandID, signer note.Signer, at time.Time) error {
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return fmt.Errorf("beginning the log of brand %d: %w", brand, err)
	}
	cp, err := sign(signer, 0, empty)
	if err != nil {
		return fmt.Errorf("signing the first checkpoint of brand %d: %w", brand, err)
	}
	if _, err = q.Exec(ctx, sqlInsertHead, int64(brand), at.UnixMicro(), cp); err == nil {
		_, err = q.Exec(ctx, sqlInsertTip, int64(brand), 0, at.UnixMicro(), cp)
	}
	if err != nil {
		return fmt.Errorf("beginning the log of brand %d: %w", brand, err)
	}
	return nil
}

func sign(signer note.Signer, size uint64, root tlog.Hash) ([]byte, error) {
	text := torchwood.Checkpoint{Origin: signer.Name(), Tree: tlog.Tree{N: int64(size), Hash: root}}.String()
	return note.Sign(&note.Note{Text: text}, signer)
}

// NewSigner returns the checkpoint key that a seed of 32 bytes gives, and its
// verifier key as text. The origin names the log, as in C2SP tlog-checkpoint.
func NewSigner(origin string, seed []byte) (note.Signer, string, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, "", fmt.Errorf("the seed of a checkpoint key has %d bytes, not %d", len(seed), ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	vkey, err := note.NewEd25519VerifierKey(origin, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, "", fmt.Errorf("making the verifier key of %s: %w", origin, err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, "", fmt.Errorf("making the verifier key of %s: %w", origin, err)
	}
	return &checkpointSigner{v, private, vkey}, vkey, nil
}

// checkpointSigner signs as note.NewSigner's does, without a textual private key.
type checkpointSigner struct {
	note.Verifier
	private ed25519.PrivateKey
	vkey    string
}

func (s *checkpointSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.private, msg), nil }

// chain returns the committer of a brand, with its projection up to date at start.
func (l *Ledger) chain(ctx context.Context, brand record.BrandID) (*chain, error) {
	if err := l.stopped(brand); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	c := l.chains[brand]
	if c == nil {
		c = newChain(l, brand)
		l.chains[brand] = c
		l.wg.Go(c.run)
	}
	l.mu.Unlock()
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("reading the log of brand %d: %w", brand, ctx.Err())
	}
	if c.failed != nil { // the next one asking tries again
		l.mu.Lock()
		if l.chains[brand] == c {
			delete(l.chains, brand)
		}
		l.mu.Unlock()
		return nil, c.failed
	}
	return c, nil
}

func unavailable(err error) error {
	for _, what := range []error{ErrParted, ErrShorter, ErrTampered} {
		if errors.Is(err, what) {
			return &stoppedError{what, err}
		}
	}
	if errors.Is(err, ErrNoLog) || errors.Is(err, ErrUnavailable) || errors.Is(err, revision.ErrFenced) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
