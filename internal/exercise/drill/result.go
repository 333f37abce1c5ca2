package drill

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// neverStopped is the end of an attack that the days of the drill ended.
const neverStopped = "never stopped"

// Result is what a drill found. Durations of the simulated world are in seconds.
type Result struct {
	Customers   int             `json:"customers"`
	Canaries    int             `json:"canaries"`
	Days        int             `json:"days"`
	HorizonDays int             `json:"horizon_days"`
	Seed        uint64          `json:"seed"`
	Budgets     string          `json:"budgets"`
	Responder   Responder       `json:"responder"`
	Honest      HonestResult    `json:"baseline"`
	Variants    []VariantResult `json:"variants"`
}

// HonestResult is the baseline period: normal operation before an attack.
type HonestResult struct {
	Associates      int            `json:"associates"`
	Agents          int            `json:"agents"`
	Requests        int            `json:"requests"`
	Customers       int            `json:"customers_written"`
	Refused         int            `json:"refused_by_budget"`
	RefusedByRole   map[string]int `json:"refused_by_role"`
	Alarms          int            `json:"false_alarms"`
	AlarmsByRule    map[string]int `json:"false_alarms_by_rule"`
	Pages           int            `json:"false_pages"`
	Months          float64        `json:"principal_months"`
	AlarmsEachMonth float64        `json:"false_alarms_per_principal_month"`
	PagesEachMonth  float64        `json:"false_pages_per_principal_month"`
}

// VariantResult is one way to attack, with a run for each set of defences.
type VariantResult struct {
	Variant string      `json:"variant"`
	Title   string      `json:"title"`
	Story   string      `json:"story"`
	Runs    []RunResult `json:"runs"`
}

// Run is one attack against one set of defences.
type RunResult struct {
	Defence string   `json:"defence"` // in words
	Off     []string `json:"off"`

	Lost        int    `json:"customers_lost"`
	Received    int    `json:"customers_received"` // by these credentials, their normal work included
	CanariesMet int    `json:"canaries_met"`
	Requests    int    `json:"requests"`
	Refused     int    `json:"requests_refused"`
	Ended       string `json:"ended"` // contained, reset, everything taken, never stopped
	EndedAfter  int64  `json:"ended_after_s"`

	FirstSignal *Signal `json:"first_signal"`
	PagedAfter  *int64  `json:"paged_after_s"`
	ResetAfter  *int64  `json:"reset_after_s"`
	LostAtReset int     `json:"customers_lost_at_reset"`
	Contained   *int64  `json:"contained_after_s"`

	Bound       Windows `json:"loss_bound"`
	Most        Windows `json:"most_received"`
	WithinBound bool    `json:"within_bound"`
	Logged      int     `json:"customers_logged"`
	Exact       bool    `json:"exact"`

	Bystanders *Bystanders `json:"bystanders"`

	Series [][2]int64 `json:"series"` // seconds, customers lost
}

// Signal is the first alarm about a thief.
type Signal struct {
	After    int64  `json:"after_s"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Usual    string `json:"usual"`
	Seen     string `json:"seen"`
	Lost     int    `json:"customers_lost_by_then"`
}

// Windows are numbers of distinct customers in clear.
type Windows struct {
	Hour  uint64 `json:"hour"`
	Day   uint64 `json:"day"`
	Month uint64 `json:"30d"`
}

// Unlimited is a bound that says nothing: more than anybody has customers.
const Unlimited = 1 << 31

// Bystanders are everybody else at work during the attack.
type Bystanders struct {
	Requests  int `json:"requests"`
	Refused   int `json:"refused_by_budget"`
	LockedOut int `json:"locked_out"`
	Alarms    int `json:"false_alarms"`
	Pages     int `json:"false_pages"`
}

// Label names a set of defences that are off.
func Label(off []Defence) string {
	switch len(off) {
	case 0:
		return "all on"
	case len(KnownDefences()):
		return "none"
	}
	words := make([]string, len(off))
	for i, d := range off {
		words[i] = string(d)
	}
	return "without " + strings.Join(words, " and ")
}

// Faults says which promises were broken, and nothing where none was.
func (r *Result) Faults() []string {
	var out []string
	for _, v := range r.Variants {
		for _, run := range v.Runs {
			if !run.WithinBound {
				out = append(out, fmt.Sprintf("attack %s, %s: %+v customers were received and the loss bound was %+v", v.Variant, run.Defence, run.Most, run.Bound))
			}
			if !run.Exact {
				out = append(out, fmt.Sprintf("attack %s, %s: %d customers were received; the log has %d, or different ones", v.Variant, run.Defence, run.Received, run.Logged))
			}
		}
	}
	return out
}

// Span is a number of seconds as people say it, and a dash for none.
func Span(seconds *int64) string {
	if seconds == nil {
		return "-"
	}
	return span(*seconds)
}

func span(s int64) string {
	const minute, hour, day = 60, 3600, 86400
	switch {
	case s < 2*minute:
		return fmt.Sprintf("%d s", s)
	case s < 2*hour:
		return fmt.Sprintf("%d min", s/minute)
	case s < 2*day && s%hour < minute:
		return fmt.Sprintf("%d h", s/hour)
	case s < 2*day:
		return fmt.Sprintf("%d h %d min", s/hour, s%hour/minute)
	}
	if s%day < hour {
		return fmt.Sprintf("%d days", s/day)
	}
	return fmt.Sprintf("%d d %d h", s/day, s%day/hour)
}

// Verdict is the drill in one sentence, for a board: the worst attack with every defence, and
// with none.
func (r *Result) Verdict() string {
	if len(r.Faults()) > 0 {
		return "The vault broke a promise: do not rely on it before that is mended."
	}
	var on, off *RunResult
	where := ""
	for i := range r.Variants {
		for j := range r.Variants[i].Runs {
			run := &r.Variants[i].Runs[j]
			switch {
			case run.Defence == Label(nil) && (on == nil || run.Lost > on.Lost):
				on, where = run, r.Variants[i].Title
			case run.Defence == Label(KnownDefences()) && (off == nil || run.Lost > off.Lost):
				off = run
			}
		}
	}
	if on == nil {
		return "No attack was played with every defence."
	}
	s := fmt.Sprintf("With every defence, the worst of %d attacks (%s) got the data of %s of %s customers (%s); it %s.",
		len(r.Variants), strings.ToLower(where), count(on.Lost), count(r.most()), Share(on.Lost, r.most()), on.outcome())
	if len(r.Variants) == 1 {
		s = fmt.Sprintf("With every defence, the attack (%s) got the data of %s of %s customers (%s); it %s.",
			strings.ToLower(where), count(on.Lost), count(r.most()), Share(on.Lost, r.most()), on.outcome())
	}
	if off != nil {
		s += fmt.Sprintf(" With none, the worst got %s (%s).", count(off.Lost), Share(off.Lost, r.most()))
	}
	return s
}

// outcome says how a run ended.
func (r *RunResult) outcome() string {
	switch {
	case r.Contained != nil:
		return "was contained after " + Span(r.Contained)
	case r.PagedAfter != nil:
		return "paged somebody after " + Span(r.PagedAfter)
	}
	return "paged nobody"
}

// Share is a part in per cent, to two figures.
func Share(n, of int) string {
	if of == 0 {
		return "0 %"
	}
	share := 100 * float64(n) / float64(of)
	if share >= 99.5 { // two digits of it would be 1e+02
		return strconv.FormatFloat(share, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(share, 'g', 2, 64) + " %"
}

// String returns the three numbers in order.
func (w Windows) String() string {
	return figure(w.Hour) + ", " + figure(w.Day) + ", " + figure(w.Month)
}

func figure(n uint64) string {
	if n >= Unlimited {
		return "no bound"
	}
	return strconv.FormatUint(n, 10)
}

// String says after how long which rule spoke.
func (s *Signal) String() string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s, %s)", span(s.After), s.Rule, s.Severity)
}

// End says how the attack ended, and after how long.
func (r *RunResult) End() string {
	if r.Ended == neverStopped {
		return fmt.Sprintf("never stopped (gave up after %s)", span(r.EndedAfter))
	}
	return r.Ended + " after " + span(r.EndedAfter)
}

// Odds says how likely reading so many customers of the list touches a canary.
func (r *Result) Odds() string {
	if r.Canaries == 0 {
		return "No canary was placed."
	}
	rate := float64(r.Canaries) / float64(r.Customers+r.Honest.Customers+r.Canaries)
	var out []string
	for _, n := range []int{40, 150, 500, 1500} {
		out = append(out, fmt.Sprintf("%.0f %%", 100*(1-math.Pow(1-rate, float64(n)))))
	}
	return "A thief who reads 40, 150, 500 or 1,500 customers touches a canary in " + strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1] + " of cases. Results vary by seed."
}
