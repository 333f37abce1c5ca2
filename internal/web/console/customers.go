package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/web/page"
)

// HideAfter is how many seconds a page shows what was revealed.
const HideAfter = 60

func (c *Console) customerPages(mux *http.ServeMux) {
	c.handle(mux, "GET /b/{brand}/customers", customerForm)
	c.handle(mux, "POST /b/{brand}/customers", customerFind)
	c.handle(mux, "POST /b/{brand}/customers/reveal", customerReveal)
	c.handle(mux, "POST /b/{brand}/customers/purchases", customerPurchases)
	c.handle(mux, "POST /b/{brand}/customers/readers", customerReaders)
	// A page that was the answer to a form has the form's address: typed or reloaded, it is
	// the way back to the search.
	for _, what := range []string{"reveal", "purchases", "readers"} {
		c.handle(mux, "GET /b/{brand}/customers/"+what, func(v *visit) error { return v.to(v.at("customers")) })
	}
}

// By is one way to look for a customer.
type By struct{ Value, Text string }

func (v *visit) ways() []By {
	return []By{{"email", v.Say("E-mail address")}, {"phone", v.Say("Phone number")}, {"external_id", v.Say("Customer number")}, {"token", v.Say("Token")}}
}

// customerPage is the search, and what it found.
type customerPage struct {
	Frame
	Form     *page.Form
	Ways     []By
	Purposes []api.Purpose
	Cards    []Card
	Searched bool
}

// Card is one customer as the caller may see them masked, with what more they may ask for.
type Card struct {
	api.Customer
	Fields  []Field
	Choices []string // the fields that a reveal may ask for
	Budget  []Room
	Form    *page.Form // the reveal's: purpose, ticket and the fields that were chosen
	N       int
}

// Field is a value with its name.
type Field struct{ Name, Value string }

// fieldOrder is how a card shows fields; those that are not named follow by name.
var fieldOrder = []string{"given_name", "family_name", "email", "phone", "street", "postal_code", "city", "region", "country", "birth_date", "locale", "external_id", "created_at"}

func fieldsOf(fs api.Fields) []Field {
	place := func(name string) int {
		if i := slices.Index(fieldOrder, name); i >= 0 {
			return i
		}
		return len(fieldOrder)
	}
	out := make([]Field, 0, len(fs))
	for name, value := range fs {
		out = append(out, Field{name, value})
	}
	slices.SortFunc(out, func(a, b Field) int {
		if d := place(a.Name) - place(b.Name); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// choices are what can be revealed of a customer with these fields: a customer's own
// attributes go together.
func choices(fields []Field) (out []string) {
	attributes := false
	for _, f := range fields {
		if strings.HasPrefix(f.Name, "attr.") {
			attributes = true
			continue
		}
		out = append(out, f.Name)
	}
	if attributes {
		out = append(out, "attributes")
	}
	return append(out, "purchases")
}

// Room is what is left of one of the caller's budgets for customers in clear.
type Room struct {
	Window    string
	Used, Max uint64
}

// Left is how many more customers fit.
func (r Room) Left() uint64 {
	if r.Used >= r.Max {
		return 0
	}
	return r.Max - r.Used
}

// Bar draws the budget.
func (r Room) Bar() page.Bar {
	return page.Bar{Value: int(r.Used), Of: int(r.Max), Near: r.Max > 0 && r.Used*10 >= r.Max*8}
}

// budget asks what the caller's own budgets leave for a class, in the hour and the day:
// the narrowest of those that hold them. It says nothing where the API does not.
func (v *visit) budget(class string) []Room {
	x, err := v.api.Exposure(v.ctx, v.brand, exposureOf(v.me.Name))
	if err != nil {
		return nil
	}
	hour, day := Room{Window: v.Say("this hour")}, Room{Window: v.Say("today, in any 24 hours")}
	narrow := func(r *Room, used, most uint64) {
		if most > 0 && (r.Max == 0 || r.Left() > most-min(used, most)) {
			r.Used, r.Max = used, most
		}
	}
	for i := range x.Rows {
		row := &x.Rows[i]
		if row.Kind == "lineage" && row.ID != v.me.Lineage {
			continue
		}
		for _, f := range row.Classes {
			if f.Class == class && f.Now != nil {
				narrow(&hour, f.Now.Hour, f.Bound.Hour)
				narrow(&day, f.Now.Day, f.Bound.Day)
			}
		}
	}
	var out []Room
	for _, r := range []Room{hour, day} {
		if r.Max > 0 {
			out = append(out, r)
		}
	}
	return out
}

func (v *visit) searchPage(f *page.Form) (*customerPage, error) {
	ps, err := v.purposes()
	return &customerPage{Frame: v.frame("customers", v.Say("Find a customer"),
		"cloakroom find --brand "+v.brand+" --purpose PURPOSE --ticket CASE --email ADDRESS",
		"cloakroom reveal --brand "+v.brand+" --purpose PURPOSE --ticket CASE --fields email,phone TOKEN"),
		Form: f, Ways: v.ways(), Purposes: ps}, err
}

// purposes are those in use at the brand.
func (v *visit) purposes() ([]api.Purpose, error) {
	ps, err := v.api.Purposes(v.ctx, v.brand)
	return slices.DeleteFunc(ps, func(p api.Purpose) bool { return !p.Retired.IsZero() }), err
}

func customerForm(v *visit) error {
	p, err := v.searchPage(page.NewForm("by", "email", "purpose", "customer-support"))
	if err != nil {
		return err
	}
	return v.show("customers", p)
}

// searchFields are the inputs that what the API finds wrong belongs to.
var searchFields = map[string]string{"value": "value", "by": "by-email", "country": "country", "purpose": "purpose", "ticket": "ticket",
	api.TypeUnknownPurpose: "purpose", api.TypeUnknownToken: "value", api.TypeOtherBrand: "value"}

func customerFind(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	p, err := v.searchPage(f)
	if err != nil {
		return err
	}
	by, purpose, ticket := f.Get("by"), f.Need("purpose", v.Say("Choose what it is for")), f.Get("ticket")
	value := f.Need("value", v.Say("Type what you look for"))
	if !slices.ContainsFunc(p.Ways, func(b By) bool { return b.Value == by }) {
		f.Wrong("by-email", v.Say("Choose what you look by"))
	}
	if !f.OK() {
		return v.wrong("customers", p)
	}
	var found *api.Disclosed
	if by == "token" || strings.HasPrefix(value, "cus_") {
		found, err = v.api.View(ctx, v.brand, value, purpose, ticket)
	} else {
		found, err = v.api.Search(ctx, v.brand, api.SearchRequest{By: by, Value: value, Country: strings.ToUpper(f.Get("country")), Purpose: purpose, Ticket: ticket})
	}
	if err != nil {
		if v.place(f, err, searchFields) {
			return v.wrong("customers", p)
		}
		return err
	}
	p.Searched = true
	room := []Room{}
	if len(found.Customers) > 0 {
		room = v.budget("clear")
	}
	for i, x := range found.Customers {
		card := Card{Customer: x, Fields: fieldsOf(x.Fields), Budget: room, Form: page.NewForm("purpose", purpose, "ticket", ticket), N: i + 1}
		card.Choices = choices(card.Fields)
		p.Cards = append(p.Cards, card)
	}
	return v.show("customers", p)
}

// revealPage is what was revealed of one customer, or the form that asks for it again.
type revealPage struct {
	Frame
	Card
	Purposes  []api.Purpose
	Receipt   *api.Receipt
	HideAfter int
}

var revealFields = map[string]string{"purpose": "purpose-1", "ticket": "ticket-1", "fields": "fields-1",
	api.TypeUnknownPurpose: "purpose-1", api.TypePolicyDenied: "fields-1"}

func customerReveal(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	token := f.Get("token")
	p := &revealPage{Frame: v.frame("customers", v.Say("Revealed"),
		"cloakroom reveal --brand "+v.brand+" --purpose PURPOSE --ticket CASE --fields "+strings.Join(known(f.All("fields")), ",")+" TOKEN"),
		Card: Card{Customer: api.Customer{Token: token}, Choices: known(f.All("choices")), Form: f, N: 1}, HideAfter: HideAfter}
	again := func() error {
		p.Title = v.Say("Reveal a customer")
		p.Budget = v.budget("clear")
		ps, err := v.purposes()
		if err != nil {
			return err
		}
		p.Purposes = ps
		return v.wrong("reveal_form", p)
	}
	fields, purpose := known(f.All("fields")), f.Get("purpose")
	if purpose == "" {
		f.Wrong("purpose-1", v.Say("Choose what it is for"))
	}
	if f.Get("ticket") == "" {
		f.Wrong("ticket-1", v.Say("Type the case number: a reveal is for a case"))
	}
	if len(fields) == 0 {
		f.Wrong("fields-1", v.Say("Choose at least one field"))
	}
	if !f.OK() {
		return again()
	}
	out, err := v.api.Reveal(ctx, v.brand, api.RevealRequest{Tokens: []string{token}, Fields: fields, Purpose: purpose, Ticket: f.Get("ticket")})
	if err != nil {
		if !ofType(err, api.TypeUnknownToken, api.TypeOtherBrand) && v.place(f, err, revealFields) {
			return again()
		}
		return err
	}
	for _, x := range out.Customers {
		p.Customer, p.Fields = x, fieldsOf(x.Fields)
	}
	p.Receipt, p.Budget = out.Receipt, v.budget("clear")
	p.ReloadTo = v.at("customers")
	return v.show("reveal", p)
}

// known drops what is no name of a field: names stand in commands on the page.
func known(names []string) (out []string) {
	for _, n := range names {
		if n == "purchases" || n == "attributes" || slices.Contains(fieldOrder, n) {
			out = append(out, n)
		}
	}
	return out
}

// oneCustomer is a page about one customer.
type oneCustomer struct {
	Frame
	api.Customer
	Read *api.Disclosures
}

func customerPurchases(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	out, err := v.api.Purchases(ctx, v.brand, f.Get("token"), f.Get("purpose"), f.Get("ticket"))
	if err != nil {
		return err
	}
	p := &oneCustomer{Frame: v.frame("customers", v.Say("Purchases"), "cloakroom purchases --brand "+v.brand+" --purpose PURPOSE --ticket CASE TOKEN")}
	for _, x := range out.Customers {
		p.Customer = x
	}
	return v.show("purchases", p)
}

func customerReaders(v *visit) error {
	f, ctx, err := v.form()
	if err != nil {
		return err
	}
	read, err := v.api.WhoRead(ctx, v.brand, f.Get("token"))
	if err != nil {
		return err
	}
	slices.Reverse(read.Disclosures) // the newest first
	return v.show("readers", &oneCustomer{Frame: v.frame("customers", v.Say("Who read this customer"), "cloakroom who-read --brand "+v.brand+" TOKEN"), Read: read})
}
