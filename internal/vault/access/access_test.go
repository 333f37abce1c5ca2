package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

func as(role string) identity.Who {
	return identity.Who{Caller: identity.Caller{Principal: 7}, Role: role, Brand: 1}
}

func load(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Load(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheDefaultPolicy(t *testing.T) {
	t.Parallel()
	p := load(t, DefaultText())
	contact := record.Fields(record.GivenName, record.Email, record.Street, record.Purchases)
	for _, c := range []struct {
		role    string
		action  Action
		purpose string
		fields  record.FieldSet
		denied  record.FieldSet
		allowed bool
	}{
		{Application, ActClear, "order-fulfilment", contact, 0, true},
		{Application, ActClear, "marketing", contact, contact, false},
		{Application, ActClear, "order-fulfilment", contact.With(record.BirthDate), record.Fields(record.BirthDate), false},
		{Application, ActSearch, "order-fulfilment", record.Fields(record.Email), 0, true},
		{Application, ActSearch, "order-fulfilment", record.Fields(record.Phone), record.Fields(record.Phone), false},
		{Application, ActWrite, "", 0, 0, true},
		{Application, ActErase, "", 0, 0, false},
		{SupportAgent, ActClear, "customer-support", contact, 0, true},
		{SupportAgent, ActClear, "customer-support", record.AllFields, record.Fields(record.BirthDate, record.CreatedAt, record.Attributes), false},
		{SupportAgent, ActMasked, "customer-support", record.AllFields, 0, true},
		{SupportAgent, ActWrite, "", 0, 0, false},
		{Marketing, ActClear, "marketing", record.Fields(record.Email), record.Fields(record.Email), false},
		{Marketing, ActMasked, "marketing", record.Fields(record.Email), 0, true},
		{Analyst, ActMasked, "analysis", record.Fields(record.GivenName), record.Fields(record.GivenName), false},
		{DataProtectionOfficer, ActClear, "migration", record.AllFields, 0, true},
		{DataProtectionOfficer, ActClear, "order-fulfilment", contact, contact, false},
		{DataProtectionOfficer, ActErase, "", 0, 0, true},
		{IncidentResponder, ActClear, "incident-response", contact, contact, false},
		{IncidentResponder, ActAudit, "", 0, 0, true},
		{Administrator, ActAdminister, "", 0, 0, true},
		{IncidentResponder, ActAlarms, "", 0, 0, true},
		{IncidentResponder, ActRespond, "", 0, 0, true},
		{DataProtectionOfficer, ActAlarms, "", 0, 0, true},
		{DataProtectionOfficer, ActRespond, "", 0, 0, false},
		{Administrator, ActAlarms, "", 0, 0, false},
		{Administrator, ActRespond, "", 0, 0, false},
		{SupportAgent, ActAlarms, "", 0, 0, false},
		{Administrator, ActClear, "migration", contact, contact, false},
		{Administrator, ActMasked, "customer-support", contact, contact, false},
		{"nobody", ActMasked, "customer-support", contact, contact, false},
		{SupportAgent, ActClear, "customer-support", 0, 0, false},
	} {
		g, err := p.Authorize(as(c.role), c.action, c.purpose, c.fields)
		if (err == nil) != c.allowed || g.Valid() != c.allowed {
			t.Errorf("%s %s for %q of %s: %v", c.role, c.action, c.purpose, c.fields, err)
			continue
		}
		var denied *DeniedError
		if err != nil && (!errors.As(err, &denied) || denied.Fields != c.denied) {
			t.Errorf("%s %s for %q: denied %v, want %s", c.role, c.action, c.purpose, err, c.denied)
		}
	}
}

func TestAViewShowsWhatMayBeShown(t *testing.T) {
	t.Parallel()
	p := load(t, DefaultText())
	g, err := p.View(as(Marketing), "marketing", record.AllFields)
	if err != nil {
		t.Fatal(err)
	}
	if g.Level(record.Email) != Masked || g.Level(record.Street) != None {
		t.Errorf("marketing sees e-mail %s and street %s", g.Level(record.Email), g.Level(record.Street))
	}
	if _, err := p.View(as(Administrator), "marketing", record.AllFields); err == nil {
		t.Error("an administrator was shown a customer")
	}
	if (Grant{}).Level(record.Email) != None || (Grant{}).Valid() {
		t.Error("the zero grant grants")
	}
}

func TestSeparationOfDutiesOutlivesAnyPermission(t *testing.T) {
	t.Parallel()
	p := load(t, DefaultText()+"\npermit (principal, action, resource);\n")
	if _, err := p.Authorize(as(Administrator), ActClear, "customer-support", record.Fields(record.Email)); err == nil {
		t.Error("a permission for everyone undid the forbid")
	}
	if _, err := p.Authorize(as(Analyst), ActClear, "anything", record.Fields(record.Email)); err != nil {
		t.Errorf("the permission for everyone does not hold: %v", err)
	}
}

func TestBrokenPoliciesAreRefusedAtLoad(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not Cedar":       `permit everyone;`,
		"misspelt field":  `permit (principal, action == Action::"clear", resource == Field::"emial");`,
		"field in a list": `permit (principal, action == Action::"clear", resource) when { [Field::"emial"].contains(resource) };`,
		"misspelt role":   `permit (principal in Role::"suport-agent", action, resource);`,
		"misspelt action": `permit (principal, action == Action::"reveal", resource);`,
		"unknown type":    `permit (principal in Team::"a", action, resource);`,
		"unknown context": `permit (principal, action == Action::"clear", resource) when { context.porpose == "x" };`,
		"wrong type":      `permit (principal, action == Action::"clear", resource) when { context.purpose == 3 };`,
		"unfinished":      `permit (principal, action, resource`,
		"too long":        strings.Repeat("// x\n", MaxText),
	} {
		if _, err := Load(text); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Overflow is a failure that no schema finds: it must deny, also where it stands in
// a forbid that Cedar would skip.
func TestARuleThatFailsDenies(t *testing.T) {
	t.Parallel()
	p := load(t, `permit (principal, action, resource);
		forbid (principal, action == Action::"clear", resource) when { 9223372036854775807 + 1 == 0 };`)
	_, err := p.Authorize(as(SupportAgent), ActClear, "customer-support", record.Fields(record.Email))
	if !errors.Is(err, ErrEvaluation) {
		t.Errorf("a failing forbid gave %v", err)
	}
	if _, err := p.Authorize(as(SupportAgent), ActMasked, "customer-support", record.Fields(record.Email)); err != nil {
		t.Errorf("a rule on another action failed this one: %v", err)
	}
}

func TestDiffSaysWhoGainsWhat(t *testing.T) {
	t.Parallel()
	before := load(t, DefaultText())
	after := load(t, DefaultText()+`
		permit (principal == Principal::"42", action == Action::"clear", resource == Field::"email");
		forbid (principal in Role::"marketing", action == Action::"masked", resource == Field::"locale");`)
	var lines []string
	for _, c := range Diff(before, after, []string{"marketing"}) {
		lines = append(lines, c.String())
	}
	got := strings.Join(lines, "\n")
	for _, want := range []string{
		"role marketing, masked for marketing: lost locale",
		"role analyst, principal 42, clear for marketing: gained email",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "administrator") {
		t.Errorf("an administrator gained:\n%s", got)
	}
	if d := Diff(before, before, []string{"marketing"}); len(d) != 0 {
		t.Errorf("a policy differs from itself: %v", d)
	}
}

func TestStoreKeepsVersions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := NewStore(d)
		if _, _, err := s.Current(ctx, 1); !errors.Is(err, ErrNoPolicy) {
			t.Errorf("a brand without a policy gave %v", err)
		}
		for want, text := range []string{DefaultText(), "permit (principal, action, resource);"} {
			n, err := s.Put(ctx, d, 1, load(t, text), 7, time.UnixMicro(1))
			if err != nil || n != want+1 {
				t.Fatalf("version %d, %v", n, err)
			}
			p, n, err := NewStore(d).Current(ctx, 1)
			if err != nil || n != want+1 || p.Text() != text {
				t.Errorf("reading version %d: %d, %v", want+1, n, err)
			}
		}
		if _, n, err := s.Current(ctx, 1); n != 2 || err != nil {
			t.Errorf("the store that put it reads version %d, %v", n, err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add(DefaultText())
	f.Add(`permit (principal in Role::"analyst", action, resource) when { context.purpose like "a*" };`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Load(text)
		if err != nil {
			return
		}
		if _, err := p.Authorize(as("nobody"), "nothing", "", record.AllFields); err == nil {
			t.Error("an action that does not exist was allowed")
		}
	})
}
