package intake

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// xmlDepth bounds how deep elements lie in each other.
	xmlDepth = 32
	// xmlValues bounds the values of one record.
	xmlValues = 4096
)

var errEntities = errors.New("it declares a document type: entities in it could grow without bound, so that none is read. Export it without <!DOCTYPE>")

var errCharset = errors.New("it says another encoding than UTF-8: write it as `encoding:` in the mapping")

// xmlRows reads records of an XML file, one at a time. A column is a path below the
// record's element, such as profile/email, @number for an attribute of it, or
// address/@id. Where a path stands several times, the first counts, and columns named
// PATH[] join all.
type xmlRows struct {
	budget  *budgeted
	dec     *xml.Decoder
	element string
	plan    *plan
	see     func(path, value string) // of a file that is looked at: nothing is read then
	at      map[string]int
	values  []string
	path    []string // open elements below the record's
	depth   int      // open elements above it
	charset bool     // the file says an encoding that it is not read in
}

// budgeted gives out no more than a budget: one token of XML is held in memory whole.
type budgeted struct {
	r     *bufio.Reader
	left  int
	lines int64
}

var errBudget = errors.New("a piece of more than 256 KiB")

// ReadByte implements io.ByteReader, which keeps the decoder from reading ahead.
func (b *budgeted) ReadByte() (byte, error) {
	if b.left == 0 {
		return 0, errBudget
	}
	b.left--
	c, err := b.r.ReadByte()
	if c == '\n' && err == nil {
		b.lines++
	}
	return c, err
}

// Read implements io.Reader.
func (b *budgeted) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := b.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

func newXMLRows(r *bufio.Reader, t *table, m *Mapping, rules Rules, decoded bool) (*xmlRows, error) {
	if !m.described() || m.file.xml == "" {
		return nil, fmt.Errorf("%w: it is XML: a mapping must say `xml: element` and which paths below that element are what (`cloakroom mapping show sfcc-customers` is one)", ErrFormat)
	}
	names := m.columns(t.kind)
	x := newXMLReader(r, decoded)
	x.element, x.values = m.file.xml, make([]string, len(names))
	for i, name := range names {
		x.at[name] = i
	}
	var err error
	x.plan, err = m.bind(t, names, rules)
	return x, err
}

func newXMLReader(r *bufio.Reader, decoded bool) *xmlRows {
	x := &xmlRows{budget: &budgeted{r: r}, at: map[string]int{}}
	x.dec = xml.NewDecoder(x.budget)
	x.dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) {
		if decoded {
			return in, nil
		}
		x.charset = true // the decoder does not wrap it
		return nil, errCharset
	}
	return x
}

// token reads a token of bounded size.
func (x *xmlRows) token() (xml.Token, error) {
	x.budget.left = MaxRow
	tok, err := x.dec.RawToken()
	switch {
	case err == io.EOF && x.depth > 0:
		return nil, fmt.Errorf("%w: it ends in the middle of an element", ErrFormat)
	case err == io.EOF:
		return nil, err
	case errors.Is(err, errBudget):
		return nil, fmt.Errorf("%w: line %d: %w", ErrFormat, x.budget.lines+1, errBudget)
	case err != nil && x.charset:
		return nil, fmt.Errorf("%w: %w", ErrFormat, errCharset)
	case err != nil:
		return nil, fmt.Errorf("%w: line %d is not XML", ErrFormat, x.budget.lines+1) // the parser quotes
	}
	if _, is := tok.(xml.Directive); is {
		return nil, fmt.Errorf("%w: %w", ErrFormat, errEntities)
	}
	return tok, nil
}

// next implements source.
func (x *xmlRows) next(in *row) error {
	for {
		tok, err := x.token()
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			x.depth++
			if tok.Name.Local == x.element {
				*in = rowOf(x.budget.lines + 1)
				return x.record(tok, in)
			}
			if x.depth > xmlDepth {
				return fmt.Errorf("%w: elements lie more than %d deep", ErrFormat, xmlDepth)
			}
		case xml.EndElement:
			x.depth--
		}
	}
}

// record reads one record to the end of its element.
func (x *xmlRows) record(start xml.StartElement, in *row) error {
	clear(x.values)
	x.path = x.path[:0]
	seen := map[string]bool{}
	size, n := 0, 0
	set := func(path, value string) {
		size += len(value)
		n++
		if x.see != nil {
			x.see(path, value)
			return
		}
		if i, ok := x.at[path+"[]"]; ok && trimmed(value) != "" {
			if x.values[i] != "" {
				x.values[i] += ", "
			}
			x.values[i] += trimmed(value)
		}
		if i, ok := x.at[path]; ok && !seen[path] {
			seen[path] = true
			x.values[i] = value
		}
	}
	attributes := func(prefix string, e xml.StartElement) {
		for _, a := range e.Attr {
			set(prefix+"@"+a.Name.Local, a.Value)
		}
	}
	attributes("", start)
	var text strings.Builder
	open := []string{start.Name.Local}
	for len(open) > 0 {
		tok, err := x.token()
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			x.depth++
			if len(open) > xmlDepth {
				return fmt.Errorf("%w: elements lie more than %d deep", ErrFormat, xmlDepth)
			}
			open = append(open, tok.Name.Local)
			x.path = append(x.path, tok.Name.Local)
			text.Reset()
			path := strings.Join(x.path, "/")
			if strings.Contains(path, "=") {
				attributes(withoutIDs(x.path)+"/", tok)
			} else {
				attributes(path+"/", tok)
			}
			// <custom-attribute attribute-id="x"> is told apart by its attribute.
			for _, a := range tok.Attr {
				if strings.HasSuffix(a.Name.Local, "-id") || a.Name.Local == "id" || a.Name.Local == "name" {
					x.path[len(x.path)-1] = tok.Name.Local + "=" + a.Value
				}
			}
		case xml.CharData:
			if text.Len()+len(tok) <= record.MaxValueBytes*4 {
				text.Write(tok)
			} else {
				size = MaxRow + 1
			}
		case xml.EndElement:
			x.depth--
			if tok.Name.Local != open[len(open)-1] {
				return fmt.Errorf("%w: line %d closes another element than the one that is open", ErrFormat, x.budget.lines+1)
			}
			open = open[:len(open)-1]
			if len(x.path) == 0 {
				continue
			}
			path := strings.Join(x.path, "/")
			value := trimmed(text.String())
			set(path, value)
			if strings.Contains(path, "=") {
				set(withoutIDs(x.path), value)
			}
			x.path = x.path[:len(x.path)-1]
			text.Reset()
		}
		if size > MaxRow || n > xmlValues {
			in.rej = tooLong().reject(in.line)
			size, n = 0, 0
		}
	}
	if in.rej == nil && x.plan != nil {
		x.plan.apply(x.values, in)
	}
	return nil
}

// withoutIDs is a path on which elements go by their names alone.
func withoutIDs(path []string) string {
	out := make([]string, len(path))
	for i, p := range path {
		out[i], _, _ = strings.Cut(p, "=")
	}
	return strings.Join(out, "/")
}
