package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/govern/backup"
)

// restoreCmd is `cloakroom restore`.
type restoreCmd struct {
	From       string   `help:"Backup with the data." required:"" type:"existingdir" placeholder:"DIR"`
	KeysFrom   string   `help:"Later backup with keys and log; customers erased in between stay erased." type:"existingdir" placeholder:"DIR"`
	LogFrom    string   `help:"Later backup with the log, if newer than the keys." type:"existingdir" placeholder:"DIR"`
	Identity   string   `help:"age key file that opens the keys." required:"" type:"existingfile" placeholder:"FILE"`
	RootKey    string   `help:"Root key of the vault (default: from the data directory or the backup)." type:"existingfile" placeholder:"FILE"`
	Data       string   `help:"Data directory of the restored vault; must not contain a vault." required:"" placeholder:"DIR"`
	Database   string   `help:"Restore into this empty PostgreSQL database instead of the embedded one." env:"CLOAKROOM_DATABASE" placeholder:"URL"`
	Checkpoint []string `help:"Checkpoint from a separate store that the log must continue; may be repeated for each brand." type:"existingfile" placeholder:"FILE"`
	AcceptLoss bool     `name:"accept-loss" help:"Restore also where the log in the backup is shorter than a checkpoint; the log's new epoch names what is missing."`
	DryRun     bool     `help:"Check every file, key and log; write nothing."`
	JSON       bool     `help:"Print one JSON object."`
}

// Run restores.
func (c *restoreCmd) Run(ctx context.Context, std Streams) error {
	o := backup.Options{
		From: c.From, KeysFrom: c.KeysFrom, LogFrom: c.LogFrom, RootKey: c.RootKey,
		Data: c.Data, Database: c.Database, AcceptLoss: c.AcceptLoss, DryRun: c.DryRun,
	}
	var err error
	if o.Identities, err = os.ReadFile(c.Identity); err != nil {
		return fmt.Errorf("reading the identity: %w", err)
	}
	for _, f := range c.Checkpoint {
		cp, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("reading the checkpoint: %w", err)
		}
		o.Checkpoints = append(o.Checkpoints, cp)
	}
	m, total, table := meter{std: std}, uint64(0), ""
	last := backup.Progress{}
	report, err := app.Restore(ctx, o, func(p backup.Progress) {
		if p.Part+p.Table != table {
			total, table = total+last.Rows, p.Part+p.Table
		}
		last = p
		m.draw(p.Part+" "+p.Table, total+p.Rows, p.Rows, p.All)
	})
	m.clear()
	if err != nil {
		return err
	}
	r := remote{JSON: c.JSON}
	return r.print(std, report, func(w io.Writer) { c.say(w, report) })
}

// say tells what was brought back and what not, in plain words.
func (c *restoreCmd) say(w io.Writer, r *backup.Report) {
	day := func(t time.Time) string { return t.Format("2006-01-02 15:04:05 UTC") }
	verb := "Restored"
	if r.DryRun {
		verb = "Would restore"
	}
	fmt.Fprintf(w, "%s %d customers, as they were on %s.\n", verb, r.Customers, day(r.DataMade))
	for _, l := range r.Logs {
		fmt.Fprintf(w, "The log of %s has %d entries, all as they were signed.", l.Brand, l.Entries)
		if l.Kept > 0 {
			fmt.Fprintf(w, " It continues the checkpoint of %d entries that you kept.", l.Kept)
		}
		if l.Epoch > 0 {
			fmt.Fprintf(w, " It continues as epoch %d.", l.Epoch)
		}
		if l.Missing > 0 {
			fmt.Fprintf(w, " %d entries after them are lost, and its new epoch says so.", l.Missing)
		}
		fmt.Fprintln(w)
	}
	if n := r.Erased - r.Unlogged; n > 0 {
		fmt.Fprintf(w, "%d customers were erased after the data backup: their key is gone, and nothing of them was brought back.\n", n)
	}
	if r.Finished > 0 {
		fmt.Fprintf(w, "%d customers had a key still, and the log says that they were erased: they are erased now.\n", r.Finished)
	}
	if r.Cooling > 0 {
		fmt.Fprintf(w, "%d customers are erased and their keys lie aside: until the cooling time is over that can be taken back.\n", r.Cooling)
	}
	if r.Unlogged > 0 {
		fmt.Fprintf(w, "WARNING: %d customers of the data have no key, and the log does not say that they were erased. Somebody took their keys out of the database or of the backup. They cannot be read.\n", r.Unlogged)
	}
	if r.Later > 0 {
		fmt.Fprintf(w, "%d customers were written after the data backup and are not in it. Import them again.\n", r.Later)
	}
	fmt.Fprintf(w, "Keys are of %s, the log of %s. Erasures, revocations and disclosures after that are missing: if a later backup of keys and log exists, restore with it instead; otherwise repeat the erasures that you know of.\n", day(r.KeysMade), day(r.LogMade))
}
