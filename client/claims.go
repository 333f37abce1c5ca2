package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

// ClaimQuery says what a sample is that somebody claims to have, and how it is answered.
type ClaimQuery struct {
	Rows     int      // maximum number of rows of the sample: each counts
	Digest   string   // SHA-256 of the sample, in hexadecimal
	Of       []string // from the group: the brands, all if empty
	Incident string   // the incident that the answer is kept with
	Exact    bool     // figures as they are, which takes a second person
	Ticket   string
}

// CheckClaim holds a sample that somebody claims to have against the customers of a brand,
// or from the group of several. The sample is sent as it is, and is not kept. Its rows and
// its digest are in the request: read it once before.
func (c *Client) CheckClaim(ctx context.Context, brand string, q ClaimQuery, sample io.Reader) (*api.Claim, error) {
	path := query(at(brand, "claims"), "rows", number(q.Rows), "digest", q.Digest, "incident", q.Incident, "ticket", q.Ticket)
	for _, b := range q.Of {
		path += "&of=" + url.QueryEscape(b)
	}
	if q.Exact {
		path += "&exact=true"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, io.NopCloser(sample))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the vault: %w", err)
	}
	defer resp.Body.Close()
	b, err := read(resp)
	if err != nil {
		return nil, err
	}
	out := &api.Claim{}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("reading the vault's answer to %s: %w", strings.ToLower(http.MethodPost), err)
	}
	return out, nil
}

// Claims lists the claims of a brand, the newest first.
func (c *Client) Claims(ctx context.Context, brand string) ([]api.ClaimSummary, error) {
	return list[api.ClaimSummary](ctx, c, at(brand, "claims"))
}

// Claim returns the answer to a claim, by its entry.
func (c *Client) Claim(ctx context.Context, brand string, entry uint64) (*api.Claim, error) {
	return ask[api.Claim](ctx, c, http.MethodGet, at(brand, "claims", number(entry)), nil)
}
