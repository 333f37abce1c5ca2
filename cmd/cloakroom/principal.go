package main

import (
	"bufio"
	"context"
	"errors"
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

type principalCmd struct {
	Create     principalCreateCmd     `cmd:"" help:"Register a person or service with its roles, and create its first key."`
	Describe   principalDescribeCmd   `cmd:"" help:"Say who a principal is to customers: display name, team, place."`
	List       principalListCmd       `cmd:"" help:"List principals, their roles and credentials."`
	Show       principalShowCmd       `cmd:"" help:"Show a principal: its roles, its keys, and who made them."`
	Role       principalRoleCmd       `cmd:"" help:"Grant or remove a role."`
	Key        principalKeyCmd        `cmd:"" help:"Create another key."`
	Renew      principalRenewCmd      `cmd:"" help:"Replace a key; credentials made through it stay valid."`
	App        principalAppCmd        `cmd:"" help:"Create a key through your own, for an application that acts for you."`
	Invite     principalInviteCmd     `cmd:"" help:"Invite people to make their own keys; takes a second person."`
	Redeem     principalRedeemCmd     `cmd:"" help:"Make your own key with the code of an invitation."`
	Disconnect principalDisconnectCmd `cmd:"" help:"Revoke a credential and all credentials made through it; the rest of its lineage stays valid."`
	Revoke     principalRevokeCmd     `cmd:"" help:"Revoke a lineage: a credential and all credentials made through it."`
}

type principalCreateCmd struct {
	remote
	makes
	Name  string      `arg:"" help:"Lower-case letters, digits, dots, hyphens and underscores."`
	Kind  string      `help:"person or service." default:"person" enum:"person,service"`
	Roles []brandRole `name:"role" help:"BRAND=ROLE, such as gucci=application; group=ROLE applies to brands without their own." placeholder:"BRAND=ROLE"`

	Owner string `help:"Person who holds the keys of a service." placeholder:"NAME"`
	profileFlags
	Country string `help:"Country of work, two letters: log entries carry it." placeholder:"IT"`
	Entity  string `help:"Legal entity of the employer: log entries carry it." placeholder:"NAME"`
}

// profileFlags say who a principal is to customers.
type profileFlags struct {
	DisplayName string `help:"Name for people, such as 'Alice R.'; customers read it." placeholder:"TEXT"`
	Team        string `help:"Team, such as 'Gucci Client Service'; customers read it." placeholder:"TEXT"`
	Place       string `help:"Place, such as Milan; customers read it." placeholder:"TEXT"`
}

func (f *profileFlags) profile() api.Profile {
	return api.Profile{DisplayName: f.DisplayName, Team: f.Team, Place: f.Place}
}

// inWords is a profile on one line: Alice R., Gucci Client Service, Milan.
func inWords(p api.Profile) string {
	parts := slices.DeleteFunc([]string{p.DisplayName, p.Team, p.Place}, func(s string) bool { return s == "" })
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

type principalDescribeCmd struct {
	remote
	profileFlags
	Name string `arg:"" help:"Name of the principal."`
}

// Help is the long help text.
func (principalDescribeCmd) Help() string {
	return `Says all three at once: what is left out is taken away. who-read shows it, and customers
read it where they are shown who read their data.`
}

// Run describes a principal.
func (c *principalDescribeCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Principal, error) { return v.Describe(ctx, c.Name, c.profile()) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Principal) {
		fmt.Fprintf(w, "%s: %s\n", p.Name, inWords(p.Profile))
	})
}

// brandRole is a role at a brand, BRAND=ROLE.
type brandRole struct{ brand, role string }

// UnmarshalText reads a role at a brand.
func (r *brandRole) UnmarshalText(b []byte) error {
	brand, role, ok := strings.Cut(string(b), "=")
	if !ok || brand == "" || role == "" {
		return errors.New("--role takes BRAND=ROLE, such as gucci=application")
	}
	*r = brandRole{brand, role}
	return nil
}

// rolesOf returns roles by brand, and refuses two roles at one brand.
func rolesOf(list []brandRole) (map[string]string, error) {
	out := map[string]string{}
	for _, r := range list {
		if _, ok := out[r.brand]; ok {
			return nil, &usageError{"--role names a brand twice: a principal has one role at each brand"}
		}
		out[r.brand] = r.role
	}
	return out, nil
}

// created is a new principal and its one key.
type created struct {
	Principal  *api.Principal  `json:"principal"`
	Credential *api.Credential `json:"credential"`
}

// Run registers a principal and makes its first key.
func (c *principalCreateCmd) Run(ctx context.Context, std Streams) error {
	roles, err := rolesOf(c.Roles)
	if err != nil {
		return err
	}
	return c.with(ctx, std, func(v *connection) error {
		var out created
		var err error
		if out.Principal, err = v.CreatePrincipal(ctx, api.Principal{Name: c.Name, Kind: c.Kind, Roles: roles, Owner: c.Owner, Country: c.Country, Entity: c.Entity, Profile: c.profile()}); err != nil {
			return err
		}
		out.Credential, err = v.CreateCredential(ctx, c.Name, api.CredentialRequest{Label: "first"})
		if e, ok := errors.AsType[*api.Error](err); ok && c.Kind == "person" && e.Type == api.TypePolicyDenied {
			return c.print(std, out, func(w io.Writer) {
				fmt.Fprintf(w, "%s is registered. They make their own key: cloakroom principal invite %s\n", c.Name, c.Name)
			})
		}
		if err != nil {
			return err
		}
		return c.printMade(std, &c.remote, out.Credential.Key, out, func(w io.Writer) { printKey(w, c.Name, out.Credential) })
	})
}

func printKey(w io.Writer, name string, c *api.Credential) {
	if c.Code != "" {
		fmt.Fprintf(w, "%s: the owner makes the key with this code, until %s: cloakroom principal redeem --own %s\n", name, c.Expires.UTC().Format("2006-01-02 15:04 UTC"), c.Code)
		return
	}
	fmt.Fprintf(w, "%s, lineage %d. This key is shown once:\n%s\n", name, c.Lineage, c.Key)
}

type principalListCmd struct{ remote }

// Run lists principals.
func (c *principalListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Principal, error) { return everybody(ctx, v) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Principal) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tKIND\tWHO\tROLES\tLINEAGES")
		for _, p := range list {
			var roles, lineages []string
			for _, b := range slices.Sorted(maps.Keys(p.Roles)) {
				roles = append(roles, b+"="+p.Roles[b])
			}
			for _, cr := range p.Credentials {
				s := fmt.Sprint(cr.Lineage)
				if cr.MadeBy != "" && cr.MadeBy != p.Name {
					s += " (made by " + cr.MadeBy + ")"
				}
				if !cr.Revoked.IsZero() {
					s += " (revoked)"
				}
				lineages = append(lineages, s)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.Kind, inWords(p.Profile), strings.Join(roles, " "), strings.Join(lineages, " "))
		}
		t.Flush()
	})
}

type principalShowCmd struct {
	remote
	Name string `arg:"" help:"Name of the principal."`
}

// Run shows a principal.
func (c *principalShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Principal, error) { return principalNamed(ctx, v, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Principal) {
		fmt.Fprintf(w, "%s, %s\n", p.Name, p.Kind)
		for _, b := range slices.Sorted(maps.Keys(p.Roles)) {
			fmt.Fprintf(w, "role   %s=%s\n", b, p.Roles[b])
		}
		for _, cr := range p.Credentials {
			line := fmt.Sprintf("key    %d, lineage %d, %q, made %s", cr.ID, cr.Lineage, cr.Label, cr.Created.UTC().Format(time.DateOnly))
			if cr.MadeBy != "" {
				line += " by " + cr.MadeBy
			}
			if !cr.Revoked.IsZero() {
				line += ", revoked " + cr.Revoked.UTC().Format(time.DateOnly)
			}
			fmt.Fprintln(w, line)
		}
	})
}

type principalRoleCmd struct {
	forBrand
	Name   string `arg:"" help:"Name of the principal."`
	Role   string `arg:"" optional:"" help:"Role to grant; without it, the roles are shown."`
	Remove bool   `help:"Remove the role at the brand."`
	Yes    bool   `help:"Do not ask before removing."`
}

// Run shows, gives or takes a role.
func (c *principalRoleCmd) Run(ctx context.Context, std Streams) error {
	if c.Remove && c.Role != "" {
		return &usageError{"--remove takes the role at the brand away, whatever it is: name no role"}
	}
	if c.Remove && !c.Yes {
		ok, err := confirm(std, fmt.Sprintf("Remove the role of %s at %s?", c.Name, c.Brand))
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("nothing was changed")
		}
	}
	call := func(v *connection) (*api.Principal, error) {
		switch {
		case c.Remove:
			return v.RemoveRole(ctx, c.Name, c.Brand)
		case c.Role != "":
			return v.SetRole(ctx, c.Name, c.Brand, c.Role)
		}
		return principalNamed(ctx, v, c.Name)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, p *api.Principal) {
		for _, b := range slices.Sorted(maps.Keys(p.Roles)) {
			fmt.Fprintf(w, "%s=%s\n", b, p.Roles[b])
		}
		if len(p.Roles) == 0 {
			fmt.Fprintln(w, "no role")
		}
	})
}

// everybody lists the principals of the vault.
func everybody(ctx context.Context, v *connection) ([]api.Principal, error) {
	out := []api.Principal{}
	for after := uint64(0); ; after = out[len(out)-1].ID {
		page, err := v.Principals(ctx, after)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return out, nil
		}
		out = append(out, page...)
	}
}

// principalNamed looks for a principal in the list of all.
func principalNamed(ctx context.Context, v *connection, name string) (*api.Principal, error) {
	for after := uint64(0); ; {
		list, err := v.Principals(ctx, after)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].Name == name {
				return &list[i], nil
			}
			after = list[i].ID
		}
		if len(list) == 0 {
			return nil, &api.Error{Type: api.TypeNotFound, Title: "Not found", Detail: "no such principal: cloakroom principal list shows all"}
		}
	}
}

// confirm asks the person at the terminal. Without a terminal, a command says so itself.
func confirm(std Streams, question string) (bool, error) {
	if !std.Terminal {
		return false, &usageError{"this takes something away: add --yes"}
	}
	fmt.Fprint(std.Err, question, " [y/N] ")
	line, err := bufio.NewReader(io.LimitReader(std.In, maxSearched)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes", nil
}

type principalKeyCmd struct {
	remote
	makes
	Name     string `arg:""`
	Label    string `help:"Label of the key." placeholder:"TEXT"`
	ValidFor string `help:"Validity, such as 720h." placeholder:"TIME"`
}

// Run makes a key.
func (c *principalKeyCmd) Run(ctx context.Context, std Streams) error {
	in := api.CredentialRequest{Label: c.Label, ValidFor: c.ValidFor}
	call := func(v *connection) (*api.Credential, error) { return v.CreateCredential(ctx, c.Name, in) }
	return c.printNewKey(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, c.Name, out)
	})
}

// printNewKey asks for a key and prints it.
func (m *makes) printNewKey(ctx context.Context, std Streams, r *remote, call func(v *connection) (*api.Credential, error), text func(w io.Writer, out *api.Credential)) error {
	return r.with(ctx, std, func(v *connection) error {
		out, err := call(v)
		if err != nil {
			return err
		}
		return m.printMade(std, r, out.Key, out, func(w io.Writer) { text(w, out) })
	})
}

type principalRenewCmd struct {
	remote
	makes
	Credential uint64 `arg:"" help:"Number of the credential, from principal list --json."`
}

// Run replaces a key.
func (c *principalRenewCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Credential, error) { return v.RenewKey(ctx, c.Credential) }
	return c.printNewKey(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, fmt.Sprint("credential ", out.ID), out)
		fmt.Fprintf(w, "Credentials made through it stay valid. To revoke those too: cloakroom principal revoke %d\n", out.Lineage)
	})
}

type principalAppCmd struct {
	remote
	makes
	Label    string `help:"Name of the application." placeholder:"TEXT" required:""`
	ValidFor string `help:"Validity, such as 720h." placeholder:"TIME"`
}

// Run makes a key through the caller's own.
func (c *principalAppCmd) Run(ctx context.Context, std Streams) error {
	in := api.CredentialRequest{Label: c.Label, ValidFor: c.ValidFor}
	call := func(v *connection) (*api.Credential, error) { return v.Connect(ctx, in) }
	return c.printNewKey(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
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

func printRevoked(w io.Writer, r *api.Revoked) {
	fmt.Fprintf(w, "revoked %s\n", counted(r.Revoked, "credential"))
}

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

type principalInviteCmd struct {
	remote
	Name       string      `arg:"" optional:"" help:"Who is invited; registered before, or new."`
	Mail       string      `help:"Address that the code is sent to. Without it, or without a mail server, the person who approves is shown the code." placeholder:"ADDRESS"`
	List       string      `help:"File with a NAME and an ADDRESS, or a NAME, on each line: invites all of them." type:"existingfile" placeholder:"FILE"`
	Kind       string      `help:"person or service, of new ones." default:"person" enum:"person,service"`
	Roles      []brandRole `name:"role" help:"Roles of new ones." placeholder:"BRAND=ROLE"`
	Until      time.Time   `help:"When the keys end, such as 2026-12-31." format:"2006-01-02" placeholder:"DAY"`
	Credential uint64      `help:"Credential whose key the new one takes the place of." placeholder:"NUMBER"`
	Label      string      `help:"Label of the keys." placeholder:"TEXT"`
	profileFlags
}

// Help is the long help text.
func (principalInviteCmd) Help() string {
	return `A person's key is made by that person. The invitation takes a second person; its code
works once, within 24 hours, and goes to the invited by mail, or is shown to the person who
approves. The inviter never sees it.

  cloakroom principal invite dana --mail dana@kering.example
  cloakroom principal invite --list hotline.txt --role gucci=support-agent --until 2026-12-31
  cloakroom principal invite dana --credential 12      # renew a lost key`
}

// Run invites.
func (c *principalInviteCmd) Run(ctx context.Context, std Streams) error {
	roles, err := rolesOf(c.Roles)
	if err != nil {
		return err
	}
	in := api.InviteRequest{Roles: roles, Until: c.Until, Label: c.Label}
	switch {
	case (c.Name == "") == (c.List == ""):
		return &usageError{"name one person, or give --list"}
	case c.List != "" && (c.Mail != "" || c.Credential != 0 || c.DisplayName != ""):
		return &usageError{"--mail, --credential and --display-name are for one person"}
	case c.Name != "":
		in.People = []api.Invitee{{Name: c.Name, Kind: c.Kind, Mail: c.Mail, Credential: c.Credential, Profile: c.profile()}}
	default:
		f, err := os.Open(c.List)
		if err != nil {
			return fmt.Errorf("reading the list: %w", err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			words := strings.Fields(lines.Text())
			switch len(words) {
			case 0:
			case 1:
				in.People = append(in.People, api.Invitee{Name: words[0], Kind: c.Kind, Profile: c.profile()})
			case 2:
				in.People = append(in.People, api.Invitee{Name: words[0], Mail: words[1], Kind: c.Kind, Profile: c.profile()})
			default:
				return &usageError{fmt.Sprintf("line %d of the list is not a NAME and an ADDRESS", n)}
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("reading the list: %w", err)
		}
	}
	call := func(v *connection) (*api.Invitations, error) { return v.Invite(ctx, in) }
	return ask(ctx, std, &c.remote, call, printInvitations)
}

func printInvitations(w io.Writer, out *api.Invitations) {
	if len(out.Mailed) > 0 {
		fmt.Fprintf(w, "codes were sent by mail to %s\n", strings.Join(out.Mailed, ", "))
	}
	for _, x := range out.Codes {
		fmt.Fprintf(w, "%s makes their key, until %s, with: cloakroom principal redeem %s\n", x.Name, out.Expires.UTC().Format("2006-01-02 15:04 UTC"), x.Code)
	}
}

type principalRedeemCmd struct {
	remote
	Code string `arg:"" help:"The code of the invitation."`
	Own  bool   `help:"The code is for a service that you own."`
}

// Run makes the key of an invitation.
func (c *principalRedeemCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Credential, error) {
		if c.Own {
			return v.RedeemOwned(ctx, c.Code)
		}
		return v.Redeem(ctx, c.Code)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, fmt.Sprint("credential ", out.ID), out)
	})
}
