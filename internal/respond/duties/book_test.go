package duties

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/net/html"
)

// The print has every rule with its cases and a box to sign, counts the unread on top, and
// takes no text of a file as markup.
func TestTheBookToSign(t *testing.T) {
	b, err := Load(fstest.MapFS{"mine.yaml": {Data: []byte(`law: <b>Test</b>
jurisdiction: XX
zone: UTC
address: 'https://law.example/'
rules:
  - {id: xx-a, article: s. 1, demands: '<script>alert(1)</script>', basis: memory, sources: [memory], read_on: '2026-11-29', read_by: Dana Doe, still_valid_on: '2026-11-29',
     confidence: low, to: regulator, recipients: [office], when: [{data: [card]}], clock: awareness, content: [nature], cases: [{why: fires, given: [payment_card_full, XX=1], then: due}]}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := b.WriteBook(&page, ""); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	rules, unread, _ := b.Counts()
	if rules != 144 || unread != 143 {
		t.Errorf("%d rules, %d unread", rules, unread)
	}
	for _, want := range []string{Advice, fmt.Sprintf("%d of %d were read by no named person: ask counsel", unread, rules), "by Dana Doe", "Looked at, and no duty", "@media print"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(text, "<script>") || strings.Contains(text, "<b>Test") {
		t.Error("a text of a file became markup")
	}
	doc, err := html.Parse(&page)
	if err != nil {
		t.Fatal(err)
	}
	articles, boxes, cases := 0, 0, 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "article":
			articles++
		case "tr":
			cases++
		case "p":
			for _, a := range n.Attr {
				if a.Key == "class" && a.Val == "sign" {
					boxes++
				}
			}
		}
	}
	if articles != rules || boxes != rules || cases < 1500 {
		t.Errorf("%d articles, %d boxes, %d rows of cases for %d rules", articles, boxes, cases, rules)
	}
	page.Reset()
	if err := b.WriteBook(&page, "us-ma-subjects"); err != nil || strings.Count(page.String(), "<article") != 1 || !strings.Contains(page.String(), "Must not say") {
		t.Errorf("one rule: %v", err)
	}
	if _, err := b.Show("us-ma-subjects"); err != nil {
		t.Error(err)
	}
}
