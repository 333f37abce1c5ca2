package alarm

import (
	"context"
	"errors"
	"fmt"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	acts "github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// ErrClosed is returned for what cannot be done to an alarm that is closed.
var ErrClosed = fault.New(fault.Conflict, "this alarm is closed")

// ErrAsk is joined to errors that the request itself is to blame for.
var ErrAsk = fault.New(fault.Invalid, "invalid request")

// Desk shows alarms and takes decisions about them.
type Desk struct {
	Door     *door.Door
	Ledger   *ledger.Ledger
	Store    *Store
	Canaries detect.Canaries // may be nil

	rules *acts.Handle[rulesGiven, *api.DetectionRules] // set by Register
}

// names finds the names of principals, each once.
type names struct {
	ids  *identity.Store
	seen map[uint64]string
}

func (n *names) of(ctx context.Context, id uint64) string {
	name, ok := n.seen[id]
	if !ok && id != 0 {
		if p, err := n.ids.Get(ctx, id); err == nil {
			name = p.Name
		}
		n.seen[id] = name
	}
	return name
}

// Shown is an alarm as the API shows it.
func Shown(brand string, a *detect.Alarm) api.Alarm {
	contain := ""
	if a.Lineage != 0 {
		contain = fmt.Sprintf("cloakroom contain --brand %s --lineage %d --alarm %s", brand, a.Lineage, a.ID())
	}
	return api.Alarm{
		Contain: contain, ID: a.ID(), Brand: brand, Entry: a.Entry, At: a.At, Rule: string(a.Rule), Severity: a.Grade.String(), Principal: a.Principal,
		Lineage: a.Lineage, Role: a.Role, Customers: a.Customers, Usual: a.Usual, Seen: a.Seen, Key: a.Key,
	}
}

func (d *Desk) shown(ctx context.Context, brand string, s *Stored, n *names) api.Alarm {
	a := Shown(brand, &s.Alarm)
	a.Name, a.Repeat, a.State = n.of(ctx, s.Principal), s.Repeat, string(s.State())
	a.Repeats, a.Earlier = s.Repeats, s.EarlierID()
	a.AcknowledgedBy, a.AcknowledgedAt, a.ClosedBy, a.ClosedAt = s.AckedBy, s.AckedAt, s.ClosedBy, s.ClosedAt
	a.Reason, a.Ticket = s.Reason, s.CloseTicket
	return a
}

func (d *Desk) names() *names { return &names{d.Door.Identity, map[uint64]string{}} }

// Query says which alarms to list.
type Query struct {
	State  string // new, acknowledged, closed, open; empty for all
	Grade  string // the least grave; empty for all
	Before string // an ID; empty for the newest
	Limit  int    // at most, and if 0, api.AlarmsPage
}

// List returns alarms, newest first.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string, q Query) (*api.Alarms, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAlarms)
	if err != nil {
		return nil, err
	}
	before, least := lastPlace(), detect.Low
	if q.Before != "" {
		if before, err = ParseID(q.Before); err != nil {
			return nil, err
		}
	}
	if q.Grade != "" {
		if least, err = detect.ParseGrade(q.Grade); err != nil {
			return nil, errors.Join(ErrAsk, err)
		}
	}
	if q.State != "" && q.State != "open" && !slices.Contains([]State{Unseen, Acknowledged, Closed}, State(q.State)) {
		return nil, fmt.Errorf("%w: the state is new, acknowledged, closed or open", ErrAsk)
	}
	if q.Limit <= 0 || q.Limit > api.AlarmsPage {
		q.Limit = api.AlarmsPage
	}
	list, err := d.Store.List(ctx, v.Brand.ID, before, least, q.State, q.Limit)
	if err != nil {
		return nil, err
	}
	out := &api.Alarms{Alarms: []api.Alarm{}}
	n := d.names()
	for i := range list {
		out.Alarms = append(out.Alarms, d.shown(ctx, v.Brand.Name, &list[i], n))
	}
	if len(list) == q.Limit {
		out.Before = list[len(list)-1].ID()
	}
	return out, nil
}

// Show returns one alarm.
func (d *Desk) Show(ctx context.Context, c identity.Caller, brand, id string) (*api.Alarm, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAlarms)
	if err != nil {
		return nil, err
	}
	return d.show(ctx, v, id)
}

func (d *Desk) show(ctx context.Context, v *door.Visit, id string) (*api.Alarm, error) {
	p, err := ParseID(id)
	if err != nil {
		return nil, err
	}
	s, err := d.Store.Get(ctx, v.Brand.ID, p)
	if err != nil {
		return nil, err
	}
	a := d.shown(ctx, v.Brand.Name, &s, d.names())
	return &a, nil
}

// ErrSuspect is returned for a suspect that is not of the brand, in the words in which an
// unknown one is.
var ErrSuspect = fault.New(fault.NotFound, "no principal of this name has a role at this brand: leave it out, or look at `cloakroom principal list`")

// Raise raises an alarm by hand, and returns it: who is notified of alarms is notified of it.
func (d *Desk) Raise(ctx context.Context, c identity.Caller, brand string, req api.RaiseRequest) (*api.Alarm, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if _, err := detect.ParseGrade(req.Severity); err != nil {
		return nil, errors.Join(ErrAsk, err)
	}
	if !slices.Contains(detect.Sources(), req.Source) {
		return nil, fmt.Errorf("%w: the source is one of %s", ErrAsk, strings.Join(detect.Sources(), ", "))
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	detail := entry.AlarmRaised{Severity: req.Severity, Source: req.Source}
	if req.Principal != "" {
		if detail.Suspect, err = d.suspect(ctx, v, req.Principal); err != nil {
			return nil, err
		}
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindDetection, Who: v.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	a := Shown(v.Brand.Name, new(detect.Raised(v.Brand.ID, r.Entry(), r.At(), detail)))
	a.Name, a.State = req.Principal, string(Unseen)
	return &a, nil
}

// suspect returns the number of a principal with a role at the visit's brand.
func (d *Desk) suspect(ctx context.Context, v *door.Visit, name string) (uint64, error) {
	p, err := d.Door.Identity.ByName(ctx, name)
	if err != nil && !errors.Is(err, identity.ErrNoPrincipal) {
		return 0, err
	}
	roles, err := d.Door.Identity.Roles(ctx, p.ID) // also of nobody: it takes as long
	if err != nil {
		return 0, err
	}
	for _, r := range roles {
		if r.Brand == v.Brand.ID {
			return p.ID, nil
		}
	}
	return 0, ErrSuspect
}

// Acknowledge says that somebody looks into an alarm. Doing it again changes nothing.
func (d *Desk) Acknowledge(ctx context.Context, c identity.Caller, brand, id string) (*api.Alarm, error) {
	return d.step(ctx, c, brand, id, changeAck, api.CloseRequest{})
}

// Close closes an alarm for a reason.
func (d *Desk) Close(ctx context.Context, c identity.Caller, brand, id string, req api.CloseRequest) (*api.Alarm, error) {
	if !slices.Contains(api.CloseReasons(), req.Reason) {
		return nil, fmt.Errorf("%w: the reason is one of %s", ErrAsk, strings.Join(api.CloseReasons(), ", "))
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	return d.step(ctx, c, brand, id, changeClose, req)
}

// The steps of an alarm's life.
const (
	changeAck   = "acknowledge"
	changeClose = "close"
)

// step logs a step of an alarm's life, and then makes it. A server that dies in
// between leaves it to the watcher, which reads the same entry.
func (d *Desk) step(ctx context.Context, c identity.Caller, brand, id, what string, req api.CloseRequest) (*api.Alarm, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	p, err := ParseID(id)
	if err != nil {
		return nil, err
	}
	s, err := d.Store.Get(ctx, v.Brand.ID, p)
	if err != nil {
		return nil, err
	}
	switch {
	case s.State() == Closed:
		return nil, ErrClosed
	case s.State() == Acknowledged && what == changeAck:
		return d.show(ctx, v, id)
	}
	var detail entry.Detail = entry.AlarmAcknowledged{Alarm: s.ID()}
	if what == changeClose {
		detail = entry.AlarmClosed{Alarm: s.ID(), Reason: req.Reason}
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindDetection, Who: v.Who, Ticket: req.Ticket, Detail: detail})
	if err != nil {
		return nil, err
	}
	err = d.Store.apply(ctx, v.Brand.ID, change{r.Entry(), r.At(), v.Who.Principal, p, what == changeClose, req.Reason, req.Ticket})
	if err != nil {
		return nil, fmt.Errorf("the log says it, and the list of alarms will, once the database answers: %w", err)
	}
	return d.show(ctx, v, id)
}

// Rules returns a brand's rules.
func (d *Desk) Rules(ctx context.Context, c identity.Caller, brand string) (*api.DetectionRules, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAlarms)
	if _, denied := errors.AsType[*access.DeniedError](err); denied { // who sets them sees them
		v, err = d.Door.Admit(ctx, c, brand, access.ActAdminister)
	}
	if err != nil {
		return nil, err
	}
	text, err := d.inForce(ctx, v.Brand.ID)
	return &api.DetectionRules{Rules: text}, err
}

// inForce returns the text of the rules of a brand.
func (d *Desk) inForce(ctx context.Context, brand record.BrandID) (string, error) {
	at, err := d.Store.rulesAt(ctx, brand)
	if err != nil || at == 0 {
		return detect.DefaultText(), err
	}
	e, _, err := d.Ledger.Entry(ctx, brand, at)
	if err != nil {
		return "", err
	}
	rules, ok := e.Detail.(entry.DetectionRules)
	if !ok {
		return "", fmt.Errorf("entry %d holds no detection rules: %w", at, ledger.ErrTampered)
	}
	return rules.Rules, nil
}

// SetRules makes rules hold from the next entry on. No rules at all are refused: they are a
// lost file, not a wish.
func (d *Desk) SetRules(ctx context.Context, c identity.Caller, brand string, in api.DetectionRules) (*api.DetectionRules, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	text := in.Rules
	switch empty := strings.TrimSpace(text) == ""; {
	case in.Default && !empty:
		return nil, fmt.Errorf("%w: rules and default do not go together", detect.ErrRules)
	case in.Default:
		text = detect.DefaultText()
	case empty:
		return nil, fmt.Errorf("%w: there are no rules in it; default sets the default rules", detect.ErrRules)
	}
	if err := ledger.CheckText("rules", text); err != nil { // before an error can repeat a part of it
		return nil, err
	}
	if _, err := detect.ParseRules(text); err != nil {
		return nil, err
	}
	was, err := d.inForce(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	return d.rules.Do(ctx, v, "", rulesGiven{Brand: v.Brand.ID, Rules: text, Was: was})
}

// errEnough ends a reading of the log.
var errEnough = errors.New("enough of the log")

// Replay runs rules over the past log and says what they would have said. It reads
// the log from its beginning, because what is usual has to be learned.
func (d *Desk) Replay(ctx context.Context, c identity.Caller, brand string, req api.ReplayRequest) (*api.Replayed, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAlarms)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("rules", req.Rules); err != nil {
		return nil, err
	}
	rules, err := detect.ParseRules(req.Rules)
	if err != nil {
		return nil, err
	}
	if d.Canaries != nil {
		if err := d.Canaries.Refresh(ctx, v.Brand.ID); err != nil {
			return nil, err
		}
	}
	det := detect.New(v.Brand.ID, rules, d.Canaries)
	det.Try()
	if req.Rules != "" {
		det.Pin()
	}
	out := &api.Replayed{Rules: map[string]int{}, Alarms: []api.Alarm{}}
	keys := map[string]bool{}
	n := d.names()
	err = d.Ledger.Scan(ctx, v.Brand.ID, 0, func(i uint64, e entry.Entry, ords []record.Ordinal) error {
		if !req.To.IsZero() && !e.At.Before(req.To) {
			return errEnough
		}
		if out.Entries%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		out.Entries++
		for _, a := range det.Observe(i, &e, ords) {
			if e.At.Before(req.From) {
				continue
			}
			out.Count++
			out.Rules[string(a.Rule)]++
			keys[a.Key] = true
			if len(out.Alarms) < api.AlarmsPage {
				shown := Shown(v.Brand.Name, &a)
				shown.Name = n.of(ctx, a.Principal)
				out.Alarms = append(out.Alarms, shown)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	out.Pages = len(keys)
	return out, nil
}
