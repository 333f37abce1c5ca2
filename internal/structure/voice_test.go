package structure

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// retired are phrases that people read and that have a better word: the pattern, and what
// to write instead. Text for people says who acts, in terms of art.
var retired = []struct{ pattern, instead string }{
	{`who are you`, "Authentication required"},
	{`another request"`, "Idempotency key reused"},
	{`not with this method`, "Method not allowed"},
	{`what the api describes`, "Malformed JSON at byte N"},
	{`a member that`, "Unknown property"},
	{`\bbears? any\b|\bare borne\b|\bis borne\b`, "the limit is N"},
	{`is mended|to be mended`, "fix"},
	{`\bwhoever\b`, "the person who, anyone who"},
	{`\bwhom\b`, "a noun"},
	{`there is no such|that there is not|those there are|there is nobody`, "no such X"},
	{`is there already|are there already`, "existing, already exists"},
	{`does not let|let do so|\blet leave\b`, "may not, approve"},
	{`\bgoes? on\b|\bwent on\b`, "continues, resumes, stays valid"},
	{`stands? still`, "is stuck"},
	{`begins? anew|\banew\b`, "again"},
	{`is tried again|are tried again|try again|send it again|ask again`, "retry"},
	{`(is|are|was|were|nobody is) told\b`, "notified"},
	{`\bgrades?\b|\bgrave(r|st)?\b`, "severity"},
	{`\bdecoys?\b`, "canary (a decoy customer, where it is explained)"},
	{`never fits|larger than the budget`, "one request may not exceed N customers"},
	{`asked for anew|ask for it anew`, "request it again"},
	{`nobody found`, "no customer found"},
	{`nobody but you`, "you would be the only person"},
	{`own word is taken`, "the vault's own key is trusted"},
	{`whose customers it is about`, "Brand name"},
	{`\bthe least\b|^how (many|far)\b`, "Lowest, Maximum number of"},
	{`look whether`, "check"},
	{`for good\b`, "permanently"},
	{`under way`, "in flight"},
	{`meanwhile|in the meantime`, "concurrently"},
}

// explained are the texts that say what a canary is.
func explained(text string) string {
	return strings.NewReplacer("decoy customers", "", "decoy-mail", "").Replace(text)
}

// spoken are the packages whose literals people read.
var spoken = []string{
	"cmd/cloakroom", "api", "client", "internal/web/server", "internal/vault/access",
	"internal/vault/budget", "internal/vault/door", "internal/vault/containment", "internal/vault/change", "internal/vault/erase", "internal/respond/contain", "internal/govern/admin", "internal/govern/upkeep",
	"internal/watch/detect", "internal/watch/notify", "internal/vault/identity", "internal/platform/idempotency", "internal/vault/export", "internal/vault/brands", "internal/platform/revision",
}

// checkVoice finds retired phrases in literals: texts of errors, help, titles, alarms and
// the API's description, which stand in tags.
func checkVoice(t *tree) []string {
	var patterns []*regexp.Regexp
	for _, r := range retired {
		patterns = append(patterns, regexp.MustCompile(r.pattern))
	}
	var faults []string
	for _, p := range t.pkgs {
		if !slices.Contains(spoken, p.dir) {
			continue
		}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil || !strings.Contains(text, " ") || isSQL(text) {
					return true
				}
				for i, re := range patterns {
					if found := re.FindString(explained(strings.ToLower(text))); found != "" {
						faults = append(faults, fmt.Sprintf("%s: %q: write %q", t.at(lit.Pos()), found, retired[i].instead))
					}
				}
				return true
			})
		}
	}
	return faults
}

// isSQL reports whether a literal is a statement, whose words are those of columns.
func isSQL(text string) bool {
	return regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER)\b`).MatchString(text) || regexp.MustCompile(`^[a-z_]+(, [a-z_]+)+$`).MatchString(text) || strings.HasPrefix(text, " AND ") || strings.HasPrefix(text, " FROM ")
}

func TestPeopleReadPlainEnglish(t *testing.T) {
	tr := ours(t)
	report(t, checkVoice(tr))
	for _, dir := range spoken {
		if !slices.ContainsFunc(tr.pkgs, func(p *pkg) bool { return p.dir == dir }) {
			t.Errorf("%s has moved: its texts are not checked", dir)
		}
	}
}
