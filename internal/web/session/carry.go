package session

import (
	"bytes"
	"io"
	"net/http"

	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// carry is a transport to the API within the process that carries a session.
type carry struct {
	api    http.Handler
	secret identity.Secret
	proof  string
}

// RoundTrip implements http.RoundTripper.
func (c carry) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.Header.Set("Authorization", "Bearer "+c.secret.Reveal())
	if c.proof != "" {
		in.Header.Set(ProofHeader, c.proof)
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	w := &written{header: http.Header{}, status: http.StatusOK}
	c.api.ServeHTTP(w, in)
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *written) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *written) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *written) Write(b []byte) (int, error) { return w.body.Write(b) }
