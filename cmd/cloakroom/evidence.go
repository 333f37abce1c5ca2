package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
)

// evidenceCmd makes and checks files of evidence.
type evidenceCmd struct {
	Create evidenceCreateCmd `cmd:"" help:"Put the evidence of an incident into one file."`
	Verify evidenceVerifyCmd `cmd:"" help:"Check a file of evidence offline, with published keys only."`
	Export evidenceExportCmd `cmd:"" help:"Write a verified file of evidence in the form of another system."`
	Handed evidenceHandedCmd `cmd:"" help:"Record the recipient of a file of evidence."`
}

type evidenceCreateCmd struct {
	forBrand
	ID        string   `arg:"" help:"Number of the incident."`
	Out       string   `help:"File to write (default: named after the incident, in this directory)." placeholder:"FILE"`
	WithData  []string `name:"with-data" help:"Fields of the customers in the newest version of the scope, encrypted to --recipient. They are disclosed to you: your rights and budgets decide." placeholder:"FIELD,..."`
	Purpose   string   `help:"With --with-data: purpose registered at the brand." placeholder:"NAME"`
	Cosigned  bool     `help:"Refuse where a witness of the vault does not sign the logs afresh."`
	Recipient string   `help:"With --with-data: age public key of the recipient." placeholder:"AGE1..."`
	Ticket    string   `help:"Case number." placeholder:"TEXT"`
}

// Help is the long help text.
func (evidenceCreateCmd) Help() string {
	return `The file holds the entries in scope with their proofs, the log's checkpoints, the versions
of the scope, facts, timeline, alarms, and the policy, budgets and rules that were in force.
It names staff, and customers by row numbers only. It appears under its name when it is
whole and verified; a command that was stopped leaves nothing. docs/evidence-format.md
describes it.`
}

// evidenceMade is the answer to --json.
type evidenceMade struct {
	File     string `json:"file"`
	Evidence uint64 `json:"evidence"`
	Digest   string `json:"digest"`
	Bytes    int64  `json:"bytes"`
}

// Run makes a file of evidence.
func (c *evidenceCreateCmd) Run(ctx context.Context, std Streams) error {
	if len(c.WithData) > 0 && (c.Purpose == "" || c.Recipient == "") {
		return &usageError{"--with-data needs --purpose and --recipient"}
	}
	return c.with(ctx, std, func(v *connection) error {
		req := api.EvidenceRequest{Fields: c.WithData, Purpose: c.Purpose, Recipient: c.Recipient, Cosigned: c.Cosigned, Ticket: c.Ticket}
		name := c.Out
		if name != "" { // before anything is logged
			if _, err := os.Lstat(name); err == nil {
				return fmt.Errorf("%s exists: name another file with --out, so that nothing is lost", name)
			}
		}
		x, err := v.BeginEvidence(ctx, c.Brand, c.ID, req)
		if err != nil {
			return err
		}
		if name == "" {
			name = fmt.Sprintf("%s-incident-%s-evidence-%d.tar", c.Brand, c.ID, x.Number)
		}
		f, err := newNameless(name)
		if err != nil {
			return err
		}
		defer f.Close()
		out := evidenceMade{File: name, Evidence: x.Number}
		taken := &fileMeter{w: f, std: std}
		out.Digest, err = v.EvidenceFile(ctx, c.Brand, c.ID, x.Number, taken)
		taken.end()
		if err != nil {
			return err
		}
		out.Bytes = taken.n
		cp, err := v.Checkpoint(ctx, c.Brand)
		if err != nil {
			return err
		}
		r, err := evidence.VerifyFile(ctx, f, out.Bytes, evidence.FileKeys{Logs: []string{cp.VerifierKey}})
		if err == nil && r.Digest != out.Digest {
			err = errors.New("the file that arrived is not the one that was sent")
		}
		if err != nil {
			return fmt.Errorf("the file does not verify, and is dropped: %w", err)
		}
		if err := f.Publish(); err != nil {
			return err
		}
		return c.print(std, out, func(w io.Writer) {
			fmt.Fprintf(w, "%s: evidence %d of incident %s of %s, %d bytes, verified\n", out.File, out.Evidence, c.ID, c.Brand, out.Bytes)
			fmt.Fprintf(w, "Next: cloakroom evidence handed --brand %s %s --file %s --to NAME\n", c.Brand, c.ID, out.File)
		})
	})
}

// fileMeter counts and shows what was written.
type fileMeter struct {
	w   io.Writer
	n   int64
	std Streams
}

// Write counts.
func (m *fileMeter) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	if before := m.n; m.std.Terminal && before>>20 != (before+int64(n))>>20 {
		fmt.Fprintf(m.std.Err, "\r\x1b[K%d MiB", (before+int64(n))>>20)
	}
	m.n += int64(n)
	return n, err
}

func (m *fileMeter) end() {
	if m.std.Terminal {
		fmt.Fprint(m.std.Err, "\r\x1b[K")
	}
}

// nameless is a file that has no name before it is whole.
type nameless struct {
	*os.File
	name    string
	publish func() error
}

// Publish gives the file its name, once it is on the disk. It takes no name that is there.
func (u *nameless) Publish() error {
	if err := u.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", u.name, err)
	}
	if err := u.publish(); err != nil {
		return fmt.Errorf("naming %s: %w", u.name, err)
	}
	dir, err := os.Open(filepath.Dir(u.name))
	if err != nil {
		return nil // the file is there; only its name may not survive a loss of power
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("naming %s: %w", u.name, err)
	}
	return nil
}

// unfinished is newNameless where files need a name: one that says that it is no evidence yet.
func unfinished(name string) (*nameless, error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".unfinished-*-"+filepath.Base(name))
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	return &nameless{f, name, func() error {
		if err := os.Link(f.Name(), name); err != nil {
			return err
		}
		return os.Remove(f.Name())
	}}, nil
}

type evidenceVerifyCmd struct {
	File    string   `arg:"" help:"File of evidence." type:"existingfile"`
	VKey    []string `name:"vkey" help:"Published key (log.vkey) of the log that signed the file; repeat for those of other logs in it." required:"" placeholder:"FILE" sep:"none"`
	Witness []string `help:"Key of a witness, in a file; repeat for others." placeholder:"FILE" sep:"none"`
	JSON    bool     `help:"Print one JSON object."`
}

// Help is the long help text.
func (evidenceVerifyCmd) Help() string {
	return `Needs no vault and no network. Take the key from where the brand publishes it, not from who
handed you the file.

EXIT STATUS: 0 the evidence holds, 1 it does not, or is no evidence, 2 wrong command line,
4 it holds, and a newer release is needed to understand all of it.`
}

// checkedFile is the answer to --json.
type checkedFile struct {
	Good      bool                 `json:"good"`
	Error     string               `json:"error,omitempty"`
	Owner     string               `json:"owner,omitempty"`
	Incident  string               `json:"incident,omitempty"`
	Evidence  uint64               `json:"evidence,omitempty"`
	Digest    string               `json:"digest,omitempty"`
	Logs      []evidence.FileLog   `json:"logs,omitempty"`
	Scopes    []evidence.FileScope `json:"scopes,omitempty"`
	Checked   []string             `json:"checked,omitempty"`
	Unchecked []string             `json:"unchecked,omitempty"`
	Faults    []evidence.FileFault `json:"faults,omitempty"`
}

// Run checks a file of evidence.
func (c *evidenceVerifyCmd) Run(ctx context.Context, std Streams) error {
	keys, err := readKeys(c.VKey)
	if err != nil {
		return err
	}
	witnesses, err := readKeys(c.Witness)
	if err != nil {
		return err
	}
	r, bad := verifyFile(ctx, c.File, evidence.FileKeys{Logs: keys, Witnesses: witnesses})
	if r == nil {
		return bad
	}
	if c.JSON {
		out := checkedFile{Good: bad == nil, Owner: r.Subject.Owner, Incident: r.Subject.Incident, Evidence: r.Evidence, Digest: r.Digest, Logs: r.Logs, Scopes: r.Scopes, Faults: r.Faults}
		if bad != nil {
			out.Error = bad.Error()
		} else {
			out.Checked, out.Unchecked = r.Checked(), r.Unchecked()
		}
		if err := json.NewEncoder(std.Out).Encode(out); err != nil {
			return err
		}
	} else {
		printChecked(std.Out, r, bad)
	}
	if bad == nil && r.Incomplete() {
		return &incompleteError{"some entries move budgets or rights and were written by a newer release"}
	}
	return bad
}

func readKeys(names []string) (out []string, err error) {
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading a key: %w", err)
		}
		out = append(out, string(b))
	}
	return out, nil
}

func verifyFile(ctx context.Context, name string, keys evidence.FileKeys) (*evidence.FileReport, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the evidence: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the evidence: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", name)
	}
	return evidence.VerifyFile(ctx, f, info.Size(), keys)
}

func printChecked(w io.Writer, r *evidence.FileReport, bad error) {
	if bad != nil {
		fmt.Fprintln(w, "THE EVIDENCE DOES NOT HOLD")
		for _, f := range r.Faults {
			fmt.Fprintf(w, "  %s\n", f)
		}
		if r.More > 0 {
			fmt.Fprintf(w, "  and %d more\n", r.More)
		}
		if len(r.Faults) == 0 {
			fmt.Fprintf(w, "  %v\n", bad)
		}
		return
	}
	fmt.Fprintf(w, "Incident %s of %s: %s\nThe evidence holds.\n\nChecked:\n", r.Subject.Incident, r.Subject.Owner, r.Incident.Title)
	for _, s := range r.Checked() {
		fmt.Fprintf(w, "  %s\n", s)
	}
	fmt.Fprintln(w, "\nNot checked:")
	for _, s := range r.Unchecked() {
		fmt.Fprintf(w, "  %s\n", s)
	}
}

type evidenceExportCmd struct {
	File string   `arg:"" help:"File of evidence." type:"existingfile"`
	As   string   `help:"stix (STIX 2.1), veris (VERIS 1.4.1) or ocsf (OCSF 1.8 Incident Finding)." enum:"stix,veris,ocsf" required:""`
	VKey []string `name:"vkey" help:"Published key (log.vkey) of the log that signed the file." required:"" placeholder:"FILE" sep:"none"`
}

// Help is the long help text.
func (evidenceExportCmd) Help() string {
	return `Checks the file first, offline, and writes to standard output. No export names a customer.
What the log does not show, such as how access was gained, is said to be unknown.`
}

// Run exports.
func (c *evidenceExportCmd) Run(ctx context.Context, std Streams) error {
	keys, err := readKeys(c.VKey)
	if err != nil {
		return err
	}
	r, err := verifyFile(ctx, c.File, evidence.FileKeys{Logs: keys})
	if err != nil {
		return err
	}
	b, err := r.Export(c.As)
	if err != nil {
		return err
	}
	_, err = std.Out.Write(b)
	return err
}

type evidenceHandedCmd struct {
	forBrand
	ID     string `arg:"" help:"Number of the incident."`
	File   string `help:"The file that was handed." type:"existingfile" xor:"which" placeholder:"FILE"`
	Digest string `help:"Or its digest, as verify prints it." xor:"which" placeholder:"HEX"`
	To     string `help:"Who got it." required:"" placeholder:"NAME"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run records a hand-over.
func (c *evidenceHandedCmd) Run(ctx context.Context, std Streams) error {
	if (c.File == "") == (c.Digest == "") {
		return &usageError{"say which file: --file, or --digest"}
	}
	call := func(v *connection) (*api.Incident, error) {
		req := api.HandedRequest{Digest: c.Digest, To: c.To, Ticket: c.Ticket}
		if c.File != "" {
			cp, err := v.Checkpoint(ctx, c.Brand)
			if err != nil {
				return nil, err
			}
			r, err := verifyFile(ctx, c.File, evidence.FileKeys{Logs: []string{cp.VerifierKey}})
			if err != nil {
				return nil, err
			}
			req.Digest = r.Digest
		}
		return v.HandEvidence(ctx, c.Brand, c.ID, req)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Incident) {
		i := slices.IndexFunc(x.Evidence, func(f api.EvidenceFile) bool {
			return slices.ContainsFunc(f.Handed, func(h api.EvidenceHandOver) bool { return h.To == c.To })
		})
		if i >= 0 {
			fmt.Fprintf(w, "evidence %d of incident %s was handed to %s\n", x.Evidence[i].Number, x.ID, c.To)
		}
	})
}
