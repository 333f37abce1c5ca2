package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// whoamiCmd is `cloakroom whoami`.
type whoamiCmd struct{ remote }

// Run says who the vault takes the caller for.
func (c *whoamiCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Whoami, error) { return v.Whoami(ctx) }
	return ask(ctx, std, &c.remote, call, printWhoami)
}

func printWhoami(w io.Writer, me *api.Whoami) {
	fmt.Fprintf(w, "%s, %s, principal %d\n", me.Name, me.Kind, me.Principal)
	if me.Local {
		fmt.Fprintln(w, "local administrator of this machine: administers, and sees no customer")
	}
	for _, b := range slices.Sorted(maps.Keys(me.Roles)) {
		fmt.Fprintf(w, "  %-16s %s\n", b, me.Roles[b])
	}
	if len(me.Roles) == 0 {
		fmt.Fprintln(w, "no role at any brand: an administrator grants one with cloakroom principal role")
	}
	fmt.Fprintf(w, "credential %d, lineage %d\n", me.Credential, me.Lineage)
	if !me.Expires.IsZero() {
		fmt.Fprintf(w, "expires %s\n", me.Expires.UTC().Format(time.RFC3339))
	}
}

// statusCmd is `cloakroom status`.
type statusCmd struct{ remote }

// vaultStatus is the answer to --json.
type vaultStatus struct {
	Vault    string       `json:"vault"`
	Running  bool         `json:"running"` // a server answers; otherwise this command opened the vault
	Version  *api.Version `json:"version"`
	Health   *api.Health  `json:"health"`
	Whoami   *api.Whoami  `json:"whoami"`
	Brands   []string     `json:"brands"`
	Problems []string     `json:"problems,omitempty"`
}

// Run shows which vault answers, how it is, and for whom.
func (c *statusCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		out := vaultStatus{Vault: v.at, Running: v.vault == nil, Brands: []string{}}
		var err error
		if out.Version, err = v.Version(ctx); err != nil {
			return err
		}
		if out.Whoami, err = v.Whoami(ctx); err != nil {
			return err
		}
		if out.Health, err = v.Health(ctx); err != nil {
			return err
		}
		list, err := v.Brands(ctx)
		if err != nil {
			return err
		}
		for _, b := range list {
			out.Brands = append(out.Brands, b.Name)
		}
		return c.print(std, out, func(w io.Writer) {
			how := "a server answers"
			if !out.Running {
				how = "no server runs; this command opened it"
			}
			fmt.Fprintf(w, "vault    %s (%s)\n", out.Vault, how)
			fmt.Fprintf(w, "version  %s\n", out.Version.Version)
			health := out.Health.Status
			if out.Health.Late {
				health += ", alarms are late: cloakroom doctor says by how much"
			}
			if out.Health.Owed > 0 {
				health += "; " + owedLine(out.Health.Owed)
			}
			fmt.Fprintf(w, "health   %s\n", health)
			fmt.Fprintf(w, "brands   %d\n", len(out.Brands))
			fmt.Fprint(w, "you      ")
			printWhoami(w, out.Whoami)
		})
	})
}
