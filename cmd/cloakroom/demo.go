package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
)

// demoCmd is `cloakroom demo`.
type demoCmd struct {
	Data      string `help:"Directory for the vault; must not contain one." placeholder:"DIR"`
	Customers int    `help:"Number of customers in all brands together." default:"6000" placeholder:"N"`
	Seed      uint64 `help:"Seed; the same seed invents the same customers." default:"1" placeholder:"S"`
	Listen    string `help:"Address of the API." default:"127.0.0.1:7460" env:"CLOAKROOM_LISTEN" placeholder:"HOST:PORT"`
	Console   string `name:"console-listen" help:"Address of the console." default:"127.0.0.1:7461" env:"CLOAKROOM_CONSOLE_LISTEN" placeholder:"HOST:PORT"`
	Alone     bool   `help:"Leave the vault in its beginning, when one hand acts alone."`
	Exit      bool   `help:"Exit instead of serving; keeps the directory."`
	JSON      bool   `help:"Print the result as one JSON object, with every key."`
	backing
}

// Help is the long help text.
func (demoCmd) Help() string {
	return `Nobody in the demonstration is real. It makes a vault with an embedded database and
three brands, serves it on loopback until Ctrl-C, and prints what to try next. Two of its people may
be second for what takes two people, unless --alone. What it made in a directory of its own is removed at the end; --data and --exit keep it.

With --database it makes the vault in an empty PostgreSQL database, which stays, and
needs --data for the root key.`
}

// demoAnswer is the answer to --json.
type demoAnswer struct {
	Data       string          `json:"data"`
	Address    string          `json:"address,omitempty"`
	Console    string          `json:"console,omitempty"`
	Brands     []demoBrand     `json:"brands"`
	Principals []demoPrincipal `json:"principals"`
}

type demoBrand struct {
	Name      string         `json:"name"`
	Title     string         `json:"title"`
	Customers int            `json:"customers"`
	Purchases int            `json:"purchases"`
	Samples   []demoCustomer `json:"samples"`
	LastEntry uint64         `json:"last_entry"`
}

type demoCustomer struct {
	Token      string `json:"token"`
	ExternalID string `json:"external_id"`
	email      bool
}

type demoPrincipal struct {
	Name  string            `json:"name"`
	Kind  string            `json:"kind"`
	Roles map[string]string `json:"roles"`
	Key   string            `json:"key"`
}

// samples is how many customers of each brand the demonstration names.
const samples = 10

// traineeLimit is the trainee's budget: customers in clear in an hour.
const traineeLimit = 2

// Run makes and serves the demonstration.
func (c *demoCmd) Run(ctx context.Context, std Streams) (err error) {
	if c.Customers < 30 || c.Customers > invent.MaxCustomers {
		return &usageError{fmt.Sprintf("--customers is 30 to %d", invent.MaxCustomers)}
	}
	dir := c.Data
	if dir == "" && c.Database != "" {
		return &usageError{"with --database name a directory for the root key too: --data DIR"}
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "cloakroom-demo-"); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		if !c.Exit {
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		}
	}
	// The people of the demonstration were registered a day ago, so that two of them may be
	// second from the start.
	var back atomic.Int64
	if !c.Alone {
		back.Store(int64(change.Seasoned + time.Hour))
	}
	clock := func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	v, err := c.open(ctx, dir, app.Options{Begin: app.MustBegin, DB: db.Options{Clock: clock}})
	if errors.Is(err, app.ErrBegun) || errors.Is(err, app.ErrInUse) {
		return fmt.Errorf("%s holds a vault already: name another, or serve it with `cloakroom serve`", c.name(dir))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	s := app.NewServer(v, quiet(std.Err))
	d := &demo{std: std, client: client.New("http://vault", "", &http.Client{Transport: s.Local()}), answer: demoAnswer{Data: dir}, database: c.Database != ""}
	d.today = func() error {
		back.Store(0)
		_, err := v.Changes.Alone(ctx) // two people exist: from now on nobody acts alone
		return err
	}
	if err := d.make(ctx, c); err != nil {
		return err
	}
	var l listeners
	if !c.Exit {
		if l.api, err = listenNear(c.Listen); err != nil {
			return err
		}
		if l.console, err = listenNear(c.Console); err != nil {
			return errors.Join(err, l.close())
		}
		d.answer.Address = "http://" + l.api.Addr().String()
		d.answer.Console = consoleAddress("http", l.console)
	}
	if err := d.keep(); err != nil {
		return err
	}
	tell := func(bool) {
		if c.JSON {
			err = json.NewEncoder(std.Out).Encode(d.answer)
		} else {
			d.print(std.Out)
		}
	}
	if c.Exit {
		tell(true)
		return err
	}
	if err := serve(ctx, v, quiet(std.Err), l, "", tell); err != nil {
		return err
	}
	fmt.Fprintln(std.Err, "\nstopped")
	return nil
}

// listenNear listens at an address, and where that is taken, at any other of this machine.
func listenNear(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listening: %w", err)
		}
	}
	return l, nil
}

type demo struct {
	std    Streams
	client *client.Client
	answer demoAnswer

	database bool // it is in PostgreSQL
	today    func() error
}

func (d *demo) make(ctx context.Context, c *demoCmd) error {
	brands := []api.Brand{{Name: "gucci", Title: "Gucci"}, {Name: "balenciaga", Title: "Balenciaga"}, {Name: "mcqueen", Title: "Alexander McQueen"}}
	everywhere := func(role string) map[string]string {
		out := map[string]string{}
		for _, b := range brands {
			out[b.Name] = role
		}
		return out
	}
	for _, b := range brands {
		if _, err := d.client.CreateBrand(ctx, b); err != nil {
			return err
		}
		d.answer.Brands = append(d.answer.Brands, demoBrand{Name: b.Name, Title: b.Title})
	}
	for _, p := range []api.Principal{
		{Name: "shop-gucci", Kind: "service", Roles: map[string]string{"gucci": "application"}, Profile: api.Profile{DisplayName: "Online shop", Team: "Gucci E-Commerce", Place: "Milan"}},
		{Name: "shop-balenciaga", Kind: "service", Roles: map[string]string{"balenciaga": "application"}},
		{Name: "shop-mcqueen", Kind: "service", Roles: map[string]string{"mcqueen": "application"}},
		{Name: "alice", Kind: "person", Roles: map[string]string{"gucci": "support-agent"}, Profile: api.Profile{DisplayName: "Alice", Team: "Gucci Client Service", Place: "Milan"}},
		{Name: "trainee", Kind: "person", Roles: map[string]string{"gucci": "support-agent"}, Profile: api.Profile{DisplayName: "Trainee", Team: "Gucci Client Service", Place: "Milan"}},
		{Name: "marco", Kind: "person", Roles: map[string]string{"gucci": "marketing"}, Profile: api.Profile{DisplayName: "Marco", Team: "Gucci Marketing", Place: "Milan"}},
		{Name: "anna", Kind: "person", Roles: map[string]string{"gucci": "analyst"}, Profile: api.Profile{DisplayName: "Anna", Team: "Gucci Analytics", Place: "Florence"}},
		{Name: "dana", Kind: "person", Roles: everywhere("data-protection-officer"), Profile: api.Profile{DisplayName: "Dana", Team: "Data Protection Office", Place: "Paris"}},
		{Name: "ines", Kind: "person", Roles: everywhere("incident-responder"), Profile: api.Profile{DisplayName: "Ines", Team: "Security Operations", Place: "Paris"}},
		{Name: "adam", Kind: "person", Roles: map[string]string{"group": "administrator"}, Profile: api.Profile{DisplayName: "Adam", Team: "Group IT", Place: "Paris"}},
	} {
		if err := d.principal(ctx, p); err != nil {
			return err
		}
	}
	if err := d.today(); err != nil {
		return err
	}
	if err := d.customers(ctx, c); err != nil {
		return err
	}
	for i := range d.answer.Brands {
		b := &d.answer.Brands[i]
		slices.SortStableFunc(b.Samples, func(x, y demoCustomer) int { // those to try first have an address to reveal
			switch {
			case x.email == y.email:
				return 0
			case x.email:
				return -1
			}
			return 1
		})
		cp, err := d.client.Checkpoint(ctx, b.Name)
		if err != nil {
			return err
		}
		b.LastEntry = cp.Size - 1
	}
	return nil
}

func (d *demo) principal(ctx context.Context, p api.Principal) error {
	made, err := d.client.CreatePrincipal(ctx, p)
	if err != nil {
		return err
	}
	cr, err := d.client.CreateCredential(ctx, p.Name, api.CredentialRequest{Label: "demo"})
	if err != nil {
		return err
	}
	d.answer.Principals = append(d.answer.Principals, demoPrincipal{p.Name, p.Kind, p.Roles, cr.Key})
	if p.Name != "trainee" {
		return nil
	}
	base := budget.DefaultRules()
	rules, err := budget.NewRules(append(base.List(), budget.Rule{
		Kind: budget.Principal, Principal: made.ID, Class: budget.Clear, Window: budget.Hour, Limit: traineeLimit,
	}), base.Reserves()...)
	if err != nil {
		return err
	}
	_, err = d.client.SetBudgets(ctx, "gucci", api.BudgetRules{Rules: string(rules.Encode())}, false)
	return err
}

// tellEvery is how often progress is a line where no terminal can draw it.
const tellEvery = 2 * time.Second

// demoBatch is how many customers of a brand are written at once.
const demoBatch = 1500

func (d *demo) customers(ctx context.Context, c *demoCmd) error {
	names := make([]string, len(d.answer.Brands))
	for i, b := range d.answer.Brands {
		names[i] = b.Name
	}
	cfg := invent.Config{Customers: c.Customers, Seed: c.Seed, Brands: names}
	puts := make([]api.PutRequest, len(names))
	bought := make([]api.PurchasesRequest, len(names))
	flush := func(i int) error {
		b := &d.answer.Brands[i]
		w, err := d.client.Put(ctx, b.Name, puts[i])
		if err != nil {
			return err
		}
		for j, r := range w.Results {
			if r.Reject != nil {
				return fmt.Errorf("an invented customer was refused: %s %s", r.Reject.Field, r.Reject.Reason)
			}
			if len(b.Samples) < samples && len(bought[i].Customers) > 0 {
				b.Samples = append(b.Samples, demoCustomer{r.Token, puts[i].Customers[j]["external_id"], puts[i].Customers[j]["email"] != ""})
			}
		}
		if len(bought[i].Customers) > 0 {
			if _, err := d.client.AddPurchases(ctx, b.Name, bought[i]); err != nil {
				return err
			}
		}
		b.Customers += len(puts[i].Customers)
		puts[i], bought[i] = api.PutRequest{}, api.PurchasesRequest{}
		return nil
	}
	started, told, n := time.Now(), time.Now(), 0
	for x := range invent.Customers(cfg) {
		if err := ctx.Err(); err != nil {
			return err
		}
		fields := api.Fields{}
		for name, v := range fieldsOf(&x.Customer, record.AllFields) {
			if v != "" {
				fields[name] = v
			}
		}
		puts[x.Brand].Customers = append(puts[x.Brand].Customers, fields)
		if len(x.Purchases) > 0 {
			cp := api.CustomerPurchases{ExternalID: fields["external_id"]}
			for i := range x.Purchases {
				cp.Purchases = append(cp.Purchases, purchaseOf(&x.Purchases[i]))
			}
			bought[x.Brand].Customers = append(bought[x.Brand].Customers, cp)
			d.answer.Brands[x.Brand].Purchases += len(cp.Purchases)
		}
		if len(puts[x.Brand].Customers) == demoBatch {
			if err := flush(x.Brand); err != nil {
				return err
			}
		}
		if n++; n%500 == 0 {
			took := time.Since(started)
			left := time.Duration(float64(took) * float64(c.Customers-n) / float64(n))
			before, after := "\r\x1b[K", ""
			if !d.std.Terminal { // a line now and then
				if time.Since(told) < tellEvery {
					continue
				}
				before, after = "", "\n"
			}
			told = time.Now()
			fmt.Fprintf(d.std.Err, "%ssealing customers: %d of %d, %.0f/s, %s left%s", before, n, c.Customers, float64(n)/took.Seconds(), left.Round(time.Second), after)
		}
	}
	for i := range names {
		if len(puts[i].Customers) > 0 {
			if err := flush(i); err != nil {
				return err
			}
		}
	}
	if d.std.Terminal {
		fmt.Fprint(d.std.Err, "\r\x1b[K")
	}
	return nil
}

// envFile has the variables of a demonstration, in its directory: `. DIR/env` sets them.
const envFile = "env"

// variables are what the commands that the demonstration prints need, in order.
func (d *demo) variables() [][2]string {
	out := [][2]string{{"CLOAKROOM_DATA", d.answer.Data}}
	if d.answer.Address != "" {
		out = append(out, [2]string{"VAULT", d.answer.Address})
	}
	for _, p := range d.answer.Principals {
		name := strings.ToUpper(strings.TrimSuffix(p.Name, "-gucci"))
		if !strings.Contains(name, "-") { // the other brands' shops are for --json
			out = append(out, [2]string{name, p.Key})
		}
	}
	s := d.answer.Brands[0].Samples
	return append(out, [2]string{"NUMBER", s[0].ExternalID}, [2]string{"TOKEN", s[0].Token},
		[2]string{"TOKEN2", s[1].Token}, [2]string{"TOKEN3", s[2].Token}, [2]string{"TOKEN4", s[3].Token})
}

// keep writes the variables into the directory, for its owner alone.
func (d *demo) keep() error {
	dir, err := filepath.Abs(d.answer.Data)
	if err != nil {
		return fmt.Errorf("the directory: %w", err)
	}
	d.answer.Data = dir
	var b strings.Builder
	for _, v := range d.variables() {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], shellQuote(v[1]))
	}
	if err := os.WriteFile(filepath.Join(dir, envFile), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing the keys: %w", err)
	}
	return nil
}

// print says what was made, and what to try.
func (d *demo) print(w io.Writer) {
	self := os.Args[0]
	if strings.Contains(self, "go-build") {
		self = "go run ./cmd/cloakroom"
	}
	total := 0
	for _, b := range d.answer.Brands {
		total += b.Customers
		fmt.Fprintf(w, "%-18s %7d customers, %8d purchases\n", b.Title, b.Customers, b.Purchases)
	}
	if d.database {
		fmt.Fprintf(w, "\nAll %d are sealed in the PostgreSQL database, under keys that %s/root.key unlocks.\n", total, d.answer.Data)
	} else {
		fmt.Fprintf(w, "\nAll %d are sealed in %s, under keys that root.key beside it unlocks.\n", total, d.answer.Data)
	}
	if d.answer.Address != "" {
		fmt.Fprintf(w, "Serving on %s. Ctrl-C ends it. In another terminal:\n", d.answer.Address)
	} else {
		fmt.Fprintln(w, "Try:")
	}
	fmt.Fprintln(w)
	for _, v := range d.variables() {
		fmt.Fprintf(w, "  export %s=%s\n", v[0], shellQuote(v[1]))
	}
	if d.database && d.answer.Address == "" {
		fmt.Fprintln(w, "  export CLOAKROOM_DATABASE=postgres://...    # as it was given here")
	}
	fmt.Fprintf(w, "\nAll of these at once:  . %s\n", shellQuote(filepath.Join(d.answer.Data, envFile)))
	step := func(what, as, command string) {
		fmt.Fprintf(w, "\n# %s\n  CLOAKROOM_KEY=$%s %s %s\n", what, as, self, command)
	}
	step("Find a customer. Alice of support sees them masked.", "ALICE", "find --brand gucci --purpose customer-support --ticket CASE-1 --external-id $NUMBER")
	step("Reveal what the case needs. It is logged before it is shown.", "ALICE", "reveal --brand gucci --purpose customer-support --ticket CASE-1 --fields given_name,email,purchases $TOKEN")
	step("Marco of marketing asks for the same: the policy refuses.", "MARCO", "reveal --brand gucci --purpose marketing --fields email $TOKEN")
	step(fmt.Sprintf("A trainee may see %d customers an hour and asks for three: the budget refuses.", traineeLimit), "TRAINEE", "reveal --brand gucci --purpose customer-support --ticket CASE-2 --fields email $TOKEN2 $TOKEN3 $TOKEN4")
	step("Who read this customer? With proofs.", "DANA", "who-read --brand gucci $TOKEN")
	step("Replay the whole log against what was signed.", "DANA", "log verify --brand gucci")
	step("What could be taken with Alice's key, stolen now?", "ALICE", "exposure --brand gucci")
	step("Forget the customer. (Without --yes it says what it would do.)", "DANA", "erase --brand gucci --yes $TOKEN")
	fmt.Fprintln(w)
	if d.answer.Console != "" {
		fmt.Fprintf(w, "The same in a browser, with a key from above, such as ALICE's, INES's or DANA's:\n  %s\n", d.answer.Console)
	}
}
