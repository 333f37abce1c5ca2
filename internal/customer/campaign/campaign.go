// Package campaign writes to everybody in a version of an incident's scope, once each, in
// their language: notices of a breach, and other mail that is owed.
//
// A campaign is planned first: each person gets a row in the queue of package message, with
// the text that they will get, or why they get none. Then somebody asks for it, and another
// person approves what will go out: how many people get which text, the texts of invented
// people who break layouts, and the people without working mail. Only then a mail leaves.
//
// Its bound is the scope that was approved, and nothing else: nobody outside of it and
// nobody twice. It has a budget of its own, so neither an attacker nor the brand's other
// work can use it up, and it continues while the whole brand is contained.
//
// After a restore, or on another host, a campaign pauses by itself: who was written to since
// is not known there. Two people let it go on.
package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/respond/scope"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// planPiece is how many people are looked at together while a campaign is planned.
const planPiece = 1000

// letterPiece bounds a page of letters.
const letterPiece = 200

var (
	// ErrScope is returned for a version of a scope that the incident does not have.
	ErrScope = fault.New(fault.NotFound, "the incident has no such version of its scope at this brand: `cloakroom incident show` lists them")
	// ErrChannel is returned for a template that people can opt out of.
	ErrChannel = fault.New(fault.Invalid, "a campaign is mail that is owed: its template has no channel to opt out of")
	// ErrEmpty is returned for a scope of nobody.
	ErrEmpty = fault.New(fault.Conflict, "nobody is in this version of the scope")
	// ErrHeld is returned while law enforcement asked to wait.
	ErrHeld = fault.New(fault.Conflict, "a hold keeps this campaign until its end date: `cloakroom campaign show` has it; set another date with `cloakroom campaign hold`")
	// ErrUntil is returned for a hold without an end.
	ErrUntil = fault.New(fault.Invalid, "a hold has an end date, within a year: give it with --until")
	// ErrPrinter is returned for letters to a print house that two people did not approve.
	ErrPrinter = fault.New(fault.Denied, "two people approve the print house of the letters: ask with `cloakroom campaign print-house`")
)

// Desk keeps campaigns.
type Desk struct {
	Messages *message.Desk
	Incident *incident.Desk
	Door     *door.Door
	Ledger   *ledger.Ledger
	Disclose *disclose.Desk
	Changes  *change.Maker
	DB       *db.DB

	start *change.Handle[asked, *api.MailJob]
	print *change.Handle[printer, *api.MailJob]
}

// asked is what a campaign is asked for: exactly what the approver sees.
type asked struct {
	ID     uint64 `json:"id"`
	Counts string `json:"counts"`
	Again  bool   `json:"again,omitempty"` // it was paused, on another host or before a restore
}

type printer struct {
	ID        uint64 `json:"id"`
	Recipient string `json:"recipient"`
	Country   string `json:"country,omitempty"`
}

// Register registers the acts that need a second person, and the campaign's part of sending.
func (d *Desk) Register(c *change.Desk) {
	d.start = change.Register(c, change.Act[asked, *api.MailJob]{
		Name: "campaign-start", Action: access.ActRespond,
		Need: func(context.Context, change.Order, asked) (change.Need, error) { return change.Need{Two: true}, nil },
		Text: d.text, Check: d.check, Apply: d.apply,
	})
	d.print = change.Register(c, change.Act[printer, *api.MailJob]{
		Name: "campaign-print", Action: access.ActRespond,
		Need: func(context.Context, change.Order, printer) (change.Need, error) {
			return change.Need{Two: true, Widens: true}, nil
		},
		Text: d.printText, Apply: d.applyPrint,
	})
	d.Messages.Sender.Members, d.Messages.Sender.Plan = d.members, d.plan
}

// Create plans a campaign.
func (d *Desk) Create(ctx context.Context, c identity.Caller, brand string, req api.CampaignRequest) (*api.MailJob, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	own, err := message.Domain(v.Brand.Settings.MailFrom)
	if err != nil {
		return nil, err
	}
	t, err := d.Messages.Template(ctx, v.Brand.ID, req.Template, req.Version, own)
	if err != nil {
		return nil, err
	}
	if t.Channel != "" {
		return nil, ErrChannel
	}
	if _, err := v.Policy.Authorize(v.Who, access.ActMessage, t.Purpose, t.Fields()); err != nil {
		return nil, err
	}
	x, err := d.Incident.Incident(ctx, c, brand, req.Incident)
	if err != nil {
		return nil, err
	}
	j := &message.Job{Brand: v.Brand.ID, Kind: message.KindCampaign, State: message.Planning, Template: t.Name, Version: t.Version, Purpose: t.Purpose, Ticket: req.Ticket,
		Principal: v.Who.Principal, Credential: v.Who.Credential, Lineage: v.Who.Lineage, Role: v.Who.Role, Incident: fmt.Sprintf("%s/%d", x.ID, req.ScopeVersion), Place: d.Messages.Sender.Place}
	for _, s := range x.Scopes {
		for _, p := range s.Parts {
			if s.Version == uint64(req.ScopeVersion) && p.Brand == brand {
				j.Scope = p.Entry
				j.People = uint64(p.Records)
			}
		}
	}
	if j.Scope == 0 {
		return nil, ErrScope
	}
	if j.People == 0 {
		return nil, ErrEmpty
	}
	if _, err := d.members(ctx, j); err != nil { // it follows from the log again
		return nil, err
	}
	if j.Created, err = d.DB.Now(ctx); err != nil {
		return nil, err
	}
	if j.Epoch, err = d.Ledger.VerifierKey(ctx, v.Brand.ID); err != nil {
		return nil, err
	}
	if req.DryRun {
		return d.Messages.Show(ctx, j)
	}
	if err := d.Messages.Begin(ctx, j); err != nil {
		return nil, err
	}
	ev := message.Step(j, v.Who, "plan")
	if _, err := d.Ledger.Record(ctx, ev); err != nil {
		return nil, err
	}
	d.Messages.Sender.Wake()
	return d.shown(revision.Unbound(ctx), j)
}

// members returns the people of a campaign, counted again from the log: those of the entry
// that its scope was signed with, and nobody else.
func (d *Desk) members(ctx context.Context, j *message.Job) (*entry.Set, error) {
	e, _, err := d.Ledger.Entry(ctx, j.Brand, j.Scope)
	if err != nil {
		return nil, err
	}
	s, ok := e.Detail.(entry.IncidentScope)
	if !ok {
		return nil, message.ErrForged
	}
	var req api.ScopeRequest
	if err := json.Unmarshal([]byte(s.Filter), &req); err != nil {
		return nil, fmt.Errorf("reading the filter of a scope: %w", err)
	}
	f, err := evidence.NewFilter(&req)
	if err != nil {
		return nil, err
	}
	q := scope.Question{Size: s.Size, Tally: evidence.NewTally(f)}
	if err := scope.Count(ctx, d.Ledger, j.Brand, q); err != nil {
		return nil, err
	}
	set := q.Tally.Set()
	if q.Tally.Figures().Digest != s.Digest || uint64(set.Len()) != s.Records || s.Records != j.People {
		return nil, message.ErrForged
	}
	return set, nil
}

// plan makes rows of a campaign, and ends the planning with the last. It may stop after any
// piece and be resumed.
func (d *Desk) plan(ctx context.Context, j *message.Job, keep func(q db.Queryer) error) error {
	set, err := d.members(ctx, j)
	if err != nil {
		return err
	}
	b, err := d.Door.Brands.Whole(ctx, j.Brand)
	if err != nil {
		return err
	}
	own, err := message.Domain(b.Settings.MailFrom)
	if err != nil {
		return err
	}
	t, err := d.Messages.Template(ctx, j.Brand, j.Template, j.Version, own)
	if err != nil {
		return err
	}
	g, err := d.grant(ctx, j, record.Fields(record.Email, record.Locale, record.Standing))
	if err != nil {
		return err
	}
	var piece []record.Ordinal
	for ord := range set.All() {
		if ord <= j.Reached {
			continue
		}
		if piece = append(piece, ord); len(piece) == planPiece {
			if err := d.look(ctx, j, t, &b, g, piece, keep); err != nil {
				return err
			}
			piece = piece[:0]
		}
	}
	if len(piece) > 0 {
		if err := d.look(ctx, j, t, &b, g, piece, keep); err != nil {
			return err
		}
	}
	x := *j
	x.State = message.Ready
	return d.move(ctx, &x, message.Planning, identity.Who{Brand: j.Brand}, "planned", "")
}

// grant is that of the vault itself, in the role of who planned the campaign: as long as the
// policy lets the role write to customers for the purpose.
func (d *Desk) grant(ctx context.Context, j *message.Job, fields record.FieldSet) (access.Grant, error) {
	p, _, err := d.Door.Access.Current(ctx, j.Brand)
	if err != nil {
		return access.Grant{}, err
	}
	return p.Authorize(identity.Who{Brand: j.Brand, Role: j.Role}, access.ActMessage, j.Purpose, fields)
}

func most(j *message.Job) (l budget.Limits) {
	l[budget.Month].Limit, l[budget.Month].Set = uint32(j.People), true
	return l
}

// look opens people to count them, and makes their rows.
func (d *Desk) look(ctx context.Context, j *message.Job, t *message.Template, b *brands.Brand, g access.Grant, ords []record.Ordinal, keep func(q db.Queryer) error) error {
	u, err := d.Disclose.Seal.There(ctx, j.Brand, ords, g.Fields())
	if err != nil {
		return err
	}
	there := u.Ords()
	rows := make([]message.Row, 0, len(ords))
	if len(there) > 0 {
		r, err := d.Disclose.Release(ctx, u, nil, ledger.Release{Grant: g, Class: budget.Campaign, Ticket: j.Ticket, Most: most(j),
			Detail: entry.Mailed{Job: j.ID, Template: j.Versioned(), Campaign: true, Count: true}})
		if err != nil {
			return err
		}
		customers, err := r.Open(ctx, u)
		if err != nil {
			return err
		}
		for i := range customers {
			row := t.Choose(&customers[i], b.Settings.Languages)
			row.Ord = there[i]
			rows = append(rows, row)
		}
	}
	for _, ord := range ords {
		if _, ok := slices.BinarySearch(there, ord); !ok {
			rows = append(rows, message.Row{Ord: ord, State: message.Erased})
		}
	}
	j.Reached = ords[len(ords)-1]
	return d.Messages.AddRows(ctx, j, rows, j.Reached, keep)
}

// move changes the state of a campaign with its entry.
func (d *Desk) move(ctx context.Context, j *message.Job, from string, who identity.Who, what, ticket string) error {
	ev := message.Step(j, who, what)
	if ticket != "" {
		ev.Ticket = ticket
	}
	if !j.Held.IsZero() {
		s := ev.Detail.(entry.CampaignStep)
		s.Until = j.Held.UTC().Format(time.DateOnly)
		ev.Detail = s
	}
	_, err := d.Changes.Make(ctx, ev, func(q db.Queryer, _ time.Time) error { return d.Messages.Move(ctx, q, j, from) })
	return err
}

// figures are the counts that an approval is of, as text.
func (d *Desk) figures(ctx context.Context, j *message.Job) (lines []string, digest string, err error) {
	counts, err := d.Messages.Counts(ctx, j.ID)
	if err != nil {
		return nil, "", err
	}
	for _, c := range counts {
		text := "nobody"
		switch {
		case c.State == "planned":
			text = fmt.Sprintf("%d people get the %s text", c.People, strings.TrimSuffix(c.Language, " *"))
			if strings.HasSuffix(c.Language, "*") {
				text = fmt.Sprintf("%d people get the %s text, because there is none in their language", c.People, strings.TrimSuffix(c.Language, " *"))
			}
		default:
			text = fmt.Sprintf("%d people: %s (%s)", c.People, c.State, c.Language)
		}
		lines = append(lines, text)
	}
	return lines, strings.Join(lines, "; "), nil
}

func (d *Desk) job(ctx context.Context, brand record.BrandID, id uint64) (*message.Job, error) {
	return d.Messages.Job(ctx, nil, brand, id, message.KindCampaign)
}

// text is what the second person reads.
func (d *Desk) text(ctx context.Context, o change.Order, p asked) (out change.Text, err error) {
	j, err := d.job(ctx, o.Who.Brand, p.ID)
	if err != nil {
		return out, err
	}
	b, err := d.Door.Brands.Whole(ctx, j.Brand)
	if err != nil {
		return out, err
	}
	own, err := message.Domain(b.Settings.MailFrom)
	if err != nil {
		return out, err
	}
	t, err := d.Messages.Template(ctx, j.Brand, j.Template, j.Version, own)
	if err != nil {
		return out, err
	}
	out.Title = fmt.Sprintf("Write to the %d people in scope %s of %s: campaign %d, template %s, version %d", j.People, j.Incident, b.Name, j.ID, j.Template, j.Version)
	if p.Again {
		out.Title = fmt.Sprintf("Go on with campaign %d of %s, which was paused: %s", j.ID, b.Name, j.Reason)
	}
	lines, _, err := d.figures(ctx, j)
	if err != nil {
		return out, err
	}
	out.Lines = append(lines, "from: "+b.Settings.MailFrom, "fields: "+t.Fields().String())
	samples, err := t.Samples(b.Title)
	if err != nil {
		return out, err
	}
	for _, s := range samples {
		out.Private = append(out.Private, fmt.Sprintf("%s, %s: %s\n%s", s.Language, s.Case, s.Subject, s.Text))
	}
	return out, nil
}

// check refuses a campaign that is not what was asked for any more.
func (d *Desk) check(ctx context.Context, o change.Order, p asked) error {
	j, err := d.job(ctx, o.Who.Brand, p.ID)
	if err != nil {
		return err
	}
	want := message.Ready
	if p.Again {
		want = message.Paused
	}
	if j.State != want {
		return message.ErrState
	}
	if err := d.unheld(ctx, j); err != nil {
		return err
	}
	if _, now, err := d.figures(ctx, j); err != nil || now != p.Counts && !p.Again {
		return change.ErrChanged
	}
	_, err = d.members(ctx, j)
	return err
}

func (d *Desk) unheld(ctx context.Context, j *message.Job) error {
	now, err := d.DB.Now(ctx)
	if err == nil && j.Held.After(now) {
		err = ErrHeld
	}
	return err
}

// apply lets a campaign be sent, by this host.
func (d *Desk) apply(ctx context.Context, o change.Order, p asked) (*api.MailJob, error) {
	j, err := d.job(ctx, o.Who.Brand, p.ID)
	if err != nil {
		return nil, err
	}
	from, what := j.State, "start"
	if p.Again {
		what = "resume"
	}
	j.State, j.Reason, j.Held, j.Place = message.Running, "", time.Time{}, d.Messages.Sender.Place
	if j.Epoch, err = d.Ledger.VerifierKey(ctx, j.Brand); err != nil {
		return nil, err
	}
	if err := d.move(ctx, j, from, o.Who, what, o.Ticket); err != nil {
		return nil, err
	}
	d.Messages.Sender.Wake()
	return d.shown(revision.Unbound(ctx), j)
}

// Request asks another person to approve a planned campaign.
func (d *Desk) Request(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	v, j, err := d.mine(ctx, c, brand, id, req)
	if err != nil {
		return nil, err
	}
	if j.State != message.Ready {
		return nil, message.ErrState
	}
	_, counts, err := d.figures(ctx, j)
	if err != nil {
		return nil, err
	}
	return d.start.Do(ctx, v, req.Ticket, asked{ID: id, Counts: counts})
}

// mine lets people who respond work with a campaign.
func (d *Desk) mine(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*door.Visit, *message.Job, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActRespond)
	if err != nil {
		return nil, nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, nil, err
	}
	if err := ledger.CheckText("reason", req.Reason); err != nil {
		return nil, nil, err
	}
	j, err := d.job(ctx, v.Brand.ID, id)
	return v, j, err
}

// Pause stops a campaign for a time.
func (d *Desk) Pause(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return d.end(ctx, c, brand, id, req, message.Paused, "pause")
}

// Stop stops a campaign permanently.
func (d *Desk) Stop(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return d.end(ctx, c, brand, id, req, message.Stopped, "stop")
}

// Hold keeps a campaign until a day, because law enforcement asked for it.
func (d *Desk) Hold(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	if !req.Until.After(now) || req.Until.After(now.AddDate(1, 0, 0)) {
		return nil, ErrUntil
	}
	return d.end(ctx, c, brand, id, req, message.Paused, "hold")
}

func (d *Desk) end(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest, to, what string) (*api.MailJob, error) {
	v, j, err := d.mine(ctx, c, brand, id, req)
	if err != nil {
		return nil, err
	}
	from := j.State
	if from == message.Stopped || from == message.Planning && to != message.Stopped || from == message.Paused && what == "pause" {
		return nil, message.ErrState
	}
	j.State, j.Reason = to, req.Reason
	if what == "hold" {
		j.Held = req.Until
		j.Reason = strings.TrimSuffix("law-enforcement hold: "+req.Reason, ": ")
	}
	if err := d.move(ctx, j, from, v.Who, what, req.Ticket); err != nil {
		return nil, err
	}
	return d.shown(revision.Unbound(ctx), j)
}

// Resume resumes a paused campaign. Where it paused by itself, because of a restore or
// another host, two people decide; so do they where it was never approved.
func (d *Desk) Resume(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	v, j, err := d.mine(ctx, c, brand, id, req)
	if err != nil {
		return nil, err
	}
	if j.State != message.Paused {
		return nil, message.ErrState
	}
	return d.start.Do(ctx, v, req.Ticket, asked{ID: id, Again: true})
}

// shown shows a campaign.
func (d *Desk) shown(ctx context.Context, j *message.Job) (*api.MailJob, error) {
	out, err := d.Messages.Show(ctx, j)
	if err != nil {
		return nil, err
	}
	of, version, _ := strings.Cut(j.Incident, "/")
	out.Incident, out.HeldUntil = of, j.Held
	fmt.Sscan(version, &out.ScopeVersion)
	for _, s := range out.States {
		out.Planned += s.People
	}
	return out, nil
}

// Show shows a campaign.
func (d *Desk) Show(ctx context.Context, c identity.Caller, brand string, id uint64) (*api.MailJob, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActAudit, access.ActRespond)
	if err != nil {
		return nil, err
	}
	j, err := d.job(ctx, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, j)
}

// List lists the newest campaigns.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.MailJob, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActAudit, access.ActRespond)
	if err != nil {
		return nil, err
	}
	list, err := d.Messages.Jobs(ctx, v.Brand.ID, message.KindCampaign)
	if err != nil {
		return nil, err
	}
	out := []api.MailJob{}
	for _, j := range list {
		x, err := d.shown(ctx, j)
		if err != nil {
			return nil, err
		}
		out = append(out, *x)
	}
	return out, nil
}

// Lines shows one line a person: the state, and the mail server's own number. People are
// row numbers, as in evidence, or tokens where it is asked for.
func (d *Desk) Lines(ctx context.Context, c identity.Caller, brand string, id, after uint64, state string, tokens bool) (*api.MailLines, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActAudit, access.ActRespond)
	if err != nil {
		return nil, err
	}
	j, err := d.job(ctx, v.Brand.ID, id)
	if err != nil {
		return nil, err
	}
	return d.Messages.Page(ctx, v.Brand.ID, j, after, state, tokens)
}

// Settle says what became of a mail in doubt, or has it sent once more.
func (d *Desk) Settle(ctx context.Context, c identity.Caller, brand string, id uint64, req api.SettleRequest) (*api.MailJob, error) {
	if _, err := d.Messages.Settle(ctx, c, brand, id, message.KindCampaign, req); err != nil {
		return nil, err
	}
	return d.Show(revision.Unbound(ctx), c, brand, id)
}
