package change

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	// Valid is how long a request waits for a second person.
	Valid = 7 * 24 * time.Hour
	// MaxOpen bounds the open requests of a principal.
	MaxOpen = 50
)

var (
	// ErrNone is returned for a request that does not exist, or not for this caller.
	ErrNone = fault.New(fault.NotFound, "no such change: `cloakroom change list` shows yours and those that you may approve")
	// ErrOwn is returned to a requester who would be their own second person.
	ErrOwn = fault.New(fault.Denied, "the requester of a change cannot approve or refuse it, with any credential: ask another person; `cloakroom change withdraw` takes it back")
	// ErrYoung is returned to an approver whose key or role is too new for the request.
	ErrYoung = fault.New(fault.Denied, "you cannot be second for this change: your key must be older than the request, and your approving role at least 24 hours older; let another person approve it, or let the requester make a new request")
	// ErrState is returned for a decision that the state of a request does not allow.
	ErrState = fault.New(fault.Conflict, "the state of the change does not allow this")
	// ErrExpired is returned after a request's time.
	ErrExpired = fault.New(fault.Conflict, "the request for this change has expired: make a new one")
	// ErrTooMany is returned for too many open requests of one principal.
	ErrTooMany = fault.Newf(fault.Conflict, "you have %d changes waiting for a second person, the most allowed: withdraw some with `cloakroom change withdraw`", MaxOpen)
	// ErrChanged is returned for a request that was made for another state of the vault.
	ErrChanged = fault.New(fault.Conflict, "this was asked for in another state of the vault: look at it as it is now, and make a new request")
	// ErrForged is returned for a row that the log does not hold up.
	ErrForged = fault.New(fault.Internal, "a request for a change is not what the log says was asked: it was changed in the database")
)

// PendingError says that an act waits for somebody. Nothing changed yet.
type PendingError struct {
	ID    string
	State State
	May   []string // who may approve it, by name
}

// Error says what to do next.
func (e *PendingError) Error() string {
	if e.State == Approved {
		return fmt.Sprintf("change %s waits until a receiver took its alarm: `cloakroom change show %s` says when it took effect", e.ID, e.ID)
	}
	who := "and nobody may now: give an approving role to two people, or use `cloakroom change break-glass`"
	if len(e.May) > 0 {
		who = "such as " + strings.Join(e.May[:min(len(e.May), 5)], ", ")
	}
	return fmt.Sprintf("this needs a second person. It is asked for as change %s: another person (%s) approves it with `cloakroom change approve %s`", e.ID, who, e.ID)
}

func (d *Desk) act(name string) (registered, error) {
	a, ok := d.acts[name]
	if !ok {
		return a, fmt.Errorf("the act %s is unknown to this release: %w", name, ErrState)
	}
	return a, nil
}

// do asks for an act and makes it as far as it may be made now.
func (d *Desk) do(ctx context.Context, v *door.Visit, name, ticket string, payload []byte) (any, error) {
	a, err := d.act(name)
	if err != nil {
		return nil, err
	}
	if err := ledger.CheckText("ticket", ticket); err != nil {
		return nil, err
	}
	if err := v.Ticket(ticket); err != nil {
		return nil, err
	}
	o := Order{Who: v.Who, Ticket: ticket}
	if err := a.check(ctx, o, payload); err != nil {
		return nil, err
	}
	need, err := a.need(ctx, o, payload)
	if err != nil {
		return nil, err
	}
	if !need.Two {
		return a.apply(ctx, o, payload)
	}
	alone, err := d.Alone(ctx)
	if err != nil {
		return nil, err
	}
	x := &request{ID: "chg_" + strings.ToLower(rand.Text()[:16]), Act: name, State: Asked, Who: v.Who, Ticket: ticket}
	release, _ := d.claim(x.ID) // nobody else knows it yet
	defer release()
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	if !alone {
		same, err := d.same(ctx, x, payload, now)
		if err == nil && same != nil && same.State == Approved && a.toAsker {
			if err = d.approved(ctx, same); err == nil {
				return d.taken(ctx, a, same, payload)
			}
		}
		if err != nil || same != nil {
			return nil, errors.Join(err, d.pending(ctx, same))
		}
	}
	if err := d.seal(ctx, x, payload, now); err != nil {
		return nil, err
	}
	facts := entry.ChangeFacts{Change: x.ID, Act: name}
	var detail entry.Detail = entry.ChangeAsked{ChangeFacts: facts, Digest: x.digest()}
	step := "asked"
	if alone {
		x.State, x.Mark, step = Approved, MarkAlone, "alone"
		detail = entry.ChangeAlone{ChangeFacts: facts, Digest: x.digest()}
	}
	r, err := d.log(ctx, x.Who, ticket, detail)
	if err != nil {
		return nil, err
	}
	x.Entry, x.Created, x.Expires = r.Entry(), r.At(), r.At().Add(Valid)
	if err := d.DB.Tx(ctx, func(q db.Queryer) error { return d.insert(ctx, q, x) }); err != nil {
		return nil, err
	}
	if err := d.notice(ctx, a, x, payload, step); err != nil {
		return nil, err
	}
	if !alone {
		return nil, d.pending(ctx, x)
	}
	return d.taken(ctx, a, x, payload)
}

// taken is take for the requester: where the act has to wait, that is the error.
func (d *Desk) taken(ctx context.Context, a registered, x *request, payload []byte) (any, error) {
	out, err := d.take(ctx, a, x, payload)
	if err != nil {
		return nil, err
	}
	if x.State != Done {
		return nil, &PendingError{ID: x.ID, State: x.State}
	}
	return out, nil
}

// same returns the open request of the same principal for the same, if there is one, so
// that a request that is sent again is not asked twice. It bounds the open ones.
func (d *Desk) same(ctx context.Context, x *request, payload []byte, now time.Time) (*request, error) {
	open, err := d.rows(ctx, sqlOpenChanges, int64(x.Who.Principal))
	if err != nil {
		return nil, err
	}
	n := 0
	for _, y := range open {
		if !now.Before(y.Expires) {
			continue
		}
		n++
		if y.Act != x.Act || y.Who.Brand != x.Who.Brand || y.Who.Lineage != x.Who.Lineage {
			continue
		}
		if plain, err := d.open(ctx, y); err == nil && bytes.Equal(plain, payload) {
			return y, nil
		}
	}
	if n >= MaxOpen {
		return nil, ErrTooMany
	}
	return nil, nil
}

// pending is the error for a request that waits; nil for none.
func (d *Desk) pending(ctx context.Context, x *request) error {
	if x == nil {
		return nil
	}
	may, err := d.names(ctx, x)
	if err != nil {
		return err
	}
	return &PendingError{x.ID, x.State, may}
}

func (d *Desk) names(ctx context.Context, x *request) ([]string, error) {
	list, err := d.seconds(ctx, x.Who.Brand, x.Who.Principal, x.Created)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names, nil
}

func (d *Desk) log(ctx context.Context, who identity.Who, ticket string, detail entry.Detail) (ledger.Receipt, error) {
	return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: who, Ticket: ticket, Detail: detail})
}

// notice tells the logs of the other brands that an act concerns, and the group's. Where
// the alarm of what it tells has to reach somebody, it notes its entries.
func (d *Desk) notice(ctx context.Context, a registered, x *request, payload []byte, step string) error {
	others, err := a.brands(payload)
	if err != nil {
		return err
	}
	of, err := d.Door.Brands.Get(ctx, x.Who.Brand)
	if err != nil {
		return err
	}
	others = append(others, record.Group)
	slices.Sort(others)
	var places []string
	for _, b := range slices.Compact(others) {
		if b == x.Who.Brand {
			continue
		}
		who := x.Who
		who.Brand = b
		r, err := d.log(revision.Unbound(ctx), who, x.Ticket, entry.ChangeNoticed{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}, Step: step, Entry: x.Entry, Log: of.Name})
		if err != nil {
			return err
		}
		places = append(places, fmt.Sprintf("%d:%d", b, r.Entry()))
	}
	if step == "done" || len(places) == 0 {
		return nil
	}
	x.Places = strings.Join(places, " ")
	if _, err := d.DB.Exec(ctx, sqlPlaceChange, x.ID, x.Places); err != nil {
		return fmt.Errorf("noting where a request was notified: %w", err)
	}
	return nil
}

// places are the entries whose alarms tell of an act.
func (x *request) places() []Place {
	out := []Place{{x.Who.Brand, x.Entry}}
	if x.Mark == MarkBreakGlass {
		out[0].Entry = x.GlassIn
	}
	for _, s := range strings.Fields(x.Places) {
		var p Place
		if _, err := fmt.Sscanf(s, "%d:%d", &p.Brand, &p.Entry); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// verify holds a row against the entry that records the request: a row that somebody wrote
// or changed in the database asks for nothing.
func (d *Desk) verify(ctx context.Context, x *request) error {
	e, _, err := d.Ledger.Entry(ctx, x.Who.Brand, x.Entry)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	facts, digest := entry.ChangeFacts{}, ""
	switch t := e.Detail.(type) {
	case entry.ChangeAsked:
		facts, digest = t.ChangeFacts, t.Digest
	case entry.ChangeAlone:
		facts, digest = t.ChangeFacts, t.Digest
		if x.Mark != MarkAlone {
			return ErrForged
		}
	}
	if facts != (entry.ChangeFacts{Change: x.ID, Act: x.Act}) || digest != x.digest() || e.Principal != x.Who.Principal || e.Credential != x.Who.Credential || e.Lineage != x.Who.Lineage || !e.At.Equal(x.Created) {
		return ErrForged
	}
	if _, alone := e.Detail.(entry.ChangeAlone); alone != (x.Mark == MarkAlone) {
		return ErrForged
	}
	return nil
}

// asker returns the requester as they are now: their key alive, their role still allowed
// to ask for such an act, nobody contained.
func (d *Desk) asker(ctx context.Context, a registered, x *request) (identity.Who, error) {
	c, err := d.caller(ctx, x.Who.Principal, x.Who.Credential, x.Who.Lineage)
	if err != nil {
		return x.Who, err
	}
	b, err := d.Door.Brands.Get(ctx, x.Who.Brand)
	if err != nil {
		return x.Who, err
	}
	v, err := d.Door.Admit(ctx, c, b.Name, a.action)
	if err != nil {
		return x.Who, fmt.Errorf("the requester may not ask for this any more: %w", err)
	}
	return v.Who, nil
}

func (d *Desk) caller(ctx context.Context, principal, credential, lineage uint64) (identity.Caller, error) {
	p, err := d.Door.Identity.Get(ctx, principal)
	if err != nil {
		return identity.Caller{}, err
	}
	if credential != 0 {
		if err := d.Door.Identity.Live(ctx, credential); err != nil {
			return identity.Caller{}, fmt.Errorf("the requester's credential is not valid any more: %w", ErrState)
		}
	}
	return identity.Caller{Principal: p.ID, Credential: credential, Lineage: lineage, Name: p.Name, Country: p.Country, Entity: p.Entity}, nil
}

type finishKey struct{}

// finisher lets the transaction of an act finish its request.
type finisher struct {
	x    *request
	done bool
}

// finish makes a request done in the transaction of its act; see [Maker.Make].
func finish(ctx context.Context, q db.Queryer, at time.Time) error {
	f, _ := ctx.Value(finishKey{}).(*finisher)
	if f == nil || f.done {
		return nil
	}
	n, err := q.Exec(ctx, sqlFinishChange, f.x.ID, f.x.Mark, at.UnixMicro())
	if err == nil && n == 0 {
		err = ErrState
	}
	return err
}

// finished notes that the transaction committed.
func finished(ctx context.Context) {
	if f, _ := ctx.Value(finishKey{}).(*finisher); f != nil {
		f.done = true
	}
}

// take makes an approved act, if its alarm reached somebody or was tried long enough.
// Where it has to wait, the request stays as it is and there is no error.
func (d *Desk) take(ctx context.Context, a registered, x *request, payload []byte) (any, error) {
	mark, wait, err := d.reached(ctx, x)
	if err != nil || wait {
		return nil, err
	}
	if mark != "" && !strings.Contains(x.Mark, mark) {
		x.Mark = strings.Trim(x.Mark+" "+mark, " ")
	}
	var out any
	f := &finisher{x: x}
	// Under a revision of its own: what the requester and the second person may is asked
	// again, and the act is logged only while that holds.
	err = d.Revisions.Decide(revision.Unbound(ctx), func(ctx context.Context) error {
		if f.done { // a change of rights overtook the answer, and not the act
			return nil
		}
		o := Order{ID: x.ID, Mark: x.Mark, Ticket: x.Ticket}
		if o.Who, err = d.asker(ctx, a, x); err != nil {
			return err
		}
		if x.Second != 0 {
			if o.Second, err = d.second(ctx, x); err != nil {
				return err
			}
		}
		if err = a.check(ctx, o, payload); err != nil {
			return err
		}
		out, err = a.apply(context.WithValue(ctx, finishKey{}, f), o, payload)
		return err
	})
	unbound := revision.Unbound(ctx)
	switch found := fault.Of(err); {
	case f.done: // it is in force, whatever else went wrong
	case err != nil && (found == nil || found.Kind() == fault.Unavailable || found.Kind() == fault.Changed):
		return nil, err
	case err != nil:
		x.State, x.Reason = Failed, "refused"
		moved := d.move(unbound, d.DB, x, Approved)
		if errors.Is(moved, ErrState) { // another server was faster
			if now, readErr := d.get(unbound, x.ID); readErr == nil && now.State == Done {
				*x = *now
				return nil, fmt.Errorf("%w: another server has just made it: `cloakroom change show %s`", ErrState, x.ID)
			}
		}
		return nil, errors.Join(err, moved)
	default:
		if err := finish(context.WithValue(unbound, finishKey{}, f), d.DB, x.at(d, unbound)); err != nil {
			return nil, err
		}
	}
	x.State = Done
	_, logErr := d.log(unbound, x.Who, x.Ticket, entry.ChangeDone{ChangeFacts: entry.ChangeFacts{Change: x.ID, Act: x.Act}, Mark: x.Mark})
	if logErr == nil {
		logErr = d.notice(unbound, a, x, payload, "done")
	}
	return out, errors.Join(err, logErr)
}

// at is the time of the database, or where that cannot be had, of the decision.
func (x *request) at(d *Desk, ctx context.Context) time.Time {
	if now, err := d.DB.Now(ctx); err == nil {
		return now
	}
	return x.Created
}

// second returns the person who approved a request, as they are now.
func (d *Desk) second(ctx context.Context, x *request) (identity.Who, error) {
	list, err := d.seconds(ctx, x.Who.Brand, x.Who.Principal, x.Created)
	if err != nil {
		return identity.Who{}, err
	}
	i := slices.IndexFunc(list, func(p Person) bool { return p.Principal == x.Second })
	if i < 0 {
		return identity.Who{}, fmt.Errorf("the person who approved this may not any more: %w", ErrState)
	}
	c, err := d.caller(ctx, x.Second, 0, x.SecondIn)
	if err != nil {
		return identity.Who{}, err
	}
	return d.Door.Identity.Who(ctx, c, list[i].Brand)
}

// announced says whether the alarm of an act reached a receiver, and the mark of an act
// that takes effect without.
func (d *Desk) announced(ctx context.Context, x *request) (mark string, wait bool, err error) {
	if d.Receivers == nil {
		return MarkNoReceiver, false, nil
	}
	any, handed, err := d.Receivers.Handed(ctx, x.places())
	switch {
	case err != nil:
		return "", false, err
	case !any:
		return MarkNoReceiver, false, nil
	case handed:
		return "", false, nil
	}
	patience := d.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return "", false, err
	}
	if now.Sub(x.Created) < patience { // a glass that was broken was told hours ago
		return "", true, nil
	}
	return MarkUnsent, false, nil
}
