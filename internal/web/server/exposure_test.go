package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

func TestExposureIsCountedWhileNobodyWaits(t *testing.T) { onEach(t, exposureGoesOn) }

func TestExposureTellsNobodyOfAnotherBrand(t *testing.T) { onEach(t, exposureOfTwoBrands) }

func TestExposureOfMoreThanAThousand(t *testing.T) { onEach(t, exposureOfMany) }

// asks sends a request for exposure and returns how it was answered.
func (h *house) asks(key, path string) (status int, body string, retry string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.url+path, nil)
	h.must(err)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	h.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h.must(err)
	return resp.StatusCode, string(b), resp.Header.Get("Retry-After")
}

// gate lets no count of a brand go on until it is opened, or the server ends.
func (h *house) gate(brand record.BrandID) (open func()) {
	gate := make(chan struct{})
	h.vault.Exposure.Before = func(ctx context.Context, b record.BrandID) error {
		if b != brand {
			return nil
		}
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return func() { close(gate) }
}

// revealed reveals customers of a brand that its application made.
func (h *house) revealed(brand string, n int) {
	h.t.Helper()
	ctx := h.t.Context()
	app, _ := h.person(h.t, "app-"+brand, "service", map[string]string{brand: access.Application})
	agent, _ := h.person(h.t, "agent-"+brand, "person", map[string]string{brand: access.SupportAgent})
	var put api.PutRequest
	for i := range n {
		put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprint("R-", i), "email": fmt.Sprintf("r%d@example.com", i)})
	}
	w, err := app.Put(ctx, brand, put)
	h.must(err)
	for _, r := range w.Results {
		_, err := agent.Reveal(ctx, brand, api.RevealRequest{Tokens: []string{r.Token}, Fields: []string{"email"}, Purpose: "customer-support"})
		h.must(err)
	}
}

// Whoever cannot wait for a count is told how far it is, and finds it done later, as of
// when it began, although the log has grown; what fails on the way is tried again, and a
// server ends without waiting for it.
func exposureGoesOn(t *testing.T, h *house) {
	const path = "/v1/brands/gucci/exposure?wait=1"
	_, key := h.newKey(t, "incident-responder")
	h.revealed("gucci", 17)
	open := h.gate(1)
	for range 2 {
		status, body, retry := h.asks(key.Key, path)
		if status != http.StatusServiceUnavailable || retry != "1" || !strings.Contains(body, `"type":"unfinished"`) || !strings.Contains(body, "counted 0 of ") || !strings.Contains(body, " of gucci; it goes on, ask again") {
			t.Fatalf("%d, retry after %q: %s", status, retry, body)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := h.as["incident-responder"].Do(gone, "GET", "/v1/brands/gucci/exposure", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	_, err := h.as["application"].Put(t.Context(), "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	later := time.Now()
	open()
	var first api.Exposure
	for range 2 {
		var x api.Exposure
		h.must(h.as["data-protection-officer"].Do(t.Context(), "GET", "/v1/brands/gucci/exposure", nil, &x))
		if i := slices.IndexFunc(x.Rows, func(r api.ExposureRow) bool { return r.Kind == "brand" }); x.Rows[i].Now.Hour != 17 {
			t.Errorf("%+v", x.Rows[i])
		}
		if x.UsesAt.IsZero() || !x.UsesAt.Before(later) || x.UsesAt.After(x.At) {
			t.Errorf("counted up to %s, at %s; told to ask again before %s", x.UsesAt, x.At, later)
		}
		if !first.UsesAt.IsZero() && !x.UsesAt.Equal(first.UsesAt) {
			t.Errorf("counted again, while it was promised to somebody")
		}
		first = x
	}

	// The other brand, which the local administrator audits; reading fails twice.
	var failures atomic.Int32
	h.vault.Exposure.Before = func(context.Context, record.BrandID) error {
		if failures.Add(1) < 3 {
			return errors.New("the database is ill")
		}
		return nil
	}
	var x api.Exposure
	h.must(h.Do(t.Context(), "GET", "/v1/brands/balenciaga/exposure", nil, &x))
	if failures.Load() != 3 {
		t.Errorf("tried %d times", failures.Load())
	}
	h.vault.Exposure.Before = func(context.Context, record.BrandID) error { return errors.New("the database is ill") }
	_, err = h.Put(t.Context(), "balenciaga", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	if err := h.Do(t.Context(), "GET", "/v1/brands/balenciaga/exposure", nil, nil); !isType(err, api.TypeInternal) {
		t.Errorf("while it cannot be read: %v", err)
	}
	h.gate(2) // stays shut: closing the vault ends what waits
	if err := h.Do(t.Context(), "GET", "/v1/exposure?wait=1", nil, nil); !isType(err, api.TypeUnfinished) {
		t.Error(err)
	}
}

// While one brand is counted, another's people learn nothing of it by what they are told:
// not that it is counted, not how much there is, nor afterwards what came out.
func exposureOfTwoBrands(t *testing.T, h *house) {
	ctx := t.Context()
	_, ours := h.newKey(t, "incident-responder")
	_, theirs := h.person(t, "bala", "person", map[string]string{"balenciaga": access.IncidentResponder})
	_, both := h.person(t, "hq", "person", map[string]string{"group": access.IncidentResponder})
	h.revealed("balenciaga", 23)
	h.revealed("gucci", 3)
	size := func(brand string) string {
		var v api.Verified
		h.must(h.Do(ctx, "POST", client.Path("brands", brand, "log", "verify"), struct{}{}, &v))
		return fmt.Sprint(v.Size)
	}
	open := h.gate(2)
	status, body, _ := h.asks(theirs.Key, "/v1/brands/balenciaga/exposure?wait=1")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "counted 0 of "+size("balenciaga")+" entries of balenciaga") {
		t.Fatalf("%d: %s", status, body)
	}
	betrays := func(what, body string) {
		t.Helper()
		for _, word := range []string{"balenciaga", "bala", size("balenciaga"), "23"} {
			if strings.Contains(body, word) {
				t.Errorf("%s: a brand's responder is told %q: %s", what, word, body)
			}
		}
	}
	status, body, _ = h.asks(ours.Key, "/v1/brands/gucci/exposure?wait=1")
	if status != http.StatusServiceUnavailable {
		t.Fatalf("%d: %s", status, body)
	}
	betrays("while it waits", body)
	status, body, _ = h.asks(ours.Key, "/v1/exposure?wait=1")
	if status != http.StatusServiceUnavailable {
		t.Fatalf("%d: %s", status, body)
	}
	betrays("of all brands, while it waits", body)
	for _, more := range []string{"", "&principal=bala", "&principal=agent-balenciaga"} {
		_, there, _ := h.asks(ours.Key, "/v1/brands/balenciaga/exposure?wait=1"+more)
		_, none, _ := h.asks(ours.Key, "/v1/brands/no-brand/exposure?wait=1"+more)
		if there != none {
			t.Errorf("another brand, and none: %s, %s", there, none)
		}
	}
	open()
	for range 100 { // until both are counted
		if status, body, _ = h.asks(ours.Key, "/v1/exposure"); status == http.StatusOK {
			break
		}
	}
	var x api.Exposure
	h.must(json.Unmarshal([]byte(body), &x))
	if len(x.Rows) == 0 || slices.ContainsFunc(x.Rows, func(r api.ExposureRow) bool { return r.Brand != "gucci" }) {
		t.Errorf("%d: %s", status, body)
	}
	_, there, _ := h.asks(ours.Key, "/v1/brands/gucci/exposure?principal=bala")
	_, none, _ := h.asks(ours.Key, "/v1/brands/gucci/exposure?principal=nobody-at-all")
	if there != none {
		t.Errorf("another brand's, and nobody: %s, %s", there, none)
	}
	brands := map[string]uint64{}
	_, body, _ = h.asks(both.Key, "/v1/exposure?kind=brand")
	h.must(json.Unmarshal([]byte(body), &x))
	for _, r := range x.Rows {
		brands[r.Brand] = r.Now.Hour
	}
	if len(brands) != 2 || brands["gucci"] != 3 || brands["balenciaga"] != 23 {
		t.Errorf("whoever audits both: %v", brands)
	}
}

// Everybody has a row, however many pages they are on.
func exposureOfMany(t *testing.T, h *house) {
	ctx := t.Context()
	const many = 1013
	now := time.Now()
	h.must(h.vault.DB.Tx(ctx, func(q db.Queryer) error {
		for i := range many {
			id, err := h.vault.Identity.CreatePrincipal(ctx, q, fmt.Sprint("many-", i), identity.Person, now)
			if err == nil {
				err = h.vault.Identity.FirstRole(ctx, q, id, 1, access.StoreAssociate)
			}
			if err == nil {
				_, _, err = h.vault.Identity.CreateCredential(ctx, q, id, 0, "till", time.Time{}, now)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
	var x api.Exposure
	h.must(h.as["incident-responder"].Do(ctx, "GET", "/v1/brands/gucci/exposure", nil, &x))
	rows := map[string]int{}
	for _, r := range x.Rows {
		if strings.HasPrefix(r.Principal, "many-") && r.Bound.Hour > 0 {
			rows[r.Kind]++
		}
	}
	if rows["principal"] != many || rows["lineage"] != many || x.Total != len(x.Rows) {
		t.Errorf("%v of %d", rows, many)
	}
	h.must(h.as["incident-responder"].Do(ctx, "GET", "/v1/brands/gucci/exposure?principal="+fmt.Sprint("many-", many-1), nil, &x))
	if x.Total != 4 { // the lineage, the principal, the role, the brand
		t.Errorf("%+v", x.Rows)
	}
}
