package client

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
)

// Witnesses says how far each witness is with a brand's log.
func (c *Client) Witnesses(ctx context.Context, brand string) ([]api.WitnessState, error) {
	return list[api.WitnessState](ctx, c, at(brand, "witnesses"))
}
