package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// dbInitCmd is `cloakroom db init`.
type dbInitCmd struct {
	Database   string `help:"Database, as postgres://USER@HOST/NAME." required:"" env:"CLOAKROOM_DATABASE" placeholder:"URL"`
	Distribute bool   `help:"Distribute the tables over a Citus cluster."`
	Shards     int    `help:"Shards per group of tables: at least the planned number of nodes. More shards slow batches." default:"8" placeholder:"N"`
	DryRun     bool   `help:"Show what would be done; change nothing."`
	JSON       bool   `help:"Print one JSON object."`
}

// Help is the long help text.
func (dbInitCmd) Help() string {
	return `Servers migrate the schema by themselves when they start; this does it beforehand.

With --distribute, customers, their keys and purchases are cut into shards by ordinal,
the search index by value, the logs by brand; every other table is whole on every node.
The rows that a table had go to the nodes and are removed from where they were. It can
be repeated. Tables that a later release adds are distributed when it migrates.

Run it on the cluster's coordinator, after its nodes were added; docs/operate.md, "Many
machines", says how. Begin with --dry-run: tables are not undistributed by this command.

EXIT STATUS: 0 done, 1 failed, 2 wrong command line, 130 interrupted.`
}

// initialized is the answer to --json.
type initialized struct {
	DryRun  bool           `json:"dry_run,omitempty"`
	Was     int            `json:"schema_was"`
	Version int            `json:"schema_version"`
	Shards  int            `json:"shards,omitempty"`
	Placed  []db.Placement `json:"tables,omitempty"`
}

// Run makes the schema, and distributes it.
func (c *dbInitCmd) Run(ctx context.Context, std Streams) (err error) {
	if c.Shards < 1 {
		return &usageError{"--shards is at least 1"}
	}
	d, err := db.OpenPostgres(ctx, c.Database, db.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	out := initialized{DryRun: c.DryRun, Version: db.LatestSchema()}
	if out.Was, err = db.SchemaVersion(ctx, d); err != nil {
		return err
	}
	if c.Distribute { // refused before anything is changed
		out.Shards = c.Shards
		if out.Placed, err = d.Distribute(ctx, c.Shards, true); err != nil {
			return err
		}
	}
	if !c.DryRun {
		if err := d.Migrate(ctx); err != nil {
			return err
		}
		if c.Distribute {
			if out.Placed, err = d.Distribute(ctx, c.Shards, false); err != nil {
				return err
			}
		}
	}
	r := remote{JSON: c.JSON}
	return r.print(std, out, func(w io.Writer) { out.text(w) })
}

func (o *initialized) text(w io.Writer) {
	did := func(done, would string) string {
		if o.DryRun {
			return would
		}
		return done
	}
	if o.Was == o.Version {
		fmt.Fprintf(w, "schema: version %d, nothing to migrate\n", o.Version)
	} else {
		fmt.Fprintf(w, "schema: %s from version %d to %d\n", did("migrated", "would migrate"), o.Was, o.Version)
	}
	var whole []string
	for _, p := range o.Placed {
		switch {
		case p.Done:
			fmt.Fprintf(w, "%s: lay so already\n", p.Table)
		case p.Column == "":
			whole = append(whole, p.Table)
		case p.With == "":
			fmt.Fprintf(w, "%s: %s by %s over %d shards\n", p.Table, did("distributed", "would distribute"), p.Column, o.Shards)
		default:
			fmt.Fprintf(w, "%s: %s by %s, beside %s\n", p.Table, did("distributed", "would distribute"), p.Column, p.With)
		}
	}
	if len(whole) > 0 {
		fmt.Fprintf(w, "%s whole on every node: %s\n", did("put", "would put"), strings.Join(whole, ", "))
	}
}
