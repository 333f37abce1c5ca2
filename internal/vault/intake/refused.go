package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
)

// refused writes refused rows as they were, with a column for the reason before them, so
// that they can be mended and imported again by the same mapping.
type refused struct {
	in    *Reader
	to    func(kind string) io.Writer
	kind  string
	cards *cards.Finder
	w     io.Writer
	began bool
}

func newRefused(in *Reader, to func(kind string) io.Writer, kind string) *refused {
	if in == nil || in.format == XML {
		return nil
	}
	in.keep = true
	return &refused{in: in, to: to, kind: kind, cards: cards.New()}
}

// write writes a refused row, and reports whether it did. A row that holds a card number
// is never written, nor one that cannot be told from its neighbours.
func (r *refused) write(rej *Reject) (bool, error) {
	if rej.raw == "" || r.cards.Contains(rej.raw) {
		return false, nil
	}
	var reasons []string
	for _, f := range rej.Faults() {
		if f.Code == CodeCardNumber {
			return false, nil
		}
		reasons = append(reasons, strings.TrimSpace(f.Field+" "+f.Reason))
	}
	reason := strings.Join(reasons, "; ")
	text := ""
	if r.in.format == JSONLines {
		text = inJSON(rej.raw, reason)
	} else {
		text = r.in.head.quoted(reason) + r.in.head.comma + rej.raw
	}
	if !r.began {
		r.began = true
		if r.w = r.to(r.kind); r.w != nil && r.in.format == CSV {
			mark := ""
			if r.in.encoding != "" {
				mark = "\ufeff" // what the mapping says of the encoding is not true of this file
			}
			text = mark + reasonColumn + r.in.head.comma + r.in.head.text + "\n" + text
		}
	}
	if r.w == nil {
		return false, nil
	}
	if _, err := io.WriteString(r.w, text+"\n"); err != nil {
		return false, fmt.Errorf("writing refused rows: %w", err)
	}
	return true, nil
}

// heading is how the first line of a CSV file was written.
type heading struct{ comma, quote, text string }

// quoted writes a value of a column of ours.
func (h heading) quoted(s string) string {
	if h.quote == "" {
		return strings.ReplaceAll(s, h.comma, " ")
	}
	return h.quote + strings.ReplaceAll(s, h.quote, h.quote+h.quote) + h.quote
}

// inJSON puts the reason into a row of JSON lines. A row that is no object stays as it is.
func inJSON(raw, reason string) string {
	raw = strings.TrimSpace(raw)
	if !json.Valid([]byte(raw)) || raw[0] != '{' {
		return raw
	}
	value, err := json.Marshal(reason)
	if err != nil {
		return raw
	}
	rest := strings.TrimSpace(raw[1:])
	if rest != "}" {
		rest = "," + rest
	}
	return fmt.Sprintf("{%q:%s%s", reasonColumn, value, rest)
}

// around is what surrounds a value that holds a comma; empty: nothing can.
func (c *csvRows) around() string {
	if c.quote == noQuote {
		return ""
	}
	return string(c.quote)
}

// asWritten is the text of a row without the columns of an earlier file of refused rows,
// with the number that its id has among the lines of an order.
func (c *csvRows) asWritten(text string) string {
	for range c.ours {
		text = c.afterField(text)
	}
	return text
}

// afterField is the text after its first value.
func (c *csvRows) afterField(text string) string {
	i := 0
	if len(text) > 0 && text[0] == c.quote && c.quote != noQuote {
		for i = 1; i < len(text); i++ {
			if text[i] != c.quote {
				continue
			}
			if i++; i == len(text) || text[i] != c.quote {
				break
			}
		}
	}
	if at := indexFrom(text, min(i, len(text)), c.comma); at < len(text) {
		return text[at+1:]
	}
	return ""
}

// filled is the text of a row in which a description filled values down, and that of one
// whose id is numbered: by itself it would be another row.
func (c *csvRows) filled(text string) string {
	if c.plan == nil {
		return text
	}
	if c.plan.filled {
		var b strings.Builder
		for i, v := range c.plan.down(c.texts) {
			if i < c.ours {
				continue
			}
			if i > c.ours {
				b.WriteByte(c.comma)
			}
			if q := c.around(); q != "" && strings.ContainsAny(v, string(c.comma)+q+"\n\r") {
				v = q + strings.ReplaceAll(v, q, q+q) + q
			}
			b.WriteString(v)
		}
		text = b.String()
	}
	if c.plan.lines {
		text = strconv.Itoa(c.plan.lineN) + string(c.comma) + text
	}
	return text
}
