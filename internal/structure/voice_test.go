package structure

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// phrase is a pattern that people must not read, and what to write instead.
type phrase struct{ pattern, instead string }

// retired are phrases that people read and that have a better word: the pattern, and what
// to write instead. Text for people says who acts, in terms of art.
var retired = []phrase{
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
	{`^horizon\b|wrong mapping`, "never stopped; mapping line N: write ..."},
}

// written are the phrases that prose must not use: documents say it so.
var written = []phrase{
	{`\bwhoever\b`, "a noun: the caller, the holder, anyone who"},
	{`\banew\b`, "again, re-"},
	{`\bmeanwhile\b|in the meantime`, "concurrently"},
	{`that there is not\b|there is nobody\b`, "no such X"},
	{`(is|are) there already\b`, "existing, exists already"},
	{`\bunder way\b`, "in flight"},
	{`\bstands? still\b|\bstood still\b`, "is stuck"},
	{`(is|are) tried again\b|\btry again\b`, "retry"},
	{`\bwas let do so\b`, "authorised"},
	{`\bfor good\b`, "permanently"},
	{`\bdecoys\b`, "canaries"},
	{`\bhonest days?\b`, "baseline period"},
}

// documents are the same, and what only a document for readers says.
var documents = []phrase{
	{`\b(goes|went) on\b`, "continues, resumes"},
	{`(is|are|was|were) told\b`, "is notified, sees"},
	{`\bhonest(ly)?\b`, "normal"},
	{`\bbeside any honest\b|\bwhence\b|\bwhomever\b`, "a noun"},
	{`^## what there is not|^## what is not there|^## letting it go on`, "Limits, Undoing"},
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
				for _, r := range retired {
					if found := compiled(r.pattern).FindString(explained(strings.ToLower(text))); found != "" {
						faults = append(faults, fmt.Sprintf("%s: %q: write %q", t.at(lit.Pos()), found, r.instead))
					}
				}
				return true
			})
		}
	}
	return faults
}

// patterns are those that were compiled: thousands of comments are held against each.
var patterns sync.Map

func compiled(pattern string) *regexp.Regexp {
	if re, ok := patterns.Load(pattern); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(pattern)
	patterns.Store(pattern, re)
	return re
}

// quoted is a name or a command within prose.
var quoted = regexp.MustCompile("`[^`]*`|\"[^\"]*\"|\\([^)]*\\.md[^)]*\\)")

// prose finds retired phrases in one text.
func prose(at, text string, phrases []phrase) []string {
	var faults []string
	text = strings.ToLower(quoted.ReplaceAllString(text, ""))
	for _, r := range phrases {
		if found := compiled(r.pattern).FindString(text); found != "" {
			faults = append(faults, fmt.Sprintf("%s: %q: write %q", at, found, r.instead))
		}
	}
	return faults
}

// Every document, line by line: those of docs, and the README.
func TestDocumentsArePlainEnglish(t *testing.T) {
	root := filepath.Join("..", "..")
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	names = append(names, filepath.Join(root, "README.md"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			at := fmt.Sprintf("%s:%d", filepath.Base(name), i+1)
			report(t, append(prose(at, line, written), prose(at, line, documents)...))
		}
	}
	if len(prose("x", "Whoever asks is told; the word `anew` stays.", slices.Concat(written, documents))) != 2 {
		t.Error("planted phrases are not found")
	}
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
