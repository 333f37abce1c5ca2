package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type brandCmd struct {
	Create brandCreateCmd `cmd:"" help:"Create a brand with the default policy, purposes and budgets."`
	List   brandListCmd   `cmd:"" help:"List brands."`
}

type brandCreateCmd struct {
	remote
	Name  string `arg:"" help:"Lower-case letters, digits and hyphens."`
	Title string `help:"Display name." placeholder:"TEXT"`
}

// Run creates a brand.
func (c *brandCreateCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Brand, error) {
		return v.CreateBrand(ctx, api.Brand{Name: c.Name, Title: c.Title})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, b *api.Brand) {
		fmt.Fprintln(w, "created", b.Name)
	})
}

type brandListCmd struct{ remote }

// Run lists brands.
func (c *brandListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Brand, error) { return v.Brands(ctx) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Brand) {
		for _, b := range list {
			fmt.Fprintf(w, "%s\t%s\n", b.Name, b.Title)
		}
	})
}

type purposeCmd struct {
	Add    purposeAddCmd    `cmd:"" help:"Register a purpose with its legal basis."`
	List   purposeListCmd   `cmd:"" help:"List a brand's purposes."`
	Retire purposeRetireCmd `cmd:"" help:"Retire a purpose."`
}

type purposeAddCmd struct {
	forBrand
	Name        string `arg:"" help:"Lower-case letters, digits and hyphens."`
	LegalBasis  string `help:"consent, contract, legal-obligation, vital-interests, public-task or legitimate-interests (GDPR Art. 6(1))." required:"" placeholder:"BASIS"`
	Description string `help:"One-sentence description." placeholder:"TEXT"`
}

// Run registers a purpose.
func (c *purposeAddCmd) Run(ctx context.Context, std Streams) error {
	in := api.Purpose{Name: c.Name, LegalBasis: c.LegalBasis, Description: c.Description}
	call := func(v *connection) (*api.Purpose, error) { return v.CreatePurpose(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Purpose) {
		fmt.Fprintln(w, "registered", p.Name)
	})
}

type purposeListCmd struct{ forBrand }

// Run lists purposes.
func (c *purposeListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Purpose, error) { return v.Purposes(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Purpose) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, p := range list {
			retired := ""
			if !p.Retired.IsZero() {
				retired = "retired"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.LegalBasis, p.Description, retired)
		}
		t.Flush()
	})
}

type purposeRetireCmd struct {
	forBrand
	Name string `arg:""`
}

// Run retires a purpose.
func (c *purposeRetireCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (struct{}, error) { return struct{}{}, v.RetirePurpose(ctx, c.Brand, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, _ struct{}) {
		fmt.Fprintln(w, "retired", c.Name)
	})
}

type principalCmd struct {
	Create     principalCreateCmd     `cmd:"" help:"Register a person or service with its roles, and create its first key."`
	List       principalListCmd       `cmd:"" help:"List principals, their roles and credentials."`
	Role       principalRoleCmd       `cmd:"" help:"Grant or remove a role."`
	Key        principalKeyCmd        `cmd:"" help:"Create another key."`
	Renew      principalRenewCmd      `cmd:"" help:"Replace a key; credentials made through it stay valid."`
	App        principalAppCmd        `cmd:"" help:"Create a key through your own, for an application that acts for you."`
	Disconnect principalDisconnectCmd `cmd:"" help:"Revoke a credential and all credentials made through it; the rest of its lineage stays valid."`
	Revoke     principalRevokeCmd     `cmd:"" help:"Revoke a lineage: a credential and all credentials made through it."`
}

type principalCreateCmd struct {
	remote
	Name  string            `arg:"" help:"Lower-case letters, digits, dots, hyphens and underscores."`
	Kind  string            `help:"person or service." default:"person" enum:"person,service"`
	Roles map[string]string `name:"role" help:"BRAND=ROLE, such as gucci=application; group=ROLE applies to brands without their own." placeholder:"BRAND=ROLE"`

	Country string `help:"Country of work, two letters: log entries carry it." placeholder:"IT"`
	Entity  string `help:"Legal entity of the employer: log entries carry it." placeholder:"NAME"`
}

// created is a new principal and its one key.
type created struct {
	Principal  *api.Principal  `json:"principal"`
	Credential *api.Credential `json:"credential"`
}

// Run registers a principal and makes its first key.
func (c *principalCreateCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		var out created
		var err error
		if out.Principal, err = v.CreatePrincipal(ctx, api.Principal{Name: c.Name, Kind: c.Kind, Roles: c.Roles, Country: c.Country, Entity: c.Entity}); err != nil {
			return err
		}
		if out.Credential, err = v.CreateCredential(ctx, c.Name, api.CredentialRequest{Label: "first"}); err != nil {
			return err
		}
		return c.print(std, out, func(w io.Writer) { printKey(w, c.Name, out.Credential) })
	})
}

func printKey(w io.Writer, name string, c *api.Credential) {
	fmt.Fprintf(w, "%s, lineage %d. This key is shown once:\n%s\n", name, c.Lineage, c.Key)
}

type principalListCmd struct{ remote }

// Run lists principals.
func (c *principalListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Principal, error) { return v.Principals(ctx, 0) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Principal) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tKIND\tROLES\tLINEAGES")
		for _, p := range list {
			var roles, lineages []string
			for _, b := range slices.Sorted(maps.Keys(p.Roles)) {
				roles = append(roles, b+"="+p.Roles[b])
			}
			for _, cr := range p.Credentials {
				s := fmt.Sprint(cr.Lineage)
				if !cr.Revoked.IsZero() {
					s += " (revoked)"
				}
				lineages = append(lineages, s)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.Kind, strings.Join(roles, " "), strings.Join(lineages, " "))
		}
		t.Flush()
	})
}

type principalRoleCmd struct {
	forBrand
	Name string `arg:""`
	Role string `arg:"" optional:"" help:"Role to grant; without it, the current role is removed."`
}

// Run gives or takes a role.
func (c *principalRoleCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Principal, error) {
		if c.Role == "" {
			return v.RemoveRole(ctx, c.Name, c.Brand)
		}
		return v.SetRole(ctx, c.Name, c.Brand, c.Role)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Principal) {
		for _, b := range slices.Sorted(maps.Keys(p.Roles)) {
			fmt.Fprintf(w, "%s=%s\n", b, p.Roles[b])
		}
	})
}

type principalKeyCmd struct {
	remote
	Name     string `arg:""`
	Label    string `help:"Label of the key." placeholder:"TEXT"`
	ValidFor string `help:"Validity, such as 720h." placeholder:"TIME"`
}

// Run makes a key.
func (c *principalKeyCmd) Run(ctx context.Context, std Streams) error {
	in := api.CredentialRequest{Label: c.Label, ValidFor: c.ValidFor}
	call := func(v *connection) (*api.Credential, error) { return v.CreateCredential(ctx, c.Name, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, c.Name, out)
	})
}

type principalRenewCmd struct {
	remote
	Credential uint64 `arg:"" help:"Number of the credential, from principal list --json."`
}

// Run replaces a key.
func (c *principalRenewCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Credential, error) { return v.RenewKey(ctx, c.Credential) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, fmt.Sprint("credential ", out.ID), out)
		fmt.Fprintf(w, "Credentials made through it stay valid. To revoke those too: cloakroom principal revoke %d\n", out.Lineage)
	})
}

type principalAppCmd struct {
	remote
	Label    string `help:"Name of the application." placeholder:"TEXT" required:""`
	ValidFor string `help:"Validity, such as 720h." placeholder:"TIME"`
}

// Run makes a key through the caller's own.
func (c *principalAppCmd) Run(ctx context.Context, std Streams) error {
	in := api.CredentialRequest{Label: c.Label, ValidFor: c.ValidFor}
	call := func(v *connection) (*api.Credential, error) { return v.Connect(ctx, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, c.Label, out)
		fmt.Fprintf(w, "%sTo revoke this key alone: cloakroom principal disconnect %d\n", expiry(out), out.ID)
	})
}

// expiry says when a credential expires: sooner than asked for, where the one through
// which it was made does.
func expiry(c *api.Credential) string {
	if c.Expires.IsZero() {
		return ""
	}
	return fmt.Sprintf("Expires %s. ", c.Expires.UTC().Format(time.RFC3339))
}

type principalRevokeCmd struct {
	remote
	Lineage uint64 `arg:"" help:"Number of the lineage, from principal list."`
}

// Run revokes a lineage.
func (c *principalRevokeCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Revoked, error) { return v.RevokeLineage(ctx, c.Lineage) }
	return ask(ctx, std, &c.remote, call, printRevoked)
}

func printRevoked(w io.Writer, r *api.Revoked) { fmt.Fprintf(w, "revoked %d credentials\n", r.Revoked) }

type principalDisconnectCmd struct {
	remote
	Credential uint64 `arg:"" help:"As principal app or principal list --json shows it."`
}

// Run revokes one credential.
func (c *principalDisconnectCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		out, err := v.RevokeCredential(ctx, c.Credential)
		if err != nil {
			return err
		}
		return c.print(std, out, func(w io.Writer) { printRevoked(w, out) })
	})
}

type policyCmd struct {
	Show  policyShowCmd  `cmd:"" help:"Print the policy in force."`
	Check policyCheckCmd `cmd:"" help:"Check a policy file without a vault."`
	Diff  policyDiffCmd  `cmd:"" help:"Show who gains and loses what under a policy file."`
	Apply policyApplyCmd `cmd:"" help:"Apply a policy file."`
}

type policyShowCmd struct{ forBrand }

// Run prints the policy.
func (c *policyShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Policy, error) { return v.Policy(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Policy) {
		fmt.Fprint(w, p.Text)
	})
}

type policyDiffCmd struct {
	forBrand
	topBounds
	File string `arg:"" help:"Policy file." type:"existingfile"`
}

// Run says what would change.
func (c *policyDiffCmd) Run(ctx context.Context, std Streams) error {
	return putPolicy(ctx, std, &c.forBrand, c.File, &changesBounds{DryRun: true, topBounds: c.topBounds})
}

type policyApplyCmd struct {
	forBrand
	changesBounds
	File string `arg:"" help:"Policy file." type:"existingfile"`
}

// Run applies a policy.
func (c *policyApplyCmd) Run(ctx context.Context, std Streams) error {
	return putPolicy(ctx, std, &c.forBrand, c.File, &c.changesBounds)
}

func putPolicy(ctx context.Context, std Streams, b *forBrand, file string, how *changesBounds) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the policy: %w", err)
	}
	call := func(v *connection) (*api.PolicyDiff, error) {
		return v.ApplyPolicy(ctx, b.Brand, api.Policy{Text: string(text)}, how.DryRun)
	}
	return ask(ctx, std, &b.remote, call, func(w io.Writer, d *api.PolicyDiff) {
		for _, ch := range d.Changes {
			who := "role " + ch.Role
			if ch.Principal != 0 {
				who += fmt.Sprintf(", principal %d", ch.Principal)
			}
			for _, side := range []struct {
				sign   string
				fields []string
			}{{"+", ch.Gained}, {"-", ch.Lost}} {
				if len(side.fields) > 0 {
					fmt.Fprintf(w, "%s %s: %s for %q: %s\n", side.sign, who, ch.Action, ch.Purpose, strings.Join(side.fields, ","))
				}
			}
		}
		how.show(w, d.Bounds)
		switch {
		case d.Applied:
			fmt.Fprintf(w, "applied as version %d\n", d.Version)
		case len(d.Changes) == 0:
			fmt.Fprintln(w, "nobody gains or loses anything")
		}
	})
}

type budgetCmd struct {
	Show budgetShowCmd `cmd:"" default:"withargs" help:"Show a brand's budgets, one rule per line; same as budget alone."`
	Set  budgetSetCmd  `cmd:"" help:"Set a brand's budgets, and show which loss bounds change."`
}

type budgetShowCmd struct{ forBrand }

// Run shows budgets.
func (c *budgetShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.BudgetRules, error) { return v.Budgets(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.BudgetRules) {
		fmt.Fprint(w, r.Rules)
	})
}

type budgetSetCmd struct {
	forBrand
	changesBounds
	File    string `arg:"" optional:"" help:"File of rules, in the format of budget show." type:"existingfile"`
	Default bool   `help:"Set the default budgets."`
}

// Run sets budgets.
func (c *budgetSetCmd) Run(ctx context.Context, std Streams) error {
	if c.Default == (c.File != "") {
		return &usageError{"give a file of rules, or --default"}
	}
	var in api.BudgetRules
	if c.File != "" {
		text, err := os.ReadFile(c.File)
		if err != nil {
			return fmt.Errorf("reading the rules: %w", err)
		}
		in.Rules = string(text)
	}
	call := func(v *connection) (*api.BudgetsSet, error) { return v.SetBudgets(ctx, c.Brand, in, c.DryRun) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.BudgetsSet) {
		c.show(w, out.Bounds)
		if out.Applied {
			fmt.Fprintln(w, "set")
		} else {
			fmt.Fprintln(w, "nothing was changed")
		}
	})
}
