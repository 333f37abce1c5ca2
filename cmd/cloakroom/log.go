package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

type logCmd struct {
	List       logListCmd       `cmd:"" help:"List entries of a brand's log by principal, lineage, kind and time; without --brand, show whether each log is well."`
	Checkpoint logCheckpointCmd `cmd:"" help:"Print the newest signed checkpoint, to store elsewhere."`
	Verify     logVerifyCmd     `cmd:"" help:"Verify the whole log, also against an older checkpoint."`
	Entry      logEntryCmd      `cmd:"" help:"Show one log entry."`
	Proof      logProofCmd      `cmd:"" help:"Prove that an entry is in the log, and check the proof."`
	Expire     logExpireCmd     `cmd:"" help:"Erase who acted, when exactly, and texts from old entries."`
	Follow     logFollowCmd     `cmd:"" help:"Let this server follow a new epoch of a log that lacks entries which it has seen; on its own machine."`
	AcceptLoss logAcceptLossCmd `cmd:"" name:"accept-loss" help:"Continue a log without entries that this server has seen and that are lost; takes two people."`
	Tiles      logTilesCmd      `cmd:"" help:"Write the log as a C2SP tlog-tiles directory, with log.vkey."`
}

// states lists the logs.
func (c *logListCmd) states(ctx context.Context, std Streams) error {
	bad := 0
	err := ask(ctx, std, &c.remote, func(v *connection) ([]api.LogState, error) {
		list, err := v.Logs(ctx)
		for _, l := range list {
			if l.State != "ok" {
				bad++
			}
		}
		return list, err
	}, func(w io.Writer, list []api.LogState) {
		for _, l := range list {
			fmt.Fprintf(w, "%-20s %-10s %10d entries\n", l.Brand, l.State, l.Size)
			if l.What != "" {
				fmt.Fprintf(w, "  since %s: %s\n", l.Since.Format(time.RFC3339), l.What)
			}
		}
	})
	if err == nil && bad > 0 {
		err = fmt.Errorf("%s not well", counted(bad, "log"))
	}
	return err
}

type logCheckpointCmd struct{ forBrand }

// Run prints the checkpoint.
func (c *logCheckpointCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Checkpoint, error) { return v.Checkpoint(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, cp *api.Checkpoint) {
		fmt.Fprint(w, cp.Checkpoint)
	})
}

// apiTiles is a brand's log as the vault serves it, under one checkpoint.
type apiTiles struct {
	client     *client.Client
	brand      string
	checkpoint []byte
}

// ReadFile implements evidence.Source.
func (t *apiTiles) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if path == "checkpoint" && t.checkpoint != nil {
		return t.checkpoint, nil
	}
	b, err := t.client.Tile(ctx, t.brand, path)
	var e *api.Error
	if errors.As(err, &e) && e.Type == api.TypeNotFound {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return b, err
}

type logVerifyCmd struct {
	remote
	Brand string `help:"Brand name." placeholder:"NAME"`
	Older string `help:"Older checkpoint that the log must continue." type:"existingfile" placeholder:"FILE"`
	VKey  string `name:"vkey" help:"Verifier key (log.vkey). Without it the vault's own key is trusted." type:"existingfile" placeholder:"FILE"`
	Tiles string `help:"Verify this directory of tiles offline instead of a vault; needs --vkey." type:"existingdir" xor:"offline" placeholder:"DIR"`
	Proof string `help:"Check the proofs in this file offline, as who-read or log proof print with --json; needs --vkey." type:"existingfile" xor:"offline" placeholder:"FILE"`
}

// verified is the answer to --json.
type verified struct {
	Origin    string `json:"origin"`
	Size      uint64 `json:"size"`
	OlderSize uint64 `json:"older_size,omitempty"`
	Newer     uint64 `json:"newer,omitempty"`
	Lost      uint64 `json:"lost,omitempty"`

	Epochs []epochBegun `json:"epochs,omitempty"`

	Incomplete bool `json:"incomplete,omitempty"`

	Kinds map[string]uint64 `json:"kinds"`
}

// epochBegun is one that begins in the log.
type epochBegun struct {
	Number  uint64 `json:"number"`
	First   uint64 `json:"first"`
	Cause   string `json:"cause"`
	By      string `json:"by"`
	Missing uint64 `json:"missing,omitempty"`
}

// Run verifies a log.
func (c *logVerifyCmd) Run(ctx context.Context, std Streams) error {
	var older []byte
	var err error
	if c.Older != "" {
		if older, err = os.ReadFile(c.Older); err != nil {
			return fmt.Errorf("reading the older checkpoint: %w", err)
		}
		if len(older) == 0 {
			return fmt.Errorf("%s is empty, not a checkpoint", c.Older)
		}
	}
	var vkey []byte
	if c.VKey != "" {
		if vkey, err = os.ReadFile(c.VKey); err != nil {
			return fmt.Errorf("reading the verifier key: %w", err)
		}
	}
	if c.Tiles != "" {
		if vkey == nil {
			return &usageError{"--tiles needs --vkey: a key that comes with the tiles proves nothing"}
		}
		return c.verify(ctx, std, evidence.Dir(c.Tiles), string(vkey), older)
	}
	if c.Proof != "" {
		switch {
		case vkey == nil:
			return &usageError{"--proof needs --vkey: a key that comes with the proof proves nothing"}
		case older != nil:
			return &usageError{"--older is for a whole log: verify the log against it, or tiles of the log"}
		}
		return c.verifyProof(std, string(vkey))
	}
	if c.Brand == "" {
		return &usageError{"say whose log: --brand, or --tiles for a directory"}
	}
	return c.with(ctx, std, func(v *connection) error {
		t := &apiTiles{client: v.Client, brand: c.Brand}
		if vkey == nil {
			if vkey, err = t.ReadFile(ctx, "log.vkey"); err != nil {
				return err
			}
		}
		if t.checkpoint, err = t.ReadFile(ctx, "checkpoint"); err != nil {
			return err
		}
		if err := c.verify(ctx, std, t, string(vkey), older); err != nil {
			return err
		}
		inside, err := v.VerifyLog(ctx, c.Brand, api.VerifyRequest{Older: string(older)})
		if err != nil {
			return err
		}
		if inside.Incomplete {
			return &incompleteError{inside.Fault}
		}
		if !inside.OK {
			return errors.New(inside.Fault)
		}
		return nil
	})
}

func (c *logVerifyCmd) verify(ctx context.Context, std Streams, src evidence.Source, vkey string, older []byte) error {
	started, drawn := time.Now(), time.Now()
	each := func(i uint64, _ evidence.Entry) error {
		if std.Terminal && time.Since(drawn) > 200*time.Millisecond {
			drawn = time.Now()
			fmt.Fprintf(std.Err, "\r\x1b[K%d entries, %.0f/s", i+1, float64(i+1)/time.Since(started).Seconds())
		}
		return nil
	}
	r, err := evidence.Verify(ctx, src, vkey, older, each)
	if std.Terminal {
		fmt.Fprint(std.Err, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	out := verified{Origin: r.Origin, Size: r.Size, OlderSize: r.OlderSize, Newer: r.Newer, Lost: r.Lost, Incomplete: r.Incomplete(), Kinds: map[string]uint64{}}
	for _, e := range r.Epochs {
		out.Epochs = append(out.Epochs, epochBegun{e.Number, e.First, e.Cause, e.By, e.Missing})
	}
	for k, n := range r.Counts {
		out.Kinds[k.String()] = n
	}
	err = c.print(std, out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d entries, all as they were signed\n", out.Origin, out.Size)
		for _, e := range out.Epochs {
			fmt.Fprintf(w, "epoch %d begins at entry %d (%s by %s); %d entries are known to be lost\n", e.Number, e.First, e.Cause, e.By, e.Missing)
		}
		switch {
		case out.Lost > 0:
			fmt.Fprintf(w, "%d entries of the older checkpoint are lost, as the log says\n", out.Lost)
		case older != nil:
			fmt.Fprintf(w, "it continues the checkpoint of %d entries\n", out.OlderSize)
		}
		if out.Newer > 0 {
			fmt.Fprintf(w, "%d entries were written by a newer version\n", out.Newer)
		}
	})
	if err == nil && out.Incomplete {
		err = &incompleteError{fmt.Sprintf("%d entries move budgets or rights and were %v", r.Critical, entry.ErrNewer)}
	}
	return err
}

// exitIncomplete is the exit code of a verification that found nothing wrong and did not
// understand everything that matters.
const exitIncomplete = 4

// incompleteError says that a log is what was signed, and not why it is well.
type incompleteError struct{ text string }

// Error says what was not understood.
func (e *incompleteError) Error() string { return "incomplete: " + e.text }

type logFollowCmd struct{ forBrand }

// Run lets the server follow.
func (c *logFollowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.LogFollowed, error) { return v.FollowLog(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.LogFollowed) {
		printKept(w, x.Files)
		fmt.Fprintf(w, "restart the server: it then follows the new epoch of %s\n", x.Brand)
	})
}

// printKept names the files in which a server put aside what it had seen of a log.
func printKept(w io.Writer, files []string) {
	for _, f := range files {
		fmt.Fprintf(w, "kept as evidence: %s\n", f)
	}
}

type logAcceptLossCmd struct {
	forBrand
	Reason string `help:"Why nobody can bring the entries back. It stands in the log." required:""`
}

// Run accepts that entries are lost.
func (c *logAcceptLossCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.LossAccepted, error) {
		return v.AcceptLoss(ctx, c.Brand, api.LossRequest{Reason: c.Reason})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.LossAccepted) {
		fmt.Fprintf(w, "epoch %d of the log of %s continues from %d entries; %d are lost\n", x.Epoch, x.Brand, x.Size, x.Missing)
		printKept(w, x.Files)
		fmt.Fprintf(w, "restart the server: it then serves %s again\n", x.Brand)
	})
}

type logExpireCmd struct {
	forBrand
	Before string `help:"A UTC day, at least 31 days ago: entries of earlier days are erased." placeholder:"YYYY-MM-DD" required:""`
	DryRun bool   `name:"dry-run" help:"Only count."`
}

// Run erases values of entries.
func (c *logExpireCmd) Run(ctx context.Context, std Streams) error {
	req := api.ExpireRequest{Before: c.Before, DryRun: c.DryRun}
	call := func(v *connection) (*api.Expired, error) { return v.ExpireLog(ctx, c.Brand, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Expired) {
		verb := "erased"
		if c.DryRun {
			verb = "would be erased"
		}
		fmt.Fprintf(w, "values of %d entries before %s %s; %d are kept because something they grant is in force, %d were erased before\n", x.Entries, x.Before, verb, x.Kept, x.Already)
		for _, month := range x.Keys {
			fmt.Fprintf(w, "key of %d-%02d %s\n", month/100, month%100, map[bool]string{true: "would be destroyed", false: "destroyed"}[c.DryRun])
		}
	})
}

// maxShown is above any text that a person wrote: what is longer, as the rules that an
// incident keeps, would fill screens.
const maxShown = 8 << 10

type logEntryCmd struct {
	forBrand
	Index uint64 `arg:""`
}

// Run shows an entry.
func (c *logEntryCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Entry, error) { return v.Entry(ctx, c.Brand, c.Index) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, e *api.Entry) {
		fmt.Fprintf(w, "entry %d: %s at %s by principal %d (%s)\n", e.Index, e.Kind, e.At.Format(time.RFC3339Nano), e.Principal, e.Role)
		for _, l := range [][2]string{{"purpose", e.Purpose}, {"ticket", e.Ticket}, {"shown", e.Level}, {"fields", strings.Join(e.Fields, ",")}} {
			if l[1] != "" {
				fmt.Fprintf(w, "  %-8s %s\n", l[0], l[1])
			}
		}
		for k, v := range e.Detail {
			if len(v) > maxShown {
				v = fmt.Sprintf("%d bytes, which --json prints", len(v))
			}
			fmt.Fprintf(w, "  %-8s %s\n", k, v)
		}
	})
}

type logProofCmd struct {
	forBrand
	Index uint64 `arg:"" help:"Index of the entry."`
}

// provenEntry is the answer to --json.
type provenEntry struct {
	Index      uint64   `json:"index"`
	Leaf       []byte   `json:"leaf"`
	Inclusion  [][]byte `json:"inclusion"`
	Checkpoint string   `json:"checkpoint"`
	VKey       string   `json:"verifier_key"`
}

// Run proves an entry.
func (c *logProofCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		cp, err := v.Checkpoint(ctx, c.Brand)
		if err != nil {
			return err
		}
		tree, err := ledger.CheckpointRoot(cp.VerifierKey, []byte(cp.Checkpoint))
		if err != nil {
			return err
		}
		e, err := v.Entry(ctx, c.Brand, c.Index)
		if err != nil {
			return err
		}
		h, err := v.Inclusion(ctx, c.Brand, c.Index, uint64(tree.N))
		if err != nil {
			return err
		}
		proof, err := evidence.Hashes(h.Hashes)
		if err != nil {
			return err
		}
		if _, _, err := evidence.VerifyInclusion(cp.VerifierKey, []byte(cp.Checkpoint), e.Leaf, c.Index, proof); err != nil {
			return err
		}
		out := provenEntry{c.Index, e.Leaf, h.Hashes, cp.Checkpoint, cp.VerifierKey}
		return c.print(std, out, func(w io.Writer) {
			fmt.Fprintf(w, "entry %d is in the log of %d entries that was signed:\n", c.Index, tree.N)
			for _, x := range proof {
				fmt.Fprintf(w, "  %s\n", x)
			}
			fmt.Fprint(w, cp.Checkpoint)
		})
	})
}

type logTilesCmd struct {
	forBrand
	Dir string `arg:"" help:"Directory to write; created if missing."`
}

// Run writes tiles.
func (c *logTilesCmd) Run(ctx context.Context, std Streams) error {
	if _, err := os.Stat(filepath.Join(c.Dir, "checkpoint")); err == nil {
		return fmt.Errorf("%s holds a log already: name another directory, so that nothing older is lost", c.Dir)
	}
	return c.with(ctx, std, func(v *connection) error {
		t := &apiTiles{client: v.Client, brand: c.Brand}
		vkey, err := t.ReadFile(ctx, "log.vkey")
		if err != nil {
			return err
		}
		if t.checkpoint, err = t.ReadFile(ctx, "checkpoint"); err != nil {
			return err
		}
		err = ledger.WriteTiles(ctx, t, strings.TrimSpace(string(vkey)), c.Dir, func(done, all int) {
			if std.Terminal {
				fmt.Fprintf(std.Err, "\r\x1b[K%d of %d files", done, all)
			}
		})
		if std.Terminal {
			fmt.Fprint(std.Err, "\r\x1b[K")
		}
		if err != nil {
			return err
		}
		return c.print(std, map[string]string{"brand": c.Brand, "dir": c.Dir}, func(w io.Writer) {
			fmt.Fprintf(w, "wrote the log of %s to %s\n", c.Brand, c.Dir)
		})
	})
}
