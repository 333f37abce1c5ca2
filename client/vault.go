package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
)

// Health returns whether the vault can serve.
func (c *Client) Health(ctx context.Context) (*api.Health, error) {
	return ask[api.Health](ctx, c, http.MethodGet, Path("health"), nil)
}

// Live returns whether the process answers at all, whatever the state of its database.
func (c *Client) Live(ctx context.Context) (*api.Health, error) {
	return ask[api.Health](ctx, c, http.MethodGet, Path("live"), nil)
}

// Ready returns whether the server can serve now.
func (c *Client) Ready(ctx context.Context) (*api.Health, error) {
	return ask[api.Health](ctx, c, http.MethodGet, Path("ready"), nil)
}

// Whoami returns who the vault takes the caller for.
func (c *Client) Whoami(ctx context.Context) (*api.Whoami, error) {
	return ask[api.Whoami](ctx, c, http.MethodGet, Path("whoami"), nil)
}

// Version returns which release answers.
func (c *Client) Version(ctx context.Context) (*api.Version, error) {
	return ask[api.Version](ctx, c, http.MethodGet, Path("version"), nil)
}

// Check checks the next part of the database, from a place that the answer before gave.
func (c *Client) Check(ctx context.Context, from api.CheckPlace) (*api.Checked, error) {
	return ask[api.Checked](ctx, c, http.MethodPost, Path("check"), from)
}

// Mend repairs what the vault can repair by itself.
func (c *Client) Mend(ctx context.Context, req api.MendRequest) (*api.Mended, error) {
	return ask[api.Mended](ctx, c, http.MethodPost, Path("mend"), req)
}

// Unadopted returns rows of rights that nobody has confirmed, from the n-th on.
func (c *Client) Unadopted(ctx context.Context, n int) (*api.Unadopted, error) {
	return ask[api.Unadopted](ctx, c, http.MethodGet, Path("rights", "unadopted")+"?from="+strconv.Itoa(n), nil)
}

// Adopt confirms the rows of rights of a list, except those that it ends.
func (c *Client) Adopt(ctx context.Context, req api.AdoptRequest) (*api.Adopted, error) {
	return ask[api.Adopted](ctx, c, http.MethodPost, Path("rights", "adopt"), req)
}

// StartBackup starts a backup on the machine of the vault, for its local administrator.
func (c *Client) StartBackup(ctx context.Context, req api.BackupRequest) (*api.Backup, error) {
	return ask[api.Backup](ctx, c, http.MethodPost, Path("backup"), req)
}

// BackupStatus returns the progress of the backup.
func (c *Client) BackupStatus(ctx context.Context) (*api.Backup, error) {
	return ask[api.Backup](ctx, c, http.MethodGet, Path("backup"), nil)
}

// CancelBackup cancels the running backup.
func (c *Client) CancelBackup(ctx context.Context) (*api.Backup, error) {
	return ask[api.Backup](ctx, c, http.MethodDelete, Path("backup"), nil)
}

// Metrics returns the counts of requests and errors, in the Prometheus text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, http.MethodGet, Path("metrics"), nil)
}
