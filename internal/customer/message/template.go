package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/language"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Limits of a template.
const (
	maxVariants = 40
	maxSubject  = 200
	maxBody     = 64 << 10
	// maxValue bounds a value in a mail, in runes: a name that is longer is a text.
	maxValue = 120
)

// ErrTemplate is returned for a template that no mail can be made of.
var ErrTemplate = fault.New(fault.Invalid, "the template is refused")

// The names in a template that are no field of a customer.
const (
	nameBrand = "brand"         // the brand's title
	nameCode  = "code"          // the mail's own code, by which it is known to be real
	nameLast  = "last_purchase" // the day of the last purchase; empty without one
)

// named are the fields of a customer that a template may name. Those that reach people
// somewhere are not among them: a mail has no use for them, and its reader knows them.
var named = []record.Field{record.ExternalID, record.GivenName, record.FamilyName, record.City, record.Region, record.Country}

var (
	place = regexp.MustCompile(`\{\{([a-z_]+)(?:\|([^{}|<>]*))?\}\}`)
	// link finds what a mail program makes a link of, whether or not a scheme is there.
	link = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://[^\s<>"]*|www\.[^\s<>"]*|mailto:[^\s<>"]*`)
	// domainLike finds names of hosts in a value or a text.
	domainLike = regexp.MustCompile(`[\p{L}\p{N}-]+(?:[.\x{3002}\x{ff0e}\x{ff61}][\p{L}\p{N}-]+)*[.\x{3002}\x{ff0e}\x{ff61}](?:\p{L}{2,}|(?i:xn--)[a-z0-9-]+)`)
)

// variant is one language of a template, ready to be filled in.
type variant struct {
	tag     language.Tag
	name    string
	subject string
	text    string
	html    *template.Template // nil: plain text alone
}

// Template is a checked template.
type Template struct {
	api.MailTemplate
	Version int

	variants []variant
	tags     []language.Tag
	fields   record.FieldSet // that it shows
	domain   string
}

// check refuses what could carry somebody to another site than the brand's, or say
// something in a customer's name. The domain is the brand's own, as its mail is from.
func check(t api.MailTemplate, domain string) (*Template, error) {
	out := &Template{MailTemplate: t, domain: domain}
	if len(t.Variants) == 0 || len(t.Variants) > maxVariants {
		return nil, fmt.Errorf("%w: it has 1 to %d languages", ErrTemplate, maxVariants)
	}
	for i, v := range t.Variants {
		tag, err := language.Parse(v.Language)
		if err != nil || slices.Contains(out.tags, tag) {
			return nil, fmt.Errorf("%w: language %d is no tag such as fr or pt-BR, or is there twice", ErrTemplate, i+1)
		}
		one := variant{tag: tag, name: tag.String(), subject: v.Subject, text: v.Text}
		if err := out.read(&one, v.HTML); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTemplate, one.name, err)
		}
		out.variants, out.tags = append(out.variants, one), append(out.tags, tag)
	}
	return out, nil
}

func (t *Template) read(v *variant, markup string) error {
	switch {
	case v.subject == "" || len(v.subject) > maxSubject || !utf8.ValidString(v.subject) || strings.ContainsFunc(v.subject, unsafe):
		return fmt.Errorf("the subject is one line of 1 to %d bytes without control characters", maxSubject)
	case v.text == "" || len(v.text) > maxBody || len(markup) > maxBody || !utf8.ValidString(v.text) || !utf8.ValidString(markup):
		return fmt.Errorf("the plain text is there always, and neither it nor the HTML is longer than %d bytes", maxBody)
	case strings.ContainsFunc(strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(v.text+markup), unsafe):
		return errors.New("control characters and characters that turn the direction of text are refused")
	}
	for _, s := range []string{v.subject, v.text, markup} {
		if err := ledger.CheckText("the template", s); err != nil {
			return err
		}
		if err := t.places(s); err != nil {
			return err
		}
	}
	for _, s := range []string{v.subject, v.text} {
		if err := t.links(s); err != nil {
			return err
		}
	}
	if markup == "" {
		return nil
	}
	if err := t.markup(markup); err != nil {
		return err
	}
	source := place.ReplaceAllStringFunc(markup, func(s string) string {
		m := place.FindStringSubmatch(s)
		return fmt.Sprintf(`{{with index . %q}}{{.}}{{else}}{{%q}}{{end}}`, m[1], m[2])
	})
	var err error
	if v.html, err = template.New("mail").Parse(source); err == nil {
		err = v.html.Execute(io.Discard, map[string]string{}) // the escaper refuses here what it cannot place
	}
	if err != nil {
		return errors.New("the HTML is not well formed")
	}
	return nil
}

// unsafe reports characters that change how others are read, or end a header.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 || r == utf8.RuneError
}

// places takes the names that a text has.
func (t *Template) places(text string) error {
	rest := place.ReplaceAllString(text, "")
	if strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return errors.New("a place is {{name}}, or {{name|what stands there without it}}")
	}
	for _, m := range place.FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case nameBrand, nameCode:
			continue
		case nameLast:
			t.fields = t.fields.With(record.Purchases)
			continue
		}
		f, err := record.ParseField(m[1])
		if err != nil || !slices.Contains(named, f) {
			names := []string{nameBrand, nameCode, nameLast}
			for _, f := range named {
				names = append(names, f.String())
			}
			return fmt.Errorf("a place is one of %s", strings.Join(names, ", "))
		}
		t.fields = t.fields.With(f)
	}
	return nil
}

var errLink = errors.New("a link goes to https:// and a plain name of the brand's own domain, without user, port or letters beyond a to z: no other site, no mail address, no name that looks like one")

// links refuses every link of a plain text that is not the brand's own, and every name of
// another host: mail programs make links of those.
func (t *Template) links(text string) error {
	for _, s := range link.FindAllString(text, -1) {
		if err := t.link(strings.TrimRight(s, ".,;:!?)")); err != nil {
			return err
		}
	}
	for _, s := range domainLike.FindAllString(link.ReplaceAllString(place.ReplaceAllString(text, " "), " "), -1) {
		if !t.own(s) && !sentence(s) {
			return errLink
		}
	}
	return nil
}

// sentence reports a full stop between two words without a blank, which is no host: its
// last word begins with a capital letter.
func sentence(s string) bool {
	r, _ := utf8.DecodeRuneInString(s[strings.LastIndexByte(s, '.')+1:])
	return unicode.IsUpper(r) && !strings.Contains(s, "xn--")
}

// own reports whether a host is the brand's domain or below it.
func (t *Template) own(host string) bool {
	return t.domain != "" && (host == t.domain || strings.HasSuffix(host, "."+t.domain))
}

func (t *Template) link(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "https", u.User != nil, u.Opaque != "", u.Host != strings.ToLower(u.Hostname()), !t.own(u.Host), place.MatchString(s), strings.Contains(s, "{{"):
		return errLink
	}
	for _, label := range strings.Split(u.Host, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			strings.HasPrefix(label, "xn--") && !strings.Contains("."+t.domain+".", "."+label+".") { // of the brand's own IDN domain alone
			return errLink
		}
	}
	return nil
}

// elements are those that the HTML of a mail may have: nothing that loads, runs or sends.
var elements = map[string][]string{
	"html": {"lang", "dir"}, "head": nil, "title": nil, "body": {"dir"}, "p": {"dir"}, "br": nil, "hr": nil, "b": nil, "strong": nil, "i": nil, "em": nil, "u": nil, "small": nil,
	"h1": nil, "h2": nil, "h3": nil, "ul": nil, "ol": nil, "li": nil, "div": {"dir", "lang"}, "span": {"dir", "lang"}, "blockquote": nil,
	"table": nil, "thead": nil, "tbody": nil, "tr": nil, "td": nil, "th": nil, "a": {"href"},
}

// markup refuses elements and attributes that are not listed: images, which tell that a
// mail was read, styles and scripts. A place stands in text alone.
func (t *Template) markup(source string) error {
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if errors.Is(z.Err(), io.EOF) {
				return nil
			}
			return errors.New("the HTML is not well formed")
		case html.TextToken:
			if err := t.links(html.UnescapeString(string(z.Raw()))); err != nil {
				return err
			}
		case html.CommentToken:
			return errors.New("comments are refused in HTML")
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			if bytes.Contains(z.Raw(), []byte("{{")) {
				return errors.New("a place stands in text, not in a tag")
			}
			tok := z.Token()
			allowed, ok := elements[tok.Data]
			if !ok {
				return errors.New("an element of the HTML is refused: text, lists, tables and links are allowed, and nothing that loads or runs")
			}
			for _, a := range tok.Attr {
				if !slices.Contains(allowed, a.Key) || a.Namespace != "" {
					return errors.New("an attribute of the HTML is refused: allowed are href, dir and lang")
				}
				if a.Key == "href" {
					if err := t.link(a.Val); err != nil {
						return err
					}
				}
			}
		}
	}
}

// Fields are those that the template shows, or that decide about the mail.
func (t *Template) Fields() record.FieldSet {
	return t.fields | record.Fields(record.Email, record.Locale, record.Standing)
}

// digest is of the whole template.
func digest(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func encode(t api.MailTemplate) (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("writing a template: %w", err)
	}
	return string(b), nil
}

// pick returns the variant for somebody's language, and whether it is theirs: else it is
// the first of the brand's languages, and nobody waits for a translation.
func (t *Template) pick(locale string, brand []string) (*variant, bool) {
	m := language.NewMatcher(t.tags)
	if tag, err := language.Parse(strings.ReplaceAll(locale, "_", "-")); err == nil && locale != "" {
		if _, i, c := m.Match(tag); c >= language.High {
			return &t.variants[i], true
		}
	}
	for _, l := range brand {
		if tag, err := language.Parse(l); err == nil {
			if _, i, c := m.Match(tag); c >= language.High {
				return &t.variants[i], false
			}
		}
	}
	return &t.variants[0], false
}

// Rendered is a mail's text.
type Rendered struct {
	Language, Subject, Text, HTML string
}

// clean makes a value of a customer safe in every place of a mail: one line, of bounded
// length, which no mail program makes a link of. One that cannot be is as if it were not
// there.
func clean(v string) string {
	v = strings.Join(strings.FieldsFunc(v, func(r rune) bool { return unsafe(r) || unicode.IsSpace(r) }), " ")
	if utf8.RuneCountInString(v) > maxValue || strings.ContainsAny(v, "@/\\<>") || link.MatchString(v) || domainLike.MatchString(v) || ledger.CheckText("value", v) != nil {
		return ""
	}
	return v
}

// render fills a variant in.
func (v *variant) render(values map[string]string) (*Rendered, error) {
	safe := make(map[string]string, len(values))
	for k, x := range values {
		if safe[k] = x; k != nameBrand && k != nameCode && k != nameLast {
			safe[k] = clean(x)
		}
	}
	fill := func(s string) string {
		return place.ReplaceAllStringFunc(s, func(s string) string {
			m := place.FindStringSubmatch(s)
			if x := safe[m[1]]; x != "" {
				return x
			}
			return m[2]
		})
	}
	r := &Rendered{Language: v.name, Subject: strings.Join(strings.Fields(fill(v.subject)), " "), Text: fill(v.text)}
	if v.html != nil {
		var b bytes.Buffer
		if err := v.html.Execute(&b, safe); err != nil {
			return nil, fmt.Errorf("filling in a template: %w", err)
		}
		r.HTML = b.String()
	}
	return r, nil
}

// values are what a template may name of a customer.
func values(c *api.Customer, brand, code string) map[string]string {
	out := map[string]string{nameBrand: brand, nameCode: code}
	for _, f := range named {
		out[f.String()] = c.Fields[f.String()]
	}
	for _, p := range c.Purchases {
		if len(p.At) >= 10 {
			out[nameLast] = max(out[nameLast], p.At[:10])
		}
	}
	return out
}

// cases are invented people whose mail the approver is shown: an ordinary one, and those
// whose values break a layout.
var cases = []struct {
	name string
	of   api.Customer
}{
	{"ordinary", api.Customer{Fields: api.Fields{"external_id": "C-1001", "given_name": "Noor", "family_name": "Haddad", "city": "Lyon", "country": "FR"}, Purchases: []api.Purchase{{At: "2026-03-14"}}}},
	{"no given name", api.Customer{Fields: api.Fields{"external_id": "C-1002", "family_name": "Haddad"}, Purchases: []api.Purchase{{At: "2026-03-14"}}}},
	{"longest", api.Customer{Fields: api.Fields{"external_id": strings.Repeat("9", 12) + "-LONG", "given_name": strings.Repeat("Maximiliana ", 9) + "Ana", "family_name": strings.Repeat("Featherstonehaugh", 7), "city": strings.Repeat("Llanfair", 12), "country": "GB"}, Purchases: []api.Purchase{{At: "2026-03-14"}}}},
	{"right to left", api.Customer{Fields: api.Fields{"external_id": "C-1004", "given_name": "نور", "family_name": "حداد", "city": "بيروت", "country": "LB"}, Purchases: []api.Purchase{{At: "2026-03-14"}}}},
	{"no purchases", api.Customer{Fields: api.Fields{"external_id": "C-1005", "given_name": "Noor", "family_name": "Haddad", "city": "Lyon", "country": "FR"}}},
}

// Samples returns the mail to invented people, by variant and case.
func (t *Template) Samples(brand string) ([]api.MailSample, error) {
	var out []api.MailSample
	for i := range t.variants {
		for _, c := range cases {
			r, err := t.variants[i].render(values(&c.of, brand, "SAMP-LE00-00"))
			if err != nil {
				return nil, err
			}
			out = append(out, api.MailSample{Language: r.Language, Case: c.name, Subject: r.Subject, Text: r.Text, HTML: r.HTML})
		}
	}
	return out, nil
}
