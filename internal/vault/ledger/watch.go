package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// ErrShorter is returned when a log lacks entries that this server has seen in it.
var ErrShorter = fault.New(fault.Unavailable, "entries that this server has seen are missing from the log, so nothing is disclosed or changed: run `cloakroom doctor` on the server's machine")

// ErrClock is returned while the database's clock and this server's are far apart: one of
// them has jumped, and a time that is logged cannot be taken back.
var ErrClock = fault.New(fault.Unavailable, "the clocks of the database and of this server are far apart, so nothing is disclosed or changed: set both by NTP")

// Trouble is what is wrong with a log.
type Trouble string

// The kinds of trouble.
const (
	Changed    Trouble = "changed"    // it is not what was signed
	Shorter    Trouble = "shorter"    // entries that this server has seen are missing
	Clock      Trouble = "clock"      // the database's clock and this server's are far apart
	Parted     Trouble = "parted"     // a new epoch of it lacks entries that this server has seen
	Followed   Trouble = "followed"   // its new epoch is followed once this server is started again
	Unwritable Trouble = "unwritable" // entries cannot be added, or the log not be read
)

// Fault is a log that is not well. This server adds nothing to a log that is changed or
// shorter until it is started again.
type Fault struct {
	Brand record.BrandID
	Trouble
	Since time.Time // this machine's clock
	Size  uint64    // entries that the log has, as far as that is known
	Seen  uint64    // entries that this server has seen in it
	Err   error
}

// What says what is wrong, and what to do about it.
func (f *Fault) What() string {
	switch f.Trouble {
	case Clock:
		return fmt.Sprintf("%v: set both by NTP. The server writes again by itself when they agree to %s", f.Err, db.MaxApart)
	case Shorter:
		return fmt.Sprintf("the log has %d entries and this server has seen it with %d: nothing is disclosed or changed here. Look whether the database failed over to a standby that lacks entries, or was restored; bring back the one that has them, then restart the servers. Where nobody has them any more, two people accept the loss with `cloakroom log accept-loss`", f.Size, f.Seen)
	case Parted:
		return fmt.Sprintf("a new epoch of the log goes on from %d entries and this server has seen it with %d: nothing is disclosed or changed here. On a server that follows, `cloakroom log list --brand NAME --kind epoch` shows who began it. Where that is right, run `cloakroom log follow` on this machine, which keeps what this server has seen as evidence, and restart the server", f.Size, f.Seen)
	case Followed:
		return fmt.Sprintf("what this server had seen of the log, %d entries, is put aside as evidence in its data directory: restart the server, which then follows the new epoch", f.Seen)
	case Changed:
		return fmt.Sprintf("the log is not what was signed and this server saw with %d entries: nothing is disclosed or changed here. Keep a copy of the database as evidence, find out who changed it, and restore the log from a backup", f.Seen)
	}
	return "no entry can be added to the log, so nothing is disclosed or changed: look at the database, its disk and its standbys; the server retries by itself"
}

// stops reports whether nothing may be added.
func (f *Fault) stops() bool {
	return f.Trouble != Clock && f.Trouble != Unwritable
}

// shorterError says by how much a log is shorter.
type shorterError struct{ size, seen uint64 }

// Error says it.
func (e *shorterError) Error() string {
	return fmt.Sprintf("the log has %d entries, and this server has seen it with %d: %v", e.size, e.seen, ErrShorter)
}

// Unwrap returns what it means.
func (e *shorterError) Unwrap() []error { return []error{ErrShorter, ErrTampered} }

// partedError says by how much a new epoch of a log is behind what was seen of the one before.
type partedError struct{ from, seen uint64 }

// Error says it.
func (e *partedError) Error() string {
	return fmt.Sprintf("a new epoch of the log goes on from %d entries, and this server has seen it with %d: %v", e.from, e.seen, ErrParted)
}

// Unwrap returns what it means.
func (e *partedError) Unwrap() error { return ErrParted }

// troubleOf tells apart what an error says of a log.
func troubleOf(err error) Trouble {
	switch {
	case errors.Is(err, ErrParted):
		return Parted
	case errors.Is(err, ErrShorter):
		return Shorter
	case errors.Is(err, ErrTampered):
		return Changed
	case errors.Is(err, ErrClock):
		return Clock
	}
	return Unwritable
}

// stoppedError is an error of a log to which this server adds nothing any more. What is
// answered is what is wrong, and not that a request may be repeated.
type stoppedError struct{ what, cause error }

// Error returns the cause.
func (e *stoppedError) Error() string { return e.cause.Error() }

// Unwrap returns what is wrong first.
func (e *stoppedError) Unwrap() []error { return []error{e.what, e.cause, ErrUnavailable} }

// distress notes that a log is not well. What stops a log stays, and outweighs that it
// cannot be written.
func (l *Ledger) distress(brand record.BrandID, size uint64, err error) {
	if errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, ErrNoLog) {
		return
	}
	f := Fault{Brand: brand, Trouble: troubleOf(err), Since: time.Now(), Size: size, Seen: max(size, l.opts.Seen.size(brand)), Err: err}
	if n, ok := errors.AsType[*shorterError](err); ok {
		f.Size, f.Seen = n.size, max(f.Seen, n.seen)
	}
	if n, ok := errors.AsType[*partedError](err); ok {
		f.Size, f.Seen = n.from, max(f.Seen, n.seen)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old, ok := l.faults[brand]
	if ok && (old.stops() || !f.stops()) {
		return
	}
	l.faults[brand] = f
}

// recovered notes that a log is written again.
func (l *Ledger) recovered(brand record.BrandID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.faults[brand]; ok && !f.stops() {
		delete(l.faults, brand)
	}
}

// Faults returns the logs that are not well, by brand.
func (l *Ledger) Faults() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.faults), func(a, b Fault) int { return cmp.Compare(a.Brand, b.Brand) })
}

// stopped returns why nothing may be added to a log, nil where it may.
func (l *Ledger) stopped(brand record.BrandID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.faults[brand]; ok && f.stops() {
		return unavailable(f.Err)
	}
	return nil
}

// holdSeen holds a projection, whose tree was checked against the signed head, against the
// checkpoints of the log that were kept outside the database.
func (c *chain) holdSeen(ctx context.Context, p *projection) error {
	c.l.mu.Lock()
	c.l.epochs[c.brand] = slices.Clone(p.epochs)
	c.l.mu.Unlock()
	if err := c.l.heldAgainst(ctx, c.brand, p.checkpoint, c.accepts); err != nil || c.accepts {
		return err
	}
	return c.l.opts.Seen.note(c.brand, p.size, p.checkpoint)
}

// consistent holds a signed checkpoint of a log against every one that was kept outside the
// database: it has to continue each. Of one of a former epoch, it has to have all entries.
func (l *Ledger) consistent(ctx context.Context, brand record.BrandID, checkpoint []byte) error {
	return l.heldAgainst(ctx, brand, checkpoint, false)
}

// heldAgainst is consistent; where people accepted that the end of the log is lost, it
// passes over checkpoints of more entries than the log has.
func (l *Ledger) heldAgainst(ctx context.Context, brand record.BrandID, checkpoint []byte, lost bool) error {
	kept := l.opts.Seen.of(brand)
	if len(kept) == 0 {
		return nil
	}
	vkey, err := l.verifierKey(ctx, brand)
	if err != nil {
		return err
	}
	head, err := evidence.OpenCheckpoint(vkey, checkpoint)
	if err != nil {
		return fmt.Errorf("the head of the log is not what its key signed: %w: %w", ErrTampered, err)
	}
	for _, k := range kept {
		old, err := evidence.OpenCheckpoint(vkey, k.text)
		if err == nil {
			err = l.continues(ctx, brand, head, old)
		} else {
			err = fmt.Errorf("this server has seen a log of %d entries here under another key: %w: %w", k.size, ErrTampered, err)
		}
		if err != nil && !(lost && errors.Is(err, ErrShorter)) {
			return err
		}
	}
	return nil
}

// continues holds a log's head against one checkpoint of it that was kept.
func (l *Ledger) continues(ctx context.Context, brand record.BrandID, head, old torchwood.Checkpoint) error {
	tree := head.Tree
	if old.Origin != head.Origin {
		from, known, err := l.wentOn(ctx, brand, head, old.Origin)
		switch {
		case err != nil:
			return err
		case !known: // of another copy of this log, or of an epoch that a later one does not go on from
			return &partedError{uint64(head.N), uint64(old.N)}
		case uint64(old.N) > from:
			return &partedError{from, uint64(old.N)}
		}
	}
	switch {
	case old.N > tree.N:
		return &shorterError{uint64(tree.N), uint64(old.N)}
	case old.N == 0:
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, l.rows(ctx, brand))
	if err != nil && !errors.Is(err, ErrTampered) && !errors.Is(err, ErrNoEntry) {
		return err
	}
	if err == nil {
		err = tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
	}
	if err != nil {
		return fmt.Errorf("the log of %d entries does not continue the one of %d that this server has seen: %w: %w", tree.N, old.N, ErrTampered, err)
	}
	return nil
}

// wentOn returns how many entries of a former epoch the log goes on from, and whether the
// log has that epoch.
func (l *Ledger) wentOn(ctx context.Context, brand record.BrandID, head torchwood.Checkpoint, origin string) (from uint64, known bool, err error) {
	_, newest := entry.SplitOrigin(head.Origin)
	_, former := entry.SplitOrigin(origin)
	list, err := l.epochsUntil(ctx, brand, newest, uint64(head.N))
	if err != nil {
		return 0, false, err
	}
	known = former == ""
	for _, e := range list {
		if known {
			return e.first, true, nil
		}
		known = e.name == former
	}
	return 0, false, nil
}

// epochsUntil returns the epochs that begin in a log, up to the one of that name. It reads
// the log where another server began one since this one looked.
func (l *Ledger) epochsUntil(ctx context.Context, brand record.BrandID, name string, size uint64) ([]epoch, error) {
	l.mu.Lock()
	list := l.epochs[brand]
	l.mu.Unlock()
	if name == "" {
		return nil, nil
	}
	if i := slices.IndexFunc(list, func(e epoch) bool { return e.name == name }); i >= 0 {
		return list[:i+1], nil
	}
	list = nil
	err := l.pages(ctx, brand, 0, size, sqlReadEntries, scanEntries, func(it item) error {
		e, err := entry.Unmarshal(it.leaf)
		if d, ok := e.Detail.(entry.EpochBegun); err == nil && ok && it.index < size {
			list = append(list, epoch{d.Name, it.index})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.epochs[brand] = list
	l.mu.Unlock()
	return list, nil
}

const (
	// lookEvery is how often a server looks at the head of each log, and looks a little
	// further into what each log holds.
	lookEvery = time.Second
	// lookWithin bounds how long a head is waited for.
	lookWithin = 5 * time.Second
	// auditShare bounds the part of a processor's time that looking through the logs takes.
	auditShare = 100
	// auditAfter is for how many rounds a server that starts leaves the database to what its
	// requests and its followers wait for.
	auditAfter = 3
	// troubleAfter is how long a log has to be unwritable before anybody is alarmed: a
	// database that fails over does not answer for seconds.
	troubleAfter = 10 * time.Second
)

// Watch looks after the logs until the context ends: it holds the head of each against what
// was kept, keeps the newest, verifies what lies in the database entry by entry in the
// background, and tries again to write a log that could not be written. Each fault is
// handed to alarm once. brands returns those whose logs there are.
func (l *Ledger) Watch(ctx context.Context, log *slog.Logger, brands func(context.Context) ([]record.BrandID, error), alarm func(Fault)) error {
	w := &watch{l: l, brands: brands, alarm: alarm, told: map[record.BrandID]Trouble{}, audits: map[record.BrandID]*audit{}}
	return follow.NewLoop(lookEvery).Run(ctx, log, "a log cannot be looked at", w.round)
}

// Look looks once at the heads of logs, as Watch does again and again: in a process that has
// just begun, or in which nothing watches, what is wrong with them is known afterwards.
func (l *Ledger) Look(ctx context.Context, brands ...record.BrandID) {
	w := &watch{l: l}
	for _, b := range brands {
		_ = w.look(ctx, b) // becomes a fault of the log
	}
}

// watch is the work of Watch, of one goroutine.
type watch struct {
	l      *Ledger
	brands func(context.Context) ([]record.BrandID, error)
	alarm  func(Fault)
	known  []record.BrandID // also those that the database does not name any more
	told   map[record.BrandID]Trouble
	audits map[record.BrandID]*audit
	turn   int
	rounds int
}

func (w *watch) round(ctx context.Context) error {
	list, err := w.list(ctx)
	if err == nil {
		for _, brand := range list {
			if !slices.Contains(w.known, brand) {
				w.known = append(w.known, brand)
			}
		}
	}
	for _, brand := range w.known {
		if lookErr := w.look(ctx, brand); lookErr != nil && ctx.Err() == nil {
			err = errors.Join(err, lookErr)
		}
		w.tell()
	}
	if w.rounds++; err == nil && len(w.known) > 0 && w.rounds > auditAfter {
		w.turn = (w.turn + 1) % len(w.known)
		err = w.audit(ctx, w.known[w.turn])
		w.tell()
	}
	return errors.Join(err, w.l.opts.Seen.Sync())
}

// list returns the brands whose logs there are.
func (w *watch) list(ctx context.Context) ([]record.BrandID, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	return w.brands(ctx)
}

// look looks at a log's head.
func (w *watch) look(parent context.Context, brand record.BrandID) error {
	l := w.l
	ctx, cancel := context.WithTimeout(parent, lookWithin)
	defer cancel()
	if l.stopped(brand) != nil {
		return l.partedSince(ctx, brand)
	}
	seen := l.opts.Seen.size(brand)
	size, cp, err := l.head(ctx, brand)
	if err == nil && !l.opts.Seen.has(brand, seen, size, cp) {
		err = w.compare(ctx, brand, size, cp)
	}
	switch {
	case err == nil:
	case parent.Err() != nil:
		return err
	case errors.Is(err, ErrNoLog) && seen > 0:
		err = &shorterError{0, seen}
		l.distress(brand, 0, err)
		return err
	case errors.Is(err, ErrNoLog): // of a brand that is being made
		return nil
	default:
		l.distress(brand, size, err)
		return err
	}
	if f, ok := l.fault(brand); ok && !f.stops() || l.owes(brand) {
		return w.probe(ctx, brand)
	}
	return nil
}

// partedSince looks whether a log that was found shorter has begun a new epoch since: its
// operator can then confirm that this server follows.
func (l *Ledger) partedSince(ctx context.Context, brand record.BrandID) error {
	if f, _ := l.fault(brand); f.Trouble != Shorter {
		return nil
	}
	_, cp, err := l.head(ctx, brand)
	if errors.Is(err, ErrNoLog) {
		return nil
	}
	if err == nil {
		err = l.consistent(ctx, brand, cp)
	}
	parted, ok := errors.AsType[*partedError](err)
	switch {
	case errors.Is(err, ErrTampered): // as it was found
		return nil
	case !ok:
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.faults[brand]; f.Trouble == Shorter {
		f.Trouble, f.Size, f.Seen, f.Err = Parted, parted.from, max(f.Seen, parted.seen), err
		l.faults[brand] = f
	}
	return nil
}

// compare holds a head that this server did not write, or has not looked at, against what
// was kept, and keeps it.
func (w *watch) compare(ctx context.Context, brand record.BrandID, size uint64, cp []byte) error {
	vkey, err := w.l.verifierKey(ctx, brand)
	if err != nil {
		return err
	}
	tree, err := CheckpointRoot(vkey, cp)
	if err != nil || uint64(tree.N) != size {
		return errors.Join(fmt.Errorf("the head of the log is not what its key signed: %w", ErrTampered), err)
	}
	if err := w.l.consistent(ctx, brand, cp); err != nil {
		if now, _, herr := w.l.head(ctx, brand); errors.Is(err, ErrShorter) && herr == nil && now > size {
			return nil // this server wrote more between the two
		}
		return err
	}
	return w.l.opts.Seen.note(brand, size, cp)
}

// probe adds an entry to a log that could not be written, which says that it can be again.
func (w *watch) probe(ctx context.Context, brand record.BrandID) error {
	_, err := w.l.Record(ctx, Event{
		Kind: entry.KindAdministration, Who: identity.Who{Brand: brand}, Detail: entry.Checked{Check: "log-written"},
	})
	if err == nil {
		w.l.recovered(brand)
	}
	return err
}

// fault returns what is wrong with a log.
func (l *Ledger) fault(brand record.BrandID) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.faults[brand]
	return f, ok
}

// tell hands each fault on, once: one of a log that cannot be written after a while.
func (w *watch) tell() {
	now := map[record.BrandID]bool{}
	for _, f := range w.l.Faults() {
		now[f.Brand] = true
		if w.told[f.Brand] == f.Trouble || !f.stops() && time.Since(f.Since) < w.l.opts.TroubleAfter {
			continue
		}
		w.told[f.Brand] = f.Trouble
		w.alarm(f)
	}
	for brand := range w.told {
		if !now[brand] {
			delete(w.told, brand)
		}
	}
}

// audit is how far a log was looked through.
type audit struct {
	tree   *projection // its edge and size alone
	target tlog.Tree   // that it is compared with at the end
	at     int64
}

const sqlAuditGroups = `SELECT first, count, at, entries, hashes, subjects, vals FROM log_groups WHERE brand = $1 AND first >= $2 ORDER BY first LIMIT 16`

// audit looks a little further into a log: every leaf against the tree that was signed,
// every list of customers and every value against its leaf. At the end of the log it begins
// again.
func (w *watch) audit(ctx context.Context, brand record.BrandID) error {
	l := w.l
	if l.stopped(brand) != nil {
		return nil
	}
	a := w.audits[brand]
	if a == nil {
		_, at, cp, err := l.headAt(ctx, brand)
		if errors.Is(err, ErrNoLog) {
			return nil
		}
		if err != nil {
			return err
		}
		vkey, err := l.verifierKey(ctx, brand)
		if err != nil {
			return err
		}
		a = &audit{tree: newProjection(), at: at}
		if a.target, err = CheckpointRoot(vkey, cp); err != nil {
			err = errors.Join(fmt.Errorf("the head of the log is not what its key signed: %w", ErrTampered), err)
			l.distress(brand, 0, err)
			return err
		}
		w.audits[brand] = a
	}
	for began := time.Now(); time.Since(began) < lookEvery/auditShare && a.tree.size < uint64(a.target.N); {
		if err := a.step(ctx, l, brand); err != nil {
			if errors.Is(err, ErrTampered) {
				l.distress(brand, a.tree.size, err)
			}
			delete(w.audits, brand)
			return err
		}
	}
	if a.tree.size < uint64(a.target.N) {
		return nil
	}
	delete(w.audits, brand)
	if root, err := a.tree.grow().root(); err != nil || a.tree.size == uint64(a.target.N) && root != a.target.Hash {
		err = errors.Join(fmt.Errorf("the log of %d entries is not what its key signed: %w", a.target.N, ErrTampered), err)
		l.distress(brand, a.tree.size, err)
		return err
	}
	l.mu.Lock()
	l.audited[brand] = Audited{Size: a.tree.size, At: time.Now()}
	l.mu.Unlock()
	return nil
}

// Audited says how far a log was verified in the background, and when.
type Audited struct {
	Size uint64
	At   time.Time // this machine's clock
}

// Audited returns the end of the last run through a log, and false before the first.
func (l *Ledger) Audited(brand record.BrandID) (Audited, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.audited[brand]
	return a, ok
}

// Seen returns how many entries this server has seen in a log.
func (l *Ledger) Seen(brand record.BrandID) uint64 { return l.opts.Seen.size(brand) }

// step reads some groups. A head that was read before covers whole groups only.
func (a *audit) step(ctx context.Context, l *Ledger, brand record.BrandID) error {
	var page []group
	err := l.db.Rows(ctx, func(r db.Row) error {
		var g group
		err := g.scan(r)
		page = append(page, g)
		return err
	}, sqlAuditGroups, int64(brand), a.tree.size)
	if err != nil {
		return fmt.Errorf("reading the log of brand %d: %w", brand, err)
	}
	o := l.opener(ctx, l.db, brand)
	before := a.tree.size
	for i := range page {
		g := &page[i]
		if a.tree.size >= uint64(a.target.N) {
			break
		}
		if g.first != a.tree.size {
			return fmt.Errorf("entries from %d on are missing: %w", a.tree.size, ErrTampered)
		}
		tree := a.tree.grow()
		err := g.each(func(it item) error {
			if _, err := beside(o, &it, erasableAt(a.at)); err != nil {
				return err
			}
			return tree.add(it.leaf)
		})
		if err != nil {
			return err
		}
		if !bytes.Equal(tree.hashes, g.hashes) {
			return fmt.Errorf("entries %d to %d do not have the hashes stored beside them: %w", g.first, g.first+uint64(g.count)-1, ErrTampered)
		}
		tree.adopt()
	}
	if a.tree.size == before {
		return fmt.Errorf("entries from %d on are missing: %w", before, ErrTampered)
	}
	return nil
}
