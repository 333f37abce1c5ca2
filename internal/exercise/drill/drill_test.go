package drill

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// folder makes a folder in memory where there is one: nothing here needs to survive, and
// disks are slow.
func folder(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "cloakroom-drill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// small is a drill of seconds.
func small(t *testing.T, engine string) Config {
	t.Helper()
	c := Config{Dir: folder(t), Customers: 1500, Days: 1, Horizon: 1, Seed: 7, Defences: [][]Defence{{}, {Budgets}, {Detection}}}
	if engine == "postgres" {
		dbtest.DSN(t) // skips, or fails in CI, without a server
		beside, err := db.NewBeside(t.Context(), os.Getenv(dbtest.EnvPostgres))
		if err != nil {
			t.Fatal(err)
		}
		c.Database = beside
	}
	return c
}

func held(t *testing.T, c Config, variants string) *Result {
	t.Helper()
	var err error
	if c.Variants, err = ParseVariants(variants); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func text(t *testing.T, r *Result) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every attack is held against the log and the bound by Run itself: an error here would
// be a broken promise. What the test adds is that the figures say what they should.
func TestADrill(t *testing.T) {
	t.Parallel()
	c, variants := small(t, "sqlite"), "a,b,c,d,e"
	if raceDetector { // the same goroutines, and a third of the work
		c.Defences, variants = c.Defences[:2], "a,c,d"
	}
	r := held(t, c, variants)
	if len(r.Variants) != len(strings.Split(variants, ",")) || r.Honest.Requests < 500 || r.Canaries < 2 {
		t.Fatalf("%d variants after %d honest requests with %d canaries", len(r.Variants), r.Honest.Requests, r.Canaries)
	}
	for _, v := range r.Variants {
		all, without := v.Runs[0], v.Runs[1]
		if len(v.Runs) != len(c.Defences) || all.Defence != "all on" || without.Defence != "without budgets" {
			t.Fatalf("attack %s: %+v", v.Variant, v.Runs)
		}
		if all.Lost == 0 || all.Requests == 0 || !all.Exact || !all.WithinBound {
			t.Errorf("attack %s: %+v", v.Variant, all)
		}
		if all.Most.Hour > all.Bound.Hour || all.Bound.Hour >= Unlimited || without.Bound.Hour < Unlimited {
			t.Errorf("attack %s: received %v of %v, without budgets of %v", v.Variant, all.Most, all.Bound, without.Bound)
		}
	}
	a := r.Variants[0]
	if a.Runs[1].Lost < 10*a.Runs[0].Lost {
		t.Errorf("a smash and grab took %d with budgets and %d without", a.Runs[0].Lost, a.Runs[1].Lost)
	}
	if a.Runs[1].FirstSignal == nil || a.Runs[1].ResetAfter == nil {
		t.Errorf("nobody noticed a smash and grab: %+v", a.Runs[1])
	}
	for _, v := range r.Variants {
		if run := v.Runs[0]; run.Contained != nil && run.ResetAfter == nil {
			t.Errorf("contained before a reset: %+v", run)
		}
	}
	page(t, r)
}

// A connected app outlives its owner's password and not its lineage.
func TestAResetIsNotEnoughAndContainmentIs(t *testing.T) {
	t.Parallel()
	c := small(t, "sqlite")
	c.Customers, c.Defences = 3000, [][]Defence{{Budgets}}
	c.Variants = []Variant{Variants()[4]} // one by one: much is left at the end
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	run := r.Variants[0].Runs[0]
	if run.ResetAfter == nil || run.Contained == nil || run.Ended != "contained" || run.Lost <= run.LostAtReset || *run.Contained <= *run.ResetAfter {
		t.Errorf("%+v", run)
	}
}

func TestEqualSeedsGiveEqualCounts(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("counts, and nothing that TestADrill does not do at once: done without the race detector")
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			c := small(t, engine)
			c.Defences = [][]Defence{{}}
			one := text(t, held(t, c, "d,e"))
			c.Dir = folder(t)
			if two := text(t, held(t, c, "d,e")); one != two {
				t.Errorf("two drills with one seed:\n%s\n%s", one, two)
			}
			if engine != "sqlite" {
				return
			}
			c.Dir, c.Seed = folder(t), 8
			if other := text(t, held(t, c, "d")); strings.Contains(one, other[strings.Index(other, `"baseline"`):]) {
				t.Error("another seed gave the same")
			}
		})
	}
}

func TestABrokenPromiseIsAnError(t *testing.T) {
	t.Parallel()
	r := &Result{Variants: []VariantResult{{Variant: "a", Runs: []RunResult{{Defence: "all on", WithinBound: false, Exact: true}, {Defence: "none", WithinBound: true, Exact: false}}}}}
	if f := r.Faults(); len(f) != 2 || !strings.Contains(f[0], "loss bound") || !strings.Contains(f[1], "the log has") {
		t.Errorf("%q", f)
	}
	if _, err := Run(t.Context(), Config{}); err == nil || errors.Is(err, ErrFault) {
		t.Errorf("a drill of nobody: %v", err)
	}
}

func TestTheMostInAWindow(t *testing.T) {
	t.Parallel()
	const h = 3600
	list := []taken{{0, 1}, {1, 2}, {h - 1, 3}, {h, 1}, {h + 1, 4}, {3 * h, 5}}
	if n := most(list, budget.Hour); n != 3 { // 3, 1 and 4; 2 is an hour old then
		t.Errorf("%d in an hour", n)
	}
	if n := most(list, budget.Day); n != 5 {
		t.Errorf("%d in a day", n)
	}
}

func TestWhenAnAlarmIsHeard(t *testing.T) {
	t.Parallel()
	r := responderNow()
	const monday, friday = 0, 4 * work.Day
	for _, x := range []struct {
		grade string
		at    int64
		want  int64
	}{
		{"critical", friday + 23*work.Hour, friday + 23*work.Hour + 600},
		{"medium", monday + 2*work.Hour, monday + 10*work.Hour},
		{"medium", monday + 12*work.Hour, monday + 13*work.Hour},
		{"medium", monday + 20*work.Hour, work.Day + 10*work.Hour},
		{"medium", friday + 20*work.Hour, 7*work.Day + 10*work.Hour},
		{"medium", 5*work.Day + 3*work.Hour, 7*work.Day + 10*work.Hour},
	} {
		if got := r.heard(&api.Alarm{Severity: x.grade}, x.at); got != x.want {
			t.Errorf("%s at %d was heard at %d, and not at %d", x.grade, x.at, got, x.want)
		}
	}
}

// What the figures are called is what somebody who was not at the drill understands.
func TestHowFiguresAreSaid(t *testing.T) {
	t.Parallel()
	stopped := RunResult{Ended: "contained", EndedAfter: 2 * 3600}
	never := RunResult{Ended: neverStopped, EndedAfter: 14 * 86400}
	if stopped.End() != "contained after 2 h" || never.End() != "never stopped (gave up after 14 days)" {
		t.Errorf("%s; %s", stopped.End(), never.End())
	}
	r := Result{Customers: 990, Canaries: 10}
	if want := "A thief who reads 40, 150, 500 or 1,500 customers touches a canary in 33 %, 78 %, 99 % and 100 % of cases. Results vary by seed."; r.Odds() != want {
		t.Error(r.Odds())
	}
}

func TestListsOfNames(t *testing.T) {
	t.Parallel()
	if d, err := ParseDefences("canaries, budgets"); err != nil || Label(d) != "without budgets and canaries" {
		t.Errorf("%v %v", d, err)
	}
	if _, err := ParseDefences("moat"); err == nil {
		t.Error("a moat was switched off")
	}
	if v, err := ParseVariants("e,a,e"); err != nil || len(v) != 2 || v[0].Name != "e" {
		t.Errorf("%v %v", v, err)
	}
	if _, err := ParseVariants("f"); err == nil {
		t.Error("there is an attack f")
	}
}

var (
	pictures = regexp.MustCompile(`(?s)<svg.*?</svg>`)
	voids    = regexp.MustCompile(`<(meta|br|hr)([^>]*)>`)
	ids      = regexp.MustCompile(` id="([^"]*)"`)
	refs     = regexp.MustCompile(`(?:href="#|aria-labelledby=")([^"]*)"`)
)

// page checks that the page stands alone and is well-formed, and that its pictures say
// in words what they show.
func page(t *testing.T, r *Result) {
	t.Helper()
	b, err := Page(r)
	if err != nil {
		t.Fatal(err)
	}
	// Written so that it is XML but for the doctype and void elements.
	wellFormed(t, voids.ReplaceAll(bytes.TrimPrefix(b, []byte("<!doctype html>")), []byte("<$1$2/>")))
	for _, foreign := range []string{"<script", "src=", "url(", "@import", "https:"} {
		if bytes.Contains(b, []byte(foreign)) {
			t.Errorf("the page has %s", foreign)
		}
	}
	seen := map[string]bool{}
	for _, id := range ids.FindAllSubmatch(b, -1) {
		if seen[string(id[1])] {
			t.Errorf("two elements have the id %s", id[1])
		}
		seen[string(id[1])] = true
	}
	for _, ref := range refs.FindAllSubmatch(b, -1) {
		for name := range strings.FieldsSeq(string(ref[1])) {
			if !seen[name] {
				t.Errorf("nothing has the id %s", name)
			}
		}
	}
	n := 0
	for _, svg := range pictures.FindAll(b, -1) {
		wellFormed(t, svg)
		switch {
		case bytes.Contains(svg, []byte(`role="img"`)):
			n++
			if !bytes.Contains(svg, []byte("<title")) || !bytes.Contains(svg, []byte("<desc")) {
				t.Error("a picture without words")
			}
		case !bytes.Contains(svg, []byte(`aria-hidden="true"`)):
			t.Error("a sign that is read aloud")
		}
		if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
			t.Errorf("not numbers in %s", svg)
		}
	}
	if n != len(r.Variants)+1 {
		t.Errorf("%d pictures of %d variants", n, len(r.Variants))
	}
}

func wellFormed(t *testing.T, b []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}
