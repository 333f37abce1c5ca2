package budget

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Window is the length of a trailing window.
type Window uint8

// The windows.
const (
	Hour  Window = iota
	Day          // 24 hours
	Month        // 30 days
	numWindows
)

var windowNames = []string{"hour", "day", "30d"}

// String returns the name used in rules and entries.
func (w Window) String() string { return name(windowNames, int(w)) }

// Length returns how long the window is, 0 for an unknown one.
func (w Window) Length() time.Duration {
	switch w {
	case Hour:
		return time.Hour
	case Day:
		return 24 * time.Hour
	case Month:
		return 30 * 24 * time.Hour
	}
	return 0
}

func (w Window) buckets() uint32 { return uint32(w.Length() / BucketLength) }

// from returns the first bucket that has a part in the window ending in bucket now.
// The oldest counts whole: this is the one bucket by which a refusal can be early.
func (w Window) from(now uint32) uint32 {
	if n := w.buckets(); now > n {
		return now - n
	}
	return 1
}

// HolderKind says who holds a budget.
type HolderKind uint8

// The kinds of holders.
const (
	Lineage   HolderKind = iota // a credential and all made through it
	Principal                   // all credentials of one
	Role                        // all principals of one
	Brand                       // everyone
	numKinds

	// Approval holds the budget of one approval of two people. Its limit stands in the
	// approval, so no rule is for it.
	Approval = numKinds
)

var kindNames = []string{"lineage", "principal", "role", "brand", "approval"}

// String returns the name used in rules and entries.
func (k HolderKind) String() string { return name(kindNames, int(k)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "unknown(" + strconv.Itoa(i) + ")"
}

// Rule limits the distinct customers that each holder of a kind may take in a window.
// It is for one principal, for one role, or with neither for any. With a season it holds
// on the season's days alone, in place of the rule for the same that has none.
type Rule struct {
	Kind      HolderKind
	Role      string
	Principal uint64
	Class     Class
	Window    Window
	Limit     uint32
	Season    Season
}

// ErrRules is returned for rules that contradict themselves or cannot be read.
var ErrRules = fault.New(fault.Invalid, "invalid budget rules")

// NoRuleError says that no rule covers a disclosure, so that it is refused: a budget
// that nobody set is none, not an endless one.
type NoRuleError struct {
	Kind  HolderKind
	Class Class
	Role  string
}

// Error names the command that mends it.
func (e *NoRuleError) Error() string {
	return fmt.Sprintf("no %s budget of the %s covers role %q: set one with `cloakroom budget set`", e.Class, e.Kind, e.Role)
}

// Limits are what holds in each window, where Set.
type Limits [numWindows]struct {
	Limit uint32
	Set   bool
}

// Rules is a checked set of rules; it does not change once made.
type Rules struct {
	list    []Rule // sorted, no two for the same
	kept    []Reserve
	exact   scopes   // of the rules without a season
	periods []period // in order, of those that some season has a part in
}

// scope is whom a rule is for, in every window.
type scope struct {
	kind      HolderKind
	class     Class
	role      string
	principal uint64
}

// scopes are the limits of each scope.
type scopes map[scope]Limits

func compareRules(a, b Rule) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Role, b.Role),
		cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Window, b.Window),
		cmp.Compare(a.Season.From, b.Season.From), cmp.Compare(a.Season.Until, b.Season.Until), cmp.Compare(a.Limit, b.Limit))
}

// NewRules checks rules and what is kept of the budgets that many share, and returns the
// set. A brand's rule is for any; a role's is not for one principal: such a limit would be
// shared by those it was not set for.
func NewRules(list []Rule, kept ...Reserve) (*Rules, error) {
	r := &Rules{list: slices.Clone(list), exact: make(scopes, len(list))}
	slices.SortFunc(r.list, compareRules)
	for _, rule := range r.list {
		switch {
		case rule.Kind >= numKinds || !rule.Class.InUse() || rule.Window >= numWindows:
			return nil, fmt.Errorf("%w: an unknown kind, class or window", ErrRules)
		case rule.Role != "" && rule.Principal != 0:
			return nil, fmt.Errorf("%w: a rule is for a role or for a principal, not for both", ErrRules)
		case rule.Kind == Brand && (rule.Role != "" || rule.Principal != 0), rule.Kind == Role && rule.Principal != 0:
			return nil, fmt.Errorf("%w: a %s budget cannot be for one of those who share it", ErrRules, rule.Kind)
		case !roleName(rule.Role):
			return nil, fmt.Errorf("%w: a role is named by a-z, 0-9 and -", ErrRules)
		case !rule.Season.valid():
			return nil, fmt.Errorf("%w: a season ends after the day on which it begins", ErrRules)
		case rule.Season == Season{} && !r.exact.set(rule):
			return nil, fmt.Errorf("%w: two limits for the same", ErrRules)
		}
	}
	var err error
	if r.periods, err = periodsOf(r.list); err != nil {
		return nil, err
	}
	r.kept, err = checkReserves(kept)
	return r, err
}

// set sets one limit, and reports false where it is set already.
func (s scopes) set(rule Rule) bool {
	key := scope{rule.Kind, rule.Class, rule.Role, rule.Principal}
	limits := s[key]
	if limits[rule.Window].Set {
		return false
	}
	limits[rule.Window].Limit, limits[rule.Window].Set = rule.Limit, true
	s[key] = limits
	return true
}

func roleName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// List returns the rules in canonical order.
func (r *Rules) List() []Rule { return slices.Clone(r.list) }

// Reserves returns what is kept of the budgets that many share.
func (r *Rules) Reserves() []Reserve { return slices.Clone(r.kept) }

// Resolve returns what limits a holder of a kind on a day: in each window the rule for the
// principal, else for the role, else for any; of each, that of a season comes first. All
// unset means refused.
func (r *Rules) Resolve(kind HolderKind, principal uint64, role string, class Class, on Date) Limits {
	var out Limits
	season := r.inSeason(on)
	for _, key := range [...]scope{{kind, class, "", principal}, {kind, class, role, 0}, {kind, class, "", 0}} {
		if limits, ok := season[key]; ok {
			out.fill(limits)
		}
		if limits, ok := r.exact[key]; ok {
			out.fill(limits)
		}
	}
	return out
}

// fill takes what others say of windows of which nothing is said yet.
func (l *Limits) fill(others Limits) {
	for w := range l {
		if !l[w].Set {
			l[w] = others[w]
		}
	}
}

const (
	rulesHeader  = "cloakroom budget rules 3\n"
	rulesHeader2 = "cloakroom budget rules 2\n" // without seasons and reserves
	rulesHeader1 = "cloakroom budget rules 1\n" // of the classes clear, masked, search and export
	classesLine  = "classes "
)

// Encode returns the canonical text that the log keeps: the classes that the rules
// decide, what is kept, and a rule a line, sorted. For a class that a later release adds, the text is
// silent, and [DecodeRules] fills in its default.
func (r *Rules) Encode() []byte {
	return r.encode(rulesHeader + classesLine + strings.Join(classNames(InUse()), " ") + "\n")
}

func (r *Rules) encode(header string) []byte {
	out := []byte(header)
	for _, kept := range r.kept {
		out = fmt.Appendln(out, kept)
	}
	for _, rule := range r.list {
		who := "any"
		if rule.Role != "" {
			who = "role:" + rule.Role
		} else if rule.Principal != 0 {
			who = "principal:" + strconv.FormatUint(rule.Principal, 10)
		}
		out = fmt.Appendf(out, "%s %s %s %s %d", rule.Kind, who, rule.Class, rule.Window, rule.Limit)
		if rule.Season != (Season{}) {
			out = fmt.Appendf(out, " %s", rule.Season)
		}
		out = append(out, '\n')
	}
	return out
}

// classes reads the head of a text: which classes it decides.
func classes(text string) (header, body string, known []Class, err error) {
	if body, ok := strings.CutPrefix(text, rulesHeader1); ok {
		return rulesHeader1, body, []Class{Clear, Masked, Search, Export}, nil
	}
	body, ok := strings.CutPrefix(text, rulesHeader)
	if !ok {
		if body, ok = strings.CutPrefix(text, rulesHeader2); !ok {
			return "", "", nil, fmt.Errorf("%w: the first line is not %q", ErrRules, strings.TrimSpace(rulesHeader))
		}
	}
	line, body, _ := strings.Cut(body, "\n")
	names, ok := strings.CutPrefix(line, classesLine)
	if !ok {
		return "", "", nil, fmt.Errorf("%w: the second line is not `classes` and their names", ErrRules)
	}
	for _, name := range strings.Fields(names) {
		c, err := ParseClass(name)
		if err != nil || !c.InUse() {
			return "", "", nil, fmt.Errorf("%w: an unknown class in the line `classes`", ErrRules)
		}
		known = append(known, c)
	}
	return text[:len(text)-len(body)], body, known, nil
}

// DecodeRules reads canonical text, and refuses any other. A class that the text does not
// decide, because it is of an older release, has its default.
func DecodeRules(text []byte) (*Rules, error) {
	header, r, known, err := read(string(text))
	if err != nil {
		return nil, err
	}
	// One text for one set: two officers who compare texts compare rules.
	if !bytes.Equal(r.encode(header), text) {
		return nil, fmt.Errorf("%w: not in canonical form", ErrRules)
	}
	return r.withDefaults(known)
}

// ParseRules reads what somebody wrote: lines in any order, also empty ones, and comments
// from # to the end of a line.
func ParseRules(text []byte) (*Rules, error) {
	var clean strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			clean.WriteString(line + "\n")
		}
	}
	_, r, known, err := read(clean.String())
	if err != nil {
		return nil, err
	}
	return r.withDefaults(known)
}

// withDefaults returns the rules with the defaults of the classes that they do not know.
func (r *Rules) withDefaults(known []Class) (*Rules, error) {
	list := r.list
	for _, rule := range defaults() {
		if !slices.Contains(known, rule.Class) {
			list = append(list, rule)
		}
	}
	return NewRules(list, r.kept...)
}

// read reads a text, and what it says of itself.
func read(text string) (header string, r *Rules, known []Class, err error) {
	header, body, known, err := classes(text)
	if err != nil {
		return "", nil, nil, err
	}
	var list []Rule
	var kept []Reserve
	at := strings.Count(header, "\n")
	for line := range strings.Lines(body) {
		at++
		part := strings.Fields(line)
		if len(part) > 0 && part[0] == reserveWord {
			one, err := readReserve(part)
			if err != nil {
				return "", nil, nil, fmt.Errorf("%w (line %d)", err, at)
			}
			kept = append(kept, one)
			continue
		}
		rule, err := readRule(part)
		if err != nil {
			return "", nil, nil, fmt.Errorf("%w (line %d)", err, at)
		}
		if !slices.Contains(known, rule.Class) {
			return "", nil, nil, fmt.Errorf("%w: a rule for a class that the line `classes` does not name (line %d)", ErrRules, at)
		}
		list = append(list, rule)
	}
	r, err = NewRules(list, kept...)
	return header, r, known, err
}

// readRule reads the words of one rule.
func readRule(part []string) (Rule, error) {
	if len(part) != 5 && len(part) != 6 {
		return Rule{}, fmt.Errorf("%w: a line is kind, who, class, window and limit, and for a season its days, 2026-11-20..2026-12-01", ErrRules)
	}
	kind, window := slices.Index(kindNames, part[0]), slices.Index(windowNames, part[3])
	class, unknown := ParseClass(part[2])
	limit, err := strconv.ParseUint(part[4], 10, 32)
	if kind < 0 || unknown != nil || window < 0 || err != nil {
		return Rule{}, fmt.Errorf("%w: an unknown kind, class, window or limit", ErrRules)
	}
	rule := Rule{Kind: HolderKind(kind), Class: class, Window: Window(window), Limit: uint32(limit)}
	if len(part) == 6 {
		if rule.Season, err = readSeason(part[5]); err != nil {
			return Rule{}, err
		}
	}
	if id, ok := strings.CutPrefix(part[1], "principal:"); ok {
		if rule.Principal, err = strconv.ParseUint(id, 10, 64); err != nil {
			return Rule{}, fmt.Errorf("%w: not the number of a principal", ErrRules)
		}
		return rule, nil
	}
	if rule.Role = strings.TrimPrefix(part[1], "role:"); part[1] == "any" {
		rule.Role = ""
	}
	return rule, nil
}

// Default limits, per hour, day and 30 days. A person at a desk serves some dozens
// of customers a day; an application sends to some thousands. They are meant to be
// tightened by what a brand sees in its own usage.
var defaultLimits = [...]struct {
	kind   HolderKind
	role   string
	class  Class
	limits [numWindows]uint32
}{
	{Lineage, "", Clear, [...]uint32{40, 150, 1500}},
	{Lineage, "", Masked, [...]uint32{120, 500, 5000}},
	{Lineage, "", Search, [...]uint32{120, 500, 5000}},
	{Lineage, "", Export, [...]uint32{0, 0, 0}},
	{Lineage, "application", Clear, [...]uint32{1000, 5000, 50000}},
	{Lineage, "application", Masked, [...]uint32{2000, 10000, 100000}},
	{Lineage, "application", Search, [...]uint32{2000, 10000, 100000}},
	{Lineage, "marketing", Export, [...]uint32{10000, 10000, 50000}},
	{Lineage, "analyst", Export, [...]uint32{10000, 10000, 50000}},
	{Lineage, "data-protection-officer", Export, [...]uint32{10000, 20000, 100000}},
	{Role, "", Clear, [...]uint32{2000, 10000, 100000}},
	{Role, "", Masked, [...]uint32{5000, 25000, 250000}},
	{Role, "", Search, [...]uint32{5000, 25000, 250000}},
	{Role, "", Export, [...]uint32{10000, 20000, 100000}},
	{Brand, "", Clear, [...]uint32{4000, 20000, 200000}},
	{Brand, "", Masked, [...]uint32{10000, 50000, 500000}},
	{Brand, "", Search, [...]uint32{10000, 50000, 500000}},
	{Brand, "", Export, [...]uint32{10000, 20000, 100000}},
	// Of a shop's customers some percent change something in a day: another address, the
	// language. What changes more is a file, which two people approve.
	{Lineage, "", Write, [...]uint32{60, 200, 2000}},
	{Lineage, "application", Write, [...]uint32{500, 2000, 20000}},
	{Role, "", Write, [...]uint32{1000, 4000, 40000}},
	{Brand, "", Write, [...]uint32{2000, 8000, 80000}},
	// Requests of people who are sure that they want to be forgotten come one by one.
	{Lineage, "", Erase, [...]uint32{20, 50, 200}},
	{Lineage, "data-protection-officer", Erase, [...]uint32{50, 200, 2000}},
	{Role, "", Erase, [...]uint32{100, 400, 4000}},
	{Brand, "", Erase, [...]uint32{100, 400, 4000}},
	// Confirmations of orders come as orders do. What goes to many at once is a campaign.
	{Lineage, "", Message, [...]uint32{0, 0, 0}},
	{Lineage, "application", Message, [...]uint32{1000, 5000, 50000}},
	{Role, "", Message, [...]uint32{2000, 10000, 100000}},
	{Brand, "", Message, [...]uint32{4000, 20000, 200000}},
	// A sample is some hundred rows. A larger one takes two people, and counts against none.
	{Lineage, "", Claim, [...]uint32{1000, 3000, 10000}},
	{Role, "", Claim, [...]uint32{2000, 6000, 20000}},
	{Brand, "", Claim, [...]uint32{2000, 6000, 20000}},
}

// DefaultRules returns the rules of a new brand. A principal has what one lineage
// has, so that a second credential gains nothing.
func DefaultRules() *Rules {
	r, err := NewRules(defaults(), defaultReserves...)
	if err != nil {
		return &Rules{} // refuses everything; a test holds that this does not happen
	}
	return r
}

func defaults() (list []Rule) {
	for _, d := range defaultLimits {
		for w, limit := range d.limits {
			rule := Rule{Kind: d.kind, Role: d.role, Class: d.class, Window: Window(w), Limit: limit}
			list = append(list, rule)
			if d.kind == Lineage {
				rule.Kind = Principal
				list = append(list, rule)
			}
		}
	}
	return list
}
