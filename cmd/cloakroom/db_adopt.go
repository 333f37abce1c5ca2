package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

type dbAdoptCmd struct {
	remote
	Digest string   `help:"Confirm the list of this digest, or of one that begins so." placeholder:"DIGEST"`
	Void   []string `help:"Rows of the list that end, as it names them; separated by commas." placeholder:"ROW"`
	DryRun bool     `help:"Show what would be confirmed and ended; change nothing."`
}

// Help is the long help text.
func (dbAdoptCmd) Help() string {
	return `Principals, keys, roles, policies and other rows of rights grant what the logs say. Rows
from before the logs said so, and rows of a restored copy that is older than its logs, stand
as they were found until somebody confirms them. Without --digest this lists them, with the
digest of the list; with it, it confirms the list. Rows named with --void end: a principal is
disabled, a key revoked, a role removed, a purpose retired. Each brand's log gets one entry.
It runs at the vault's own machine, or for an administrator of the group with --server.

EXIT STATUS: 0 done, or nothing to confirm; 1 failed, or the list changed since it was read.`
}

// shortDigest is the least that --digest takes of one.
const shortDigest = 10

// Run lists or confirms.
func (c *dbAdoptCmd) Run(ctx context.Context, std Streams) error {
	if c.Digest == "" && (len(c.Void) > 0 || c.DryRun) {
		return &usageError{"--void and --dry-run go with --digest, which the list prints"}
	}
	if c.Digest != "" && len(c.Digest) < shortDigest {
		return &usageError{fmt.Sprintf("--digest is at least the first %d characters of one", shortDigest)}
	}
	return c.with(ctx, std, func(v *connection) error {
		list, err := allUnadopted(ctx, v)
		if err != nil {
			return err
		}
		if c.Digest == "" {
			return c.print(std, list, func(w io.Writer) { listUnadopted(w, list) })
		}
		if !strings.HasPrefix(list.Digest, c.Digest) {
			return errors.New("the list of unadopted rows has another digest: read it again with `cloakroom db adopt`")
		}
		out, err := v.Adopt(ctx, api.AdoptRequest{Digest: list.Digest, Void: c.Void, DryRun: c.DryRun})
		if err != nil {
			return err
		}
		return c.print(std, out, func(w io.Writer) {
			would := ""
			if c.DryRun {
				would = "would be "
			}
			fmt.Fprintf(w, "%s %sconfirmed\n", counted(int64(out.Confirmed), "row"), would)
			for _, r := range out.Voided {
				fmt.Fprintf(w, "%sended: %s  %s\n", would, r.Row, r.Says)
			}
		})
	})
}

// allUnadopted reads the whole list. One that changes while it is read is read again.
func allUnadopted(ctx context.Context, v *connection) (*api.Unadopted, error) {
	all, err := v.Unadopted(ctx, 0)
	for err == nil && len(all.Rows) < all.Total {
		var more *api.Unadopted
		switch more, err = v.Unadopted(ctx, len(all.Rows)); {
		case err != nil:
		case more.Digest != all.Digest:
			all, err = v.Unadopted(ctx, 0)
		case len(more.Rows) == 0:
			return all, nil
		default:
			all.Rows = append(all.Rows, more.Rows...)
		}
	}
	return all, err
}

func listUnadopted(w io.Writer, list *api.Unadopted) {
	if list.Total == 0 {
		fmt.Fprintln(w, "no row of rights is unadopted")
		return
	}
	width := 0
	for _, r := range list.Rows {
		width = max(width, len(r.Row))
	}
	for _, r := range list.Rows {
		fmt.Fprintf(w, "%-*s  %s\n", width, r.Row, r.Says)
	}
	fmt.Fprintf(w, "\n%s stand as they were found. Confirm them with\n    cloakroom db adopt --digest %s\nand name those that nobody gave with --void ROW.\n", counted(int64(list.Total), "row"), list.Digest)
}

// adoption says how many rows of rights nobody has confirmed. It is no fault of the vault.
func adoption(ctx context.Context, v *connection) (string, error) {
	list, err := v.Unadopted(ctx, 0)
	if unseen(err) {
		return "not looked at: this key may not administer the group", nil
	}
	if err != nil {
		return "", err
	}
	if list.Total == 0 {
		return "every row of rights is one that the logs granted or somebody confirmed", nil
	}
	return fmt.Sprintf("%s of rights stand as they were found: read and confirm them with cloakroom db adopt", counted(int64(list.Total), "row")), nil
}
