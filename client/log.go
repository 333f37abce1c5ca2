package client

import (
	"context"
	"net/http"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// Checkpoint returns the newest signed checkpoint of a brand's log.
func (c *Client) Checkpoint(ctx context.Context, brand string) (*api.Checkpoint, error) {
	return ask[api.Checkpoint](ctx, c, http.MethodGet, at(brand, "log"), nil)
}

// Entry returns one entry of the log.
func (c *Client) Entry(ctx context.Context, brand string, index uint64) (*api.Entry, error) {
	return ask[api.Entry](ctx, c, http.MethodGet, at(brand, "log", "entries", number(index)), nil)
}

// EntriesQuery says which entries of a log to list. Zero values are for all.
type EntriesQuery struct {
	Principal string // name or number
	Lineage   uint64
	Kind      string
	Since     time.Time
	Before    uint64 // of the page before
	Limit     int
}

// Entries returns a page of a brand's log, the newest first.
func (c *Client) Entries(ctx context.Context, brand string, q EntriesQuery) (*api.Entries, error) {
	since := ""
	if !q.Since.IsZero() {
		since = q.Since.UTC().Format(time.RFC3339Nano)
	}
	return ask[api.Entries](ctx, c, http.MethodGet, query(at(brand, "log", "entries"), "principal", q.Principal, "lineage", some(q.Lineage),
		"kind", q.Kind, "since", since, "before", some(q.Before), "limit", some(q.Limit)), nil)
}

// Inclusion proves that an entry is in the log of a size.
func (c *Client) Inclusion(ctx context.Context, brand string, index, size uint64) (*api.Hashes, error) {
	return ask[api.Hashes](ctx, c, http.MethodGet, query(at(brand, "log", "inclusion"), "index", number(index), "size", number(size)), nil)
}

// Consistency proves that the log of a size continues an older one.
func (c *Client) Consistency(ctx context.Context, brand string, older, size uint64) (*api.Hashes, error) {
	return ask[api.Hashes](ctx, c, http.MethodGet, query(at(brand, "log", "consistency"), "older", number(older), "size", number(size)), nil)
}

// Logs says whether each log is well, as the server that answers sees it.
func (c *Client) Logs(ctx context.Context) ([]api.LogState, error) {
	return list[api.LogState](ctx, c, Path("logs"))
}

// FollowLog lets the server that answers follow a new epoch of a log that lacks entries which
// it has seen: over its own socket only.
func (c *Client) FollowLog(ctx context.Context, brand string) (*api.LogFollowed, error) {
	return ask[api.LogFollowed](ctx, c, http.MethodPost, at(brand, "log", "follow"), nil)
}

// AcceptLoss asks the server that answers to continue a log without entries that it has seen
// and that are lost. A second person approves it; then the requester asks once more.
func (c *Client) AcceptLoss(ctx context.Context, brand string, req api.LossRequest) (*api.LossAccepted, error) {
	return ask[api.LossAccepted](ctx, c, http.MethodPost, at(brand, "log", "accept-loss"), req)
}

// VerifyLog has the vault replay the whole log. Offline verification needs no vault: see
// package evidence.
func (c *Client) VerifyLog(ctx context.Context, brand string, req api.VerifyRequest) (*api.Verified, error) {
	return ask[api.Verified](ctx, c, http.MethodPost, at(brand, "log", "verify"), req)
}

// ExpireLog erases the values of old log entries: who acted, when exactly, and texts.
func (c *Client) ExpireLog(ctx context.Context, brand string, req api.ExpireRequest) (*api.Expired, error) {
	return ask[api.Expired](ctx, c, http.MethodPost, at(brand, "log", "expire"), req)
}

// Tile reads a file of the brand's log as C2SP tlog-tiles names it; log.vkey is the
// verifier key.
func (c *Client) Tile(ctx context.Context, brand, path string) ([]byte, error) {
	return c.raw(ctx, http.MethodGet, at(brand, "tiles")+"/"+path, nil)
}
