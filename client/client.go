// Package client is the Go client of Cloakroom's API, for the applications of the
// brands. Every error that the vault answers is an *api.Error: errors.As finds it,
// and its Type says what to do.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/api"
)

// Client talks to one vault. It is safe for concurrent use.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New returns a client of the vault at a base URL such as https://vault.example:7460,
// with an API key. A nil http means http.DefaultClient.
func New(base, key string, h *http.Client) *Client {
	if h == nil {
		h = http.DefaultClient
	}
	return &Client{strings.TrimSuffix(base, "/"), key, h}
}

type onceKey struct{}

// Once returns a context with which a write is done once for a day, however often it
// is sent: a key for each write, such as a random UUID. Reads take no notice of it.
func Once(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, onceKey{}, key)
}

// maxAnswer bounds an answer.
const maxAnswer = 256 << 20

// Do sends in as JSON, if it is not nil, and reads the answer into out. Most callers
// want one of the other methods.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	b, err := c.raw(ctx, method, path, in)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("reading the vault's answer to %s: %w", method, err)
	}
	return nil
}

func (c *Client) raw(ctx context.Context, method, path string, in any) ([]byte, error) {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return read(resp)
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if key, ok := ctx.Value(onceKey{}).(string); ok {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the vault: %w", err)
	}
	return resp, nil
}

func read(resp *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the vault's answer: %w", err)
	}
	if len(b) > maxAnswer {
		return nil, errors.New("reading the vault's answer: it is too large")
	}
	if resp.StatusCode >= 300 {
		e := &api.Error{}
		if json.Unmarshal(b, e) != nil || e.Type == "" {
			e = &api.Error{Type: api.TypeInternal, Title: "The vault answered " + resp.Status, Status: resp.StatusCode}
		}
		return nil, e
	}
	return b, nil
}

// Path joins segments to a path below /v1, each escaped.
func Path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

func at(brand string, segments ...string) string {
	return Path(append([]string{"brands", brand}, segments...)...)
}

// RevokeCredential ends one credential and all made through it. A caller may end their own
// and those made through it; administrators end any.
func (c *Client) RevokeCredential(ctx context.Context, credential uint64) (*api.Revoked, error) {
	out := &api.Revoked{}
	return out, c.Do(ctx, http.MethodDelete, Path("credentials", strconv.FormatUint(credential, 10)), nil, out)
}

// Reveal asks for fields of customers in clear.
func (c *Client) Reveal(ctx context.Context, brand string, req api.RevealRequest) (*api.Disclosed, error) {
	out := &api.Disclosed{}
	return out, c.Do(ctx, http.MethodPost, at(brand, "reveal"), req, out)
}

// Search asks for the masked views of those who have a value.
func (c *Client) Search(ctx context.Context, brand string, req api.SearchRequest) (*api.Disclosed, error) {
	out := &api.Disclosed{}
	return out, c.Do(ctx, http.MethodPost, at(brand, "search"), req, out)
}

// View asks for the masked view of a customer.
func (c *Client) View(ctx context.Context, brand, token, purpose, ticket string) (*api.Disclosed, error) {
	out := &api.Disclosed{}
	q := url.Values{"purpose": {purpose}, "ticket": {ticket}}
	return out, c.Do(ctx, http.MethodGet, at(brand, "customers", token)+"?"+q.Encode(), nil, out)
}

// Put writes customers by external id.
func (c *Client) Put(ctx context.Context, brand string, req api.PutRequest) (*api.Written, error) {
	out := &api.Written{}
	return out, c.Do(ctx, http.MethodPut, at(brand, "customers"), req, out)
}

// AddPurchases adds purchases.
func (c *Client) AddPurchases(ctx context.Context, brand string, req api.PurchasesRequest) (*api.Written, error) {
	out := &api.Written{}
	return out, c.Do(ctx, http.MethodPost, at(brand, "purchases"), req, out)
}

// WhoRead asks who read a customer.
func (c *Client) WhoRead(ctx context.Context, brand, token string) (*api.Disclosures, error) {
	out := &api.Disclosures{}
	return out, c.Do(ctx, http.MethodGet, at(brand, "customers", token, "disclosures"), nil, out)
}

// Erase erases a customer.
func (c *Client) Erase(ctx context.Context, brand, token string) (*api.Erased, error) {
	out := &api.Erased{}
	return out, c.Do(ctx, http.MethodDelete, at(brand, "customers", token), nil, out)
}

// Tile reads a file of the brand's log as C2SP tlog-tiles names it; log.vkey is the
// verifier key.
func (c *Client) Tile(ctx context.Context, brand, path string) ([]byte, error) {
	return c.raw(ctx, http.MethodGet, at(brand, "tiles")+"/"+path, nil)
}

// ErrCut is returned for a file that did not arrive whole. Its customers are in the log
// as disclosed; fetching it again costs no budget.
var ErrCut = errors.New("the file did not arrive whole: fetch it again")

// ExportFile copies a file of an approved export to w, and returns its SHA-256: part
// counts from 1, file is customers or purchases. It is encrypted to the export's
// recipient.
func (c *Client) ExportFile(ctx context.Context, brand, export string, part int, file string, w io.Writer) ([32]byte, error) {
	var sum [32]byte
	resp, err := c.send(ctx, http.MethodGet, at(brand, "exports", export, "parts", strconv.Itoa(part), file), nil)
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
