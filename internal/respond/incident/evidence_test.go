package incident_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
)

func vkey(t *testing.T, h *apptest.House, brand string) string {
	t.Helper()
	k, err := h.Ledger.LogKey(t.Context(), h.Brand(brand))
	h.Must(err)
	return k
}

// begin begins a file.
func begin(ctx context.Context, h *apptest.House, c identity.Caller, brand, id string, req api.EvidenceRequest) (*incident.File, error) {
	x, err := h.Incident.BeginEvidence(ctx, c, brand, id, req)
	if err != nil {
		return nil, err
	}
	return h.Incident.Evidence(ctx, c, brand, id, x.Number)
}

func write(t *testing.T, h *apptest.House, c identity.Caller, brand, id string, req api.EvidenceRequest) (file []byte, digest string) {
	t.Helper()
	f, err := begin(t.Context(), h, c, brand, id, req)
	h.Must(err)
	var b bytes.Buffer
	digest, err = f.Write(t.Context(), &b)
	h.Must(err)
	return b.Bytes(), digest
}

func check(t *testing.T, file []byte, keys ...string) (*evidence.FileReport, error) {
	t.Helper()
	return evidence.VerifyFile(t.Context(), bytes.NewReader(file), int64(len(file)), evidence.FileKeys{Logs: keys})
}

// theft opens an incident of the group in which a thief read at two brands.
func theft(t *testing.T, h *apptest.House) (lead identity.Caller) {
	ctx := t.Context()
	thief := h.Person("thief", map[string]string{"gucci": access.Application, "balenciaga": access.Application})
	lead = h.Person("lead", map[string]string{"group": access.IncidentResponder})
	gucci, balenciaga := h.Put("gucci", customers(6)...), h.Put("balenciaga", customers(3)...)
	reveal(t, h, thief, "gucci", gucci[:3]...)
	reveal(t, h, thief, "balenciaga", balenciaga[:2]...)
	_, err := h.Incident.Open(ctx, lead, "group", api.IncidentRequest{Title: "connected app", Source: "report", Brands: []string{"gucci", "balenciaga"}})
	h.Must(err)
	_, err = h.Incident.Fact(ctx, lead, "group", "1", api.FactRequest{Name: "note", Text: "seen by the help desk", Said: "Dana, by phone"})
	h.Must(err)
	filter := api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}}
	_, err = h.Incident.Scope(ctx, lead, "group", "1", filter)
	h.Must(err)
	reveal(t, h, thief, "gucci", gucci[2:5]...)
	_, err = h.Incident.Scope(ctx, lead, "group", "1", filter)
	h.Must(err)
	return lead
}

// Evidence of a group's incident is checked with the group's published key alone: every
// version of the scope is recomputed from the entries, at every brand. Making it and handing
// it over are entries, also after the incident was closed.
func TestEvidenceIsCheckedWithThePublishedKeyAlone(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		lead := theft(t, h)
		_, err := h.Incident.Close(ctx, lead, "group", "1", api.CloseIncidentRequest{Summary: "app revoked"})
		h.Must(err)
		file, digest := write(t, h, lead, "group", "1", api.EvidenceRequest{Ticket: "INC-7"})
		r, err := check(t, file, vkey(t, h, "group"))
		if err != nil {
			t.Fatal(err, r.Faults)
		}
		if r.Digest != digest || r.Owner != "group" || r.Subject.Incident != "group-1" || r.Incident.Summary != "app revoked" || r.Facts < 5 {
			t.Errorf("%+v", r)
		}
		var got []string
		for _, s := range r.Scopes {
			got = append(got, fmt.Sprint(s.Version, " ", s.Brand, " ", s.Records, " ", s.Disclosures, " ", s.Recomputed))
		}
		if want := []string{"1 balenciaga 2 2 true", "1 gucci 3 3 true", "2 balenciaga 2 2 true", "2 gucci 5 6 true"}; !slices.Equal(got, want) {
			t.Errorf("the scope is %q", got)
		}
		for _, l := range r.Logs {
			if l.Given != (l.Brand == "group") || l.Entries == 0 || l.Brand == "gucci" && l.Policies != 1 {
				t.Errorf("%+v", l)
			}
		}
		if bytes.Contains(file, []byte("@mail.example")) || bytes.Contains(file, []byte(`"Zoe"`)) { // "zoe" alone can stand in base64
			t.Error("evidence without data has data of customers")
		}
		if _, err := check(t, file, vkey(t, h, "gucci")); !errors.Is(err, evidence.ErrNoKeyFor) {
			t.Errorf("without the owner's key: %v", err)
		}

		if _, err := h.Incident.Handed(ctx, lead, "group", "1", api.HandedRequest{Digest: strings.Repeat("0", 64), To: "CNIL"}); !errors.Is(err, incident.ErrNoFile) {
			t.Errorf("a file that was never made is handed over: %v", err)
		}
		x, err := h.Incident.Handed(ctx, lead, "group", "1", api.HandedRequest{Digest: digest, To: "CNIL", Ticket: "INC-7"})
		h.Must(err)
		if len(x.Evidence) != 1 || !slices.Equal(x.Evidence[0].Digests, []string{digest}) || len(x.Evidence[0].Handed) != 1 || x.Evidence[0].Handed[0].To != "CNIL" {
			t.Errorf("%+v", x.Evidence)
		}
		log := strings.Join(h.Logged("group", 0), "\n")
		for _, want := range []string{"change=evidence incident=1", "change=evidence-made digest=" + digest, "change=evidence-handed digest=" + digest} {
			if !strings.Contains(log, want) {
				t.Errorf("the log has no %q", want)
			}
		}
		// The second file tells of the first.
		file, _ = write(t, h, lead, "group", "1", api.EvidenceRequest{})
		if r, err := check(t, file, vkey(t, h, "group"), vkey(t, h, "gucci")); err != nil || len(r.Incident.Evidence) != 2 || len(r.Incident.Evidence[0].Handed) != 1 {
			t.Errorf("%v %+v", err, r)
		}
	})
}

// Who may not respond gets no evidence, and a brand's people none of the group's incident.
func TestEvidenceIsMadeByRespondersOnly(t *testing.T) {
	h := apptest.Open(t)
	lead := theft(t, h)
	agent := h.Person("agent", map[string]string{"gucci": access.SupportAgent})
	responder := h.Person("responder", map[string]string{"gucci": access.IncidentResponder})
	before := h.Size("group")
	for _, c := range []identity.Caller{agent, responder} {
		if _, err := begin(t.Context(), h, c, "gucci", "group-1", api.EvidenceRequest{}); err == nil {
			t.Error("they got evidence of the group's incident")
		}
		if _, err := h.Incident.Handed(t.Context(), c, "gucci", "group-1", api.HandedRequest{Digest: strings.Repeat("0", 64), To: "x"}); err == nil {
			t.Error("they handed over evidence of the group's incident")
		}
	}
	if h.Size("group") != before {
		t.Error("a refused file is in the group's log")
	}
	x, err := h.Incident.BeginEvidence(t.Context(), lead, "group", "1", api.EvidenceRequest{})
	h.Must(err)
	other := h.Person("other", map[string]string{"group": access.IncidentResponder})
	for _, c := range []struct {
		by     identity.Caller
		number uint64
	}{{other, x.Number}, {lead, x.Number - 1}, {lead, x.Number + 1}, {lead, 1 << 60}} {
		if _, err := h.Incident.Evidence(t.Context(), c.by, "group", "1", c.number); !errors.Is(err, incident.ErrNoEvidence) {
			t.Errorf("evidence that they did not begin gives %v", err)
		}
	}
}

// A file that was cut while it was written is nothing, and the log says that it was begun.
func TestEvidenceThatWasCutIsNothing(t *testing.T) {
	h := apptest.Open(t)
	lead := theft(t, h)
	whole, _ := write(t, h, lead, "group", "1", api.EvidenceRequest{})
	for _, n := range []int{0, 1, 511, 512, 4096, len(whole) / 2, len(whole) - 1024, len(whole) - 512, len(whole) - 1} {
		f, err := begin(t.Context(), h, lead, "group", "1", api.EvidenceRequest{})
		h.Must(err)
		var b bytes.Buffer
		if _, err := f.Write(t.Context(), &short{&b, n}); err == nil && n < len(whole)-1 {
			t.Fatalf("a writer that takes %d bytes got a whole file", n)
		}
		if _, err := check(t, b.Bytes(), vkey(t, h, "group")); b.Len() < len(whole) && !errors.Is(err, evidence.ErrFile) {
			t.Errorf("%d bytes of a file verify with %v", n, err)
		}
	}
	x, err := h.Incident.Incident(t.Context(), lead, "group", "1")
	h.Must(err)
	if n := len(x.Evidence); n != 10 || len(x.Evidence[0].Digests) != 1 || len(x.Evidence[1].Digests) != 0 {
		t.Errorf("%+v", x.Evidence)
	}
}

// short takes some bytes and then fails.
type short struct {
	w io.Writer
	n int
}

func (s *short) Write(b []byte) (int, error) {
	if len(b) > s.n {
		n, _ := s.w.Write(b[:s.n])
		s.n = 0
		return n, errors.New("cut")
	}
	s.n -= len(b)
	return s.w.Write(b)
}

// Customers' data is in a file only where it is asked for, by the caller's own rights and
// budgets, logged, and to be opened by its recipient alone.
func TestEvidenceWithDataGoesTheWayOfEveryReveal(t *testing.T) {
	apptest.Each(t, func(t *testing.T, h *apptest.House) {
		ctx := t.Context()
		policy, err := os.ReadFile("../../vault/access/default.cedar")
		h.Must(err)
		thief := h.Person("thief", map[string]string{"gucci": access.Application})
		lead := h.Person("lead", map[string]string{"gucci": access.IncidentResponder})
		reveal(t, h, thief, "gucci", h.Put("gucci", customers(6)...)[:3]...)
		_, err = h.Incident.Open(ctx, lead, "gucci", api.IncidentRequest{Title: "connected app"})
		h.Must(err)
		_, err = h.Incident.Scope(ctx, lead, "gucci", "1", api.ScopeRequest{Any: []api.ScopeFilter{{Principals: []string{"thief"}}}})
		h.Must(err)
		me, err := age.GenerateX25519Identity()
		h.Must(err)
		req := api.EvidenceRequest{Fields: []string{"email"}, Purpose: "incident-response", Recipient: me.Recipient().String()}
		f, err := begin(ctx, h, lead, "gucci", "1", req)
		h.Must(err)
		if _, err := f.Write(ctx, io.Discard); err == nil {
			t.Fatal("a responder without the right to clear fields got data")
		}
		_, err = h.Admin.ApplyPolicy(ctx, h.Local, "gucci", api.Policy{Text: string(policy) + `
@id("responder-clear")
permit (principal in Role::"incident-responder", action == Action::"clear", resource)
  when { context.purpose == "incident-response" };
`}, true)
		h.Must(err)
		file, _ := write(t, h, lead, "gucci", "1", req)
		r, err := check(t, file, vkey(t, h, "gucci"))
		if err != nil || r.Data != 1 {
			t.Fatal(err, r)
		}
		if bytes.Contains(file, []byte("zoe0@")) {
			t.Error("the data is in clear")
		}
		data := part(t, file, "logs/gucci/data-000001.age")
		open, err := age.Decrypt(bytes.NewReader(data), me)
		h.Must(err)
		text, err := io.ReadAll(open)
		h.Must(err)
		if n := strings.Count(string(text), "@mail.example"); n != 3 || strings.Count(string(text), "\n") != 3 {
			t.Errorf("the data is %s", text)
		}
		shown := 0
		h.Must(h.Ledger.Leaves(ctx, h.Brand("gucci"), h.Size("gucci"), func(x *ledger.Leaf) error {
			if x.Entry.Kind == entry.KindDisclosure && x.Entry.Purpose == "incident-response" {
				shown += len(x.Ords)
			}
			return nil
		}))
		if shown != 3 {
			t.Errorf("the log has %d customers disclosed for the evidence, want 3", shown)
		}
		for _, bad := range []api.EvidenceRequest{
			{Fields: []string{"email"}, Purpose: "incident-response"},
			{Fields: []string{"shoe-size"}, Purpose: "incident-response", Recipient: req.Recipient},
			{Recipient: req.Recipient},
			{Fields: []string{"email"}, Purpose: "incident-response", Recipient: req.Recipient + "\n" + req.Recipient},
		} {
			if _, err := begin(ctx, h, lead, "gucci", "1", bad); !errors.Is(err, incident.ErrRequest) {
				t.Errorf("%+v gives %v", bad, err)
			}
		}
	})
}

func part(t *testing.T, file []byte, name string) []byte {
	t.Helper()
	for tr := tar.NewReader(bytes.NewReader(file)); ; {
		head, err := tr.Next()
		if err != nil {
			t.Fatalf("no part %s: %v", name, err)
		}
		if head.Name == name {
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
}

// Evidence that demands fresh cosignatures is refused without them, before anything is
// logged, and carries them where every witness signs.
func TestEvidenceDemandsFreshCosignatures(t *testing.T) {
	h := apptest.Open(t)
	lead := theft(t, h)
	before := h.Size("group")
	req := api.EvidenceRequest{Cosigned: true}
	if _, err := h.Incident.BeginEvidence(t.Context(), lead, "group", "1", req); !errors.Is(err, witness.ErrNotFresh) {
		t.Errorf("without a witness it gives %v", err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	h.Must(err)
	signer, err := torchwood.NewCosignatureSigner("witness.test/w", key)
	h.Must(err)
	signs := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, cp, _ := strings.Cut(string(body), "\n\n")
		text, _, _ := strings.Cut(cp, "\n\n")
		n, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil || !signs {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, line, _ := strings.Cut(string(n), "\n\n")
		io.WriteString(w, line)
	}))
	defer srv.Close()
	w, err := witness.Parse(signer.Verifier().String() + " " + srv.URL)
	h.Must(err)
	h.Witness.Use([]witness.Witness{w})
	signs = false
	if _, err := h.Incident.BeginEvidence(t.Context(), lead, "group", "1", req); !errors.Is(err, witness.ErrNotFresh) || !errors.Is(err, witness.ErrUnknown) {
		t.Errorf("with a witness that does not sign it gives %v", err)
	}
	if h.Size("group") != before {
		t.Error("a refused file is in the log")
	}
	signs = true
	file, _ := write(t, h, lead, "group", "1", req)
	for _, keys := range [][]string{nil, {w.VKey()}} {
		r, err := evidence.VerifyFile(t.Context(), bytes.NewReader(file), int64(len(file)), evidence.FileKeys{Logs: []string{vkey(t, h, "group")}, Witnesses: keys})
		h.Must(err)
		for _, l := range r.Logs {
			if len(l.Cosigners) != 1 || l.Cosigners[0].Checked != (len(keys) > 0) || l.Cosigners[0].Name != w.Name() {
				t.Errorf("%+v", l.Cosigners)
			}
		}
	}
}
