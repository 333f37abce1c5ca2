package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/notice"
)

// noticeCmd drafts notices of an incident.
type noticeCmd struct {
	List   noticeListCmd   `cmd:"" help:"List an incident's drafts, and the duties that are due and not filed."`
	Draft  noticeDraftCmd  `cmd:"" help:"Draft the next version of a notice, filled in from scope, facts and measures."`
	Show   noticeShowCmd   `cmd:"" help:"Show a draft, or write it as HTML for print, OpenDocument text or JSON."`
	Review noticeReviewCmd `cmd:"" help:"Record that a named person has read a version in its language."`
	Filed  noticeFiledCmd  `cmd:"" help:"Mark a version as sent; clocks that hang on it start."`
	Forms  noticeFormsCmd  `cmd:"" help:"List the forms of this program, or the fields of one."`
	Text   noticeTextCmd   `cmd:"" help:"Texts of letters to customers: list, show, load and review them."`
}

type noticeListCmd struct {
	forBrand
	ID string `arg:"" help:"Number of the incident; group-3 for one of the group."`
}

// Run lists drafts.
func (c *noticeListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Notices, error) { return v.Notices(ctx, c.Brand, c.ID) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.Notices) {
		fmt.Fprintln(w, x.Advice)
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		if len(x.Drafts) > 0 {
			fmt.Fprintln(t, "\nNOTICE\tBRAND\tFORM\tRULE\tLANGUAGE\tVERSION\tSTATE\tHOW FAR")
		}
		for i := range x.Drafts {
			n := &x.Drafts[i]
			state := "not reviewed"
			switch {
			case n.Filed:
				state = "filed"
			case n.Reviewed:
				state = "reviewed"
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d, %s\t%s\t%s\n", n.Number, n.Brand, n.Form, n.Rule, n.Language, n.Version, n.Phase, state, notice.Summary(&n.Counts))
		}
		t.Flush()
		if len(x.Wanted) > 0 {
			fmt.Fprintln(t, "\nDUE AND NOT FILED\tBRAND\tFORM\tBY\tSTATE\tNEWEST DRAFT\tRECIPIENTS")
		}
		for i := range x.Wanted {
			d := &x.Wanted[i]
			by, newest := "no number", "none"
			if !d.Due.IsZero() {
				by = d.Due.Format("2006-01-02 15:04 MST")
			}
			if d.Newest != 0 {
				newest = fmt.Sprint(d.Newest)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Rule, d.Brand, d.Form, by, strings.ReplaceAll(d.State, "-", " "), newest, strings.Join(d.Recipients, "; "))
		}
		t.Flush()
	})
}

type noticeDraftCmd struct {
	forBrand
	makes
	ID       string            `arg:"" help:"Number of the incident."`
	Form     string            `help:"Form, such as it-garante, customers or police (default: that of the rule)." placeholder:"ID"`
	Rule     string            `help:"Rule of duties that asks for it, such as eu-gdpr-33-sa (default: the form's first)." placeholder:"ID"`
	For      string            `help:"The controller, in a group's incident." placeholder:"BRAND"`
	Language string            `help:"In which it is sent (default: the form's)." placeholder:"TAG"`
	Phase    string            `help:"initial, follow-up or final (default: initial, and follow-up once a version was filed)." enum:",initial,follow-up,final" default:""`
	Set      map[string]string `help:"What a person writes into a field; no data of customers." placeholder:"FIELD=TEXT" mapsep:"none"`
	Texts    string            `help:"YAML file with such texts by field." type:"existingfile" placeholder:"FILE"`
	Out      string            `help:"Write it, too: a file that ends in .html, .odt or .json." placeholder:"FILE"`
	Ticket   string            `help:"Case number." placeholder:"TEXT"`
}

// Help is the long help text.
func (noticeDraftCmd) Help() string {
	return `Each draft is a version of the incident: an entry of its log. It is filled in with what
the newest scope, the facts, the measures of the log and the brand's settings say, with the
entries that each value comes from. What a person still has to write is marked and counted.
Words of an earlier version stay.

A notice in phases: initial, follow-up, final. Each lists what changed since the version that
was filed last.

Words that look like an e-mail address, a telephone number, a token or a card are refused.`
}

// Run drafts.
func (c *noticeDraftCmd) Run(ctx context.Context, std Streams) error {
	texts := map[string]string{}
	if c.Texts != "" {
		raw, err := os.ReadFile(c.Texts)
		if err != nil {
			return fmt.Errorf("reading the texts: %w", err)
		}
		if err := yaml.Unmarshal(raw, &texts); err != nil {
			return &usageError{"--texts is a YAML file of texts by field, such as\n  consequences: Somebody could write in our name."}
		}
	}
	for k, v := range c.Set {
		texts[k] = v
	}
	req := api.NoticeRequest{Form: c.Form, Rule: c.Rule, Brand: c.For, Language: c.Language, Phase: c.Phase, Texts: texts, Ticket: c.Ticket}
	return c.with(ctx, std, func(v *connection) error {
		n, err := v.DraftNotice(ctx, c.Brand, c.ID, req)
		if err != nil {
			return err
		}
		if err := writeNotice(ctx, v, c.Brand, c.ID, n.Number, c.Out); err != nil {
			return err
		}
		return c.printMade(std, &c.remote, strconv.FormatUint(n.Number, 10), n, func(w io.Writer) { printNotice(w, n) })
	})
}

// writeNotice writes a draft as a file, by the end of the file's name.
func writeNotice(ctx context.Context, v *connection, brand, id string, number uint64, out string) error {
	if out == "" {
		return nil
	}
	p, err := v.PrintNotice(ctx, brand, id, number, strings.TrimPrefix(filepath.Ext(out), "."))
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, p.Content, 0o600); err != nil {
		return fmt.Errorf("writing the notice: %w", err)
	}
	return nil
}

func printNotice(w io.Writer, n *api.Notice) {
	fmt.Fprintf(w, "notice %d of incident %s, %s: %s, version %d (%s), drafted %s by %s\n", n.Number, n.Incident, n.Brand, n.Title, n.Version, n.Phase, stamp(n.At), n.By)
	fmt.Fprintf(w, "%s\n", notice.Summary(&n.Counts))
	for _, line := range n.Face {
		fmt.Fprintf(w, "! %s\n", line)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\nFIELD\tSTATE\tVALUE\tFROM")
	for i := range n.Fields {
		x := &n.Fields[i]
		var from []string
		for _, r := range x.From {
			from = append(from, fmt.Sprintf("%s (entry %d of %s)", r.What, r.Entry, r.Log))
		}
		value := strings.ReplaceAll(strings.TrimSpace(x.Value+"\n"+x.Words), "\n", " / ")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.ID, strings.ReplaceAll(x.State, "-", " "), cmp.Or(value, x.Note, "to be written: "+x.Asks), strings.Join(from, "; "))
	}
	t.Flush()
	if n.Since != 0 {
		fmt.Fprintf(w, "\nchanged since notice %d: %d fields\n", n.Since, len(n.Changed))
	}
	for _, x := range n.Changed {
		one := func(s string) string { return cmp.Or(strings.ReplaceAll(s, "\n", " / "), "nothing") }
		fmt.Fprintf(t, "%s\t%s\t->\t%s\n", x.Field, one(x.Before), one(x.After))
	}
	t.Flush()
	for _, r := range n.Reviews {
		fmt.Fprintf(w, "reviewed in %s by %s, %s (entry %d)\n", r.Language, r.Reviewer, stamp(r.At), r.Entry)
	}
	for _, f := range n.Filed {
		fmt.Fprintf(w, "filed %s by %s %s (entry %d)\n", stamp(f.At), f.Said, f.Reference, f.Entry)
	}
	for _, b := range n.Blocks {
		fmt.Fprintf(w, "cannot be marked as filed: %s\n", b)
	}
	fmt.Fprintf(w, "SHA-256 %s\n%s\n", n.Digest, n.Advice)
}

type noticeShowCmd struct {
	forBrand
	ID     string `arg:"" help:"Number of the incident."`
	Notice uint64 `arg:"" help:"Number of the notice."`
	Out    string `help:"Write it to a file that ends in .html, .odt or .json." placeholder:"FILE"`
}

// Run shows a draft.
func (c *noticeShowCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		n, err := v.Notice(ctx, c.Brand, c.ID, c.Notice)
		if err != nil {
			return err
		}
		if err := writeNotice(ctx, v, c.Brand, c.ID, c.Notice, c.Out); err != nil {
			return err
		}
		return c.print(std, n, func(w io.Writer) {
			if c.Out != "" {
				fmt.Fprintf(w, "wrote %s\n", c.Out)
				return
			}
			printNotice(w, n)
		})
	})
}

type noticeReviewCmd struct {
	forBrand
	ID       string `arg:"" help:"Number of the incident."`
	Notice   uint64 `arg:"" help:"Number of the notice."`
	Reviewer string `help:"Name of the person who has read it (default: you)." placeholder:"NAME"`
	Digest   string `help:"SHA-256 of the version that was read, as it was printed (default: what the vault has)." placeholder:"SHA256"`
	Ticket   string `help:"Case number." placeholder:"TEXT"`
}

// Run records a review.
func (c *noticeReviewCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Notice, error) {
		req := api.NoticeReview{Reviewer: c.Reviewer, Digest: c.Digest, Ticket: c.Ticket}
		if req.Digest == "" {
			n, err := v.Notice(ctx, c.Brand, c.ID, c.Notice)
			if err != nil {
				return nil, err
			}
			req.Digest = n.Digest
		}
		return v.ReviewNotice(ctx, c.Brand, c.ID, c.Notice, req)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, n *api.Notice) {
		r := &n.Reviews[len(n.Reviews)-1]
		fmt.Fprintf(w, "notice %d: reviewed in %s by %s (entry %d)\n", n.Number, r.Language, r.Reviewer, r.Entry)
	})
}

type noticeFiledCmd struct {
	forBrand
	ID        string `arg:"" help:"Number of the incident."`
	Notice    uint64 `arg:"" help:"Number of the notice."`
	When      string `help:"When: a duration before now such as 2h, a day, or a time as RFC 3339 (default: now)." placeholder:"TIME" default:"0s"`
	Reference string `help:"Number that the recipient gave it." placeholder:"TEXT"`
	Receipt   string `help:"File with what the recipient answered; only its digest is recorded." type:"existingfile" placeholder:"FILE"`
	Said      string `help:"Who sent it (default: you)." placeholder:"TEXT"`
	Ticket    string `help:"Case number." placeholder:"TEXT"`
}

// Run records the mark.
func (c *noticeFiledCmd) Run(ctx context.Context, std Streams) error {
	when, err := flagTime("--when", c.When, time.Now())
	if err != nil {
		return err
	}
	req := api.NoticeFiled{When: when, Reference: c.Reference, Said: c.Said, Ticket: c.Ticket}
	if req.Receipt, err = digestOf(c.Receipt); err != nil {
		return err
	}
	call := func(v *connection) (*api.Notice, error) { return v.FileNotice(ctx, c.Brand, c.ID, c.Notice, req) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, n *api.Notice) {
		f := &n.Filed[len(n.Filed)-1]
		fmt.Fprintf(w, "notice %d (%s) was filed %s by %s (entry %d)\n", n.Number, strings.TrimSpace(n.Form+" "+n.Rule), stamp(f.At), f.Said, f.Entry)
	})
}

// digestOf returns the SHA-256 of a file; nothing without one.
func digestOf(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading the receipt: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading the receipt: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type noticeFormsCmd struct {
	ID   string `arg:"" optional:"" help:"Show the fields of one form."`
	JSON bool   `help:"Print JSON."`
}

// Run lists forms.
func (c *noticeFormsCmd) Run(_ context.Context, std Streams) error {
	b, err := notice.Load()
	if err != nil {
		return err
	}
	list := b.Forms()
	if c.ID != "" {
		f := b.Form(c.ID)
		if f == nil {
			return notice.ErrNoForm
		}
		list = []*notice.Form{f}
	}
	if c.JSON {
		return json.NewEncoder(std.Out).Encode(list)
	}
	t := tabwriter.NewWriter(std.Out, 0, 4, 2, ' ', 0)
	if c.ID == "" {
		fmt.Fprintln(t, "FORM\tIN\tLANGUAGE\tFIELDS\tALL SEEN\tREAD BY\tTITLE")
		for _, f := range list {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%t\t%s\t%s\n", f.ID, f.Jurisdiction, f.Language, len(f.Fields), f.Complete, f.ReadBy, f.Title)
		}
		return t.Flush()
	}
	f := list[0]
	fmt.Fprintf(std.Out, "%s: %s, %s (%s)\n%s\nread on %s by %s, confidence %s\n", f.ID, f.Title, f.Authority, f.Citation, f.Seen, f.ReadOn, cmp.Or(f.ReadBy, "none"), f.Confidence)
	if !f.Complete {
		fmt.Fprintln(std.Out, "The form has more fields than these: fill in the rest on the form itself.")
	}
	fmt.Fprintln(t, "\nFIELD\tKIND\tFILLED IN BY\tASKS")
	for _, x := range f.Fields {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.ID, x.Kind, strings.Join(x.Fill, ", "), x.Asks)
	}
	return t.Flush()
}

// noticeTextCmd keeps the texts of letters.
type noticeTextCmd struct {
	List   noticeTextListCmd   `cmd:"" help:"List texts, and the languages that customers need."`
	Show   noticeTextShowCmd   `cmd:"" help:"Print the text of a language, to read or to change."`
	Load   noticeTextLoadCmd   `cmd:"" help:"Load the brand's own text of a language."`
	Review noticeTextReviewCmd `cmd:"" help:"Record that a named person has read the text of a language."`
}

type noticeTextListCmd struct{ forBrand }

// Run lists texts.
func (c *noticeTextListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.NoticeTexts, error) { return v.NoticeTexts(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.NoticeTexts) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "LANGUAGE\tFROM\tREVIEWED BY\tSHA-256\tNAME")
		for i := range x.Texts {
			n := &x.Texts[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Language, n.Source, cmp.Or(n.Reviewer, "nobody"), n.Digest[:16], n.Name)
		}
		t.Flush()
		if len(x.Wanted) > 0 {
			fmt.Fprintln(t, "\nNEEDED\tREVIEWED TEXT\tWHY")
		}
		for _, n := range x.Wanted {
			has := "lacks"
			if n.Reviewed {
				has = "has one"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", n.Language, has, strings.Join(n.Why, "; "))
		}
		t.Flush()
	})
}

type noticeTextShowCmd struct {
	forBrand
	Language string `arg:"" help:"Language, such as it."`
}

// Run prints a text.
func (c *noticeTextShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.NoticeText, error) { return v.NoticeText(ctx, c.Brand, c.Language) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.NoticeText) { fmt.Fprint(w, x.Text) })
}

type noticeTextLoadCmd struct {
	forBrand
	File   string `arg:"" help:"The text, as text show prints one." type:"existingfile"`
	Ticket string `help:"Case number." placeholder:"TEXT"`
}

// Run loads a text.
func (c *noticeTextLoadCmd) Run(ctx context.Context, std Streams) error {
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the text: %w", err)
	}
	call := func(v *connection) (*api.NoticeText, error) {
		return v.LoadNoticeText(ctx, c.Brand, api.NoticeTextRequest{Text: string(raw), Ticket: c.Ticket})
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.NoticeText) {
		fmt.Fprintf(w, "loaded %s (%s), entry %d; reviewed by %s\n", x.Language, x.Name, x.Loaded, cmp.Or(x.Reviewer, "nobody yet: cloakroom notice text review "+x.Language))
	})
}

type noticeTextReviewCmd struct {
	forBrand
	Language string `arg:"" help:"Language, such as it."`
	Reviewer string `help:"Name of the person who has read it (default: you)." placeholder:"NAME"`
	Digest   string `help:"SHA-256 of the text that was read (default: what the vault has)." placeholder:"SHA256"`
	Ticket   string `help:"Case number." placeholder:"TEXT"`
}

// Run records a review.
func (c *noticeTextReviewCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.NoticeText, error) {
		req := api.NoticeTextReview{Reviewer: c.Reviewer, Digest: c.Digest, Ticket: c.Ticket}
		if req.Digest == "" {
			t, err := v.NoticeText(ctx, c.Brand, c.Language)
			if err != nil {
				return nil, err
			}
			req.Digest = t.Digest
		}
		return v.ReviewNoticeText(ctx, c.Brand, c.Language, req)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, x *api.NoticeText) {
		fmt.Fprintf(w, "%s (%s): reviewed by %s, entry %d\n", x.Language, x.Name, x.Reviewer, x.Entry)
	})
}
