package message_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"mime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/customer/message"
	"github.com/cloakroom/cloakroom/internal/customer/message/messagetest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// house is a vault whose brand has a sender, a template and an application.
type house struct {
	*apptest.House
	t      *testing.T
	office *messagetest.Office
	shop   identity.Caller
}

func shipped() api.MailTemplate {
	return api.MailTemplate{Name: "shipped", Purpose: "order-fulfilment", Variants: []api.MailVariant{
		{Language: "en", Subject: "{{given_name|Your order}}, it is on its way", Text: "Dear {{given_name|customer}},\n\nit left us. See https://www.gucci.example/orders.\n\n{{brand}}, code {{code}}\n",
			HTML: `<p>Dear <b>{{given_name|customer}}</b>,</p><p>it left us. <a href="https://www.gucci.example/orders">Your orders</a>.</p>`},
		{Language: "fr", Subject: "Votre commande", Text: "Bonjour {{given_name|}},\n\nelle est partie.\n"},
	}}
}

func newHouse(t *testing.T, h *apptest.House) *house {
	t.Helper()
	x := &house{House: h, t: t, office: messagetest.Open(t)}
	ctx := t.Context()
	from, languages := `"Gucci" <hello@gucci.example>`, []string{"en"}
	_, err := h.Admin.SetSettings(ctx, h.Local, "gucci", api.SettingsChange{Version: 1, MailFrom: &from, Languages: languages}, true)
	h.Must(err)
	x.shop = h.Person("shop", map[string]string{"gucci": access.Application})
	x.template(shipped())
	h.Post.Use(x.office.Post(), 100_000)
	return x
}

func (x *house) template(t api.MailTemplate) {
	x.t.Helper()
	_, err := x.Messages.SetTemplate(x.t.Context(), x.Local, "gucci", api.TemplateRequest{Template: t})
	x.Must(err)
}

func (x *house) send(tokens ...string) *api.MailJob {
	x.t.Helper()
	j, err := x.Messages.Send(x.t.Context(), x.shop, "gucci", api.MessageRequest{Template: "shipped", Tokens: tokens})
	x.Must(err)
	return j
}

func (x *house) pass() {
	x.t.Helper()
	x.Must(x.Post.Pass(x.t.Context()))
}

// states are the states of a message, one for each token.
func (x *house) states(id uint64) map[string]api.MailLine {
	x.t.Helper()
	page, err := x.Messages.Lines(x.t.Context(), x.shop, "gucci", id, 0, "")
	x.Must(err)
	out := map[string]api.MailLine{}
	for _, l := range page.Lines {
		out[l.Token] = l
	}
	return out
}

func (x *house) want(id uint64, token, state string) api.MailLine {
	x.t.Helper()
	l := x.states(id)[token]
	if l.State != state {
		x.t.Errorf("%s (%s), want %s", l.State, l.Reason, state)
	}
	return l
}

func person(i int, more ...string) api.Fields {
	f := api.Fields{"external_id": fmt.Sprint("C-", i), "given_name": "Noor", "email": fmt.Sprintf("noor%d@mail.example", i), "locale": "en"}
	for j := 0; j < len(more); j += 2 {
		if f[more[j]] = more[j+1]; more[j+1] == "" {
			delete(f, more[j])
		}
	}
	return f
}

// An application writes to customers without ever seeing an address: in their language,
// logged first to a named recipient, and to nobody who is not to be written to.
func TestAMessage(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		ctx := t.Context()
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		h.Must(err)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		h.Must(err)
		k, err := message.NewKey("gucci.example", "s1", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		h.Must(err)
		h.Post.Use(x.office.Post(k), 100_000)
		tokens := h.Put("gucci", person(0), person(1, "locale", "fr-CA"), person(2, "email", ""), person(3, "standing", "deceased"), person(4), person(5, "locale", "ja", "given_name", ""))
		size := h.Size("gucci")
		j := x.send(tokens...)
		if j.People != 6 || j.Finished {
			t.Errorf("%+v", j)
		}
		e, _, err := h.Ledger.Entry(ctx, h.Brand("gucci"), j.Entry)
		h.Must(err)
		if m, ok := e.Detail.(entry.Mailed); e.Kind != entry.KindDisclosure || !ok || m.Job != j.Number || e.Recipient != "mail:127.0.0.1" || e.Class != "message" || e.Level != "clear" || j.Entry < size ||
			e.Fields != record.Fields(record.GivenName, record.Email, record.Locale, record.Standing) {
			t.Errorf("%+v", e)
		}
		_, err = h.Erase.Erase(ctx, h.Person("dpo", map[string]string{"gucci": access.DataProtectionOfficer}), "gucci", tokens[4], false)
		h.Must(err)
		logged := h.Size("gucci")
		x.pass()
		if now := h.Size("gucci"); now != logged {
			t.Errorf("%d entries were logged while mail was sent: its entry was there", now-logged)
		}
		x.want(j.Number, tokens[2], "no-address")
		x.want(j.Number, tokens[3], "held")
		x.want(j.Number, tokens[4], "erased")
		for _, i := range []int{0, 1, 5} {
			if l := x.want(j.Number, tokens[i], "accepted"); !strings.HasPrefix(l.Queue, "Q1000") {
				t.Errorf("the mail server's own number: %+v", l)
			}
		}
		got := x.office.Got()
		if len(got) != 3 {
			t.Fatalf("%d mails", len(got))
		}
		for _, g := range got {
			subject, err := new(mime.WordDecoder).DecodeHeader(g.Header.Get("Subject"))
			h.Must(err)
			want := map[string]string{"noor0@mail.example": "Noor, it is on its way", "noor1@mail.example": "Votre commande", "noor5@mail.example": "Your order, it is on its way"}[g.To]
			if subject != want || g.From != "hello@gucci.example" || g.Header.Get("From") != `"Gucci" <hello@gucci.example>` || g.Header.Get("Message-Id") == "" {
				t.Errorf("%s: %q %v", g.To, subject, g.Header)
			}
			v, err := dkim.VerifyWithOptions(bytes.NewReader(g.Raw), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) {
				return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)}, nil
			}})
			if err != nil || len(v) != 1 || v[0].Err != nil {
				t.Errorf("DKIM: %v %+v", err, v)
			}
		}
		if j, err = h.Messages.Message(ctx, x.shop, "gucci", j.Number); err != nil || !j.Finished {
			t.Errorf("%+v, %v", j, err)
		}
		x.pass()
		if n := len(x.office.Got()); n != 3 {
			t.Errorf("a finished message was sent again: %d mails", n)
		}
	})
}

// The budget of messages bounds how many customers a stolen key writes to, and is another
// than that of clear fields; a role without one, and a policy without the right, send none.
func TestMessagesHaveABudget(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		var all []api.Fields
		for i := range 1010 {
			all = append(all, person(i))
		}
		tokens := h.Put("gucci", all...)
		x.send(tokens[:1000]...)
		_, err := h.Messages.Send(t.Context(), x.shop, "gucci", api.MessageRequest{Template: "shipped", Tokens: tokens[1000:]})
		if !ledger.Refused(err) || !strings.Contains(err.Error(), "message budget") {
			t.Errorf("beyond the budget: %v", err)
		}
		_, err = h.Disclose.Reveal(t.Context(), x.shop, "gucci", api.RevealRequest{Tokens: tokens[:1], Fields: []string{"email"}, Purpose: "order-fulfilment"})
		h.Must(err)
		agent := h.Person("agent", map[string]string{"gucci": access.SupportAgent})
		var denied *access.DeniedError
		if _, err := h.Messages.Send(t.Context(), agent, "gucci", api.MessageRequest{Template: "shipped", Tokens: tokens[:1]}); !errors.As(err, &denied) {
			t.Errorf("a role whose policy lets it write to nobody: %v", err)
		}
	})
}

// What a mail server does wrong leaves a mail in a state that says so: nothing is sent
// twice, and what may have left is never sent again by the vault.
func TestAMailServerThatFails(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		x.office.Behave = func(to string, n int) messagetest.What {
			switch {
			case strings.HasPrefix(to, "noor0@") && n == 1:
				return 451 // greylisted
			case strings.HasPrefix(to, "noor1@"):
				return 550
			case strings.HasPrefix(to, "noor2@"):
				return messagetest.DropBefore
			case strings.HasPrefix(to, "noor3@"):
				return messagetest.DropAfter
			case strings.HasPrefix(to, "noor4@"):
				return 452
			}
			return messagetest.Take
		}
		tokens := h.Put("gucci", person(0), person(1), person(2), person(3), person(4), person(5))
		j := x.send(tokens...)
		x.pass()
		if l := x.want(j.Number, tokens[0], "deferred"); strings.Contains(l.Reason, "@") || l.Reason != "temporary error 451" {
			t.Errorf("%+v", l)
		}
		if l := x.want(j.Number, tokens[1], "refused"); l.Reason != "permanent error 550" {
			t.Errorf("%+v", l)
		}
		x.want(j.Number, tokens[2], "in-doubt")
		x.want(j.Number, tokens[3], "in-doubt")
		x.want(j.Number, tokens[5], "accepted")
		h.Later(6 * time.Minute)
		x.pass()
		x.want(j.Number, tokens[0], "accepted")
		for range 40 {
			h.Later(5 * time.Hour)
			x.pass()
		}
		if l := x.want(j.Number, tokens[4], "refused"); !strings.HasPrefix(l.Reason, "given up") {
			t.Errorf("%+v", l)
		}
		x.want(j.Number, tokens[2], "in-doubt")
		for to, n := range x.office.Count() {
			if n != 1 {
				t.Errorf("%s got %d mails", to, n)
			}
		}
		responder := h.Person("responder", map[string]string{"gucci": access.IncidentResponder})
		_, err := h.Messages.Settle(t.Context(), responder, "gucci", j.Number, message.KindMessage, api.SettleRequest{Token: tokens[3], As: "accepted"})
		h.Must(err)
		x.want(j.Number, tokens[3], "accepted")
	})
}

// A bounce is taken in, also one that comes before the vault has stored that the mail was
// accepted, and never twice.
func TestABounceComesBack(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		responder := h.Person("responder", map[string]string{"gucci": access.IncidentResponder})
		tokens := h.Put("gucci", person(0), person(1))
		bounce := func(g messagetest.Got) int {
			a, err := h.Messages.Bounce(t.Context(), responder, "gucci", api.BounceRequest{Message: dsn(g.Header.Get("Message-Id"), g.To)})
			h.Must(err)
			return a.Mails
		}
		early := 0
		x.office.Behave = func(to string, _ int) messagetest.What { return messagetest.Take }
		j := x.send(tokens[0])
		x.pass()
		if n := bounce(x.office.Got()[0]); n != 1 {
			t.Errorf("%d mails", n)
		}
		if l := x.want(j.Number, tokens[0], "bounced"); l.Reason != "bounced: 5.1.1" {
			t.Errorf("%+v", l)
		}
		if n := bounce(x.office.Got()[0]); n != 0 {
			t.Errorf("a bounce for ever counts again: %d", n)
		}
		// The server answers late: the bounce is there first.
		j = x.send(tokens[1])
		x.office.Late = func(g messagetest.Got) { early += bounce(g) }
		x.pass()
		if early != 1 {
			t.Errorf("%d early bounces", early)
		}
		x.want(j.Number, tokens[1], "bounced")
		if _, err := h.Messages.Bounce(t.Context(), responder, "balenciaga", api.BounceRequest{Message: "no mail"}); !errors.Is(err, message.ErrBounce) && !strings.Contains(err.Error(), "no such brand") {
			t.Error(err)
		}
	})
}

func dsn(id, to string) string {
	return strings.ReplaceAll(`From: MAILER-DAEMON@mx.example
To: hello@gucci.example
Subject: failed
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain

It did not arrive.
--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; `+to+`
Action: failed
Status: 5.1.1
--b1
Content-Type: text/rfc822-headers

From: hello@gucci.example
Message-ID: `+id+`
Subject: x
--b1--
`, "\n", "\r\n")
}

// An opt-out is in force at once, also for what is in the queue; mail that is owed has no
// channel.
func TestAnOptOut(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		news := shipped()
		news.Channel = "news"
		x.template(news)
		tokens := h.Put("gucci", person(0), person(1), person(2))
		j := x.send(tokens...)
		for i, channel := range []string{"news", "all"} {
			out, err := h.Messages.OptOut(t.Context(), x.shop, "gucci", api.OptOutRequest{Token: tokens[i], Channel: channel})
			h.Must(err)
			if len(out.Channels) != 1 || out.Channels[0].Channel != channel {
				t.Errorf("%+v", out)
			}
		}
		x.pass()
		for _, token := range tokens[:2] {
			if l := x.want(j.Number, token, "held"); l.Reason != "opted-out" {
				t.Errorf("%+v", l)
			}
		}
		x.want(j.Number, tokens[2], "accepted")
		_, err := h.Messages.OptOut(t.Context(), x.shop, "gucci", api.OptOutRequest{Token: tokens[0], Channel: "news", Again: true})
		h.Must(err)
		j = x.send(tokens[0])
		x.pass()
		x.want(j.Number, tokens[0], "accepted")
	})
}

// A row that somebody writes into the database sends nothing: not under an entry of
// something else, nor a template that the log does not know.
func TestAForgedRowSendsNothing(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		ctx := t.Context()
		tokens := h.Put("gucci", person(0), person(1))
		shown, err := h.Disclose.Reveal(ctx, x.shop, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email", "given_name", "locale", "standing"}, Purpose: "order-fulfilment"})
		h.Must(err)
		j := x.send(tokens[0])
		_, err = h.DB.Exec(ctx, `UPDATE mails SET entry = $1 WHERE job = $2`, int64(shown.Receipt.Entry), int64(j.Number))
		h.Must(err)
		_ = h.Post.Pass(ctx)
		_, err = h.DB.Exec(ctx, `UPDATE mails SET entry = $1 WHERE job = $2`, int64(j.Entry), int64(j.Number))
		h.Must(err)
		_, err = h.DB.Exec(ctx, `UPDATE mail_templates SET text = replace(text, 'it left us', 'call us')`)
		h.Must(err)
		_, err = h.DB.Exec(ctx, `UPDATE mail_jobs SET state = 'running' WHERE id = $1`, int64(j.Number))
		h.Must(err)
		_ = h.Post.Pass(ctx)
		if got := x.office.Got(); len(got) != 0 {
			t.Errorf("%d mails were sent", len(got))
		}
	})
}

// A server that is killed leaves what it claimed in doubt, and resumes the rest.
func TestAKilledSender(t *testing.T) {
	t.Parallel()
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		x := newHouse(t, h)
		tokens := h.Put("gucci", person(0), person(1), person(2))
		j := x.send(tokens...)
		// As a kill between the claim's commit and the answer leaves it.
		_, err := h.DB.Exec(t.Context(), `UPDATE mails SET state = 1, attempts = 1 WHERE job = $1 AND ord = (SELECT min(ord) FROM mails WHERE job = $1)`, int64(j.Number))
		h.Must(err)
		h.Restart()
		h.Post.Use(x.office.Post(), 100_000)
		h.Later(time.Minute) // the dead server's lease
		x.pass()
		doubt := 0
		for _, l := range x.states(j.Number) {
			if l.State == "in-doubt" {
				doubt++
			} else if l.State != "accepted" {
				t.Errorf("%+v", l)
			}
		}
		if doubt != 1 || len(x.office.Got()) != 2 {
			t.Errorf("%d in doubt, %d mails", doubt, len(x.office.Got()))
		}
	})
}
