package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

type exportCmd struct {
	Request  exportRequestCmd  `cmd:"" help:"Request customers as a file; another person approves."`
	Approve  exportApproveCmd  `cmd:"" help:"Approve an export."`
	Refuse   exportRefuseCmd   `cmd:"" help:"Refuse an export."`
	Link     exportLinkCmd     `cmd:"" help:"Create a key that only downloads one approved export."`
	Download exportDownloadCmd `cmd:"" help:"Download an approved export, or resume the download."`
	List     exportListCmd     `cmd:"" help:"List exports, newest first."`
	Show     exportShowCmd     `cmd:"" help:"Show one export."`
	Stop     exportStopCmd     `cmd:"" help:"Stop an export; no further file can be downloaded."`
}

type exportRequestCmd struct {
	forBrand
	makes
	Fields    []string `help:"Fields to export." required:"" placeholder:"FIELD,..."`
	Purpose   string   `help:"Purpose registered at the brand." required:"" placeholder:"NAME"`
	Ticket    string   `help:"Case number." placeholder:"CASE"`
	Recipient string   `help:"age public key of the recipient; age-keygen creates one." required:"" placeholder:"AGE1..."`
	Form      string   `help:"extract: no names or addresses, pseudonyms valid in this export only. masked, clear: the vault's tokens." enum:"extract,masked,clear" default:"extract"`
	Format    string   `help:"csv, jsonl or parquet." enum:"csv,jsonl,parquet" default:"csv"`
	ValidFor  string   `name:"valid-for" help:"Validity for approval and download; at most 720h." default:"72h" placeholder:"TIME"`
	Tokens    string   `help:"File with one token per line; - reads standard input." xor:"who" placeholder:"FILE"`
	For       string   `help:"spreadsheet: in CSV, an apostrophe precedes cells that begin with = + - @ tab or CR, so that no spreadsheet runs them as formulas. machine: cells unchanged." enum:"machine,spreadsheet" default:"machine"`

	Countries     []string `name:"country" help:"Filter: countries of residence." placeholder:"FR,..."`
	Regions       []string `name:"region" help:"Filter: regions of residence." placeholder:"REGION,..."`
	CreatedFrom   string   `name:"created-from" help:"Filter: customer since this day or later." placeholder:"DAY"`
	CreatedBefore string   `name:"created-before" help:"Filter: customer since before this day." placeholder:"DAY"`
	BoughtSince   string   `name:"bought-since" help:"Filter: last purchase on this day or later." placeholder:"DAY"`
	Everybody     bool     `help:"Filter: all customers." xor:"who"`
	Sample        int      `help:"Number of matching customers, drawn at random." placeholder:"N"`

	DryRun bool `name:"dry-run" help:"Check against policy and budgets; store nothing."`
}

// Help is the long help text.
func (exportRequestCmd) Help() string {
	return `The list of customers is fixed now: later customers are not added, and customers erased
before the download are left out. A filter is evaluated once, now; the answer says nothing
about customers that do not match.

  age-keygen -o export.key
  cloakroom export request --brand gucci --purpose analysis --country FR,IT \
      --fields country,region,birth_date,purchases --recipient age1...
  cloakroom export approve --brand gucci exp-...       # by somebody else
  cloakroom export download --brand gucci exp-... --out DIR
  age -d -i export.key DIR/customers-00001.csv.age`
}

// Run asks for an export.
func (c *exportRequestCmd) Run(ctx context.Context, std Streams) error {
	req := api.ExportRequest{
		Form: c.Form, Format: c.Format, Fields: c.Fields, Purpose: c.Purpose, Ticket: c.Ticket, Recipient: c.Recipient,
		ValidFor: c.ValidFor, DryRun: c.DryRun,
	}
	if c.For == "spreadsheet" {
		if c.Format != "csv" {
			return &usageError{"--for spreadsheet goes with --format csv"}
		}
		req.Format = "csv-spreadsheet"
	}
	f := api.ExportFilter{Countries: c.Countries, Regions: c.Regions, CreatedFrom: c.CreatedFrom, CreatedBefore: c.CreatedBefore, BoughtSince: c.BoughtSince, Sample: c.Sample}
	filtered := c.Everybody || len(c.Countries)+len(c.Regions)+c.Sample > 0 || c.CreatedFrom+c.CreatedBefore+c.BoughtSince != ""
	switch {
	case filtered == (c.Tokens != ""):
		return &usageError{"choose customers with --tokens FILE, with filters such as --country, or with --everybody"}
	case filtered:
		req.Filter = &f
	default:
		var err error
		if req.Tokens, err = readTokens(c.Tokens, std.In, api.MaxExportTokens); err != nil {
			return err
		}
	}
	return c.with(ctx, std, func(v *connection) error {
		x, err := v.RequestExport(ctx, c.Brand, req)
		if err != nil {
			return err
		}
		for x.State == "gathering" {
			if std.Terminal {
				fmt.Fprintf(std.Err, "\r\x1b[Kgathering %s: %d%%", x.ID, x.Gathered)
			}
			id := x.ID
			if x, err = v.GatherExport(ctx, c.Brand, id); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
		if std.Terminal && req.Filter != nil {
			fmt.Fprint(std.Err, "\r\x1b[K")
		}
		return c.printMade(std, &c.remote, x.ID, x, func(w io.Writer) { printExport(w, x) })
	})
}

// readTokens reads a list of customers, one on each line, from a file or, for -, from in.
func readTokens(name string, in io.Reader, most int) ([]string, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading the list: %w", err)
		}
		defer f.Close()
		in = f
	}
	var out []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if t := strings.TrimSpace(lines.Text()); t != "" {
			out = append(out, t)
		}
		if len(out) > most {
			return nil, fmt.Errorf("reading the list: more than %d: make several requests", most)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	return out, nil
}

func printExport(w io.Writer, x *api.Export) {
	name := x.ID
	if name == "" {
		name = "not kept"
	}
	fmt.Fprintf(w, "%s: %s\n", name, x.State)
	lines := [][2]string{
		{"customers", strconv.Itoa(x.Customers)}, {"form", x.Form + ", " + x.Format}, {"fields", strings.Join(x.Fields, ", ")},
		{"purpose", strings.TrimSpace(x.Purpose + " " + x.Ticket)}, {"recipient", x.Recipient}, {"asked by", x.Requester + " as " + x.Role},
	}
	if x.State == "gathering" || x.State == "dry-run" && x.Customers == 0 {
		lines[0][1] = "known when the filter was evaluated"
	}
	if !x.Expires.IsZero() {
		lines = append(lines, [2]string{"expires", x.Expires.Format(time.RFC3339)})
	}
	if x.DecidedBy != "" {
		lines = append(lines, [2]string{"decided by", x.DecidedBy + " at " + x.DecidedAt.Format(time.RFC3339)})
	}
	if x.Parts > 0 {
		lines = append(lines, [2]string{"parts", fmt.Sprintf("%d of %s", x.Parts, strings.Join(x.Files, " and "))})
	}
	lines = append(lines, [2]string{"budget", fmt.Sprintf("room for %d in an hour, %d in a day, %d in 30 days", x.Room.Hour, x.Room.Day, x.Room.Month)})
	for _, l := range lines {
		fmt.Fprintf(w, "  %-11s %s\n", l[0], l[1])
	}
}

type exportOne struct {
	forBrand
	ID string `arg:"" help:"Export ID, such as exp-abc..."`
}

// ask makes one call about the export and prints it.
func (c *exportOne) ask(ctx context.Context, std Streams, call func(v *client.Client, ctx context.Context, brand, id string) (*api.Export, error)) error {
	return ask(ctx, std, &c.remote, func(v *connection) (*api.Export, error) { return call(v.Client, ctx, c.Brand, c.ID) }, printExport)
}

type exportApproveCmd struct{ exportOne }

// Run approves an export.
func (c *exportApproveCmd) Run(ctx context.Context, std Streams) error {
	return c.ask(ctx, std, (*client.Client).ApproveExport)
}

type exportRefuseCmd struct{ exportOne }

// Run refuses an export.
func (c *exportRefuseCmd) Run(ctx context.Context, std Streams) error {
	return c.ask(ctx, std, (*client.Client).RefuseExport)
}

type exportShowCmd struct{ exportOne }

// Run shows an export.
func (c *exportShowCmd) Run(ctx context.Context, std Streams) error {
	return c.ask(ctx, std, (*client.Client).Export)
}

type exportStopCmd struct{ exportOne }

// Run ends an export.
func (c *exportStopCmd) Run(ctx context.Context, std Streams) error {
	return c.ask(ctx, std, (*client.Client).StopExport)
}

type exportListCmd struct{ forBrand }

// Run lists exports.
func (c *exportListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Exports, error) { return v.Exports(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list *api.Exports) {
		if list.Contained {
			fmt.Fprintln(w, "exports are contained: no request, approval or download is possible")
		}
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, x := range list.Exports {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d customers\t%s\tuntil %s\n", x.ID, x.State, x.Requester, x.Form, x.Customers, x.Purpose, x.Expires.Format("2006-01-02 15:04"))
		}
		t.Flush()
		if len(list.Exports) == 0 {
			fmt.Fprintln(w, "no exports")
		}
	})
}

type exportLinkCmd struct{ exportOne }

// Help is the long help text.
func (exportLinkCmd) Help() string {
	return `A key for the machine that downloads the files, in place of your own. It expires with the
export, and with the credential that requested it.

  CLOAKROOM_KEY=... cloakroom export download --server URL --brand BRAND EXPORT --out DIR`
}

// Run makes a key for one export.
func (c *exportLinkCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Credential, error) { return v.LinkExport(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.Credential) {
		printKey(w, c.ID, out)
		fmt.Fprintf(w, "Valid until %s. To end it earlier: cloakroom export stop --brand %s %s\n", out.Expires.Format(time.RFC3339), c.Brand, c.ID)
	})
}

type exportDownloadCmd struct {
	exportOne
	Out string `help:"Directory for the files; a repeated download resumes." required:"" placeholder:"DIR"`
}

// Help is the long help text.
func (exportDownloadCmd) Help() string {
	return `Writes customers-00001.csv.age, purchases-00001.csv.age and so on, each encrypted to the
recipient by itself, and manifest.json with their SHA-256. A file appears once it is
complete. After an interruption or an exhausted budget, the same command resumes.`
}

// manifest is the file beside the others.
type manifest struct {
	Export api.Export     `json:"export"`
	Files  []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

const manifestName = "manifest.json"

// Run downloads.
func (c *exportDownloadCmd) Run(ctx context.Context, std Streams) error {
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	return c.with(ctx, std, func(v *connection) error {
		var m manifest
		path := filepath.Join(c.Out, manifestName)
		if text, err := os.ReadFile(path); err == nil {
			if err := json.Unmarshal(text, &m); err != nil || m.Export.ID != c.ID {
				return fmt.Errorf("%s belongs to another export: choose another directory", path)
			}
		}
		x, err := v.Export(ctx, c.Brand, c.ID)
		if err != nil {
			return err
		}
		m.Export = *x
		if m.Export.State != "approved" {
			return fmt.Errorf("the export is %s: it can be downloaded once approved", m.Export.State)
		}
		have := map[string]bool{}
		for _, f := range m.Files {
			have[f.Name] = true
		}
		for part := 1; part <= m.Export.Parts; part++ {
			for _, file := range m.Export.Files {
				// A file for spreadsheets is CSV, and opens as such.
				name := fmt.Sprintf("%s-%05d.%s.age", file, part, strings.TrimSuffix(m.Export.Format, "-spreadsheet"))
				if _, err := os.Stat(filepath.Join(c.Out, name)); err == nil && have[name] {
					continue
				}
				if std.Terminal {
					fmt.Fprintf(std.Err, "\r\x1b[K%s, of %d parts", name, m.Export.Parts)
				}
				sum, err := c.fetch(ctx, v, part, file, filepath.Join(c.Out, name))
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if !have[name] {
					m.Files = append(m.Files, manifestFile{Name: name})
				}
				for i := range m.Files {
					if m.Files[i].Name == name {
						m.Files[i].SHA256 = sum
					}
				}
				if err := writeManifest(path, &m); err != nil {
					return err
				}
			}
		}
		if std.Terminal {
			fmt.Fprint(std.Err, "\r\x1b[K")
		}
		return c.print(std, m, func(w io.Writer) {
			fmt.Fprintf(w, "%d files in %s, encrypted to %s\n", len(m.Files), c.Out, m.Export.Recipient)
		})
	})
}

// partial ends the name of a file that is not whole.
const partial = ".partial"

// changedMeanwhile is how often a file is asked for again because somebody's rights
// changed while it was prepared.
const changedMeanwhile = 5

func (c *exportDownloadCmd) fetch(ctx context.Context, v *connection, part int, file, to string) (string, error) {
	for try := 1; ; try++ {
		f, err := os.OpenFile(to+partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return "", fmt.Errorf("writing the file: %w", err)
		}
		sum, err := v.ExportFile(ctx, c.Brand, c.ID, part, file, f)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err == nil {
			return hex.EncodeToString(sum[:]), os.Rename(to+partial, to)
		}
		os.Remove(to + partial)
		var e *api.Error
		if !errors.As(err, &e) || e.Type != api.TypeConflict || e.RetryIn == 0 || try == changedMeanwhile {
			return "", err
		}
	}
}

func writeManifest(path string, m *manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = os.WriteFile(path+partial, append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(path+partial, path)
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}
