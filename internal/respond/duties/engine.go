package duties

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// finding is what is known of a condition, with the reason in words and the questions that
// would settle it.
type finding struct {
	truth
	why  []string
	asks []string
}

// Decide holds every rule against a situation.
func (b *Book) Decide(s *Situation) []api.Duty {
	out := make([]api.Duty, 0, len(b.order))
	for _, r := range b.order {
		out = append(out, b.decide(r, s))
	}
	b.arrange(out, s)
	return out
}

// decide holds one rule against a situation, without its order among others.
func (b *Book) decide(r *bound, s *Situation) api.Duty {
	d := r.duty()
	start, standIn := r.start(s)
	d.Clock = api.DutyClock{Name: r.Clock, Fact: start.fact, Entry: start.Entry, Said: start.Said, StandIn: standIn}
	if !start.When.IsZero() {
		d.Clock.Started = start.When
	} else {
		d.Clock.Needs = r.needs()
	}
	on := s.Now
	if !start.When.IsZero() {
		on = start.When
	}
	if why := r.notInForce(on); why != "" {
		d.Verdict, d.Why = api.DutyNotInForce, []string{why}
		return d
	}
	f := b.applies(r, s)
	d.Asks = f.asks
	d.Why = f.why
	switch f.truth {
	case no:
		d.Verdict, d.Asks = api.DutyNotMet, nil
		return d
	case unknown:
		d.Verdict = api.DutyOpen
	case yes:
		d.Verdict = api.DutyDue
	}
	for _, x := range r.Exceptions {
		name := r.ID + ":" + x.ID
		switch t, twice := s.answer(name); {
		case twice:
			d.Why = append(d.Why, "whether the exception "+x.Cite+" applies was said both ways")
		case t == yes:
			d.Verdict, d.Asks = api.DutyLifted, nil
			d.Why = append(d.Why, "lifted by the exception "+x.Cite+": "+x.Says)
			return d
		}
	}
	r.clockOf(&d, start, s)
	return d
}

// duty is the part of an answer that is the rule's alone.
func (r *bound) duty() api.Duty {
	d := api.Duty{
		Rule: r.ID, Law: r.law.Law, Article: r.Article, Jurisdiction: r.place(), Address: r.law.Address, Demands: r.Demands,
		To: r.To, Recipients: r.Recipients, Content: r.Content, Forbidden: r.Forbidden, Phased: r.Phased, Extension: r.Extension,
		NotBefore: r.NotBefore, With: r.With, NoLaterThan: r.NoLaterThan, Basis: r.Basis, ReadOn: r.ReadOn, ReadBy: r.ReadBy,
		Confidence: r.Confidence, Status: r.Status, ValidFrom: r.ValidFrom, ValidUntil: r.ValidUntil, StillValidOn: r.StillValidOn, Notes: r.Notes,
	}
	if r.Address != "" {
		d.Address = r.Address
	}
	if !r.read() {
		d.ReadBy, d.AskCounsel = "", true
	}
	for _, x := range r.Exceptions {
		d.Exceptions = append(d.Exceptions, api.DutyException{Name: r.ID + ":" + x.ID, Cite: x.Cite, Says: x.Says})
	}
	if r.Deadline != nil {
		d.Deadline = fmt.Sprintf("%d %s", r.Deadline.N, strings.ReplaceAll(r.Deadline.Unit, "_", " "))
		d.DeadlineKind = r.Deadline.Kind
	}
	return d
}

// notInForce says why a rule does not bind on a day; nothing where it does.
func (r *bound) notInForce(on time.Time) string {
	zone, err := time.LoadLocation(r.law.Zone)
	if err != nil {
		zone = time.UTC
	}
	day := on.In(zone).Format(time.DateOnly)
	switch {
	case r.Status != "" && r.ValidFrom != "" && day >= r.ValidFrom:
		return fmt.Sprintf("it was read as %s, and its day, %s, has come: have it read again, and ask counsel", r.Status, r.ValidFrom)
	case r.Status == "future":
		return "it is in force later: from " + r.ValidFrom
	case r.Status != "":
		return "it is " + r.Status + ", not law in force"
	case r.ValidFrom != "" && day < r.ValidFrom:
		return "it binds from " + r.ValidFrom + ", and its clock began before"
	case r.ValidUntil != "" && day > r.ValidUntil:
		return "it bound until " + r.ValidUntil
	}
	return ""
}

// applies decides whether a rule's conditions hold.
func (b *Book) applies(r *bound, s *Situation) finding {
	out := finding{truth: yes}
	join := func(f finding) {
		out.truth = out.and(f.truth)
		out.why = append(out.why, f.why...)
		out.asks = append(out.asks, f.asks...)
	}
	join(b.reaches(r, s))
	for _, name := range r.Entity {
		join(s.said1(name, yes))
	}
	any := finding{truth: no}
	for i := range r.When {
		f := b.holds(r, &r.When[i], s)
		if f.truth == yes {
			any = f
			break
		}
		if f.truth > any.truth {
			any.why, any.asks = nil, nil
		}
		if f.truth >= any.truth {
			any.why, any.asks = append(any.why, f.why...), append(any.asks, f.asks...)
		}
		any.truth = any.or(f.truth)
	}
	join(any)
	if out.truth == no { // only what fails tells why
		fails := finding{truth: no}
		for _, f := range []finding{b.reaches(r, s), entityOf(r, s), any} {
			if f.truth == no {
				fails.why = append(fails.why, f.why...)
			}
		}
		fails.why = compact(fails.why)
		return fails
	}
	out.why, out.asks = compact(out.why), compact(out.asks)
	return out
}

func compact(list []string) []string {
	var out []string
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

func entityOf(r *bound, s *Situation) finding {
	out := finding{truth: yes}
	for _, name := range r.Entity {
		if f := s.said1(name, yes); f.truth == no {
			out.truth = no
			out.why = append(out.why, f.why...)
		}
	}
	return out
}

// reaches decides whether a rule reaches the entity or its customers at all.
func (b *Book) reaches(r *bound, s *Situation) finding {
	if r.Reach == "entity" {
		return finding{truth: yes}
	}
	f := finding{truth: unknown, asks: []string{"residents"}, why: []string{"nobody has said where the persons live"}}
	if low, high, known := b.residents(s, r.place()); known {
		switch {
		case low > 0:
			return finding{truth: yes, why: []string{fmt.Sprintf("%d persons live in %s", low, placeName(r.place()))}}
		case high > 0:
			f.why = []string{fmt.Sprintf("of %d persons it is not known whether they live in %s", high, placeName(r.place()))}
		default:
			f = finding{truth: no, why: []string{"no person concerned lives in " + placeName(r.place())}}
		}
	}
	if r.Reach == "established" {
		e := s.said1("established_"+strings.ToLower(r.place()), yes)
		if f.truth == no {
			e.why = append(f.why, e.why...)
		}
		if e.truth > f.truth || f.truth == no {
			return e
		}
		f.asks = append(f.asks, e.asks...)
	}
	return f
}

func placeName(place string) string {
	switch place {
	case "EU":
		return "the EEA"
	case "US-*":
		return "a state of the USA without rules of its own here"
	case "*":
		return "any place"
	}
	return place
}

// said1 holds one answer against the one that is wanted.
func (s *Situation) said1(name string, want truth) finding {
	t, twice := s.answer(name)
	switch {
	case twice:
		return finding{unknown, []string{"two statements contradict each other: " + question(name)}, []string{name}}
	case t == unknown:
		return finding{unknown, []string{"nobody has answered: " + question(name)}, []string{name}}
	case t == want:
		return finding{yes, []string{answered(name, t)}, nil}
	}
	return finding{no, []string{answered(name, t)}, nil}
}

func answered(name string, t truth) string {
	if t == yes {
		return question(name) + " Yes."
	}
	return question(name) + " No."
}

// holds decides one condition of a rule.
func (b *Book) holds(r *bound, c *Condition, s *Situation) finding {
	out := finding{truth: yes}
	failed := []string{}
	join := func(f finding) {
		out.truth = out.and(f.truth)
		out.asks = append(out.asks, f.asks...)
		if f.truth == no {
			failed = append(failed, f.why...)
		}
		out.why = append(out.why, f.why...)
	}
	if len(c.Data) > 0 {
		join(b.disclosed(c.Data, s))
	}
	if c.Count != nil {
		join(b.counted(r, c.Count, s))
	}
	if c.Harm != "" {
		f := s.said1(c.Harm, yes)
		if f.truth == unknown && harms[c.Harm].presumed {
			f = finding{yes, []string{"nobody has signed that it can be answered with no: " + question(c.Harm)}, nil}
		}
		join(f)
	}
	if c.Malicious != nil {
		join(s.said1(maliciousName, truthOf(*c.Malicious)))
	}
	if c.Event != "" {
		join(s.said1(c.Event, yes))
	}
	if out.truth == no {
		return finding{no, failed, nil}
	}
	return out
}

// disclosed decides whether one of the sets of classes was disclosed.
func (b *Book) disclosed(sets []string, s *Situation) finding {
	if s.Classes == nil {
		return finding{unknown, []string{"nobody has said what was disclosed"}, []string{"disclosed"}}
	}
	var wanted []string
	for _, set := range sets {
		for _, list := range b.sets[set] {
			if !slices.ContainsFunc(list, func(class string) bool { return !s.Classes[class] }) {
				return finding{yes, []string{"disclosed: " + words(list)}, nil}
			}
			wanted = append(wanted, words(list))
		}
	}
	return finding{no, []string{"none of these was disclosed: " + strings.Join(compact(wanted), "; ")}, nil}
}

func words(list []string) string {
	out := make([]string, len(list))
	for i, class := range list {
		out[i] = classes[class]
	}
	return strings.Join(out, " with ")
}

// counted compares a number of persons.
func (b *Book) counted(r *bound, c *Count, s *Situation) finding {
	low, high, known := b.residents(s, r.place())
	who := "persons in " + placeName(r.place())
	if c.Of == "total" {
		low, known, who = s.persons(), s.Residents != nil || s.Total > 0, "persons in all"
		high = low
	}
	if !known {
		return finding{unknown, []string{"nobody has said how many " + who + " are concerned"}, []string{"residents"}}
	}
	more := func(n int) bool { return n > c.N || c.Op == ">=" && n == c.N }
	limit := fmt.Sprintf("more than %d", c.N)
	if c.Op == ">=" {
		limit = fmt.Sprintf("%d or more", c.N)
	}
	switch {
	case more(low):
		return finding{yes, []string{fmt.Sprintf("%d %s: %s", low, who, limit)}, nil}
	case more(high):
		return finding{unknown, []string{fmt.Sprintf("between %d and %d %s, and the limit is %s", low, high, who, limit)}, []string{"residents"}}
	}
	return finding{no, []string{fmt.Sprintf("%d %s, and the limit is %s", high, who, limit)}, nil}
}

// started is the moment at which a clock began.
type started struct {
	Moment
	fact string
}

// start returns when a rule's clock began, and whether a fact stands in for the one that
// nobody has stated.
func (r *bound) start(s *Situation) (out started, standIn bool) {
	if id, ok := strings.CutPrefix(r.Clock, filedClock); ok {
		if f, ok := s.Filed[id]; ok {
			return started{Moment{When: f.When, Entry: f.Entry, Said: f.Said}, "filed " + id}, false
		}
		return out, false
	}
	earliest := func(fact string) {
		for _, m := range s.Clocks[fact] {
			if out.When.IsZero() || m.When.Before(out.When) {
				out = started{m, fact}
			}
		}
	}
	c := clocks[r.Clock]
	for _, fact := range c.facts {
		earliest(fact)
	}
	for _, fact := range c.standIns {
		if !out.When.IsZero() {
			break
		}
		earliest(fact)
		standIn = !out.When.IsZero()
	}
	return out, standIn
}

// needs names the facts of which one starts the rule's clock.
func (r *bound) needs() []string {
	if strings.HasPrefix(r.Clock, filedClock) {
		return []string{"filed " + strings.TrimPrefix(r.Clock, filedClock)}
	}
	return clocks[r.Clock].facts
}

// clockOf says when a duty ends, or how much time has passed.
func (r *bound) clockOf(d *api.Duty, start started, s *Situation) {
	filed, isFiled := s.Filed[r.ID]
	if isFiled {
		d.Filed = &api.DutyFiling{At: filed.When, Said: filed.Said, Reference: filed.Reference, Receipt: filed.Receipt, Notice: filed.Notice, Digest: filed.Digest, Entry: filed.Entry}
	}
	d.State = api.DutyClockNotStarted
	if start.When.IsZero() {
		if isFiled {
			d.State = api.DutyFiled
		}
		return
	}
	d.State = api.DutyRunning
	until := s.Now
	if isFiled {
		until, d.State = filed.When, api.DutyFiled
	}
	d.Elapsed = max(0, until.Sub(start.When)).Round(time.Second).String()
	if r.Deadline == nil {
		return
	}
	zone, err := time.LoadLocation(r.law.Zone)
	if err == nil {
		d.Due, d.DueNote, err = r.Deadline.end(start.When, zone)
	}
	if err != nil {
		d.State, d.DueNote = api.DutyNotComputable, err.Error()
		return
	}
	d.Zone = r.law.Zone
	if !start.Was.IsZero() && !start.Was.Equal(start.When) {
		if was, _, err := r.Deadline.end(start.Was, zone); err == nil {
			d.MovedFrom = was
		}
	}
	d.Late = until.After(d.Due)
	if d.Late && !isFiled {
		d.State = api.DutyLate
	}
}

// arrange adds what hangs on other rules: what must wait, and what is due with another.
func (b *Book) arrange(list []api.Duty, s *Situation) {
	by := map[string]*api.Duty{}
	for i := range list {
		by[list[i].Rule] = &list[i]
	}
	stands := func(d *api.Duty) bool {
		return d != nil && (d.Verdict == api.DutyDue || d.Verdict == api.DutyOpen)
	}
	for i := range list {
		d := &list[i]
		if !stands(d) {
			continue
		}
		for _, id := range d.NotBefore {
			if o := by[id]; stands(o) && o.Filed == nil {
				d.WaitFor = append(d.WaitFor, id)
			} else if o != nil && o.Filed != nil && d.Filed != nil && d.Filed.At.Before(o.Filed.At) {
				d.Why = append(d.Why, "it was sent before "+id+", which comes first")
				d.Disorder = true
			}
		}
		if o := by[d.With]; stands(o) {
			switch {
			case o.Filed != nil:
				d.Due, d.State = o.Filed.At, api.DutyRunning
				until := s.Now
				if d.Filed != nil {
					until, d.State = d.Filed.At, api.DutyFiled
				}
				if d.Late = until.After(d.Due); d.Late && d.Filed == nil {
					d.State = api.DutyLate
				}
			case d.Filed == nil:
				d.WaitFor = append(d.WaitFor, d.With)
			}
		}
		if o := by[d.NoLaterThan]; stands(o) {
			end := o.Due
			if o.Filed != nil {
				end = o.Filed.At
			}
			if !end.IsZero() && (d.Due.IsZero() || end.Before(d.Due)) {
				d.Due, d.DueNote = end, "not later than "+d.NoLaterThan
				until := s.Now
				if d.Filed != nil {
					until = d.Filed.At
				}
				if d.Late = until.After(end); d.Late && d.Filed == nil {
					d.State = api.DutyLate
				}
			}
		}
	}
}

// Unread returns the jurisdictions of residents for which there is no rule at all, and those
// in which somebody looked and found no duty.
func (b *Book) Unread(s *Situation) (unread []string, none []api.NoDuty) {
	for place, n := range s.Residents {
		if n == 0 || place == Elsewhere || place == "EU" || place == "US" || slices.Contains(eea, place) || b.hasRules(place) {
			continue
		}
		country, _, state := strings.Cut(place, "-")
		i := slices.IndexFunc(b.laws, func(l Law) bool { return l.Jurisdiction == place && l.NoDuty != nil })
		switch {
		case i >= 0:
			l := &b.laws[i]
			none = append(none, api.NoDuty{Jurisdiction: place, Law: l.Law, Says: l.NoDuty.Says, ReadOn: l.NoDuty.ReadOn, Confidence: l.NoDuty.Confidence})
		case state && country != "US" && (b.hasRules(country) || slices.Contains(eea, country)):
		default:
			unread = append(unread, place)
		}
	}
	slices.Sort(unread)
	slices.SortFunc(none, func(x, y api.NoDuty) int { return strings.Compare(x.Jurisdiction, y.Jurisdiction) })
	return unread, none
}
