package claim

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// Page writes an answer as one page for the board, the police and the press: HTML that
// needs nothing else, and prints on one sheet.
func Page(w io.Writer, x *api.Claim) error {
	var b bytes.Buffer
	if err := page.Execute(&b, x); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	_, err := b.WriteTo(w)
	return err
}

// verdicts say each verdict as a headline.
var verdicts = map[string]string{
	api.ClaimExplained: "The list is ours. What we disclosed explains it.",
	api.ClaimOurs:      "The people are our customers. Nothing that we disclosed explains the list.",
	api.ClaimForeign:   "The list is somebody else's.",
	api.ClaimUndecided: "Whether the list was taken from us is not decided.",
	api.ClaimSmall:     "The sample is too small, or too few of its rows are ours, to say more.",
}

// Headline says a verdict in one sentence.
func Headline(verdict string) string { return verdicts[verdict] }

var page = template.Must(template.New("claim").Funcs(template.FuncMap{
	"headline": Headline,
	"stamp":    func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"title":    title,
	"percent":  func(w float64) string { return fmt.Sprintf("%.4g %%", 100*w) },
	"first":    func(list []api.ClaimSource) []api.ClaimSource { return list[:min(len(list), 5)] },
	"about": func(exact bool, n int) string {
		switch {
		case exact:
			return fmt.Sprint(n)
		case n == 0:
			return "fewer than ten"
		}
		return fmt.Sprintf("about %d", n)
	},
	"columns": func(list []api.ClaimColumn) string {
		var out []string
		for _, c := range list {
			if c.Field != "" {
				out = append(out, fmt.Sprintf("%d is %s", c.At, strings.ReplaceAll(c.Field, "_", " ")))
			}
		}
		return strings.Join(out, ", ")
	},
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Claim of {{.Owner}}, entry {{.Entry}}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 1.4rem 0 .3rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8886; vertical-align: top }
td.n, th.n { text-align: right } p { margin: .4rem 0 } .small { font-size: .85rem; opacity: .85 } code { overflow-wrap: anywhere }
@media print { @page { size: A4; margin: 15mm } body { font-size: 10.5pt; max-width: none; margin: 0; padding: 0; color: #000 } h2, tr { break-after: avoid } }
</style></head><body>
<p class="small">Claim, entry {{.Entry}} of the log of {{.Owner}}{{with .Incident}}, incident {{.}}{{end}}. Asked by {{.By}}, answered {{stamp .At}}.</p>
<h1>{{headline .Verdict}}</h1>
{{$exact := .Exact}}{{range .Brands}}
<h2>{{.Brand}}</h2>
{{range .Words}}<p>{{.}}</p>
{{end}}<table><thead><tr><th>Rows</th><th class="n">Number</th></tr></thead><tbody>
<tr><td>of our customers</td><td class="n">{{about $exact .Ours}}</td></tr>
<tr><td>of nobody that we know</td><td class="n">{{about $exact .NotOurs}}</td></tr>
<tr><td>ours, with a value that we have not and had not</td><td class="n">{{about $exact .Altered}}</td></tr>
<tr><td>ours, with a value that was replaced since</td><td class="n">{{about $exact .Former}}</td></tr>
</tbody></table>
{{if .Sources}}<table><thead><tr><th>What may explain it</th><th class="n">Customers of the sample</th><th class="n">of its own</th><th class="n">Weight</th></tr></thead><tbody>
{{range first .Sources}}<tr><td>{{title .Names}}</td><td class="n">{{about $exact .Covered}}</td><td class="n">{{.Size}}</td><td class="n">{{percent .Weight}}</td></tr>
{{end}}<tr><td>our customers, from elsewhere</td><td></td><td></td><td class="n">{{percent .Elsewhere}}</td></tr>
<tr><td>somebody else's list</td><td></td><td></td><td class="n">{{percent .Foreign}}</td></tr></tbody></table>{{end}}
{{end}}
<h2>How it was read</h2>
<p>{{.Read.Rows}} rows as {{.Read.Format}}{{with .Read.Delimiter}} parted by {{.}}{{end}}, in {{.Read.Encoding}}{{with columns .Read.Columns}}; of its columns {{.}}{{end}}. {{.Read.Repeated}} rows repeat an earlier one, {{.Read.Unreadable}} could not be read, {{.Read.Empty}} name nobody{{if .Read.Cards}}. {{.Read.Cards}} have a payment card number: our vault keeps none, so these are from elsewhere{{end}}.</p>
<h2>What this does not say</h2>
<ul>{{range .Limits}}<li>{{.}}</li>{{end}}</ul>
<p class="small">SHA-256 of the sample: <code>{{.Digest}}</code>. The sample itself was not kept. This answer is signed with the log of {{.Owner}}, entry {{.Entry}}; <code>cloakroom claim show --brand {{.Owner}} {{.Entry}}</code> shows it again.{{if .Alone}} The exact figures were seen by one person alone, as no second person existed.{{end}}</p>
</body></html>
`))
