package drill

import (
	"context"
	"fmt"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/record"
)

// canaryRate is how many customers there are to one canary.
const canaryRate = 500

// plant has the responder place the brand's canaries, and notes which they are: the drill
// counts those that a thief meets.
func plant(ctx context.Context, h *house, s *state, responder *person) error {
	cl, path := h.as(responder.key), client.Path("brands", brand, "canaries")
	for left := 1; left > 0; {
		var placed api.CanariesPlaced
		if err := cl.Do(ctx, http.MethodPost, path, api.CanaryRequest{Rate: 1.0 / (canaryRate + 1)}, &placed); err != nil {
			return fmt.Errorf("placing canaries: %w", err)
		}
		left = placed.Left
	}
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
