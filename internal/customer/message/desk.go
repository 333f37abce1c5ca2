package message

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// Desk takes messages, templates, opt-outs and bounces.
type Desk struct {
	*Store
	Door     *door.Door
	Ledger   *ledger.Ledger
	Disclose *disclose.Desk
	Seal     *seal.Store
	Changes  *change.Maker
	Sender   *Sender

	set *change.Handle[asked, *api.TemplateAnswer]
}

var (
	// ErrTest is returned for a test to somebody outside.
	ErrTest = fault.New(fault.Denied, "a test goes to an address of the brand's own domain, that of mail_from: `cloakroom settings show`")
	// ErrNoPost is returned on a server without a mail server.
	ErrNoPost = fault.New(fault.Unavailable, "this server has no mail server: start it with --smtp-host and --smtp-from")
	errLang   = fault.New(fault.Invalid, "the template has no text in the brand's first language, which everybody else gets: add it, or change languages with `cloakroom settings set`")
)

// asked is what a template is asked for.
type asked struct {
	Text   string `json:"text"`
	Before int64  `json:"before"` // the newest version then
}

// Register registers the act by which a template is set: two people look at what goes out
// in the brand's name.
func (d *Desk) Register(c *change.Desk) {
	d.set = change.Register(c, change.Act[asked, *api.TemplateAnswer]{
		Name: "template-set", Action: access.ActAdminister,
		Need: func(context.Context, change.Order, asked) (change.Need, error) { return change.Need{Two: true}, nil },
		Text: d.text, Check: d.check, Apply: d.apply,
	})
}

func unmarshal(text string, to *api.MailTemplate) error {
	if err := json.Unmarshal([]byte(text), to); err != nil {
		return fmt.Errorf("reading a template: %w", err)
	}
	return nil
}

// domain returns that to which the links of a brand's templates may lead.
func domain(b *brands.Brand) (string, error) { return Domain(b.Settings.MailFrom) }

func (d *Desk) read(ctx context.Context, brand record.BrandID, text string) (*Template, *brands.Brand, error) {
	b, err := d.Door.Brands.Whole(ctx, brand)
	if err != nil {
		return nil, nil, err
	}
	own, err := domain(&b)
	if err != nil {
		return nil, nil, err
	}
	t, err := decode(text, own)
	return t, &b, err
}

func (d *Desk) text(ctx context.Context, o change.Order, p asked) (out change.Text, err error) {
	t, b, err := d.read(ctx, o.Who.Brand, p.Text)
	if err != nil {
		return out, err
	}
	out.Title = fmt.Sprintf("Set version %d of the template %s for mail to customers of %s", p.Before+1, t.Name, b.Name)
	out.Lines = []string{"purpose: " + t.Purpose, "fields: " + t.Fields().String(), "channel: " + orNone(t.Channel), "sha256 " + digest(p.Text)}
	for _, v := range t.Variants {
		out.Lines = append(out.Lines, fmt.Sprintf("%s subject: %s", v.Language, v.Subject), fmt.Sprintf("%s text: %s", v.Language, v.Text))
	}
	return out, nil
}

func orNone(s string) string {
	if s == "" {
		return "none: it cannot be opted out of"
	}
	return s
}

func (d *Desk) check(ctx context.Context, o change.Order, p asked) error {
	t, _, err := d.read(ctx, o.Who.Brand, p.Text)
	if err != nil {
		return err
	}
	var newest int64
	if err := d.db.Row(ctx, sqlNewest, int64(o.Who.Brand), t.Name).Scan(&newest); err != nil {
		return fmt.Errorf("reading a template: %w", err)
	}
	if newest != p.Before {
		return change.ErrChanged
	}
	return nil
}

func (d *Desk) apply(ctx context.Context, o change.Order, p asked) (*api.TemplateAnswer, error) {
	t, b, err := d.read(ctx, o.Who.Brand, p.Text)
	if err != nil {
		return nil, err
	}
	x := storedTemplate{brand: o.Who.Brand, name: t.Name, version: p.Before + 1, purpose: t.Purpose, text: p.Text, author: int64(o.Who.Principal)}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: o.Who, Ticket: o.Ticket, Fields: t.Fields(),
		Detail: entry.TemplateSet{Template: t.Name, Version: int(x.version), Purpose: t.Purpose, Digest: digest(p.Text)}}
	_, err = d.Changes.Make(ctx, ev, func(q db.Queryer, at time.Time) error {
		x.created = at.UnixMicro()
		if _, err := q.Exec(ctx, sqlInsertTemplate, x.cells()...); err != nil {
			return fmt.Errorf("storing a template: %w", err)
		}
		rights.Changed(q, x.row())
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.Version = int(x.version)
	return d.answer(ctx, t, b, &x)
}

func (d *Desk) answer(ctx context.Context, t *Template, b *brands.Brand, x *storedTemplate) (*api.TemplateAnswer, error) {
	samples, err := t.Samples(b.Title)
	if err != nil {
		return nil, err
	}
	out := &api.TemplateAnswer{Template: api.StoredTemplate{MailTemplate: t.MailTemplate, Version: t.Version, At: db.Time(x.created), Fields: t.Fields().Names()}, Samples: samples}
	out.Template.By = d.name(ctx, uint64(x.author))
	return out, nil
}

func (d *Desk) name(ctx context.Context, principal uint64) string {
	if p, err := d.Door.Identity.Get(ctx, principal); err == nil {
		return p.Name
	}
	return ""
}

// SetTemplate asks for a new version of a template.
func (d *Desk) SetTemplate(ctx context.Context, c identity.Caller, brand string, req api.TemplateRequest) (*api.TemplateAnswer, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	texts := []string{req.Template.Name, req.Template.Purpose, req.Template.Channel}
	for _, v := range req.Template.Variants {
		texts = append(texts, v.Language, v.Subject, v.Text, v.HTML)
	}
	for _, s := range texts {
		if err := ledger.CheckText("the template", s); err != nil {
			return nil, err
		}
	}
	if !brands.ValidName(req.Template.Name) {
		return nil, brands.ErrName
	}
	if err := v.Purpose(ctx, req.Template.Purpose); err != nil {
		return nil, err
	}
	if c := req.Template.Channel; c != "" && !brands.ValidName(c) {
		return nil, brands.ErrName
	}
	text, err := encode(req.Template)
	if err != nil {
		return nil, err
	}
	t, b, err := d.read(ctx, v.Brand.ID, text)
	if err != nil {
		return nil, err
	}
	if l := b.Settings.Languages; len(l) > 0 {
		if _, theirs := t.pick(l[0], nil); !theirs {
			return nil, errLang
		}
	}
	if err := v.Policy.Message(t.Purpose, t.Fields()); err != nil {
		return nil, err
	}
	p := asked{Text: text}
	if err := d.db.Row(ctx, sqlNewest, int64(v.Brand.ID), t.Name).Scan(&p.Before); err != nil {
		return nil, fmt.Errorf("reading a template: %w", err)
	}
	if req.DryRun {
		t.Version = int(p.Before) + 1
		return d.answer(ctx, t, b, &storedTemplate{author: int64(c.Principal)})
	}
	return d.set.Do(ctx, v, req.Ticket, p)
}

// Templates lists the newest versions.
func (d *Desk) Templates(ctx context.Context, c identity.Caller, brand string) ([]api.StoredTemplate, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	var list []storedTemplate
	err = d.db.Rows(ctx, func(r db.Row) error {
		x, err := scanTemplate(r)
		list = append(list, x)
		return err
	}, sqlListTemplates, int64(v.Brand.ID))
	if err != nil {
		return nil, fmt.Errorf("listing templates: %w", err)
	}
	out := []api.StoredTemplate{}
	for _, x := range list {
		t := api.StoredTemplate{Version: int(x.version), At: db.Time(x.created), By: d.name(ctx, uint64(x.author))}
		if err := unmarshal(x.text, &t.MailTemplate); err != nil {
			return nil, err
		}
		probe := &Template{}
		for _, one := range t.Variants {
			for _, s := range []string{one.Subject, one.Text, one.HTML} {
				if err := probe.places(s); err != nil {
					return nil, err
				}
			}
		}
		t.Fields = probe.Fields().Names()
		out = append(out, t)
	}
	return out, nil
}

// ShowTemplate shows a version of a template, with its mail to invented people.
func (d *Desk) ShowTemplate(ctx context.Context, c identity.Caller, brand, name string, version int) (*api.TemplateAnswer, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	own, err := domain(&v.Brand)
	if err != nil {
		return nil, err
	}
	t, err := d.Template(ctx, v.Brand.ID, name, version, own)
	if err != nil {
		return nil, err
	}
	x, err := scanTemplate(d.db.Row(ctx, sqlGetTemplate, int64(v.Brand.ID), name, int64(t.Version)))
	if err != nil {
		return nil, fmt.Errorf("reading a template: %w", err)
	}
	return d.answer(ctx, t, &v.Brand, &x)
}

// Send mails a template to customers: logged first, under the caller's own budget of
// messages, and never shown.
func (d *Desk) Send(ctx context.Context, c identity.Caller, brand string, req api.MessageRequest) (*api.MailJob, error) {
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	if err := v.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	own, err := domain(&v.Brand)
	if err != nil {
		return nil, err
	}
	t, err := d.Template(ctx, v.Brand.ID, req.Template, req.Version, own)
	if err != nil {
		return nil, err
	}
	if err := v.Purpose(ctx, t.Purpose); err != nil {
		return nil, err
	}
	g, err := v.Authorize(ctx, access.ActMessage, t.Purpose, t.Fields())
	if err != nil {
		return nil, err
	}
	ords, err := d.Disclose.Resolve(ctx, v, req.Tokens)
	if err != nil {
		return nil, err
	}
	u, err := d.Seal.Fetch(ctx, v.Brand.ID, ords, g.Fields())
	if err != nil {
		return nil, err
	}
	now, err := d.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	j := &Job{Brand: v.Brand.ID, Kind: KindMessage, State: Ready, Template: t.Name, Version: t.Version, Purpose: t.Purpose, Ticket: req.Ticket,
		Principal: v.Who.Principal, Credential: v.Who.Credential, Lineage: v.Who.Lineage, Role: v.Who.Role, People: uint64(len(u.Ords())), Created: now, Place: d.Sender.Place}
	if j.Epoch, err = d.Ledger.VerifierKey(ctx, v.Brand.ID); err != nil {
		return nil, err
	}
	rel := ledger.Release{Grant: g, Class: budget.Message, Ticket: req.Ticket, Ords: u.Ords(), Recipient: d.Sender.recipient()}
	if req.DryRun {
		if _, err := d.Ledger.Hold(ctx, rel); err != nil {
			return nil, err
		}
		return d.shown(ctx, j, 0)
	}
	if err := d.Begin(ctx, j); err != nil {
		return nil, err
	}
	rel.Detail = entry.Mailed{Job: j.ID, Template: versioned(t.Name, t.Version)}
	released, err := d.Disclose.Release(ctx, u, nil, rel)
	if err != nil {
		return nil, err // the job stays without a row, and sends nothing
	}
	// From here on the log has it: what is cut off leaves a disclosure without a mail.
	unbound := revision.Unbound(ctx)
	keys, err := d.stamps(unbound, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	err = d.db.Tx(unbound, func(q db.Queryer) error {
		var stmts []db.Stmt
		for _, ord := range u.Ords() {
			stmts = append(stmts, keys.insert(&mail{job: j.ID, ord: ord, version: 1, due: now.UnixMicro(), entry: int64(released.Entry()), changed: now.UnixMicro()}))
		}
		if err := q.Batch(unbound, stmts); err != nil {
			return fmt.Errorf("putting mails in the queue: %w", err)
		}
		j.State = Running
		return d.Move(unbound, q, j, Ready)
	})
	if err != nil {
		return nil, err
	}
	d.Sender.Wake()
	return d.shown(unbound, j, released.Entry())
}

// shown shows a job as its rows are.
func (d *Desk) shown(ctx context.Context, j *Job, entryIndex uint64) (*api.MailJob, error) {
	out := &api.MailJob{Number: j.ID, State: j.State, Reason: j.Reason, Template: j.Template, Version: j.Version, Purpose: j.Purpose, By: d.name(ctx, j.Principal), At: j.Created,
		Entry: entryIndex, People: int64(j.People), States: []api.MailCount{}}
	if j.ID == 0 {
		return out, nil
	}
	var err error
	if out.States, err = d.Counts(ctx, j.ID); err != nil {
		return nil, err
	}
	if err := d.db.Row(ctx, sqlAgain, int64(j.ID)).Scan(&out.Again); err != nil {
		return nil, fmt.Errorf("counting mails: %w", err)
	}
	open, all := int64(0), int64(0)
	for _, c := range out.States {
		if all += c.People; c.State == "planned" || c.State == "claimed" || c.State == "deferred" {
			open += c.People
		}
	}
	out.Finished = open == 0 && all >= out.People && j.State == Running
	return out, nil
}

// Show is shown for another package's jobs.
func (d *Desk) Show(ctx context.Context, j *Job) (*api.MailJob, error) { return d.shown(ctx, j, 0) }

// mine lets a caller see and stop a message: who asked for it, and who responds or audits.
func (d *Desk) mine(ctx context.Context, c identity.Caller, brand string, id uint64) (*door.Visit, *Job, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, nil, err
	}
	j, err := d.Job(ctx, nil, v.Brand.ID, id, KindMessage)
	if err != nil {
		return nil, nil, err
	}
	if j.Principal != v.Who.Principal && !d.may(v, access.ActAudit) && !d.may(v, access.ActRespond) {
		return nil, nil, ErrNone
	}
	return v, j, nil
}

func (d *Desk) may(v *door.Visit, a access.Action) bool {
	_, err := v.Policy.Authorize(v.Who, a, "", 0)
	return err == nil
}

// Message shows a message.
func (d *Desk) Message(ctx context.Context, c identity.Caller, brand string, id uint64) (*api.MailJob, error) {
	_, j, err := d.mine(ctx, c, brand, id)
	if err != nil {
		return nil, err
	}
	return d.shown(ctx, j, 0)
}

// Messages lists the newest messages that a caller may see.
func (d *Desk) Messages(ctx context.Context, c identity.Caller, brand string) ([]api.MailJob, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	list, err := d.Jobs(ctx, v.Brand.ID, KindMessage)
	if err != nil {
		return nil, err
	}
	all := d.may(v, access.ActAudit) || d.may(v, access.ActRespond)
	out := []api.MailJob{}
	for _, j := range list {
		if j.Principal != v.Who.Principal && !all {
			continue
		}
		x, err := d.shown(ctx, j, 0)
		if err != nil {
			return nil, err
		}
		out = append(out, *x)
	}
	return out, nil
}

// pageLines bounds a page of lines.
const pageLines = 500

// Lines shows the mails of a message, one line a person, with their tokens: the caller knows
// them.
func (d *Desk) Lines(ctx context.Context, c identity.Caller, brand string, id, after uint64, state string) (*api.MailLines, error) {
	v, j, err := d.mine(ctx, c, brand, id)
	if err != nil {
		return nil, err
	}
	return d.Page(ctx, v.Brand.ID, j, after, state, true)
}

// Page is a page of the lines of a job. Without tokens people are row numbers, as in
// evidence.
func (d *Desk) Page(ctx context.Context, brand record.BrandID, j *Job, after uint64, state string, tokens bool) (*api.MailLines, error) {
	want := int64(-1)
	for s, name := range stateNames {
		if name == state && state != "" {
			want = int64(s)
		}
	}
	if state != "" && want < 0 {
		return nil, fault.New(fault.Invalid, "no such state of a mail")
	}
	list, err := d.mails(ctx, sqlPageMails, int64(j.ID), int64(after), want, pageLines)
	if err != nil {
		return nil, err
	}
	out := &api.MailLines{Lines: []api.MailLine{}}
	for _, m := range list {
		l := api.MailLine{Version: m.version, State: m.state.String(), Reason: m.reason, Attempts: m.attempts, Queue: m.queue, Entry: uint64(m.entry), At: db.Time(m.changed),
			Print: printed[m.print]}
		if m.bounce != "" {
			l.Reason = "bounced: " + m.bounce
		}
		if tokens {
			if l.Token, err = d.Seal.Token(ctx, brand, m.ord); err != nil {
				return nil, err
			}
		} else {
			l.Row = uint64(m.ord)
		}
		out.Lines = append(out.Lines, l)
	}
	if len(list) == pageLines { // a person's versions may lie on two pages: the last person comes again
		out.Next = uint64(list[len(list)-1].ord) - 1
		if out.Next <= after {
			out.Next = uint64(list[len(list)-1].ord)
		}
	}
	return out, nil
}

var printed = map[int64]string{1: "handed", 2: "printed", 3: "returned"}

// Stop ends a message permanently; what was not handed over stays.
func (d *Desk) Stop(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return d.step(ctx, c, brand, id, req, Stopped)
}

// Resume lets a paused message be sent, on this server and in this log.
func (d *Desk) Resume(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest) (*api.MailJob, error) {
	return d.step(ctx, c, brand, id, req, Running)
}

func (d *Desk) step(ctx context.Context, c identity.Caller, brand string, id uint64, req api.JobStepRequest, to string) (*api.MailJob, error) {
	if err := noted(&req); err != nil {
		return nil, err
	}
	v, j, err := d.mine(ctx, c, brand, id)
	if err != nil {
		return nil, err
	}
	from := j.State
	if from == Stopped || to == Running && from != Paused {
		return nil, ErrState
	}
	j.State, j.Reason, j.Place = to, req.Reason, d.Sender.Place
	if to == Running {
		j.Reason = ""
	}
	if j.Epoch, err = d.Ledger.VerifierKey(ctx, v.Brand.ID); err != nil {
		return nil, err
	}
	ev := Step(j, v.Who, map[string]string{Stopped: "stop", Running: "resume"}[to])
	ev.Ticket = req.Ticket
	if _, err := d.Changes.Make(ctx, ev, func(q db.Queryer, _ time.Time) error { return d.Move(ctx, q, j, from) }); err != nil {
		return nil, err
	}
	d.Sender.Wake()
	return d.shown(revision.Unbound(ctx), j, 0)
}

// noted refuses what cannot stand in the log.
func noted(req *api.JobStepRequest) error {
	if err := door.Ticket(req.Ticket); err != nil {
		return err
	}
	return ledger.CheckText("reason", req.Reason)
}

// Settle says what became of a mail in doubt, or has a mail sent once more, by a person's
// hand.
func (d *Desk) Settle(ctx context.Context, c identity.Caller, brand string, id uint64, kind string, req api.SettleRequest) (*api.MailJob, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActRespond, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	j, err := d.Job(ctx, nil, v.Brand.ID, id, kind)
	if err != nil {
		return nil, err
	}
	ords, err := d.Disclose.Resolve(ctx, v, []string{req.Token})
	if err != nil {
		return nil, err
	}
	list, err := d.mails(ctx, sqlMailsOf, int64(id), int64(ords[0]))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNone // of nobody outside of it
	}
	m := list[0]
	again := req.As == "again"
	if again && (m.state < Accepted || m.state == Erased || j.State == Stopped) || !again && m.state != InDoubt {
		return nil, ErrState
	}
	if again && kind == KindMessage {
		return nil, ErrState // its budget was the first mail's: send another message
	}
	keys, err := d.stamps(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Ticket: req.Ticket, Detail: entry.MailSettled{Job: id, Version: m.version, As: req.As}}
	_, err = d.Changes.Make(ctx, ev, func(q db.Queryer, at time.Time) error {
		if again {
			s := keys.insert(&mail{job: id, ord: m.ord, version: m.version + 1, due: at.UnixMicro(), lang: m.lang, changed: at.UnixMicro()})
			return q.Batch(ctx, []db.Stmt{s})
		}
		to := map[string]State{"accepted": Accepted, "refused": Refused}[req.As]
		n, err := q.Exec(ctx, sqlMoveMail, int64(m.job), int64(m.ord), int64(m.version), int64(m.state), int64(to), int64(m.attempts), m.due, m.entry, m.queue, "settled by hand", at.UnixMicro())
		if err == nil && n == 0 {
			err = ErrState
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	d.Sender.Wake()
	return d.shown(revision.Unbound(ctx), j, 0)
}

// AllChannels stands for every channel.
const AllChannels = "all"

// OptOut keeps that a customer wants no mail of a channel, or wants it again: in force at
// once, also for what is in the queue.
func (d *Desk) OptOut(ctx context.Context, c identity.Caller, brand string, req api.OptOutRequest) (*api.OptOuts, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActWrite)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if !brands.ValidName(req.Channel) {
		return nil, brands.ErrName
	}
	ords, err := d.Disclose.Resolve(ctx, v, []string{req.Token})
	if err != nil {
		return nil, err
	}
	u, err := d.Seal.Fetch(ctx, v.Brand.ID, ords, 0)
	if err != nil {
		return nil, err
	}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Ticket: req.Ticket, Ords: ords, Commit: u.Commitment(0),
		Detail: entry.OptedOut{Channel: req.Channel, Again: req.Again}}
	_, err = d.Changes.Make(ctx, ev, func(q db.Queryer, at time.Time) error {
		var err error
		if req.Again {
			_, err = q.Exec(ctx, sqlOptIn, int64(v.Brand.ID), int64(ords[0]), req.Channel)
		} else {
			_, err = q.Exec(ctx, sqlOptOut, int64(v.Brand.ID), int64(ords[0]), req.Channel, at.UnixMicro())
		}
		if err != nil {
			return fmt.Errorf("storing an opt-out: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.optOuts(revision.Unbound(ctx), v.Brand.ID, ords[0])
}

func (s *Store) optOuts(ctx context.Context, brand record.BrandID, ord record.Ordinal) (*api.OptOuts, error) {
	out := &api.OptOuts{Channels: []api.OptOut{}}
	err := s.db.Rows(ctx, func(r db.Row) error {
		var o api.OptOut
		var since int64
		err := r.Scan(&o.Channel, &since)
		o.Since = db.Time(since)
		out.Channels = append(out.Channels, o)
		return err
	}, sqlOptOuts, int64(brand), int64(ord))
	if err != nil {
		return nil, fmt.Errorf("reading opt-outs: %w", err)
	}
	return out, nil
}

// Bounce takes a mail that came back.
func (d *Desk) Bounce(ctx context.Context, c identity.Caller, brand string, req api.BounceRequest) (*api.BounceAnswer, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActCanaryMail, access.ActRespond)
	if err != nil {
		return nil, err
	}
	reports, err := ReadBounce([]byte(req.Message))
	if err != nil {
		return nil, err
	}
	out := &api.BounceAnswer{}
	for _, r := range reports {
		n, err := d.returned(ctx, v.Brand.ID, r)
		if err != nil {
			return nil, err
		}
		out.Mails += n
	}
	return out, nil
}

// returned marks a mail as bounced. One whose acceptance is not stored yet is marked so
// that it is bounced once it is.
func (d *Desk) returned(ctx context.Context, brand record.BrandID, r Report) (n int, err error) {
	list, err := d.mails(ctx, sqlMailByID, r.ID)
	if err != nil || len(list) != 1 {
		return 0, err
	}
	j, err := scanJob(d.db.Row(ctx, sqlGetJob, int64(list[0].job)))
	if errors.Is(err, db.ErrNoRows) || err == nil && j.Brand != brand {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading a message: %w", err)
	}
	now, err := d.db.Now(ctx)
	if err != nil {
		return 0, err
	}
	err = d.db.Tx(ctx, func(q db.Queryer) error {
		late, err := q.Exec(ctx, sqlReturned, r.ID, r.Status, now.UnixMicro())
		if err != nil {
			return fmt.Errorf("storing a bounce: %w", err)
		}
		early, err := q.Exec(ctx, sqlEarly, r.ID, r.Status, now.UnixMicro())
		if err != nil {
			return fmt.Errorf("storing a bounce: %w", err)
		}
		n = int(late + early)
		return nil
	})
	return n, err
}

// Test sends the mail of an invented person to somebody of the brand.
func (d *Desk) Test(ctx context.Context, c identity.Caller, brand string, req api.MailTestRequest) (*api.MailTested, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActRespond, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	post := d.Sender.post()
	if post == nil {
		return nil, ErrNoPost
	}
	s, err := post.sender(v.Brand.Settings.MailFrom, v.Brand.Settings.MailReplyTo)
	if err != nil {
		return nil, err
	}
	to, host, ok := address(req.To)
	if !ok || host != s.domain && !strings.HasSuffix(host, "."+s.domain) {
		return nil, ErrTest
	}
	t, err := d.Template(ctx, v.Brand.ID, req.Template, req.Version, s.domain)
	if err != nil {
		return nil, err
	}
	now, err := d.db.Now(ctx)
	if err != nil {
		return nil, err
	}
	// A test inside the brand is logged, too.
	ev := ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Purpose: t.Purpose, Detail: entry.CampaignStep{Step: "test", Template: versioned(t.Name, t.Version)}}
	if _, err := d.Ledger.Record(ctx, ev); err != nil {
		return nil, err
	}
	out := &api.MailTested{}
	l := &line{post: post}
	defer l.close()
	for i := range t.variants {
		if req.Language != "" && t.variants[i].name != req.Language {
			continue
		}
		for _, one := range cases {
			r, err := t.variants[i].render(values(&one.of, v.Brand.Title, "SAMP-LE00-00"))
			if err != nil {
				return nil, err
			}
			r.Subject = "[test: " + one.name + "] " + r.Subject
			text, err := s.letter(to, r, []byte(fmt.Sprintf("test%d.%d.%d", now.UnixMicro(), i, out.Mails)), now)
			if err != nil {
				return nil, err
			}
			o, err := l.hand(ctx, s.address, to, text, func() error { return nil })
			if err != nil || o.state != Accepted {
				return nil, fault.New(fault.Unavailable, "the mail server did not take the test: "+o.reason)
			}
			out.Mails++
		}
	}
	return out, nil
}
