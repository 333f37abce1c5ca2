package drill

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/generate"
	"github.com/cloakroom/cloakroom/internal/record"
)

// canaryRate is how many customers there are to one canary.
const canaryRate = 500

// decoys knows the canaries of the one brand.
type decoys map[record.Ordinal]bool

// Refresh implements detect.Canaries: nothing changes while a drill runs.
func (d decoys) Refresh(context.Context, record.BrandID) error { return nil }

// Contains implements detect.Canaries.
func (d decoys) Contains(_ record.BrandID, ord record.Ordinal) bool { return d[ord] }

// plant places the brand's canaries.
func plant(ctx context.Context, h *house, c *Config, s *state) error {
	n := max(2, c.Customers/canaryRate)
	var req api.PutRequest
	i := 0
	for x := range generate.Customers(generate.Config{Customers: n, Seed: c.Seed + 2, Brands: []string{brand}}) {
		i++
		f := fieldsOf(x, i)
		f[record.ExternalID.String()] = fmt.Sprintf("D%09d", i)
		req.Customers = append(req.Customers, f)
	}
	w, err := h.admin.Put(ctx, brand, req)
	if err != nil {
		return fmt.Errorf("placing canaries: %w", err)
	}
	for _, r := range w.Results {
		s.canaries = append(s.canaries, r.Token)
	}
	ords, err := h.v.Disclose.Seal.Resolve(ctx, h.brand, s.canaries)
	if err != nil {
		return err
	}
	s.decoys = decoys{}
	for _, ord := range ords {
		s.decoys[ord] = true
	}
	return nil
}
