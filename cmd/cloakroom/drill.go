package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/internal/exercise/drill"
	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// drillCmd is `cloakroom drill`.
type drillCmd struct {
	Run drillRunCmd `cmd:"" help:"Simulate breaches against a vault of invented customers, and show what each would have cost."`
}

type drillRunCmd struct {
	Scenario  string   `arg:"" help:"Scenario: kering, a luxury group robbed through a connected app." enum:"kering"`
	Customers int      `help:"Number of customers of the brand." default:"200000" placeholder:"N"`
	Days      int      `help:"Days of normal operation before each attack." default:"14" placeholder:"N"`
	Horizon   int      `help:"Days after which an attack that nobody stopped ends." default:"14" placeholder:"N"`
	Seed      uint64   `help:"Seed; the same seed gives the same counts." default:"1" placeholder:"S"`
	Variants  string   `help:"Attacks: a smash and grab, b below the radar, c stolen associates, d purchased insider, e walking (default: all)." placeholder:"a,b,..."`
	Defence   []string `help:"Defences to switch off in one variant: budgets, canaries, detection; repeat for more variants (default: each alone, and all)." placeholder:"off=NAME,..." sep:"none"`
	Out       string   `help:"Directory for drill.html, drill.json and one picture per variant." placeholder:"DIR"`
	Work      string   `help:"Working directory, emptied afterwards (default: a temporary one, in memory if large enough)." placeholder:"DIR"`
	Database  string   `help:"PostgreSQL server on which the drill creates and drops its own databases; needs the right to create databases (default: embedded)." env:"CLOAKROOM_DRILL_DATABASE" placeholder:"URL"`
	JSON      bool     `help:"Print one JSON object."`
}

// Help is the long help text.
func (drillRunCmd) Help() string {
	return `Makes a vault on a fresh database, simulates some days of normal operation, then attacks
it through the public API, each variant against several sets of defences. A responder
who knows only the alarms resets a password, sees the attack continue, and contains.
docs/drill.md says what is simulated, how to read the figures, and what is not modelled.

  cloakroom drill run kering --out drill
  cloakroom drill run kering --variants a --defence off=budgets,canaries --json

EXIT STATUS: 0 done, 1 failed, or the vault broke a promise: the thief received more
customers than the loss bound, or customers that the log does not show. 2 wrong command line,
130 interrupted.`
}

// Run holds the drill.
func (c *drillRunCmd) Run(ctx context.Context, std Streams) (err error) {
	cfg := drill.Config{Customers: c.Customers, Days: c.Days, Horizon: c.Horizon, Seed: c.Seed}
	if c.Variants != "" {
		if cfg.Variants, err = drill.ParseVariants(c.Variants); err != nil {
			return &usageError{err.Error()}
		}
	}
	if len(c.Defence) > 0 {
		cfg.Defences = [][]drill.Defence{{}}
	}
	for _, text := range c.Defence {
		list, ok := strings.CutPrefix(text, "off=")
		if !ok {
			return &usageError{"--defence takes off= and the defences to switch off, such as off=budgets,canaries"}
		}
		off, err := drill.ParseDefences(list)
		if err != nil {
			return &usageError{err.Error()}
		}
		cfg.Defences = append(cfg.Defences, off)
	}
	if err := cfg.Check(); err != nil {
		return &usageError{err.Error()}
	}
	if c.Out != "" { // before an hour of work
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", c.Out, err)
		}
	}
	place := c.Work
	if place == "" {
		place = workplace(c.Customers)
	}
	dir, err := os.MkdirTemp(place, "cloakroom-drill-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Dir = dir
	if c.Database != "" {
		beside, err := db.NewBeside(ctx, c.Database)
		if err != nil {
			return err
		}
		cfg.Database = beside
	}
	var b *bar
	cfg.Progress = func(what string, done, all int64) {
		if b == nil || b.what != what {
			if b != nil {
				b.end()
			}
			b = newBar(std, what)
		}
		b.draw(done, done, all)
	}
	begun := time.Now()
	r, err := drill.Run(ctx, cfg)
	if b != nil {
		b.end()
	}
	if r == nil {
		return err
	}
	if c.Out != "" {
		err = errors.Join(err, writeDrill(c.Out, r))
	}
	if c.JSON {
		enc := json.NewEncoder(std.Out)
		return errors.Join(err, enc.Encode(r))
	}
	printDrill(std.Out, r)
	fmt.Fprintf(std.Out, "\nThe drill took %s.", time.Since(begun).Round(time.Second))
	if c.Out != "" {
		fmt.Fprintf(std.Out, " Open %s.", filepath.Join(c.Out, "drill.html"))
	}
	fmt.Fprintln(std.Out)
	return err
}

// memory is where Linux keeps files in memory: nothing that a drill writes needs to
// survive, and syncing each entry to a disk is most of its time.
const memory = "/dev/shm"

// workplace is where the copies of the vault fit: in memory if they take less than a
// quarter of it.
func workplace(customers int) string {
	const bytesEach, copies = 1500, 3
	var st syscall.Statfs_t
	if err := syscall.Statfs(memory, &st); err != nil {
		return ""
	}
	if free := st.Bavail * uint64(st.Bsize); uint64(customers)*bytesEach*copies > free/4 {
		return ""
	}
	return memory
}

func writeDrill(dir string, r *drill.Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	files := map[string][]byte{"drill.json": append(text, '\n'), "drill.svg": []byte(drill.Overview(r))}
	if files["drill.html"], err = drill.Page(r); err != nil {
		return err
	}
	for i := range r.Variants {
		files["drill-"+r.Variants[i].Variant+".svg"] = []byte(drill.Picture(r, &r.Variants[i]))
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("writing the drill: %w", err)
		}
	}
	return nil
}

func printDrill(w io.Writer, r *drill.Result) {
	h := &r.Honest
	fmt.Fprintf(w, "%d customers and %d canaries, seed %d. %d days of %d store associates, %d service agents, the shop application and the newsletter:\n",
		r.Customers, r.Canaries, r.Seed, r.Days, h.Associates, h.Agents)
	fmt.Fprintf(w, "%d requests, %d refused by a budget (%s), %d false alarms (%.2f per principal-month), %d of them paged the responder (%.2f).\n",
		h.Requests, h.Refused, drill.Share(h.Refused, h.Requests), h.Alarms, h.AlarmsEachMonth, h.Pages, h.PagesEachMonth)
	fmt.Fprintln(w, r.Odds())
	for _, v := range r.Variants {
		fmt.Fprintf(w, "\n%s. %s. %s\n", v.Variant, v.Title, v.Story)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  defences\tlost\tfirst signal\tpaged\treset\tcontained\tended\tmost in 1 h, 24 h, 30 d\tloss bound")
		for _, run := range v.Runs {
			fmt.Fprintf(t, "  %s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", run.Defence, run.Lost, run.FirstSignal,
				drill.Span(run.PagedAfter), drill.Span(run.ResetAfter), drill.Span(run.Contained), run.End(), run.Most, run.Bound)
		}
		t.Flush()
	}
	if faults := r.Faults(); len(faults) == 0 {
		fmt.Fprintln(w, "\nIn every run the customers received are exactly those in the log, and never more than the loss bound.")
	}
}
