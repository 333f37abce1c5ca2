package server_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// asked counts how often rows of rights are read and held against the log.
type asked struct {
	rights.Log
	n atomic.Int64
}

func (a *asked) Void(ctx context.Context, brand record.BrandID, read func(q db.Queryer) (rights.Found, error)) ([]rights.Void, error) {
	a.n.Add(1)
	return a.Log.Void(ctx, brand, read)
}

// What decides a request is read once and kept until rights change, and so is the brand's
// name in the line that is logged of it: a second request reads no row of rights.
func TestRightsAreReadOnce(t *testing.T) {
	t.Parallel()
	onEach(t, rightsAreReadOnce)
}

func rightsAreReadOnce(t *testing.T, h *house) {
	ctx := t.Context()
	count := &asked{Log: h.vault.Ledger}
	door := h.vault.Disclose.Door
	door.Brands.Rights, door.Access.Rights, h.vault.Identity.Rights = count, count, count
	w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	reveal := func() {
		_, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"email"}, Purpose: "customer-support"})
		h.must(err)
	}
	reveal()
	first := count.n.Load()
	for range 10 {
		reveal()
	}
	if n := count.n.Load() - first; n != 0 || first == 0 {
		t.Errorf("rows of rights were read %d times for the first reveal and %d times for ten more", first, n)
	}
}

func TestAnOldTokenIsAnsweredAsAsked(t *testing.T) {
	t.Parallel()
	onEach(t, anOldTokenIsAnsweredAsAsked)
}

// A rotation gives customers other tokens, and the old ones still stand for them. What was
// asked for with a token is answered under it: the caller's own records know no other.
func anOldTokenIsAnsweredAsAsked(t *testing.T, h *house) {
	ctx := t.Context()
	write := func() string {
		w, err := h.as["application"].Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
		h.must(err)
		return w.Results[0].Token
	}
	old := write()
	h.rotate("token")
	now := write()
	if now == old {
		t.Fatal("a rotation of token keys leaves tokens as they were")
	}
	asked := []string{old, now, old}
	out, err := h.as["support-agent"].Reveal(ctx, "gucci", api.RevealRequest{Tokens: asked, Fields: []string{"email"}, Purpose: "customer-support"})
	h.must(err)
	if len(out.Customers) != len(asked) {
		t.Fatalf("%d customers for %d tokens", len(out.Customers), len(asked))
	}
	for i, c := range out.Customers {
		if c.Token != asked[i] || c.Fields["email"] != zoe()["email"] {
			t.Errorf("the answer %d is not under the token that was asked with", i+1)
		}
	}
	var one api.Disclosed
	h.must(h.as["support-agent"].Do(ctx, "GET", client.Path("brands", "gucci", "customers", old)+"?purpose=customer-support", nil, &one))
	if len(one.Customers) != 1 || one.Customers[0].Token != old {
		t.Error("a masked view is not under the token that was asked with")
	}
}
