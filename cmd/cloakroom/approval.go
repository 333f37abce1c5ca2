package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// askImportCmd is `cloakroom change ask-import`.
type askImportCmd struct {
	forBrand
	reading
	Customers string `help:"File of customers." type:"existingfile" placeholder:"FILE"`
	Purchases string `help:"File of purchases." type:"existingfile" placeholder:"FILE"`
	For       string `help:"Service that will import the files. Default: the caller." placeholder:"NAME"`
	Most      int64  `help:"The most existing customers that may change. Default: as many as the rehearsal finds." placeholder:"N"`
	Ticket    string `help:"Ticket of the case." placeholder:"TICKET"`
}

// Help is the long help text.
func (askImportCmd) Help() string {
	return `Sends the rows to the vault, which counts what they would change and keeps a code of
them. The totals are shown to the person who may approve the change, and to nobody else:
cloakroom change show. Give the flags that import gets. When it is approved, the service
imports the same files with --approval N within 7 days, and as often as it takes:

  cloakroom change ask-import --brand gucci --customers customers.csv --for shop
  cloakroom change approve chg_k3v...                        # another person
  cloakroom import --brand gucci --customers customers.csv --approval 3

No other row goes in under it, and no more existing customers change than were approved.

EXIT STATUS: 0 in force, 1 failed, 5 waits for a second person.`
}

// importer is the import that is asked for.
func (c *askImportCmd) importer() *importCmd {
	return &importCmd{remote: c.remote, reading: c.reading, Brand: c.Brand, Customers: c.Customers, Purchases: c.Purchases, MaxRejects: -1}
}

// Run rehearses the files and asks.
func (c *askImportCmd) Run(ctx context.Context, std Streams) (err error) {
	if c.Customers == "" && c.Purchases == "" {
		return &usageError{"name a file: --customers, --purchases or both"}
	}
	im := c.importer()
	req := api.FileApproval{Service: c.For, Most: c.Most}
	if req.Mapping, err = im.digest(); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		into *string
	}{{c.Customers, &req.Customers}, {c.Purchases, &req.Purchases}} {
		if f.name == "" {
			continue
		}
		if *f.into, err = fileDigest(f.name); err != nil {
			return err
		}
	}
	m, err := im.mapping()
	if err != nil {
		return err
	}
	o, done, err := im.inputs(std, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	o.Progress, o.Rejects = progress(std), io.Discard
	return c.with(ctx, std, func(v *connection) error {
		a, err := v.BeginApproval(ctx, c.Brand, req)
		if err != nil {
			return err
		}
		if err := im.own(ctx, v, o.Customers.Reader, o.Purchases.Reader); err != nil {
			return err
		}
		to := &approvedSink{client: v.Client, brand: c.Brand, number: a.Number, draft: true}
		if _, err := intake.Run(ctx, intake.Rows(to), o); err != nil {
			return err
		}
		if !c.JSON {
			fmt.Fprintf(std.Err, "approval %d: once it is approved, import the same files with --approval %d\n", a.Number, a.Number)
		}
		if a, err = v.RequestApproval(ctx, c.Brand, a.Number, api.ApprovalRequest{Ticket: c.Ticket}); err != nil {
			return err
		}
		return c.print(std, a, func(w io.Writer) { printApproval(w, a) })
	})
}

// askWritesCmd is `cloakroom change ask-writes`.
type askWritesCmd struct {
	forBrand
	reading
	For        string `help:"Service whose writes are approved." required:"" placeholder:"NAME"`
	Fields     string `help:"The fields that its writes may set, separated by commas." required:"" placeholder:"FIELDS"`
	MostPerDay int64  `name:"most-per-day" help:"The most existing customers that change on a day." required:"" placeholder:"N"`
	Until      string `help:"Last day, within a year." required:"" placeholder:"YYYY-MM-DD"`
	Ticket     string `help:"Ticket of the case." placeholder:"TICKET"`
}

// Help is the long help text.
func (askWritesCmd) Help() string {
	return `Under a standing approval a service writes without using its own budgets, and its
answers say nothing that depends on who is a customer. It imports with --approval N and the
same mapping and flags. Once N customers changed on a day, the writes wait in the vault,
sealed, and are accepted all the same: sign-ups go on. They are written as soon as there is
room.

EXIT STATUS: 0 in force, 1 failed, 5 waits for a second person.`
}

// Run asks.
func (c *askWritesCmd) Run(ctx context.Context, std Streams) error {
	until, err := time.Parse(time.DateOnly, c.Until)
	if err != nil {
		return &usageError{"--until takes a day such as 2027-03-31"}
	}
	mapping, err := c.digest()
	if err != nil {
		return err
	}
	req := api.StandingApproval{Service: c.For, Mapping: mapping, Fields: strings.Split(c.Fields, ","), Most: c.MostPerDay, Until: until.Add(24 * time.Hour), Ticket: c.Ticket}
	call := func(v *connection) (*api.WriteApproval, error) { return v.StandingApproval(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, printApproval)
}

type approvalsCmd struct{ forBrand }

// Run lists approvals.
func (c *approvalsCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.WriteApproval, error) { return v.Approvals(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.WriteApproval) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "NUMBER\tKIND\tSTATE\tSERVICE\tMOST\tCHANGED\tENDS")
		for i := range list {
			a := &list[i]
			most, changed := "-", "-"
			if a.Most > 0 {
				most = fmt.Sprint(a.Most)
			}
			if a.Changed != nil {
				changed = fmt.Sprint(*a.Changed)
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Number, a.Kind, a.State, a.Service, most, changed, a.Ends.Format(time.DateOnly))
		}
		t.Flush()
	})
}

type endApprovalCmd struct {
	forBrand
	Number uint64 `arg:"" help:"The approval, from change approvals."`
}

// Run ends an approval.
func (c *endApprovalCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.WriteApproval, error) { return v.EndApproval(ctx, c.Brand, c.Number) }
	return ask(ctx, std, &c.remote, call, printApproval)
}

func printApproval(w io.Writer, a *api.WriteApproval) {
	fmt.Fprintf(w, "approval %d (%s) of the writes of %s: %s, until %s\n", a.Number, a.Kind, a.Service, a.State, a.Ends.Format(time.DateOnly))
}

// digest is the digest of the mapping and of the flags that say how values are read.
func (c *reading) digest() (string, error) {
	var text []byte
	if c.Mapping != "" {
		var err error
		if text, err = os.ReadFile(c.Mapping); err != nil {
			return "", fmt.Errorf("reading the mapping: %w", err)
		}
	}
	b, err := json.Marshal([]any{string(text), c.From, c.Empty, c.DefaultCountry, c.Zone, c.Strict, c.BadFields})
	if err != nil {
		return "", fmt.Errorf("reading the flags: %w", err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:]), nil
}

func fileDigest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("opening a file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading a file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// refused adds, to the error of an import that a budget stopped, the command that asks
// two people for the rest.
func (c *importCmd) refused(err error) error {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Type != api.TypeBudgetExhausted || c.Approval != 0 || c.DryRun || c.Customers == "-" || c.Purchases == "-" {
		return err
	}
	words := []string{"cloakroom change ask-import --brand", c.Brand}
	for _, f := range []struct{ flag, value, usual string }{{"customers", c.Customers, ""}, {"purchases", c.Purchases, ""}, {"mapping", c.Mapping, ""}, {"from", c.From, ""},
		{"empty", c.Empty, "keep"}, {"default-country", c.DefaultCountry, ""}, {"zone", c.Zone, ""}, {"bad-fields", c.BadFields, "refuse"}} {
		if f.value != f.usual {
			words = append(words, "--"+f.flag, shellQuote(f.value))
		}
	}
	if c.Strict {
		words = append(words, "--strict")
	}
	return fmt.Errorf("%w. What was imported stays. To import the rest at once, ask another person: %s", err, strings.Join(words, " "))
}

// approvedSink sends rows under an approval, or to the rehearsal of a draft: it is an
// intake.Taker.
type approvedSink struct {
	client  *client.Client
	brand   string
	number  uint64
	mapping string
	draft   bool
}

// Customers implements intake.Taker.
func (s *approvedSink) Customers(ctx context.Context, rows []intake.CustomerRow) ([]intake.Result, error) {
	req := api.ApprovedPut{Customers: customersOf(rows), MergeAttributes: true, Mapping: s.mapping}
	send := s.client.PutApproved
	if s.draft {
		send = s.client.RehearseApproval
	}
	t, err := send(ctx, s.brand, s.number, req)
	if err != nil {
		return nil, err
	}
	return results(written(t.Results)), nil
}

// Purchases implements intake.Taker. Those of one customer stand together.
func (s *approvedSink) Purchases(ctx context.Context, rows []intake.PurchaseRow) ([]intake.Result, error) {
	if s.draft { // purchases change no profile
		out := make([]intake.Result, len(rows))
		for i := range out {
			out[i].Outcome = intake.Accepted
		}
		return out, nil
	}
	req := api.ApprovedPurchases{Customers: purchasesOf(rows), Mapping: s.mapping}
	t, err := s.client.AddApprovedPurchases(ctx, s.brand, s.number, req)
	if err != nil {
		return nil, err
	}
	return eachPurchase(req.Customers, written(t.Results)), nil
}

// written are results under an approval as those of a write.
func written(list []api.TakenResult) (out []api.WriteResult) {
	for _, r := range list {
		out = append(out, api.WriteResult{Outcome: r.Outcome, Reject: r.Reject, Purchases: written(r.Purchases)})
	}
	return out
}
