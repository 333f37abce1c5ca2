package claim_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/respond/claim"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// house is a vault with some hundred customers and people who read some of them.
type house struct {
	*apptest.House
	t      *testing.T
	tokens []string
	lead   identity.Caller
}

func customer(i int) api.Fields {
	return api.Fields{"external_id": fmt.Sprint("C-", i), "given_name": "Zoe", "family_name": fmt.Sprint("Rossi ", i), "email": fmt.Sprintf("zoe%d@mail.example", i),
		"phone": fmt.Sprintf("+3906555%05d", i), "city": "Rome"}
}

// each opens a vault of each engine with n customers.
func each(t *testing.T, n int, test func(t *testing.T, h *house)) {
	apptest.Each(t, func(t *testing.T, x *apptest.House) {
		h := &house{House: x, t: t}
		for from := 0; from < n; from += 100 {
			var some []api.Fields
			for i := from; i < min(from+100, n); i++ {
				some = append(some, customer(i))
			}
			h.tokens = append(h.tokens, h.Put("gucci", some...)...)
		}
		h.lead = h.Person("lead", map[string]string{"gucci": access.IncidentResponder, "group": access.IncidentResponder})
		test(t, h)
	})
}

func (h *house) reveal(c identity.Caller, from, to int) {
	h.t.Helper()
	for ; from < to; from += 50 {
		_, err := h.Disclose.Reveal(h.t.Context(), c, "gucci", api.RevealRequest{Tokens: h.tokens[from:min(from+50, to)], Fields: []string{"given_name", "family_name", "email", "phone", "city"}, Purpose: "order-fulfilment"})
		h.Must(err)
	}
}

func (h *house) reader(name string) identity.Caller {
	return h.Person(name, map[string]string{"gucci": access.Application})
}

// sample writes customers as a stranger's list.
func sample(rows ...api.Fields) string {
	b := strings.Builder{}
	b.WriteString("email,given_name,family_name,phone,city\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "%s,%s,%s,%s,%s\n", r["email"], r["given_name"], r["family_name"], r["phone"], r["city"])
	}
	return b.String()
}

func stranger(i int) api.Fields {
	return api.Fields{"email": fmt.Sprintf("nobody%d@other.example", i), "given_name": "Max", "family_name": "Stone", "phone": fmt.Sprintf("+4930555%05d", i), "city": "Ulm"}
}

func several(from, to int, of func(int) api.Fields) (out []api.Fields) {
	for i := from; i < to; i++ {
		out = append(out, of(i))
	}
	return out
}

func request(text string, rows int) api.ClaimRequest {
	sum := sha256.Sum256([]byte(text))
	return api.ClaimRequest{Rows: rows, Digest: hex.EncodeToString(sum[:])}
}

func (h *house) ask(ctx context.Context, req api.ClaimRequest, text string) (*api.Claim, error) {
	k, err := h.Claims.Begin(ctx, h.lead, "gucci", req)
	if err != nil {
		return nil, err
	}
	if err := k.Read(ctx, strings.NewReader(text)); err != nil {
		return nil, err
	}
	return k.Answer(ctx)
}

// check asks with rounded figures.
func (h *house) check(text string, rows int) *api.Claim {
	h.t.Helper()
	x, err := h.ask(h.t.Context(), request(text, rows), text)
	h.Must(err)
	return x
}

// exactly asks with exact figures, which takes a second person once two exist.
func (h *house) exactly(text string, rows int) *api.Claim {
	h.t.Helper()
	req := request(text, rows)
	req.Exact = true
	x, err := h.ask(h.t.Context(), req, text)
	if pending := (*change.PendingError)(nil); errors.As(err, &pending) {
		h.Approve(err)
		x, err = h.ask(h.t.Context(), req, text)
	}
	h.Must(err)
	return x
}

// A sample of what a thief was shown names the thief and nobody else; what was not theirs,
// and what was altered, is counted; each step is in the log, and the sample is not.
func TestASampleIsTracedToItsDisclosure(t *testing.T) {
	each(t, 300, func(t *testing.T, h *house) {
		thief, other := h.reader("thief"), h.reader("other")
		h.reveal(other, 20, 300)
		h.reveal(thief, 100, 160)
		rows := several(105, 155, customer)
		rows[0]["family_name"], rows[1]["family_name"] = "Smith", "Smith"
		for i := range rows[:20] {
			rows[i]["email"] = strings.ToUpper(rows[i]["email"])
		}
		rows = append(rows, several(0, 5, stranger)...)
		text := sample(rows...)
		before := h.Size("gucci")
		x := h.exactly(text, 55)
		p := x.Brands[0]
		if x.Verdict != api.ClaimExplained || p.Ours != 50 || p.NotOurs != 5 || p.Altered != 2 || p.Customers != 50 || p.Tie != 1 {
			t.Fatalf("%+v", x)
		}
		names := p.Sources[0].Names
		if !slices.ContainsFunc(names, func(n api.ClaimName) bool { return n.Kind == "principal" && n.ID == "thief" }) ||
			!slices.ContainsFunc(names, func(n api.ClaimName) bool { return n.Kind == "credential" && n.Of == "thief" }) || p.Sources[0].Covered != 50 || p.Sources[0].Size != 60 {
			t.Errorf("%+v", p.Sources)
		}
		logged := strings.Join(h.Logged("gucci", before), "\n")
		if !strings.Contains(logged, "change=begin") || !strings.Contains(logged, "rows=55") || !strings.Contains(logged, "change=judge") || !strings.Contains(logged, x.Digest) {
			t.Errorf("the log says %s", logged)
		}
		if strings.Contains(logged, "mail.example") || strings.Contains(logged, "other.example") {
			t.Error("the log has a value of the sample")
		}
		again, err := h.Claims.Show(t.Context(), h.lead, "gucci", x.Entry)
		h.Must(err)
		list, err := h.Claims.List(t.Context(), h.lead, "gucci")
		h.Must(err)
		if again.Verdict != x.Verdict || again.Brands[0].Sources[0].Covered != 50 || len(list) != 1 || list[0].Digest != x.Digest {
			t.Errorf("%+v, %+v", again, list)
		}
		if _, err := h.Claims.Show(t.Context(), h.lead, "gucci", before); !errors.Is(err, claim.ErrNone) {
			t.Errorf("an entry that is no answer: %v", err)
		}
		var page bytes.Buffer
		h.Must(claim.Page(&page, x))
		if !strings.Contains(page.String(), "principal thief") || !strings.Contains(page.String(), "@media print") {
			t.Error("the page lacks what it should say")
		}
	})
}

// The answer is kept with its incident, and told in its timeline.
func TestAClaimIsKeptWithItsIncident(t *testing.T) {
	each(t, 60, func(t *testing.T, h *house) {
		ctx := t.Context()
		x, err := h.Incident.Open(ctx, h.lead, "gucci", api.IncidentRequest{Title: "a ransom mail"})
		h.Must(err)
		text := sample(several(0, 40, customer)...)
		req := request(text, 40)
		req.Incident = x.ID
		_, err = h.ask(ctx, req, text)
		h.Must(err)
		x, err = h.Incident.Incident(ctx, h.lead, "gucci", x.ID)
		h.Must(err)
		told := fmt.Sprintf("%+v", x.Timeline)
		if !strings.Contains(told, "a sample of 40 rows held against the customers") || !strings.Contains(told, "claim answered") {
			t.Error(told)
		}
		_, err = h.Incident.Close(ctx, h.lead, "gucci", x.ID, api.CloseIncidentRequest{Summary: "done"})
		h.Must(err)
		if _, err := h.ask(ctx, req, text); err == nil {
			t.Error("a closed incident took another answer")
		}
		req.Incident = "99"
		if _, err := h.ask(ctx, req, text); err == nil {
			t.Error("an incident that does not exist took an answer")
		}
	})
}

// Every row counts, found or not, before any is looked up; a budget that is used up refuses
// whatever the rows are, and with the same words.
func TestEveryRowOfASampleCounts(t *testing.T) {
	each(t, 60, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.TwoPeople()
		strangers := sample(several(0, 600, stranger)...)
		h.check(strangers, 600)
		ours, theirs := sample(append(several(0, 60, customer), several(0, 400, stranger)...)...), sample(several(1000, 1460, stranger)...)
		size := h.Size("gucci")
		_, err1 := h.ask(ctx, request(ours, 460), ours)
		_, err2 := h.ask(ctx, request(theirs, 460), theirs)
		var full *budget.ExhaustedError
		if !errors.As(err1, &full) || full.Class != budget.Claim || err2 == nil || err1.Error() != err2.Error() {
			t.Errorf("%v; %v", err1, err2)
		}
		for _, line := range h.Logged("gucci", size) {
			if strings.Contains(line, "change=judge") || strings.Contains(line, "change=begin") {
				t.Errorf("a claim beyond the budget was made: %s", line)
			}
		}
		h.Later(time.Hour + 10*time.Minute)
		h.check(ours, 460)
	})
}

// A sample that says fewer rows than it has, or is another, is answered nothing.
func TestAnotherSampleIsAnsweredNothing(t *testing.T) {
	each(t, 60, func(t *testing.T, h *house) {
		text := sample(several(0, 40, customer)...)
		if _, err := h.ask(t.Context(), request(text, 39), text); !errors.Is(err, claim.ErrOther) {
			t.Errorf("more rows than announced: %v", err)
		}
		if _, err := h.ask(t.Context(), request(text+"x", 40), text); !errors.Is(err, claim.ErrOther) {
			t.Errorf("another digest: %v", err)
		}
		if _, err := h.ask(t.Context(), api.ClaimRequest{Rows: 40, Digest: "zz"}, text); !errors.Is(err, claim.ErrRequest) {
			t.Errorf("no digest: %v", err)
		}
	})
}

// A sample of more than a thousand rows, and exact figures of any, take a second person,
// for this sample and no other.
func TestALargeSampleTakesTwoPeople(t *testing.T) {
	each(t, 60, func(t *testing.T, h *house) {
		h.TwoPeople()
		ctx := t.Context()
		text := sample(append(several(0, 60, customer), several(0, 1041, stranger)...)...)
		_, err := h.ask(ctx, request(text, 1101), text)
		h.Approve(err)
		other := sample(several(0, 1101, stranger)...)
		var pending *change.PendingError
		if _, err := h.ask(ctx, request(other, 1101), other); !errors.As(err, &pending) {
			t.Errorf("another sample under the same approval: %v", err)
		}
		x, err := h.ask(ctx, request(text, 1101), text)
		h.Must(err)
		if !x.Exact || x.Brands[0].Ours != 60 {
			t.Errorf("%+v", x)
		}
		if _, err := h.ask(ctx, request(text, 1101), text); !errors.As(err, &pending) {
			t.Errorf("an approval served twice: %v", err)
		}
		few := sample(several(0, 60, customer)...)
		req := request(few, 60)
		req.Exact = true
		if _, err := h.ask(ctx, req, few); !errors.As(err, &pending) {
			t.Errorf("exact figures by one person: %v", err)
		}
	})
}

// A caller who pads one address with strangers, or with a few known customers, learns
// nothing about it: the whole answer is the same. Exact figures of a few rows do not exist.
func TestAClaimDoesNotTellWhetherOnePersonIsACustomer(t *testing.T) {
	each(t, 60, func(t *testing.T, h *house) {
		answer := func(rows ...api.Fields) string {
			x := h.check(sample(rows...), len(rows))
			x.Entry, x.At, x.Digest, x.Brands[0].Begun = 0, time.Time{}, "", 0
			b, err := json.Marshal(x)
			h.Must(err)
			return string(b)
		}
		for _, c := range []struct{ known, strangers int }{{0, 0}, {0, 24}, {0, 120}, {4, 0}, {4, 40}} {
			pad := append(several(10, 10+c.known, customer), several(0, c.strangers, stranger)...)
			is, not := answer(append(pad, customer(1))...), answer(append(pad, stranger(999))...)
			if is != not {
				t.Errorf("beside %d customers and %d strangers a customer is told from a stranger:\n%s\n%s", c.known, c.strangers, is, not)
			}
		}
		text := sample(customer(1))
		req := request(text, 1)
		req.Exact = true
		if _, err := h.ask(t.Context(), req, text); !errors.Is(err, claim.ErrFew) {
			t.Errorf("exact figures of one row: %v", err)
		}
	})
}

// Rows that carry values which were replaced, and others that carry values which came into
// force, say between which days the list was taken.
func TestValuesInTimeDateASample(t *testing.T) {
	each(t, 120, func(t *testing.T, h *house) {
		reader := h.reader("reader")
		h.reveal(reader, 0, 120)
		move := func(from, to int, city string) {
			var some []api.Fields
			for i := from; i < to; i++ {
				c := customer(i)
				c["city"] = city
				some = append(some, c)
			}
			h.Put("gucci", some...)
		}
		h.Later(24 * time.Hour)
		move(0, 15, "Oslo")
		first := time.Now().Add(24 * time.Hour)
		h.Later(48 * time.Hour)
		h.reveal(h.reader("thief"), 0, 100)
		stolen := several(0, 80, customer)
		for i := range 15 {
			stolen[i]["city"] = "Oslo"
		}
		h.Later(24 * time.Hour)
		move(15, 40, "Bern")
		second := time.Now().Add(96 * time.Hour)
		h.Later(24 * time.Hour)
		x := h.exactly(sample(stolen...), 80)
		w := x.Brands[0].When
		near := func(a, b time.Time) bool { return a.Sub(b).Abs() < 2*time.Hour }
		if w == nil || !near(w.From, first) || !near(w.To, second) || w.Since != 15 || w.Until != 25 || w.Against != 0 || x.Brands[0].Former != 25 {
			t.Fatalf("%+v of %+v, between %v and %v", w, x.Brands[0], first, second)
		}
		if !slices.ContainsFunc(x.Brands[0].Sources[0].Names, func(n api.ClaimName) bool { return n.ID == "thief" }) {
			t.Errorf("%+v", x.Brands[0].Sources) // the reader saw these customers before the values were in force
		}
		words := strings.Join(x.Brands[0].Words, "\n")
		if !strings.Contains(words, "25 rows carry a value that was replaced on that day") || !strings.Contains(words, "15 rows carry") {
			t.Error(words)
		}
	})
}

// A customer who was erased since is not matched, and the answer says so.
func TestTheErasedAreNotMatched(t *testing.T) {
	each(t, 60, func(t *testing.T, h *house) {
		officer := h.Person("officer", map[string]string{"gucci": access.DataProtectionOfficer})
		h.reveal(h.reader("thief"), 0, 60)
		for _, token := range h.tokens[:3] {
			_, err := h.Erase.Erase(t.Context(), officer, "gucci", token, false)
			h.Must(err)
		}
		x := h.exactly(sample(several(0, 60, customer)...), 60)
		p := x.Brands[0]
		if p.Erased != 3 || p.Ours != 57 || p.NotOurs != 3 || p.Sources[0].Covered != 57 || !strings.Contains(strings.Join(p.Words, "\n"), "3 customers were erased since") {
			t.Errorf("%+v", p)
		}
	})
}

// Bad days: what the list is written in, and what stands in it, does not change the answer.
func TestBadSamples(t *testing.T) {
	each(t, 700, func(t *testing.T, h *house) {
		h.reveal(h.reader("all"), 0, 700)
		h.reveal(h.reader("thief"), 20, 60)
		stolen := several(22, 58, customer)
		plain := sample(stolen...)
		wide := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(plain)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		dump := strings.Builder{}
		dump.WriteString("CREATE TABLE `c` (\n `id` int,\n `email` text,\n `phone` text\n);\nINSERT INTO `c` VALUES ")
		for i, r := range stolen {
			fmt.Fprintf(&dump, "(%d,'%s','%s'),", i, r["email"], r["phone"])
		}
		cards := strings.ReplaceAll(plain, ",Rome\n", ",4111 1111 1111 1111\n")
		nine := strings.Builder{}
		nine.WriteString(plain)
		for range 9 {
			_, rows, _ := strings.Cut(plain, "\n")
			nine.WriteString(rows)
		}
		explained := func(name string, x *api.Claim, ours int) {
			t.Helper()
			p := x.Brands[0]
			if x.Verdict != api.ClaimExplained || p.Ours != ours || p.Tie != 1 || !slices.ContainsFunc(p.Sources[0].Names, func(n api.ClaimName) bool { return n.ID == "thief" }) {
				t.Errorf("%s: %s, %d ours, %+v", name, x.Verdict, p.Ours, p.Sources)
			}
		}
		explained("UTF-16", h.exactly(string(wide), 36), 36)
		explained("a wrong delimiter", h.exactly(strings.ReplaceAll(strings.Replace(plain, "email,given_name", "email, given_name", 1), ",", ";"), 36), 36)
		explained("a dump", h.exactly(strings.TrimSuffix(dump.String(), ",")+";\n", 36), 36)
		x := h.exactly(cards, 36)
		explained("cards", x, 36)
		if x.Read.Cards != 36 {
			t.Errorf("%d rows with cards", x.Read.Cards)
		}
		x = h.exactly(nine.String(), 360)
		explained("90 % repeats", x, 360)
		if x.Brands[0].Customers != 36 || x.Read.Repeated != 324 {
			t.Errorf("%d customers, %d repeats", x.Brands[0].Customers, x.Read.Repeated)
		}
		half := h.exactly(sample(append(slices.Clone(stolen), several(0, 36, stranger)...)...), 72)
		explained("half invented", half, 36)
		if half.Brands[0].NotOurs != 36 {
			t.Errorf("%d rows are nobody's", half.Brands[0].NotOurs)
		}
		rival := h.exactly(sample(append(several(0, 20, customer), several(0, 400, stranger)...)...), 420)
		if rival.Verdict == api.ClaimExplained || rival.Verdict == api.ClaimOurs {
			t.Errorf("a competitor's list that shares 20 people: %+v", rival)
		}
		mails := strings.Builder{}
		mails.WriteString("We have your customers. Here is the proof.\n")
		for _, r := range stolen {
			fmt.Fprintf(&mails, "- %s, who lives in Rome\n", r["email"])
		}
		explained("a mail", h.exactly(mails.String(), 36), 36)
	})
}

// Nothing of a sample is on disk in clear.
func TestASampleIsNotStored(t *testing.T) {
	h := &house{House: apptest.Open(t), t: t}
	h.tokens = h.Put("gucci", several(0, 60, customer)...)
	h.lead = h.Person("lead", map[string]string{"gucci": access.IncidentResponder})
	h.exactly(sample(append(several(0, 40, customer), several(0, 40, stranger)...)...), 80)
	entries, err := os.ReadDir(h.Dir)
	h.Must(err)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(h.Dir + "/" + e.Name())
		h.Must(err)
		if bytes.Contains(b, []byte("nobody7@other")) || bytes.Contains(b, []byte("zoe7@mail")) {
			t.Errorf("%s has a value of the sample", e.Name())
		}
	}
}
