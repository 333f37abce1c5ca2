package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cloakroom/cloakroom/api"
)

type feedCmd struct {
	forBrand
	File string `arg:"" optional:"" help:"File of JSON lines, a record each; - or nothing reads standard input." default:"-" placeholder:"FILE"`
}

// Help is the long help text.
func (feedCmd) Help() string {
	return `A record names its source, its place there (position, or changed_at) and a customer or a
purchase. Records may come in any order and any number of times: the newest stays. With
"op": "d" a record asks for the erasure of a customer; nobody is erased.

  {"source":"shop","position":7,"customer":{"external_id":"A1","email":"ana@example.com"}}
  {"source":"shop","changed_at":"2024-05-31T12:00:00Z","purchase":{"external_id":"A1","purchase_id":"O-1","at":"2024-05-31","amount":"9.50","currency":"EUR"}}

  tail -f records.jsonl | cloakroom feed --brand gucci

EXIT STATUS: 0 all records accepted, 1 failed, 2 wrong command line, 3 some records were
refused, 130 interrupted.`
}

const (
	// feedBatch is how many records go to the vault at once.
	feedBatch = 1000
	// feedLine bounds one record.
	feedLine = 256 << 10
)

// fedCounts is the answer to --json.
type fedCounts struct {
	Read     int64        `json:"read"`
	Accepted int64        `json:"accepted"`
	Refused  []fedRefused `json:"refused"`
}

type fedRefused struct {
	Line   int64      `json:"line"`
	Reject api.Reject `json:"reject"`
}

// Run sends records.
func (c *feedCmd) Run(ctx context.Context, std Streams) (err error) {
	in := std.In
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("opening the records: %w", err)
		}
		defer f.Close()
		in = f
	}
	out := fedCounts{Refused: []fedRefused{}}
	err = c.with(ctx, std, func(v *connection) error { return c.send(ctx, v, in, &out) })
	perr := c.print(std, out, func(w io.Writer) {
		fmt.Fprintf(w, "records: %d read, %d accepted, %d refused\n", out.Read, out.Accepted, len(out.Refused))
		for _, r := range out.Refused {
			for _, f := range append([]api.Fault{{Field: r.Reject.Field, Code: r.Reject.Code, Reason: r.Reject.Reason}}, r.Reject.Also...) {
				fmt.Fprintf(w, "  line %d: %s: %s %s\n", r.Line, f.Code, f.Field, f.Reason)
			}
		}
	})
	if err = errors.Join(err, perr); err == nil && len(out.Refused) > 0 {
		err = &rejectedError{int64(len(out.Refused)), "the list above"}
	}
	return err
}

func (c *feedCmd) send(ctx context.Context, v *connection, in io.Reader, out *fedCounts) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), feedLine)
	var records []api.FeedRecord
	var at []int64
	give := func() error {
		if len(records) == 0 {
			return nil
		}
		fed, err := v.Feed(ctx, c.Brand, records)
		if err != nil {
			return err
		}
		for i, r := range fed.Records {
			if out.Read++; r.Accepted {
				out.Accepted++
			} else if r.Reject != nil {
				out.Refused = append(out.Refused, fedRefused{at[i], *r.Reject})
			}
		}
		records, at = records[:0], at[:0]
		return nil
	}
	line := int64(0)
	for lines.Scan() {
		line++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		var r api.FeedRecord
		if dec.Decode(&r) != nil { // which quotes what stands there
			return errors.Join(give(), fmt.Errorf("line %d is no record: see cloakroom feed --help. The records before it were sent", line))
		}
		records, at = append(records, r), append(at, line)
		if len(records) == feedBatch {
			if err := give(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return errors.Join(give(), fmt.Errorf("reading after line %d: %w", line, err))
	}
	return give()
}
