// Package budget bounds how many customers can be taken. It counts distinct
// customers, never requests: one request for N customers costs N, and reading a
// customer again who is still in the window costs nothing.
//
// # What is counted
//
// A search that finds nobody costs one, as one that finds a customer does, and each time
// again: whoever tries values from a list is stopped as early as whoever takes customers.
//
// A disclosure counts against four holders at once: the lineage of the credential,
// its principal, the role and the whole brand. Each holder has its own count for
// each [Class], and each count is held against an hour, a day and 30 days, where
// [Rules] give a limit. One holder over one limit refuses the whole disclosure.
//
// # How it is counted
//
// There are no budget tables. A [Book] is a projection of a brand's log: per holder
// the 5-minute bucket of the last disclosure of each customer, and a count per
// bucket. The distinct customers of a trailing window are those whose last
// disclosure lies in it. Searches that found nobody are a count per bucket, and nothing
// stands for one of them. A bucket that is partly in the window counts whole, so the
// only error is towards refusing, by at most one bucket.
//
// # Who may change it
//
// Only committed entries change a Book ([Book.Apply], [Group.Commit]). What a group
// accepted before its commit counts in the group alone: a group that fails to
// commit is dropped and leaves nothing behind. Nothing is forgotten before the
// log's own time has passed it by 30 days, so that a clock that jumped forward in
// a failed group takes nothing out of any window.
package budget

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// BucketLength is how far a refusal can be early. Shorter buckets cost memory per
// holder; a person waits five minutes without asking for a larger budget.
const BucketLength = 5 * time.Minute

// ErrStale is returned by [Group.Decide] when the book changed under the group: it
// would decide without what was committed since.
var ErrStale = fault.New(fault.Internal, "the budget moved on since this group began")

// ErrNoCustomers is returned for a disclosure without a customer, a class or a time, unless
// it is a search that found nobody.
var ErrNoCustomers = fault.New(fault.Internal, "a disclosure needs a customer and a time after 1970")

// Disclosure is what a budget needs to know of one logged release of fields.
type Disclosure struct {
	At        time.Time // ignored by Group.Decide: the group has one time
	Lineage   uint64
	Principal uint64
	Role      string
	Class     Class
	Ords      []record.Ordinal // in any order; repeats count once; not to be changed once given to a group
	Absent    int              // searches that found nobody, each of which counts

	// Room is for how many customers there must be room at least, counted or not; 0: for
	// those that are counted. A write asks for room before it is known whom it meets.
	Room int
	// Rows is what a refusal says was asked for, and when it says that it would fit, where
	// the customers that are counted are not to be told; 0: those that are counted.
	Rows int
	// Approval is the approval whose budget is used, with its limits, instead of those of
	// the lineage, principal, role and brand; 0: none.
	Approval uint64
	Most     Limits // of the approval; not needed by what is committed
}

// count makes a disclosure what is counted of it: distinct customers, and the searches
// that found nobody apart from them, also where an earlier release logged those under
// ordinals of their own.
func (d *Disclosure) count() error {
	d.Ords = distinct(d.Ords)
	customers, nobody := record.Customers(d.Ords)
	d.Ords = customers
	if d.Absent += nobody; d.Absent < nobody || !d.Class.valid() || d.cost()+d.Room <= 0 {
		return ErrNoCustomers
	}
	return nil
}

// cost is how many the disclosure counts at most.
func (d *Disclosure) cost() int { return len(d.Ords) + d.Absent }

// told is the disclosure as a refusal speaks of it.
func (d *Disclosure) told() *Disclosure {
	if d.Rows == 0 && d.Room <= d.cost() {
		return d
	}
	return &Disclosure{Absent: max(d.Rows, d.Room)}
}

// limits are those of one of its holders on a day.
func (d *Disclosure) limits(r *Rules, kind HolderKind, on Date) Limits {
	if kind == Approval {
		return d.Most
	}
	return r.Resolve(kind, d.Principal, d.Role, d.Class, on)
}

// Holder is one whose budget is counted. ID is the lineage or principal, Role the
// role; a brand has neither.
type Holder struct {
	Kind HolderKind
	ID   uint64
	Role string
}

// String names the holder as `cloakroom budget` does.
func (h Holder) String() string {
	switch h.Kind {
	case Brand:
		return "brand"
	case Role:
		return "role " + h.Role
	}
	return fmt.Sprintf("%s %d", h.Kind, h.ID)
}

func (d *Disclosure) holders() []Holder {
	if d.Approval != 0 {
		return []Holder{{Kind: Approval, ID: d.Approval}}
	}
	return []Holder{
		{Kind: Lineage, ID: d.Lineage},
		{Kind: Principal, ID: d.Principal},
		{Kind: Role, Role: d.Role},
		{Kind: Brand},
	}
}

// ExhaustedError says whose budget refuses a disclosure. Of several it names the one
// that refuses longest.
type ExhaustedError struct {
	Holder Holder
	Class  Class
	Window Window
	Limit  uint32
	Kept   uint32        // of the limit, for others than who asked
	Used   int           // distinct customers in the window now, and searches that found nobody
	Asked  int           // what the request adds to them
	Retry  time.Duration // until the same request fits; 0: it never will
	Blind  bool          // Used and Asked would tell who is a customer, and are not said
}

// Error says it in words for the person refused.
func (e *ExhaustedError) Error() string {
	when := fmt.Sprintf("one request may not exceed %d customers; split it", e.Limit-e.Kept)
	if e.Retry > 0 {
		when = fmt.Sprintf("retry in %s", e.Retry.Round(time.Second))
	}
	limit := fmt.Sprintf("the %s budget of %s is %d customers per %s", e.Class, e.Holder, e.Limit, e.Window)
	if e.Kept > 0 {
		limit += fmt.Sprintf(", %d of them reserved for others", e.Kept)
	}
	if e.Blind {
		return fmt.Sprintf("%s and has no room for this request; %s", limit, when)
	}
	return fmt.Sprintf("%s: %d used, %d requested; %s", limit, e.Used, e.Asked, when)
}

type accountKey struct {
	holder Holder
	class  Class
}

// Book is the projection of one brand's log. It may be used concurrently; the
// committer alone calls Apply, Begin, Decide and Commit.
type Book struct {
	mu       sync.Mutex // guards everything below, the accounts included
	rules    *Rules
	accounts map[accountKey]*account
	logged   int64  // time of the last applied entry, microseconds; never goes back
	changes  uint64 // counts applied disclosures, so that a group notices them
}

// NewBook returns an empty book. A book without rules refuses everything.
func NewBook(rules *Rules) *Book {
	if rules == nil {
		rules = &Rules{}
	}
	return &Book{rules: rules, accounts: map[accountKey]*account{}}
}

// SetRules replaces the rules from now on; what is counted stays counted.
func (b *Book) SetRules(rules *Rules) {
	if rules == nil {
		rules = &Rules{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = rules
	b.changes++
}

// Apply counts a committed entry. Entries come in the order of the log; one that is
// earlier than the last counts at the time of the last, which errs towards refusing.
func (b *Book) Apply(d Disclosure) error {
	if bucketOf(d.At.UnixMicro()) == 0 {
		return ErrNoCustomers
	}
	if err := d.count(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.apply(&d, d.At.UnixMicro())
	return nil
}

func (b *Book) apply(d *Disclosure, at int64) {
	day := dayOf(b.logged)
	b.logged = max(b.logged, at)
	b.changes++
	now := bucketOf(b.logged)
	if dayOf(b.logged) != day {
		b.evict(Month.from(now))
	}
	for _, h := range d.holders() {
		key := accountKey{h, d.Class}
		a := b.accounts[key]
		if a == nil {
			a = newAccount()
			b.accounts[key] = a
		}
		for _, ord := range d.Ords {
			a.touch(ord, now)
		}
		a.miss(d.Absent, now)
		a.forget(Month.from(now))
	}
}

// evict drops the accounts of whom nothing is left in any window, because they took
// nothing since the bucket from: of a credential that is not used any more nothing stays
// in memory. It happens on the first entry of a day, by the log's own time, so that a
// replay and a snapshot come to the same accounts.
func (b *Book) evict(from uint32) {
	for key, a := range b.accounts {
		if a.forget(from); len(a.tallies) == 0 {
			delete(b.accounts, key)
		}
	}
}

// dayOf returns the day of a time in microseconds.
func dayOf(micros int64) int64 { return micros / (24 * time.Hour).Microseconds() }

// Check refuses early what the log would refuse anyway. It promises nothing: the
// decision is [Group.Decide], under the head lock.
func (b *Book) Check(d Disclosure) error {
	g := b.Begin(d.At)
	b.mu.Lock()
	defer b.mu.Unlock()
	err := g.refusal(&d)
	if errors.Is(err, ErrStale) {
		return nil // somebody committed in between; the log will decide
	}
	return err
}

// Begin starts a group at the database's clock. [Group.At] is its time.
func (b *Book) Begin(at time.Time) *Group {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &Group{book: b, at: max(at.UnixMicro(), b.logged), began: b.changes, overlays: map[accountKey]*overlay{}}
}

// Group decides disclosures that are to commit together. One goroutine owns it.
type Group struct {
	book     *Book
	at       int64
	began    uint64
	overlays map[accountKey]*overlay
	accepted []Disclosure
}

// At is the time that the group's entries must carry: the clock, or the last
// entry's time where the clock stepped back.
func (g *Group) At() time.Time { return time.UnixMicro(g.at).UTC() }

// Decide accepts a disclosure, or says why not: [*ExhaustedError], [*NoRuleError],
// [ErrStale]. Accepted disclosures count for the rest of the group at once, and for
// the book when [Group.Commit] follows. A refused one counts nowhere.
func (g *Group) Decide(d Disclosure) error { return g.DecideAll([]Disclosure{d}) }

// DecideAll decides what one entry counts in several classes: all of it, or none.
func (g *Group) DecideAll(ds []Disclosure) error {
	b := g.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range ds {
		if err := g.refusal(&ds[i]); err != nil {
			return err
		}
	}
	// From here they are accepted at every holder, or the group is dropped.
	for i := range ds {
		d := &ds[i]
		if d.cost() == 0 {
			continue // there had to be room, and none is used
		}
		for _, h := range d.holders() {
			key := accountKey{h, d.Class}
			o := g.overlays[key]
			if o == nil {
				o = newOverlay()
				g.overlays[key] = o
			}
			o.add(b.accounts[key], d, bucketOf(g.at))
		}
		g.accepted = append(g.accepted, *d)
	}
	return nil
}

// refusal says why not, and counts nothing. It makes the customers distinct. The
// caller holds the book's lock.
func (g *Group) refusal(d *Disclosure) error {
	now := bucketOf(g.at)
	if now == 0 {
		return ErrNoCustomers
	}
	if err := d.count(); err != nil {
		return err
	}
	b := g.book
	if g.began != b.changes {
		return ErrStale
	}
	var worst *ExhaustedError
	today := Date(dayOf(g.at))
	daily := -1 // what the principal has taken in a day with this request, once asked for
	few := func(most uint32) bool {
		if daily < 0 {
			v := g.view(Holder{Kind: Principal, ID: d.Principal}, d.Class, now)
			daily = v.used(Day) + max(v.missing(d, Day), d.Room)
		}
		return daily <= int(most)
	}
	for _, h := range d.holders() {
		limits := d.limits(b.rules, h.Kind, today)
		if limits == (Limits{}) {
			return &NoRuleError{Kind: h.Kind, Class: d.Class, Role: d.Role}
		}
		v, percent := g.view(h, d.Class, now), b.rules.keptFrom(h.Kind, d.Role, d.Class, few)
		for w := range numWindows {
			if !limits[w].Set {
				continue
			}
			used, asked := v.used(w), max(v.missing(d, w), d.Room)
			limit, kept := limits[w].Limit, uint32(0)
			if asked > 0 { // whom the window has is free
				kept = uint32(uint64(limit) * uint64(percent) / 100)
			}
			if uint64(used)+uint64(asked) <= uint64(limit-kept) {
				continue
			}
			e := &ExhaustedError{Holder: h, Class: d.Class, Window: w, Limit: limit, Kept: kept, Used: used, Asked: asked, Blind: d.Rows > 0}
			if fits := v.fits(d.told(), w, int(limit-kept)); fits > 0 {
				e.Retry = time.Duration(int64(fits)*bucketMicros-g.at) * time.Microsecond
			}
			if worst == nil || worst.Retry > 0 && (e.Retry == 0 || e.Retry > worst.Retry) {
				worst = e
			}
		}
	}
	if worst != nil {
		return worst
	}
	return nil
}

func (g *Group) view(h Holder, c Class, now uint32) view {
	key := accountKey{h, c}
	return view{g.book.accounts[key], g.overlays[key], now}
}

// Commit counts what the group accepted, after its transaction committed. A group
// that did not commit is simply dropped.
func (g *Group) Commit() {
	g.book.mu.Lock()
	defer g.book.mu.Unlock()
	for i := range g.accepted {
		g.book.apply(&g.accepted[i], g.at)
	}
	g.accepted = nil
	g.began = ^uint64(0) // a spent group decides nothing more
}

// Used is one line of a holder's usage.
type Used struct {
	Class  Class
	Window Window
	Count  int
}

// Usage returns what a holder used of its budget in every class and window at a time:
// distinct customers, and searches that found nobody.
func (b *Book) Usage(h Holder, at time.Time) []Used {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := bucketOf(max(at.UnixMicro(), b.logged))
	var out []Used
	for _, c := range InUse() {
		v := view{account: b.accounts[accountKey{h, c}], now: now}
		for w := range numWindows {
			out = append(out, Used{c, w, v.used(w)})
		}
	}
	return out
}

// distinct returns ords ascending and each once: the same list where it is so already.
func distinct(ords []record.Ordinal) []record.Ordinal {
	if ascending(ords) {
		return ords
	}
	ords = slices.Clone(ords)
	slices.Sort(ords)
	return slices.Compact(ords)
}

func ascending(ords []record.Ordinal) bool {
	for i := 1; i < len(ords); i++ {
		if ords[i] <= ords[i-1] {
			return false
		}
	}
	return true
}
