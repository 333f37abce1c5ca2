// Package client is the Go client of Cloakroom's API, for the applications of the
// brands. Every error that the vault answers is an *api.Error: errors.As finds it,
// and its Type says what to do.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// Do sends in as JSON, if it is not nil, and reads the answer into out. It is for an
// operation that is newer than this client; every other one has its own method.
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
			if strings.Contains(string(b), "HTTP request to an HTTPS server") {
				e.Title = "The server speaks HTTPS, not HTTP: write https:// in its address"
			}
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

// ask sends one request and returns its answer.
func ask[T any](ctx context.Context, c *Client, method, path string, in any) (*T, error) {
	out := new(T)
	return out, c.Do(ctx, method, path, in, out)
}

// list sends one request whose answer is a list.
func list[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var out []T
	return out, c.Do(ctx, http.MethodGet, path, nil, &out)
}

// query ends a path with parameters; those that are empty are left out.
func query(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// number writes a number for a path or a query.
func number[T int | int64 | uint64](n T) string { return fmt.Sprint(n) }

// some is number, and nothing for zero.
func some[T int | int64 | uint64](n T) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

// dry is the parameter of a change that is only looked at.
func dry(run bool) string {
	if run {
		return "true"
	}
	return ""
}
