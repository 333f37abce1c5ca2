package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
)

type backupCmd struct {
	Make   backupMakeCmd   `cmd:"" default:"withargs" help:"Back up a running vault; same as backup alone."`
	Verify backupVerifyCmd `cmd:"" help:"Read a backup byte by byte against its manifest; needs no key."`
}

type backupMakeCmd struct {
	remote
	Out         string        `help:"Empty directory on the vault's machine." required:"" placeholder:"DIR"`
	Recipients  []string      `name:"recipient" help:"age recipient (age1...) of the encrypted keys; may be repeated." placeholder:"AGE1..."`
	Parts       []string      `help:"Parts to back up: data, keys, log (default: all)." placeholder:"PART,..."`
	KeysOnly    bool          `help:"Keys and log only: small, for frequent backups; keep only the newest."`
	Keep        int           `help:"Then delete older backups of the same parts beside this one, beyond the newest N." placeholder:"N"`
	KeepFor     time.Duration `name:"keep-for" help:"Then delete those older than this, such as 720h; with --keep, only those beyond both." placeholder:"TIME"`
	WithRootKey bool          `help:"Include the root key, encrypted to the recipients; their identity then opens this backup without other keys."`
}

// Help is the long help text.
func (backupMakeCmd) Help() string {
	return `Writes a consistent snapshot while servers run. A server on this machine makes the backup;
without one, this command opens the vault itself.

Each part is a separate file with its own retention. data.zst opens nothing without keys
and may be kept long. keys.zst.age can open erased customers: keep only the newest.
log.zst belongs to the keys.

  age-keygen -o backup.key            # once, elsewhere; prints age1...
  cloakroom backup --out monday --recipient age1...
  cloakroom backup --out wednesday --keys-only --recipient age1...
  cloakroom restore --from monday --keys-from wednesday --identity backup.key --data new

The group's log records each backup and its recipients. An interrupted backup leaves
DIR.unfinished, which restore refuses and the next backup removes.`
}

// backupPoll is how often a running backup is asked how far it is.
const backupPoll = 100 * time.Millisecond

// Run makes a backup.
func (c *backupMakeCmd) Run(ctx context.Context, std Streams) error {
	if c.Keep < 0 || c.KeepFor < 0 {
		return &usageError{"--keep and --keep-for are 1 or more, and a time"}
	}
	if c.KeysOnly {
		if len(c.Parts) > 0 {
			return &usageError{"--keys-only and --parts do not go together"}
		}
		c.Parts = []string{"keys", "log"}
	}
	for _, p := range c.Parts {
		if !slices.Contains([]string{"data", "keys", "log"}, p) {
			return &usageError{"--parts are data, keys and log"}
		}
	}
	out, err := filepath.Abs(c.Out)
	if err != nil {
		return fmt.Errorf("naming the directory: %w", err)
	}
	return c.with(ctx, std, func(v *connection) error {
		b, err := v.StartBackup(ctx, api.BackupRequest{Dir: out, Parts: c.Parts, Recipients: c.Recipients, WithRootKey: c.WithRootKey})
		if err != nil {
			return err
		}
		m := meter{std: std}
		for b.State == "running" {
			select {
			case <-ctx.Done():
				_, err := v.CancelBackup(context.WithoutCancel(ctx))
				return errors.Join(ctx.Err(), err)
			case <-time.After(backupPoll):
			}
			now, err := v.BackupStatus(ctx)
			switch {
			case err == nil:
				b = now
			case ctx.Err() == nil:
				return err
			}
			m.draw(b.Part+" "+b.Table, b.Total+b.Rows, b.Rows, 0)
		}
		m.clear()
		if b.State != "done" {
			return errors.New(b.Error)
		}
		gone, err := c.thin(out, time.Now())
		if err != nil {
			return fmt.Errorf("the backup is made; deleting older ones: %w", err)
		}
		return c.print(std, b, func(w io.Writer) {
			for _, p := range b.Parts {
				rows := uint64(0)
				for _, n := range p.Rows {
					rows += n
				}
				fmt.Fprintf(w, "%-6s %10d rows %12d bytes  %s\n", p.Part, rows, p.Bytes, filepath.Join(b.Dir, p.File))
			}
			fmt.Fprintf(w, "backed up as of %s; logged as entry %d of the group\n", b.Made.Format(time.RFC3339), b.Entry)
			if c.WithRootKey {
				fmt.Fprintln(w, "The backup contains the root key, encrypted: the recipients' identity opens every customer in it.")
			}
			for _, dir := range gone {
				fmt.Fprintln(w, "deleted", dir)
			}
			if !c.WithRootKey {
				fmt.Fprintln(w, "root.key is NOT in this backup: keep copies of it elsewhere, or nothing in it can be read again")
			}
		})
	})
}

// thin deletes older backups beside the one that was made.
func (c *backupMakeCmd) thin(made string, now time.Time) ([]string, error) {
	if c.Keep == 0 && c.KeepFor == 0 {
		return nil, nil
	}
	var before time.Time
	if c.KeepFor > 0 {
		before = now.Add(-c.KeepFor)
	}
	old, err := backup.Outdated(made, c.Keep, before)
	if err != nil {
		return nil, err
	}
	for i, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return old[:i], err
		}
	}
	return old, nil
}

type backupVerifyCmd struct {
	Dir  string `arg:"" help:"Directory of the backup." type:"existingdir"`
	JSON bool   `help:"Print the manifest as JSON."`
}

// Run verifies a backup.
func (c *backupVerifyCmd) Run(ctx context.Context, std Streams) error {
	m := meter{std: std}
	manifest, err := backup.Verify(ctx, c.Dir, func(p backup.Progress) { m.draw(p.Part, uint64(p.Bytes>>20), 0, 0) })
	m.clear()
	if err != nil {
		return err
	}
	r := remote{JSON: c.JSON}
	return r.print(std, manifest, func(w io.Writer) {
		for _, p := range manifest.Parts {
			fmt.Fprintf(w, "%-6s %12d bytes, as they were written\n", p.Part, p.Bytes)
		}
		fmt.Fprintf(w, "backup of %s\n", manifest.Made.Format(time.RFC3339))
		if manifest.RootKey == nil {
			fmt.Fprintln(w, "root.key is NOT in this backup")
		}
		fmt.Fprintln(w, "What the keys open is checked by cloakroom restore --dry-run.")
	})
}

// meter draws rows and their rate a few times a second, on a terminal.
type meter struct {
	std            Streams
	started, drawn time.Time
	first          uint64
}

func (m *meter) draw(what string, total, rows, all uint64) {
	if !m.std.Terminal || time.Since(m.drawn) < 200*time.Millisecond {
		return
	}
	m.drawn = time.Now()
	if m.started.IsZero() {
		m.started, m.first = m.drawn, total
		return
	}
	fmt.Fprintf(m.std.Err, "\r\x1b[K%s: %d rows", what, rows)
	if all > 0 {
		fmt.Fprintf(m.std.Err, " of %d, %d%%", all, 100*rows/all)
	}
	if total > m.first {
		fmt.Fprintf(m.std.Err, ", %.0f rows/s", float64(total-m.first)/time.Since(m.started).Seconds())
	}
}

func (m *meter) clear() {
	if m.std.Terminal {
		fmt.Fprint(m.std.Err, "\r\x1b[K")
	}
}

// Help is the long help text.
func (restoreCmd) Help() string {
	return `Checks every file, restores the data, and verifies every log before the vault may open. An
interrupted restore leaves a vault that refuses to open: run the same command again.

A customer without a key in the newer keys was erased after the data backup and is not
restored. A customer changed after the data backup has the state of that backup. The
report counts customers first written after it, which are missing.

EXIT STATUS: 0 restored, 1 failed and nothing can be opened, 2 wrong command line, 130
interrupted.`
}
