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
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

type feedCmd struct {
	forBrand
	File string `arg:"" optional:"" help:"File of JSON lines, a record each; - or nothing reads standard input." default:"-" placeholder:"FILE"`
}

// Help is the long help text.
func (feedCmd) Help() string {
	return `A record names its source, its place there (position, or changed_at) and a customer or a
purchase. Records may come in any order and any number of times: the newest stays. With
"op": "d" a record asks for the erasure of a customer; nobody is erased. A line that is no
record is refused by itself, and those beside it go in.

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
	// feedBytes is about how much of them goes at once, far below what a request may have.
	feedBytes = 8 << 20
	// feedListed is how many refused records are listed. A source that has a fault in every
	// record does not fill the memory.
	feedListed = 1000
)

// fedCounts is the answer to --json.
type fedCounts struct {
	Read     int64        `json:"read"`
	Accepted int64        `json:"accepted"`
	Rejected int64        `json:"rejected"`
	Refused  []fedRefused `json:"refused"` // the first ones
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
		fmt.Fprintf(w, "records: %d read, %d accepted, %d refused\n", out.Read, out.Accepted, out.Rejected)
		for _, r := range out.Refused {
			for _, f := range append([]api.Fault{{Field: r.Reject.Field, Code: r.Reject.Code, Reason: r.Reject.Reason}}, r.Reject.Also...) {
				fmt.Fprintf(w, "  line %d: %s: %s\n", r.Line, f.Code, strings.TrimSpace(f.Field+" "+f.Reason))
			}
		}
		if more := out.Rejected - int64(len(out.Refused)); more > 0 {
			fmt.Fprintf(w, "  and %d more\n", more)
		}
	})
	if err = errors.Join(err, perr); err == nil && out.Rejected > 0 {
		err = &rejectedError{out.Rejected, "the list above"}
	}
	return err
}

// send gives the records to the vault. A line that is none is refused by itself, there or
// here: those beside it go in, and a source that sends on does not stand still.
func (c *feedCmd) send(ctx context.Context, v *connection, in io.Reader, out *fedCounts) error {
	lines := bufio.NewReaderSize(in, feedLine)
	var records []json.RawMessage
	var at []int64
	bytesOf := 0
	give := func() error {
		if len(records) == 0 {
			return nil
		}
		fed, err := v.FeedRaw(ctx, c.Brand, records)
		if err != nil {
			return err
		}
		for i, r := range fed.Records {
			if r.Accepted {
				out.Accepted++
			} else if r.Reject != nil {
				out.refuse(at[i], *r.Reject)
			}
		}
		out.Read += int64(len(records))
		records, at, bytesOf = records[:0], at[:0], 0
		return nil
	}
	for line := int64(1); ; line++ {
		text, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return errors.Join(give(), fmt.Errorf("reading after line %d: %w", line-1, err))
		}
		switch text = bytes.TrimSpace(text); {
		case long:
			out.Read++
			out.refuse(line, api.Reject{Code: intake.CodeRowTooLong, Reason: "is longer than 256 KiB"})
		case len(text) == 0:
		case !json.Valid(text):
			out.Read++
			out.refuse(line, api.Reject{Code: intake.CodeBadRow, Reason: "is not JSON"})
		default:
			records, at = append(records, bytes.Clone(text)), append(at, line)
			bytesOf += len(text)
		}
		if len(records) == feedBatch || bytesOf >= feedBytes || err == io.EOF {
			if err := give(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// refuse counts a record that was refused, and lists it while the list is short.
func (f *fedCounts) refuse(line int64, r api.Reject) {
	f.Rejected++
	if len(f.Refused) < feedListed {
		f.Refused = append(f.Refused, fedRefused{line, r})
	}
}
