package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// canaryRate is how many customers there are to one canary.
const canaryRate = 500

// order has the responder order canaries, which go in with the customers that the brand
// brings in. Where among them is drawn from the drill's seed, in this process and nowhere
// else, so that a drill can be held again.
func order(ctx context.Context, h *house, c *Config, responder *person) error {
	h.v.Canaries.Store.Draw = rand.New(rand.NewPCG(c.Seed, 99)).IntN
	req := api.CanaryRequest{Rate: 1.0 / (canaryRate + 1)}
	if err := h.as(responder.key).Do(ctx, http.MethodPost, client.Path("brands", brand, "canaries"), req, nil); err != nil {
		return fmt.Errorf("ordering canaries: %w", err)
	}
	return nil
}

// decoys notes which customers are canaries, as the responder is told: the drill counts
// those that a thief meets.
func decoys(ctx context.Context, h *house, s *state, responder *person) error {
	cl, path := h.as(responder.key), client.Path("brands", brand, "canaries")
	var list []api.Canary
	if err := cl.Do(ctx, http.MethodGet, path, nil, &list); err != nil {
		return fmt.Errorf("listing canaries: %w", err)
	}
	for i := range list {
		s.canaries = append(s.canaries, list[i].Token)
	}
	ords, err := h.v.Disclose.Seal.Resolve(ctx, h.brand, s.canaries)
	if err != nil {
		return fmt.Errorf("reading the tokens of canaries: %w", err)
	}
	s.decoys = map[record.Ordinal]bool{}
	for _, ord := range ords {
		s.decoys[ord] = true
	}
	return nil
}

// withdraw has the responder retire every canary.
func (h *house) withdraw(ctx context.Context, responder *person) error {
	for left := 1; left > 0; {
		var gone api.CanariesRetired
		if err := h.as(responder.key).Do(ctx, http.MethodPost, client.Path("brands", brand, "canaries", "retire"), nil, &gone); err != nil {
			return fmt.Errorf("retiring canaries: %w", err)
		}
		left = gone.Left
	}
	return nil
}
