package budget

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

const (
	// MaxText bounds the text of a set of rules, in bytes: four limits for each of 10,000
	// principals take 1.7 MB.
	MaxText = 4 << 20
	// PartBytes is how much of a text an entry of the log holds. A leaf is bounded.
	PartBytes = 40 << 10
	maxParts  = MaxText / PartBytes
)

// Cut returns the pieces of a text that is longer than PartBytes; none where it fits as a
// whole. The rules hold from the last piece on, and nothing of them before.
func Cut(text string) []entry.BudgetPart {
	if len(text) <= PartBytes {
		return nil
	}
	sum := sha256.Sum256([]byte(text))
	out := make([]entry.BudgetPart, 0, len(text)/PartBytes+1)
	for len(text) > 0 {
		n := min(PartBytes, len(text))
		out = append(out, entry.BudgetPart{SHA256: hex.EncodeToString(sum[:]), Rules: text[:n]})
		text = text[n:]
	}
	for i := range out {
		out[i].Part, out[i].Of = i+1, len(out)
	}
	return out
}

// Parts gathers the pieces of a text as the log has them. The zero value has none.
type Parts struct {
	sum      string
	have, of int
	text     []byte
}

// Take takes the next piece, and returns the whole text with the last one. A first piece
// begins a text in the place of another that is not whole: two who set rules at once do not
// mix them. A piece that does not follow is dropped with those before it; one that was taken
// before changes nothing.
func (p *Parts) Take(x entry.BudgetPart) (text string, whole bool) {
	same := x.SHA256 == p.sum && x.Of == p.of
	switch {
	case x.Of < 2 || x.Of > maxParts+1 || x.Part < 1 || x.Part > x.Of || len(x.Rules) > PartBytes:
		*p = Parts{}
		return "", false
	case x.Part == 1:
		*p = Parts{sum: x.SHA256, of: x.Of}
	case same && x.Part <= p.have:
		return "", false
	case !same || x.Part != p.have+1:
		*p = Parts{}
		return "", false
	}
	p.have = x.Part
	p.text = append(p.text, x.Rules...)
	if p.have < p.of {
		return "", false
	}
	text, sum := string(p.text), p.sum
	*p = Parts{}
	is := sha256.Sum256([]byte(text))
	return text, hex.EncodeToString(is[:]) == sum
}

// Read returns the text of the rules that an entry of the log puts into force; whole is false
// where parts of it are to come. A detail of a newer release is entry.ErrNewer.
func (p *Parts) Read(d entry.Detail) (text string, whole bool, err error) {
	switch d := d.(type) {
	case entry.BudgetRules:
		*p = Parts{}
		return d.Rules, true, nil
	case entry.BudgetPart:
		text, whole = p.Take(d)
		return text, whole, nil
	}
	return "", false, fmt.Errorf("a change of budgets: %w", entry.ErrNewer)
}

// Clone returns a copy that may take pieces by itself.
func (p *Parts) Clone() Parts {
	c := *p
	c.text = append([]byte(nil), p.text...)
	return c
}

// String writes the pieces for ParseParts; empty where there is none.
func (p *Parts) String() string {
	if p.have == 0 {
		return ""
	}
	return fmt.Sprintf("%s %d %d\n%s", p.sum, p.have, p.of, p.text)
}

// ParseParts reads what String wrote; anything else is ErrSnapshot.
func ParseParts(s string) (p Parts, err error) {
	if s == "" {
		return p, nil
	}
	head, text, ok := strings.Cut(s, "\n")
	words := strings.Fields(head)
	if !ok || len(words) != 3 || len(text) > MaxText {
		return p, ErrSnapshot
	}
	have, err1 := strconv.Atoi(words[1])
	of, err2 := strconv.Atoi(words[2])
	p = Parts{sum: words[0], have: have, of: of, text: []byte(text)}
	if err1 != nil || err2 != nil || have < 1 || of <= have || p.String() != s {
		return Parts{}, ErrSnapshot
	}
	return p, nil
}
