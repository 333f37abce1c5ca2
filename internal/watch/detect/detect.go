// Package detect reads a brand's log as it is written and reports unusual entries, in
// words with figures.
//
// What it says is a projection of the log: a [Detector] is fed every entry in order
// and keeps what it needs of each principal in a few kilobytes. It never looks at a
// clock, at the database or at a customer's data. So the alarms and all that was
// learned can be dropped and made again from the log, with the same result, and other
// rules can be tried on the past.
//
// # What is usual
//
// How many distinct customers a principal meets in an hour and a day is held against
// its own past: the mean of that hour of the week, drawn towards that hour of other
// days and towards all its hours while little is known, and a negative binomial
// distribution around it, as wide as this principal's counts were. Only hours with
// customers count, so that a swapped shift is no surge. Somebody new is held against
// the role, and the alarm says so. Numbers that were called wild teach little.
//
// Package alarm feeds detectors from the logs, and stores what they say.
package detect

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// Alarm is one thing that a rule noticed at one entry.
type Alarm struct {
	Brand     record.BrandID
	Entry     uint64 // the entry at which it was noticed
	At        time.Time
	Rule      Rule
	Grade     Grade
	Principal uint64
	Lineage   uint64
	Role      string
	Customers int    // whom it concerns, about
	Usual     string // what was usual, with figures
	Seen      string // what was seen, with figures
	// Key is the same for alarms of one severity about one thing on one day: a receiver
	// that was notified of one is notified of the next only after somebody closed one.
	Key     string
	Contain bool // the rules contain the lineage for it
}

// Topic is what the alarm is about: its key without severity and day.
func (a *Alarm) Topic() string {
	parts := strings.Split(a.Key, "/")
	return strings.Join(parts[:max(len(parts)-2, 0)], "/")
}

// ID names an alarm within its brand.
func (a *Alarm) ID() string { return strconv.FormatUint(a.Entry, 10) + "-" + string(a.Rule) }

// Canaries knows which customers are canaries.
type Canaries interface {
	// Refresh rereads which they are: before the entries are looked at that may be
	// about them.
	Refresh(ctx context.Context, brand record.BrandID) error
	Contains(brand record.BrandID, ord record.Ordinal) bool
	// Bound reports whether a canary was put into the file of that export by the vault.
	Bound(brand record.BrandID, ord record.Ordinal, export string) bool
	// Marked returns how many canaries a write met, from the mark of its entry. One that
	// was to get purchases counts double.
	Marked(brand record.BrandID, mark string) int
}

// Detector watches one brand's log. It is used by one goroutine.
type Detector struct {
	brand record.BrandID
	rules *Rules
	// rulesText is what rules were read from; empty while they are those that New got.
	rulesText string
	pinned    bool
	tried     bool
	canaries  Canaries
	people    map[uint64]*profile
	roles     map[string]*role
	// limits are the budgets that hold, and what they were read from; nil where the log has
	// none yet.
	limits     *budget.Rules
	limitsText string
	parts      budget.Parts      // of other limits, of which some are to come
	paced      map[string]*paces // by role, and the brand's without one
	space      space
	stored     int // customers that the brand has, about
	day        int64
	next       uint64
}

// New returns a detector that has seen nothing. Rules in the log replace those it is
// given. Canaries may be nil.
func New(brand record.BrandID, rules *Rules, c Canaries) *Detector {
	return &Detector{brand: brand, rules: rules, canaries: c, people: map[uint64]*profile{}, roles: map[string]*role{}, paced: map[string]*paces{}}
}

// Pin makes the detector keep its rules whatever the log says: to try rules.
func (d *Detector) Pin() { d.pinned = true }

// Try makes the detector say what its rules say, and nothing of acts that need two people,
// which no rule switches off.
func (d *Detector) Try() { d.tried = true }

// Next is the index of the entry that comes next.
func (d *Detector) Next() uint64 { return d.next }

// Rules are the rules that hold.
func (d *Detector) Rules() *Rules { return d.rules }

const hoursPerDay, hoursPerWeek = 24, 168

// mondays is how many hours 1970 began after a Monday, 00:00 UTC.
const mondays = 3 * hoursPerDay

// moment is an entry's time in the units of the rules.
type moment struct {
	at        time.Time
	hour, day int64 // since 1970
}

func momentOf(at time.Time) moment {
	h := at.Unix() / 3600
	return moment{at.UTC(), h, h / hoursPerDay}
}

func hourOfWeek(hour int64) int { return int((hour + mondays) % hoursPerWeek) }
func hourOfDay(hour int64) int  { return int(hour % hoursPerDay) }
func weekday(day int64) int     { return int((day + 3) % 7) } // 0 is Monday

// Observe takes the next entry and its customers, and returns what is unusual about
// it. Entries come in the order of the log, each once.
func (d *Detector) Observe(index uint64, e *entry.Entry, ords []record.Ordinal) []Alarm {
	d.next = index + 1
	now := momentOf(e.At)
	if now.day != d.day {
		d.newDay(now.day)
	}
	ords, absent := record.Customers(ords)
	absent += e.Absent()
	d.space.add(ords)
	if e.Kind == entry.KindDetection {
		switch detail := e.Detail.(type) {
		case entry.AlarmClosed:
			d.close(detail.Alarm)
		case entry.AlarmRaised:
			if !d.tried {
				return []Alarm{Raised(d.brand, index, e.At, detail)}
			}
		case entry.DetectionRules:
			if r, err := ParseRules(detail.Rules); err == nil && !d.pinned { // an older release's rules may not be ours
				d.rules, d.rulesText = r, detail.Rules
			}
		}
		return nil
	}
	if e.Kind == entry.KindBudget {
		if text, whole, err := d.parts.Read(e.Detail); err == nil && whole {
			d.budgets(text)
		}
	}
	if e.Bare() || e.Newer() {
		return nil // nobody is known to have done it, or what was done
	}
	if e.Level == entry.Counted {
		return nil // the response counts who is in a scope that two people approved, and is shown nobody
	}
	s := &sight{d: d, index: index, e: e, ords: ords, absent: absent, now: now}
	if mail, ok := e.Detail.(entry.CanaryMail); ok {
		s.mail(&mail) // anyone who reports it has done nothing
		return s.alarms
	}
	if !d.tried { // rules that are tried say nothing of these
		s.separation()
		s.lost()
		s.epoch()
		if silent, ok := e.Detail.(entry.ReceiverSilent); ok {
			s.silent(&silent)
		}
	}
	if d.canaries != nil {
		s.canary()
	}
	s.p = d.person(e, now)
	s.r = d.role(e.Role)
	switch {
	case e.Kind == entry.KindRefusal:
		s.refusals()
	case e.Principal == 0:
	default:
		s.novelties()
		switch s.e.Kind {
		case entry.KindWrite, entry.KindImport, entry.KindErasure, entry.KindErasureBegun, entry.KindErasureUndone:
			s.writes()
		}
		if s.released() {
			s.hours()
			s.volumes()
			s.mole()
			s.walk()
		}
		s.paces()
		s.credential()
	}
	s.p.last = now.hour
	return s.alarms
}

// released reports whether the entry shows customers in the ordinary way, or that a search
// found none. Exports have an approval, a budget and canaries of their own.
func (s *sight) released() bool {
	return (s.e.Kind == entry.KindDisclosure || s.e.Kind == entry.KindSearch) && s.count() > 0 && s.e.Class != "export"
}

// count is how many customers the entry counts for.
func (s *sight) count() int { return len(s.ords) + s.absent }

// sight is one entry while it is looked at.
type sight struct {
	d      *Detector
	index  uint64
	e      *entry.Entry
	ords   []record.Ordinal
	absent int // searches that found nobody: each counts as a customer does
	now    moment
	p      *profile
	r      *role
	alarms []Alarm
	added  bool     // a credential that was never used before
	signs  []string // what else was never before
}

// raise raises an alarm about who acts, or about their role, unless the rules are off.
func (s *sight) raise(rule Rule, g Grade, customers int, usual, seen string) {
	about := strconv.FormatUint(s.e.Principal, 10)
	if rule.many() {
		about = s.e.Role
	}
	s.raiseAbout(rule, about, g, customers, usual, seen)
}

// raiseAbout is raise about something else.
func (s *sight) raiseAbout(rule Rule, about string, g Grade, customers int, usual, seen string) {
	if !s.d.rules.on(rule, s.e.Role) {
		return
	}
	a := s.alarm(rule, about, g, usual, seen)
	a.Customers, a.Contain = customers, s.e.Lineage != 0 && s.d.rules.contain(rule, g)
	s.alarms = append(s.alarms, a)
}

// alarm is an alarm at this entry, whatever the rules say.
func (s *sight) alarm(rule Rule, about string, g Grade, usual, seen string) Alarm {
	return Alarm{
		Brand: s.d.brand, Entry: s.index, At: s.now.at, Rule: rule, Grade: g, Principal: s.e.Principal, Lineage: s.e.Lineage, Role: s.e.Role, Usual: usual, Seen: seen,
		Key: fmt.Sprintf("%d/%s/%s/%s/%s", s.d.brand, rule, about, g, s.now.at.Format(time.DateOnly)),
	}
}

func (s *sight) canary() {
	// What is written, erased or audited is not shown to anybody. An approved export has
	// canaries of its own, put there to know its file again: that they leave is no sign, but
	// others in it were named by somebody.
	n := 0
	part, _ := s.e.Detail.(entry.ExportPart)
	for _, ord := range s.ords {
		if s.d.canaries.Contains(s.d.brand, ord) && !(s.e.Class == "export" && s.d.canaries.Bound(s.d.brand, ord, part.Export)) {
			n++
		}
	}
	if n > 0 && (s.e.Kind == entry.KindDisclosure || s.e.Kind == entry.KindSearch) {
		s.raise(Canary, s.d.rules.Canary.Grade, n, "no reads of canaries",
			fmt.Sprintf("read %s (%s in this request)", some(n, "canary", "canaries"), customers(len(s.ords))))
	}
}

// separation says that somebody acts, or asks to act, where two people are needed, and that
// somebody has a key that another had a hand in. Nothing switches it off, and each is told.
func (s *sight) separation() {
	var seen, about string
	g := High
	switch t := s.e.Detail.(type) {
	case entry.ChangeAsked:
		about, seen = t.Change, "asked for "+t.Act+" as change "+t.Change+": it waits for a second person"
	case entry.ChangeAlone:
		about, seen = t.Change, t.Act+" by one hand, as change "+t.Change
	case entry.ChangeGlass:
		about, seen = t.Change+" glass", "broke glass for "+t.Act+", change "+t.Change+": by one hand it takes effect from "+t.Due+" on, unless somebody refuses it"
	case entry.ChangeDone:
		if !strings.Contains(t.Mark, "break-glass") {
			return
		}
		about, seen = t.Change+" done", t.Act+" took effect by broken glass, as change "+t.Change
	case entry.ChangeNoticed:
		if t.Step == "done" {
			return
		}
		about, seen = t.Change, fmt.Sprintf("%s for this brand, as change %s in the log of %s (%s)", t.Act, t.Change, t.Log, t.Step)
	case entry.CredentialCreated:
		about, seen = strconv.FormatUint(s.index, 10), fmt.Sprintf("a key of %s, made by principal %d", t.Principal, s.e.Principal)
	case entry.CredentialRenewed:
		about, seen = strconv.FormatUint(s.index, 10), fmt.Sprintf("the key of credential %d replaced, made by principal %d", t.Credential, s.e.Principal)
	case entry.Redeemed:
		g, about, seen = Medium, strconv.FormatUint(s.index, 10), "a key of "+t.Principal+", made by an invitation of "+t.MadeBy
	case entry.PasskeyCreated:
		about = strconv.FormatUint(s.index, 10)
		switch t.By {
		case entry.ByRecovery:
			seen = "a recovery code of " + t.Principal + " was used: a new passkey of theirs signs in from now on"
		case entry.ByInvitation:
			g, seen = Medium, "a passkey of "+t.Principal+", made by an invitation of "+t.MadeBy
		default:
			g, seen = Medium, "another passkey of "+t.Principal+", made by them while they were signed in"
		}
	case entry.PasskeyCloned:
		about, seen = strconv.FormatUint(s.index, 10), fmt.Sprintf("the passkey %d of %s counted back and was refused: there may be a copy of it; end it with cloakroom principal disconnect", t.Credential, t.Principal)
	default:
		return
	}
	s.alarms = append(s.alarms, s.alarm(Change, about, g, "two people for acts by which somebody sees more, and a key by its holder alone", seen))
}

// lost says that what a service was told to be accepted is not written: its owner sends it
// again under another approval.
func (s *sight) lost() {
	r, ok := s.e.Detail.(entry.Refused)
	if !ok || !r.Lost() {
		return
	}
	s.alarms = append(s.alarms, s.alarm(Lost, strconv.FormatUint(s.e.Principal, 10)+"/"+r.Reason, High, "what waits under a standing approval is written",
		some(max(r.Times, 1), "request was", "requests were")+" accepted and is not written: "+r.Reason))
}

// epoch says that the log lost entries, and who let it go on.
func (s *sight) epoch() {
	t, ok := s.e.Detail.(entry.EpochBegun)
	if !ok {
		return
	}
	by := map[string]string{entry.ByOwner: "the owner of the machine", entry.ByTwoPeople: "two people", entry.ByBreakGlass: "broken glass at the socket"}[t.By]
	lost := "the number of lost entries is unknown"
	if t.Missing > 0 {
		lost = some(int(t.Missing), "entry is known to be lost", "entries are known to be lost")
	}
	seen := fmt.Sprintf("epoch %d continues from %d entries after %s by %s: %s", t.Epoch, s.index, t.Cause, by, lost)
	s.alarms = append(s.alarms, Alarm{
		Brand: s.d.brand, Entry: s.index, At: s.now.at, Rule: Epoch, Grade: Critical, Principal: s.e.Principal, Lineage: s.e.Lineage, Role: s.e.Role,
		Usual: "a log that continues from its last entry", Seen: seen,
		Key: fmt.Sprintf("%d/%s/%s", s.d.brand, Epoch, t.Name),
	})
}

// silent says that alarms may reach nobody. Nothing switches it off.
func (s *sight) silent(d *entry.ReceiverSilent) {
	s.alarms = append(s.alarms, s.alarm(Receiver, d.Receiver, High, "somebody confirms each test of a receiver",
		fmt.Sprintf("nobody confirmed the test of the receiver %s in %s", d.Receiver, some(d.Days, "day", "days"))))
}

// mail says that a canary was written to, and by which way its address left.
func (s *sight) mail(d *entry.CanaryMail) {
	if !s.d.rules.on(CanaryMail, "") {
		return
	}
	n := max(d.Times, 1)
	seen, about := some(n, "mail", "mails")+" to a canary", d.Export
	if about != "" {
		seen += " that only export " + about + " contained"
	} else {
		about = "read"
		seen += " that no export contained: somebody read its address"
	}
	if d.Network != "" {
		seen += ", from " + d.Network
	}
	if d.Sender != "" {
		seen += ", sender at " + d.Sender
	}
	g := s.d.rules.CanaryMail.Grade
	s.alarms = append(s.alarms, Alarm{
		Brand: s.d.brand, Entry: s.index, At: s.now.at, Rule: CanaryMail, Grade: g, Customers: 1,
		Usual: "no mail to canaries: only the vault knows their addresses", Seen: seen,
		Key: fmt.Sprintf("%d/%s/%s/%s/%s", s.d.brand, CanaryMail, about, g, s.now.at.Format(time.DateOnly)),
	})
}

func (d *Detector) person(e *entry.Entry, now moment) *profile {
	p := d.people[e.Principal]
	if p == nil || p.role != e.Role && e.Role != "" {
		p = &profile{role: e.Role, first: now.hour, last: now.hour}
		d.people[e.Principal] = p
	}
	return p
}

func (d *Detector) role(name string) *role {
	r := d.roles[name]
	if r == nil {
		r = &role{}
		d.roles[name] = r
	}
	return r
}

// newDay closes what roles counted, and forgets who is gone.
func (d *Detector) newDay(day int64) {
	for _, r := range d.roles {
		r.closeDay(d.day)
	}
	d.day = day
	for id, p := range d.people {
		if (day*hoursPerDay-p.last)/hoursPerDay > int64(d.rules.ForgetDays) {
			delete(d.people, id)
		}
	}
}

// Principals is how many principals are remembered.
func (d *Detector) Principals() int { return len(d.people) }

// space is how many of the brand's ordinals there are, roughly: the numbering is the
// deployment's, so a brand has stretches of it.
type space struct {
	blocks []uint64 // a bit for each stretch in which a customer was met
	count  int
}

const blockSize = 1024

func (s *space) add(ords []record.Ordinal) {
	for _, o := range ords {
		b := int(o / blockSize)
		if b/64 >= len(s.blocks) {
			s.blocks = append(s.blocks, make([]uint64, b/64+1-len(s.blocks))...)
		}
		if bit := uint64(1) << (b % 64); s.blocks[b/64]&bit == 0 {
			s.blocks[b/64] |= bit
			s.count++
		}
	}
}

func (s *space) size() float64 { return float64(max(s.count, 1)) * blockSize }

func some(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func customers(n int) string { return some(n, "customer", "customers") }

// figure is a number as people say it.
func figure(x float64) string {
	switch {
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// remember adds a value to a short list and reports whether it is new. The oldest
// gives way.
func remember[T comparable](list *[]T, v T, most int) bool {
	if slices.Contains(*list, v) {
		return false
	}
	if len(*list) >= most {
		*list = slices.Delete(*list, 0, 1)
	}
	*list = append(*list, v)
	return true
}
