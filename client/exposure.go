package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// ExposureQuery narrows an exposure. The zero query is for everything.
type ExposureQuery struct {
	Principal string // only this one, its lineages, its role and the brand
	Kind      string // lineage, principal, role or brand
	Class     string // sort by clear, masked, search or export
	Top       int    // no more rows; 0: all
}

func (q ExposureQuery) on(path string) string {
	return query(path, "principal", q.Principal, "kind", q.Kind, "class", q.Class, "top", some(q.Top))
}

// Exposure asks what each holder of a budget of a brand could take if stolen now.
func (c *Client) Exposure(ctx context.Context, brand string, q ExposureQuery) (*api.Exposure, error) {
	return ask[api.Exposure](ctx, c, http.MethodGet, q.on(at(brand, "exposure")), nil)
}

// ExposureOfAll is Exposure for all brands where the caller may audit.
func (c *Client) ExposureOfAll(ctx context.Context, q ExposureQuery) (*api.Exposure, error) {
	return ask[api.Exposure](ctx, c, http.MethodGet, q.on(Path("exposure")), nil)
}
