package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type keyCmd struct {
	List       keyListCmd       `cmd:"" help:"List the versions of a brand's keys."`
	Rotate     keyRotateCmd     `cmd:"" help:"Replace a key and destroy the old one."`
	Status     keyStatusCmd     `cmd:"" help:"Show rotation progress."`
	RotateRoot keyRotateRootCmd `cmd:"" name:"rotate-root" help:"Replace root.key; older copies of the database can no longer be opened."`
}

type keyListCmd struct{ forBrand }

// Run lists keys.
func (c *keyListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Key, error) { return v.Keys(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Key) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "KIND\tVERSION\tMADE\t")
		for _, k := range list {
			current := ""
			if k.Current {
				current = "current"
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", k.Kind, k.Version, k.Created.Format(time.RFC3339), current)
		}
		t.Flush()
	})
}

type keyStatusCmd struct{ forBrand }

// Run says how far rotations are.
func (c *keyStatusCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Rotation, error) { return v.Rotations(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Rotation) {
		for i := range list {
			fmt.Fprintln(w, rotationLine(&list[i]))
		}
		if len(list) == 0 {
			fmt.Fprintln(w, "no key was rotated")
		}
	})
}

func rotationLine(r *api.Rotation) string {
	s := fmt.Sprintf("%d customers moved to %s version %d", r.Done, r.Kind, r.Version)
	if r.Kind == "kek" {
		s = fmt.Sprintf("%d customer keys rewrapped under KEK version %d", r.Done, r.Version)
	}
	switch {
	case !r.Ended.IsZero() && r.Kind == "token":
		return fmt.Sprintf("%s version %d: new tokens use it, old ones stay valid", r.Kind, r.Version)
	case !r.Ended.IsZero():
		return s + fmt.Sprintf("; version %d destroyed %s", r.Version-1, r.Ended.Format(time.RFC3339))
	case r.Stalled:
		return s + fmt.Sprintf("; stuck: %d keys do not open, so the old version stays (cloakroom db check)", r.Failed)
	}
	return s + fmt.Sprintf(", %d%%", 100*r.Position/max(r.Bound, 1))
}

type keyRotateCmd struct {
	forBrand
	Kind       string `help:"kek (wraps the customers' keys), index (search), token, or incident (with --brand group)." default:"kek" enum:"kek,index,token,incident"`
	Background bool   `help:"Start the rotation and return; the server completes it."`
	DryRun     bool   `help:"Show what would be done; change nothing."`
}

// Help is the long help text.
func (keyRotateCmd) Help() string {
	return `Creates the next version of a key, moves every customer of the brand to it during normal
operation, and then destroys the old version. After an interruption, a running server
resumes the rotation, or the same command does.

After an erasure, a full copy of the database from before it opens with root.key until
both are replaced: cloakroom key rotate --brand B, then cloakroom key rotate-root.

With --kind index the search indexes are recomputed; searches still find everybody during
the rotation. With --kind token new tokens use the new key; old tokens and the old key
stay valid.`
}

// pollEvery is how often it asks how far a rotation is.
const pollEvery = 200 * time.Millisecond

// Run rotates a key.
func (c *keyRotateCmd) Run(ctx context.Context, std Streams) error {
	if c.DryRun {
		would := map[string]any{"dry_run": true, "brand": c.Brand, "kind": c.Kind}
		return c.print(std, would, func(w io.Writer) {
			fmt.Fprintf(w, "Would create the next %s key of %s, move every customer to it, and destroy the old one.\n", c.Kind, c.Brand)
		})
	}
	return c.with(ctx, std, func(v *connection) error {
		rot, err := v.RotateKey(ctx, c.Brand, c.Kind)
		if err != nil {
			return err
		}
		if !c.Background {
			if v.vault != nil {
				tctx, stop := context.WithCancel(ctx)
				done := make(chan struct{})
				go func() {
					v.vault.Upkeep.Tend(tctx, quiet(std.Err))
					close(done)
				}()
				defer func() {
					stop()
					<-done
				}()
			}
			if err := c.follow(ctx, std, v, rot); err != nil {
				return err
			}
		}
		if err := c.print(std, rot, func(w io.Writer) { fmt.Fprintln(w, rotationLine(rot)) }); err != nil {
			return err
		}
		if rot.Stalled {
			return errors.New("the rotation is stuck: see `cloakroom key rotations` and `cloakroom db check`")
		}
		return nil
	})
}

// follow polls the rotation until it has ended or is stuck.
func (c *keyRotateCmd) follow(ctx context.Context, std Streams, v *connection, rot *api.Rotation) error {
	bar := newBar(std, c.Kind)
	defer bar.end()
	for rot.Ended.IsZero() && !rot.Stalled {
		bar.draw(rot.Done, rot.Position, rot.Bound)
		select {
		case <-ctx.Done():
			return fmt.Errorf("a running server completes the rotation; without one, run this command again: %w", ctx.Err())
		case <-time.After(pollEvery):
		}
		list, err := v.Rotations(ctx, c.Brand)
		if err != nil {
			return err
		}
		for _, r := range list {
			if r.Kind == rot.Kind && r.Version == rot.Version {
				*rot = r
			}
		}
	}
	return nil
}

// bar draws how far long work is, with its rate and the time left.
type bar struct {
	std     Streams
	what    string
	started time.Time
	done    int64 // when it was first drawn
	at      int64
	drawn   bool
}

func newBar(std Streams, what string) *bar {
	return &bar{std: std, what: what, started: time.Now(), at: -1}
}

// draw takes what is done, and where it is among all there is.
func (b *bar) draw(done, at, all int64) {
	if !b.std.Terminal {
		return
	}
	if b.at < 0 {
		b.at, b.done = at, done
	}
	b.drawn = true
	took := time.Since(b.started)
	fmt.Fprintf(b.std.Err, "\r\x1b[K%s: %d, %.0f/s", b.what, done, float64(done-b.done)/took.Seconds())
	if all > 0 {
		fmt.Fprintf(b.std.Err, ", %d%%", 100*at/all)
	}
	if at > b.at && all > at {
		left := time.Duration(float64(took) * float64(all-at) / float64(at-b.at))
		fmt.Fprintf(b.std.Err, ", %s left", left.Round(time.Second))
	}
}

func (b *bar) end() {
	if b.drawn {
		fmt.Fprint(b.std.Err, "\r\x1b[K")
	}
}

type keyRotateRootCmd struct {
	remote
	DryRun bool `help:"Show what would be done; change nothing."`
}

// Help is the long help text.
func (keyRotateRootCmd) Help() string {
	return `Creates a new root key, wraps the keys of all brands under it in one transaction, replaces
root.key and destroys the old one. Older copies of the database can then no longer be
opened, backups included. An interruption leaves a vault that opens; the same command
resumes.

Afterwards replace every stored copy of root.key, and make a new backup. With several
servers over one database, copy the new root.key to each; none needs a restart.`
}

// Run rotates the root key.
func (c *keyRotateRootCmd) Run(ctx context.Context, std Streams) error {
	if c.DryRun {
		return c.print(std, map[string]any{"dry_run": true}, func(w io.Writer) {
			fmt.Fprintln(w, "Would replace root.key and destroy the old one; older copies of the database could no longer be opened.")
		})
	}
	call := func(v *connection) (*api.RootRotated, error) { return v.RotateRoot(ctx) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.RootRotated) {
		fmt.Fprintf(w, "root.key was replaced; %d keys are wrapped under it. Older copies of the database can no longer be opened.\n", out.Keys)
		fmt.Fprintln(w, "Replace every copy of root.key, also on other servers, and make a new backup now.")
	})
}
