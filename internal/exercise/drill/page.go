package drill

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

// Page returns the result as one page that needs nothing else: no script, no font, no
// picture from anywhere.
func Page(r *Result) ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"span": Span, "seconds": span, "count": count, "share": Share,
		"picture":  func(v VariantResult) template.HTML { return template.HTML(Picture(r, &v)) },
		"overview": func() template.HTML { return template.HTML(Overview(r)) },
		"style":    func() template.CSS { return template.CSS(chartStyle) },
		"key":      func(defence string) template.HTML { return template.HTML(key(marks(r)[defence])) },
		"list":     counted,
	}).Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("reading the page's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, struct {
		*Result
		Broken []string
	}{r, r.Faults()}); err != nil {
		return nil, fmt.Errorf("writing the page: %w", err)
	}
	return b.Bytes(), nil
}

// key is the sign of a set of defences, beside its name.
func key(m mark) string {
	p := &picture{}
	p.printf(`<svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">`)
	p.dot(7, 7, m.class)
	p.printf(`</svg>`)
	return p.String()
}

// counted lists what was counted by name.
func counted(m map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", k, m[k]))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
