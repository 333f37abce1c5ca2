package notice

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

//go:embed print.html
var page string

// ErrPrint is returned for a kind of file that a notice cannot be printed as.
var ErrPrint = fault.New(fault.Invalid, "a notice is printed as html, odt or json")

// states in words of a print.
var states = map[string]string{
	api.NoticeComputed: "computed", api.NoticeConfirm: "computed: confirm or add to it", api.NoticeWritten: "written by a person",
	api.NoticeMissing: "to be written by a person", api.NoticeLeftOut: "left out",
}

// Print writes a draft as a file. Names and words in it are escaped, whatever they hold.
func Print(n *api.Notice, as string) (*api.NoticePrint, error) {
	out := &api.NoticePrint{Name: fmt.Sprintf("%s-incident-%s-%s-%d.%s", n.Brand, n.Incident, n.Form, n.Number, as)}
	var err error
	switch as {
	case "html":
		out.Type = "text/html; charset=utf-8"
		out.Content, err = asHTML(n)
	case "odt":
		out.Type = "application/vnd.oasis.opendocument.text"
		out.Content, err = asODT(n)
	case "json":
		out.Type = "application/json"
		out.Content, err = json.MarshalIndent(n, "", "  ")
	default:
		return nil, ErrPrint
	}
	if err != nil {
		return nil, fmt.Errorf("printing a notice: %w", err)
	}
	return out, nil
}

// Summary says in words how far a draft is.
func Summary(c *api.NoticeCounts) string {
	out := fmt.Sprintf("computed %d of %d", c.Computed, c.Fields)
	if c.Confirm > 0 {
		out += fmt.Sprintf(", %d of them to be confirmed by a person", c.Confirm)
	}
	if c.Written > 0 {
		out += fmt.Sprintf("; %d written", c.Written)
	}
	if c.Missing > 0 {
		out += fmt.Sprintf("; %d still to be written", c.Missing)
	}
	if c.LeftOut > 0 {
		out += fmt.Sprintf("; %d left out, as the law asks", c.LeftOut)
	}
	return out
}

// IsLetter reports whether a draft is a letter.
func IsLetter(n *api.Notice) bool { return n.Greeting != "" }

func asHTML(n *api.Notice) ([]byte, error) {
	t, err := template.New("notice").Funcs(template.FuncMap{
		"lines": func(s string) []string { return strings.Split(s, "\n") },
		"state": func(s string) string { return states[s] },
		"add":   func(a, b int) int { return a + b },
	}).Parse(page)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		*api.Notice
		Summary string
		Letter  bool
	}{n, Summary(&n.Counts), IsLetter(n)})
	return b.Bytes(), err
}

// The parts of an OpenDocument text: a zip of XML. No library that writes one in Go is kept
// well, and what a notice needs of the format is this much.
const (
	odtType     = "application/vnd.oasis.opendocument.text"
	odtManifest = `<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.3"><manifest:file-entry manifest:full-path="/" manifest:version="1.3" manifest:media-type="` + odtType + `"/><manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/><manifest:file-entry manifest:full-path="styles.xml" manifest:media-type="text/xml"/></manifest:manifest>`
	odtNames = `xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0" office:version="1.3"`
	odtStyle = `<style:style style:name="%s" style:display-name="%s" style:family="paragraph"><style:paragraph-properties fo:margin-bottom="0.2cm"%s/><style:text-properties fo:font-size="%s"%s/></style:style>`
)

// odt writes paragraphs.
type odt struct {
	bytes.Buffer
	err error
}

func (o *odt) element(name, attr, text string) {
	if o.err != nil || text == "" {
		return
	}
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintf(o, "<text:%s %s>", name, attr)
		o.err = xml.EscapeText(o, []byte(line))
		fmt.Fprintf(o, "</text:%s>", name)
	}
}

func (o *odt) heading(level int, text string) {
	o.element("h", fmt.Sprintf(`text:style-name="H%d" text:outline-level="%d"`, level, level), text)
}

func (o *odt) p(style, text string) { o.element("p", `text:style-name="`+style+`"`, text) }

func asODT(n *api.Notice) ([]byte, error) {
	o := &odt{}
	o.WriteString(xml.Header + `<office:document-content ` + odtNames + `><office:body><office:text>`)
	if IsLetter(n) {
		o.heading(1, n.Subject)
		if len(n.Blocks) > 0 {
			o.face(n)
		}
		o.p("Body", n.Greeting)
	} else {
		o.heading(1, n.Title)
		o.face(n)
		o.p("Body", fmt.Sprintf("%s; incident %s, version %d (%s). To: %s", n.Controller, n.Incident, n.Version, n.Phase, n.Authority))
		o.p("Small", n.Citation+". "+Summary(&n.Counts)+".")
	}
	for i := range n.Fields {
		x := &n.Fields[i]
		title := x.Asks
		if !IsLetter(n) {
			title = fmt.Sprintf("%d. %s", i+1, x.Asks)
		}
		if IsLetter(n) && x.State == api.NoticeLeftOut {
			continue
		}
		o.heading(2, title)
		o.p("Body", x.Value)
		o.p("Body", x.Words)
		if x.State == api.NoticeMissing {
			o.p("Face", "[TO BE WRITTEN BY A PERSON]")
		}
		if !IsLetter(n) {
			o.p("Small", strings.Join(append([]string{states[x.State]}, notes(x)...), "; "))
		}
	}
	if IsLetter(n) {
		o.p("Body", n.Closing)
		o.heading(2, "For those who send it: not a part of the letter")
		if len(n.Blocks) == 0 {
			o.face(n)
		}
		o.p("Small", fmt.Sprintf("Incident %s, version %d (%s). %s.", n.Incident, n.Version, n.Phase, Summary(&n.Counts)))
		for i := range n.Fields {
			o.p("Small", n.Fields[i].ID+": "+strings.Join(append([]string{states[n.Fields[i].State]}, notes(&n.Fields[i])...), "; "))
		}
	}
	if len(n.Changed) > 0 {
		o.heading(2, fmt.Sprintf("Changed since the version of entry %d", n.Since))
		for _, c := range n.Changed {
			o.p("Small", fmt.Sprintf("%s: %s -> %s", c.Asks, orNone(c.Before), orNone(c.After)))
		}
	}
	o.p("Small", n.Advice+" SHA-256 "+n.Digest)
	o.WriteString(`</office:text></office:body></office:document-content>`)
	if o.err != nil {
		return nil, o.err
	}
	styles := xml.Header + `<office:document-styles ` + odtNames + `><office:styles>`
	for _, s := range [][5]string{
		{"Body", "Body", "", "11pt", ""}, {"Small", "Small", "", "8.5pt", ` fo:color="#444444"`}, {"Face", "Face", ` fo:border="0.05cm solid #8a5a00" fo:padding="0.15cm"`, "11pt", ` fo:font-weight="bold"`},
		{"H1", "Heading 1", "", "16pt", ` fo:font-weight="bold"`}, {"H2", "Heading 2", ` fo:margin-top="0.35cm" fo:keep-with-next="always"`, "12pt", ` fo:font-weight="bold"`},
	} {
		styles += fmt.Sprintf(odtStyle, s[0], s[1], s[2], s[3], s[4])
	}
	styles += `</office:styles></office:document-styles>`
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, part := range []struct {
		name, text string
		method     uint16
	}{
		{"mimetype", odtType, zip.Store}, // first and as it is: readers look for it there
		{"META-INF/manifest.xml", odtManifest, zip.Deflate}, {"styles.xml", styles, zip.Deflate}, {"content.xml", o.String(), zip.Deflate},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: part.name, Method: part.method})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(part.text)); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (o *odt) face(n *api.Notice) {
	for _, line := range n.Face {
		o.p("Face", line)
	}
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// notes are what stands beside a field.
func notes(x *api.NoticeField) (out []string) {
	if x.Note != "" {
		out = append(out, x.Note)
	}
	if x.By != "" {
		out = append(out, "words by "+x.By)
	}
	for _, r := range x.From {
		out = append(out, fmt.Sprintf("%s: log of %s, entry %d", r.What, r.Log, r.Entry))
	}
	return out
}
