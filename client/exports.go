package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// RequestExport asks for an export.
func (c *Client) RequestExport(ctx context.Context, brand string, req api.ExportRequest) (*api.Export, error) {
	return ask[api.Export](ctx, c, http.MethodPost, at(brand, "exports"), req)
}

// Exports lists the newest exports that the caller may see.
func (c *Client) Exports(ctx context.Context, brand string) (*api.Exports, error) {
	return ask[api.Exports](ctx, c, http.MethodGet, at(brand, "exports"), nil)
}

// Export returns one export.
func (c *Client) Export(ctx context.Context, brand, id string) (*api.Export, error) {
	return ask[api.Export](ctx, c, http.MethodGet, at(brand, "exports", id), nil)
}

// GatherExport evaluates the next step of an export's filter. Call it while the state is
// gathering.
func (c *Client) GatherExport(ctx context.Context, brand, id string) (*api.Export, error) {
	return ask[api.Export](ctx, c, http.MethodPost, at(brand, "exports", id, "gather"), nil)
}

// ApproveExport approves an export that another person asked for.
func (c *Client) ApproveExport(ctx context.Context, brand, id string) (*api.Export, error) {
	return ask[api.Export](ctx, c, http.MethodPost, at(brand, "exports", id, "approve"), nil)
}

// RefuseExport refuses an export that another person asked for.
func (c *Client) RefuseExport(ctx context.Context, brand, id string) (*api.Export, error) {
	return ask[api.Export](ctx, c, http.MethodPost, at(brand, "exports", id, "refuse"), nil)
}

// StopExport ends an export: no further file of it leaves.
func (c *Client) StopExport(ctx context.Context, brand, id string) (*api.Export, error) {
	return ask[api.Export](ctx, c, http.MethodDelete, at(brand, "exports", id), nil)
}

// LinkExport makes a credential that downloads this export and nothing else. Its key is
// shown once.
func (c *Client) LinkExport(ctx context.Context, brand, id string) (*api.Credential, error) {
	return ask[api.Credential](ctx, c, http.MethodPost, at(brand, "exports", id, "link"), nil)
}

// ErrCut is returned for a file that did not arrive whole. Its customers are in the log
// as disclosed; fetching it again costs no budget.
var ErrCut = errors.New("the file did not arrive whole: fetch it again")

// ExportFile copies a file of an approved export to w, and returns its SHA-256: part
// counts from 1, file is customers or purchases. It is encrypted to the export's
// recipient.
func (c *Client) ExportFile(ctx context.Context, brand, export string, part int, file string, w io.Writer) ([32]byte, error) {
	var sum [32]byte
	resp, err := c.send(ctx, http.MethodGet, at(brand, "exports", export, "parts", number(part), file), nil)
	if err != nil {
		return sum, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		_, err := read(resp)
		return sum, err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), resp.Body); err != nil {
		return sum, fmt.Errorf("%w: %w", ErrCut, err)
	}
	h.Sum(sum[:0])
	if resp.Trailer.Get(api.TrailerDigest) != hex.EncodeToString(sum[:]) {
		return sum, ErrCut
	}
	return sum, nil
}
