package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The output of a tap, and the records of a feed, are imported by a process that is killed
// wherever it stands. Sent again until it ends, everything is there once; and a state that
// was printed is of records that are there.
func TestKilledTapsAndFeedsGoOn(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	dir := filepath.Join(work, "vault")
	demoIn(t, dir, 30)
	at := env{"CLOAKROOM_DATA": dir}
	n := rarely(3000, 600)
	var tap, feed, kept strings.Builder
	tap.WriteString(`{"type":"SCHEMA","stream":"customers","schema":{"properties":{"external_id":{},"given_name":{}}},"key_properties":["external_id"]}` + "\n")
	kept.WriteString("external_id,given_name\n")
	for i := range n {
		fmt.Fprintf(&tap, `{"type":"RECORD","stream":"customers","record":{"external_id":"T-%d","given_name":"Ana"}}`+"\n", i)
		fmt.Fprintf(&tap, `{"type":"STATE","value":{"last":%d}}`+"\n", i)
		fmt.Fprintf(&feed, `{"source":"shop","position":%d,"customer":{"external_id":"T-%d","given_name":"Ana"}}`+"\n", i, i)
		fmt.Fprintf(&kept, "T-%d,Ana\n", i)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(work, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := write("kept.csv", kept.String())
	for _, c := range []struct {
		brand, in string
		args      []string
	}{
		{"tapped", write("tap.jsonl", tap.String()), []string{"import", "--singer", "--rejects", filepath.Join(work, "rejects.csv")}},
		{"fed", write("feed.jsonl", feed.String()), []string{"feed"}},
	} {
		at.run(t, "brand", "create", c.brand)
		killed, last := 0, -1 // the newest state that was printed
		for wait := 40 * time.Millisecond; ; wait += wait / 2 {
			cmd, errs := at.program(t, append(c.args, "--brand", c.brand)...)
			in, err := os.Open(c.in)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd.Stdin, cmd.Stdout = in, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(wait, func() { cmd.Process.Kill() })
			err = cmd.Wait()
			timer.Stop()
			in.Close()
			for line := range strings.Lines(out.String()) {
				var state struct{ Last int }
				if c.brand == "tapped" && strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &state) == nil {
					last = max(last, state.Last)
				}
			}
			if err == nil {
				break
			}
			if cmd.ProcessState.Exited() {
				t.Fatalf("%s: it failed: %s", c.brand, errs)
			}
			killed++
			if last >= 0 {
				// What a printed state covers is there: the customers up to it.
				lines := strings.SplitAfter(kept.String(), "\n")
				covered := write("covered.csv", strings.Join(lines[:last+2], ""))
				var got imported
				if err := json.Unmarshal([]byte(at.run(t, "import", "--brand", c.brand, "--customers", covered, "--dry-run", "--json")), &got); err != nil {
					t.Fatal(err)
				}
				if got.Customers.Unchanged != int64(last+1) {
					t.Errorf("state %d was printed before its records were there: %+v", last, got.Customers)
				}
			}
		}
		if killed == 0 {
			t.Errorf("%s: it was never killed", c.brand)
		}
		if c.brand == "tapped" && last != n-1 {
			t.Errorf("the last state is %d of %d", last, n-1)
		}
		var got imported
		if err := json.Unmarshal([]byte(at.run(t, "import", "--brand", c.brand, "--customers", whole, "--json")), &got); err != nil {
			t.Fatal(err)
		}
		if got.Customers.Unchanged != int64(n) || got.Customers.Read != int64(n) {
			t.Errorf("%s: after %d kills: %+v", c.brand, killed, got.Customers)
		}
	}
}
