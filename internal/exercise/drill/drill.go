// Package drill plays breaches against a real vault and measures what each would have
// cost.
//
// A [Config] says how large the brand is and which attacks and defences are tried. [Run]
// makes a vault with invented customers on a fresh database, serves it, works it for
// some days by the model of internal/exercise/generate/work, and keeps that state. Every attack
// then begins from it, once for each set of defences, and does what a thief does:
// through the public API, over HTTP, with a credential that was stolen or consented to.
// A responder who knows only the alarms resets a password, sees it go on, and contains.
//
// Two things are held against the log at the end of every attack, and are errors where
// they do not hold: what the thief received, by tokens, is exactly what the log says that
// these credentials were shown; and in no window was it more than the loss bound, read
// before the attack, had announced.
//
// # Time
//
// The vault's clock is the drill's: 14 days pass in a minute. Requests are sent one after
// another, each at its own moment, and before the responder looks the watcher has read
// the log to its end. So equal configurations give equal counts, and only the keys, the
// tokens and the signatures differ. [docs/drill.md] says what the drill does not model.
//
// [docs/drill.md]: ../../../docs/drill.md
package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// The sizes of a drill.
const (
	DefaultCustomers = 200_000
	DefaultDays      = 14
	DefaultHorizon   = 14
	MinCustomers     = 1000
	MaxCustomers     = 10_000_000
	MaxDays          = 60

	// associates, agents and thieves are how many there are at DefaultCustomers and more;
	// a smaller brand has fewer, in proportion.
	associates = 400
	agents     = 30
	thieves    = 40
	// letter is how many customers the letter of the week goes to.
	letter = 800
)

// Config is a drill.
type Config struct {
	Dir       string // an empty directory to work in, for who calls Run to remove
	Database  Database
	Customers int
	Days      int // of normal operation before an attack
	Horizon   int // days after which an attack that nobody stopped is given up
	Seed      uint64
	Variants  []Variant   // which attacks; empty: all
	Defences  [][]Defence // which sets are switched off, a run each; empty: AllDefences
	responder Responder
	// Progress, if set, is told what is being done, and how much of how much is.
	Progress func(what string, done, all int64)
}

// Database makes copies of a vault's database, where that is not a file in its directory.
type Database interface {
	// Fresh returns an empty database.
	Fresh(ctx context.Context) (dsn string, err error)
	// Copy returns a copy of a database that nobody has open.
	Copy(ctx context.Context, dsn string) (string, error)
	// Drop removes one that Fresh or Copy made.
	Drop(ctx context.Context, dsn string) error
}

// Defence is something that can be switched off to see what it is worth.
type Defence string

// The defences.
const (
	Budgets   Defence = "budgets"   // off: no limit is reached
	Canaries  Defence = "canaries"  // off: they are retired before the attack
	Detection Defence = "detection" // off: nobody acts on an alarm, but for canaries'
)

// KnownDefences returns every defence.
func KnownDefences() []Defence { return []Defence{Budgets, Canaries, Detection} }

// AllDefences are the sets that are compared by default: nothing switched off, each
// alone, and all.
func AllDefences() [][]Defence {
	return [][]Defence{{}, {Budgets}, {Canaries}, {Detection}, KnownDefences()}
}

// ParseDefences reads a list such as budgets,canaries.
func ParseDefences(list string) ([]Defence, error) {
	var out []Defence
	for name := range strings.SplitSeq(list, ",") {
		d := Defence(strings.TrimSpace(name))
		if !slices.Contains(KnownDefences(), d) {
			return nil, fmt.Errorf("there is no defence %q: known are %v", name, KnownDefences())
		}
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out, nil
}

// ErrFault is returned where the vault broke a promise during the drill: something left
// that the log does not say, or more than the bound. The result says which.
var ErrFault = errors.New("the vault broke a promise during the drill")

// Check says what of a configuration cannot be, and fills in what is left out.
func (c *Config) Check() error {
	switch {
	case c.Customers < MinCustomers || c.Customers > MaxCustomers:
		return fmt.Errorf("customers are %d to %d", MinCustomers, MaxCustomers)
	case c.Days < 1 || c.Days > MaxDays:
		return fmt.Errorf("days are 1 to %d", MaxDays)
	case c.Horizon < 1 || c.Horizon > MaxDays:
		return fmt.Errorf("the horizon is 1 to %d days", MaxDays)
	}
	c.responder = responderNow()
	if len(c.Variants) == 0 {
		c.Variants = Variants()
	}
	if len(c.Defences) == 0 {
		c.Defences = AllDefences()
	}
	if c.Progress == nil {
		c.Progress = func(string, int64, int64) {}
	}
	return nil
}

// worked is how many days are worked before the night of an attack: the baseline period, and
// the day on which somebody is phished. Detection takes a person for known 14 times 24
// hours after their first entry, which on the first day is not at midnight.
func (c *Config) worked() int { return c.Days + 1 }

// scaled is n at DefaultCustomers, and fewer at a smaller brand.
func (c *Config) scaled(n, least int) int {
	return min(n, max(least, n*c.Customers/DefaultCustomers))
}

// story is what a variant does, with how many people it takes at this size.
func (c *Config) story(v Variant) string {
	if !strings.Contains(v.Story, "%d") {
		return v.Story
	}
	return fmt.Sprintf(v.Story, c.scaled(thieves, 3))
}

func (c *Config) staff() work.Staff {
	return work.Staff{
		Associates: c.scaled(associates, 12), Agents: c.scaled(agents, 4), Applications: 1, Campaigns: 1, Letter: c.scaled(letter, 100),
	}
}

// place is the brand at work. The shop of a smaller brand sells less; each person at a
// desk is as busy as ever.
func (c *Config) place() *work.Place {
	p := work.New(c.Seed, c.staff(), c.Customers)
	for _, w := range p.Workers {
		if w.Kind == work.Application {
			w.Rate *= min(1, float64(c.Customers)/DefaultCustomers)
		}
	}
	return p
}

// Run holds the drill. With ErrFault the result is there all the same.
func Run(ctx context.Context, c Config) (*Result, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	s := &state{dir: filepath.Join(c.Dir, "before")}
	if c.Database != nil {
		dsn, err := c.Database.Fresh(ctx)
		if err != nil {
			return nil, err
		}
		s.dsn = dsn
	}
	out := &Result{
		Customers: c.Customers, Days: c.Days, HorizonDays: c.Horizon, Seed: c.Seed,
		Responder: c.responder, Variants: []VariantResult{},
	}
	err := honest(ctx, &c, s, out)
	for _, v := range c.Variants {
		if err != nil {
			break
		}
		out.Variants = append(out.Variants, VariantResult{Variant: v.Name, Title: v.Title, Story: c.story(v), Runs: []RunResult{}})
		at := &out.Variants[len(out.Variants)-1]
		for i, off := range c.Defences {
			c.Progress(fmt.Sprintf("attack %s, %s", v.Name, Label(off)), int64(i), int64(len(c.Defences)))
			var r *RunResult
			if r, err = attack(ctx, &c, s, v, off); err != nil {
				err = fmt.Errorf("attack %s, %s: %w", v.Name, Label(off), err)
				break
			}
			at.Runs = append(at.Runs, *r)
		}
	}
	if c.Database != nil {
		err = errors.Join(err, c.Database.Drop(context.WithoutCancel(ctx), s.dsn))
	}
	if err != nil {
		return nil, err
	}
	if faults := out.Faults(); len(faults) > 0 {
		return out, fmt.Errorf("%w: %s", ErrFault, strings.Join(faults, "; "))
	}
	return out, nil
}

// state is a vault at rest, and what those who work with it know.
type state struct {
	dir, dsn string
	people   []person // by work.Worker.ID-1
	tokens   tokens   // of customer n, at n-1
	canaries []string // tokens of decoys
	decoys   map[record.Ordinal]bool
}

// copy makes a vault of its own from a state.
func (s *state) copy(ctx context.Context, c *Config, dir string) (dsn string, err error) {
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		return "", fmt.Errorf("copying the vault: %w", err)
	}
	if err := os.Chmod(filepath.Join(dir, "root.key"), 0o600); err != nil {
		return "", fmt.Errorf("copying the vault: %w", err)
	}
	if s.dsn == "" {
		return "", nil
	}
	return c.Database.Copy(ctx, s.dsn)
}
