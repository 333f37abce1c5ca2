package client

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
)

// Followers says how far alarms and the others that follow from the logs are behind.
func (c *Client) Followers(ctx context.Context) ([]api.Follower, error) {
	return list[api.Follower](ctx, c, Path("followers"))
}
