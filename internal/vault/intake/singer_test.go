package intake

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// tapped runs a tap's output into a sink, and returns the states that were given.
func tapped(t *testing.T, to Taker, mapping, text string, o Options) (r Report, states []string, rejects string, err error) {
	t.Helper()
	m, err := ParseMapping([]byte(mapping))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	o.Rejects, o.MaxRejects = &b, -1
	r, err = Singer(t.Context(), Rows(to), SingerInput{Name: "tap", From: strings.NewReader(text), Mapping: m, State: func(v []byte) error {
		states = append(states, string(v))
		return nil
	}}, o)
	return r, states, b.String(), err
}

func shopTap(t *testing.T) (mapping, text string) {
	t.Helper()
	m, err := os.ReadFile("testdata/singer/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("testdata/singer/shop.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return string(m), string(b)
}

// A tap's streams go in as they are interleaved: nested properties, a SCHEMA that grows,
// an order before its customer, a stream that is dropped.
func TestSingerImportsATap(t *testing.T) {
	t.Parallel()
	mapping, text := shopTap(t)
	to := newMemory()
	r, states, rejects, err := tapped(t, to, mapping, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Customers; c.Read != 4 || c.New != 3 || c.Superseded != 1 || c.Rejected != 0 {
		t.Errorf("customers: %+v", c)
	}
	if c := r.Purchases; c.Read != 2 || c.New != 1 || c.Rejected != 1 || c.RejectedBy[CodeNoCustomer] != 1 {
		t.Errorf("purchases: %+v", c)
	}
	if r.Amounts["EUR"] != "95.10" {
		t.Errorf("amounts: %v", r.Amounts)
	}
	ana := to.customers["1"]
	if ana.Get(record.Email) != "ana.rossi@example.com" || ana.Get(record.FamilyName) != "Rossi" || ana.Attributes["points"] != "120" {
		t.Errorf("%+v", ana)
	}
	if len(states) != 1 || !strings.Contains(states[0], `"number":"O-2"`) {
		t.Errorf("states: %q", states)
	}
	if !strings.Contains(rejects, "tap,13,,no-customer") {
		t.Errorf("rejects: %s", rejects)
	}
	// The tap runs again from an old state: nothing changes.
	r, _, _, err = tapped(t, to, mapping, text, Options{})
	if err != nil || r.Customers.New != 0 || r.Purchases.New != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
}

// A state is given once all records before it are in the vault, and never before.
func TestSingerGivesAStateAfterItsRecords(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"type":"SCHEMA","stream":"customers","schema":{"properties":{"external_id":{},"email":{}}},"key_properties":["external_id"]}` + "\n")
	for i := range 1000 {
		fmt.Fprintf(&b, `{"type":"RECORD","stream":"customers","record":{"external_id":"A%d","email":"a%d@example.com"}}`+"\n", i, i)
		if i%10 == 9 {
			fmt.Fprintf(&b, `{"type":"STATE","value":%d}`+"\n", i+1)
		}
	}
	for _, kill := range []int{0, 57, 333, 999} { // after how many customers the vault fails; 0: never
		to := newMemory()
		taker := failing{to, kill}
		given := 0
		_, err := Singer(t.Context(), Rows(&taker), SingerInput{From: strings.NewReader(b.String()), State: func(v []byte) error {
			var n int
			if _, err := fmt.Sscan(string(v), &n); err != nil || len(to.customers) < n {
				t.Errorf("state %s is given with %d customers in: %v", v, len(to.customers), err)
			}
			given = n
			return nil
		}}, Options{MaxRejects: -1})
		if (err == nil) != (kill == 0) || kill == 0 && given != 1000 {
			t.Errorf("fails after %d: %v, the last state is %d", kill, err, given)
		}
	}
}

// failing fails once it has so many customers.
type failing struct {
	*memory
	after int
}

func (f *failing) Customers(ctx context.Context, rows []CustomerRow) ([]Result, error) {
	if f.after > 0 && len(f.customers)+len(rows) > f.after {
		return nil, io.ErrClosedPipe
	}
	return f.memory.Customers(ctx, rows)
}

// What cannot be imported stops the tap or is listed, and no message holds what it sent.
func TestSingerSaysNothingOfRecords(t *testing.T) {
	t.Parallel()
	mapping, text := shopTap(t)
	lines := strings.SplitAfter(text, "\n")
	const secret = "secret@example.com"
	for name, c := range map[string]struct{ text, want string }{
		"a tap that prints a record in its error": {lines[0] + "Traceback: could not send {'email': '" + secret + "'}\n", "line 2 is no Singer message"},
		"a record without its schema":             {`{"type":"RECORD","stream":"users","record":{"email":"` + secret + `"}}`, "whose SCHEMA did not come before it"},
		"a type of its own":                       {`{"type":"` + secret + `"}`, "has a type that Singer does not know"},
		"a mapped property vanishes":              {strings.Join(lines[:3], "") + `{"type":"SCHEMA","stream":"users","schema":{"properties":{"id":{},"` + secret + `":{}}}}`, "SCHEMA of stream 1"},
		"a stream that nothing is said of":        {`{"type":"SCHEMA","stream":"` + secret + `","schema":{"properties":{}}}`, "declares stream 1, of which the mapping says nothing"},
		"a batch":                                 {lines[0] + `{"type":"BATCH","stream":"users"}`, "BATCH"},
		"a long line":                             {lines[0] + `{"type":"RECORD","stream":"users","record":{"id":"` + strings.Repeat(secret, 20_000) + `"}}`, "longer than 256 KiB"},
		"bytes that are no text":                  {lines[0] + "\xff\xfe\n", "line 2 is no Singer message"},
	} {
		_, states, rejects, err := tapped(t, newMemory(), mapping, c.text, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error()+rejects, secret) || len(states) > 0 {
			t.Errorf("%s: %v, states %q", name, err, states)
		}
	}
	for name, rec := range map[string]string{
		CodeBadRow:            `{"id":["` + secret + `"]}`,
		CodeUnknownColumn:     `{"id":1,"` + secret + `":1}`,
		CodeDeleted:           `{"id":1,"_sdc_deleted_at":"2024-05-31T00:00:00Z"}`,
		CodeMissingExternalID: `{"id":null,"email":"` + secret + `"}`,
		CodeCardNumber:        `{"id":1,"email":"4111 1111 1111 1111"}`,
		CodeBadField:          `{"id":1,"created":"` + secret + `"}`,
	} {
		r, _, rejects, err := tapped(t, newMemory(), mapping, lines[0]+`{"type":"RECORD","stream":"users","record":`+rec+`}`, Options{})
		if err != nil || r.Customers.RejectedBy[name] != 1 || r.Customers.Read != 1 || strings.Contains(rejects, secret) || strings.Contains(rejects, "4111") {
			t.Errorf("%s: %+v, %v: %s", name, r.Customers, err, rejects)
		}
	}
}

// A mapped property that the next SCHEMA lacks stops the import, also where the mapping
// could do without it.
func TestSingerStopsWhereAMappedPropertyVanishes(t *testing.T) {
	t.Parallel()
	const mapping = "streams: {u: customers}\ncustomers: {external_id: id, email: {from: mail, optional: true}}\n"
	schema := func(props string) string {
		return `{"type":"SCHEMA","stream":"u","schema":{"properties":{` + props + `}}}` + "\n"
	}
	rec := `{"type":"RECORD","stream":"u","record":{"id":"A1"}}` + "\n"
	if _, _, _, err := tapped(t, newMemory(), mapping, schema(`"id":{}`)+rec, Options{}); err != nil {
		t.Errorf("never there: %v", err)
	}
	_, _, _, err := tapped(t, newMemory(), mapping, schema(`"id":{},"mail":{}`)+rec+schema(`"id":{}`)+rec, Options{})
	if err == nil || !strings.Contains(err.Error(), "without a property that was mapped before") {
		t.Errorf("vanished: %v", err)
	}
}
