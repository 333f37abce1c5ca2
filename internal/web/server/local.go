package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// Local returns a transport that hands requests to the server within the process, as
// the local administrator where they carry no key: for one command over a vault that
// no server has open.
func (s *Server) Local() http.RoundTripper { return local{s, true} }

// Inside returns a transport that hands requests to the server within the process, and
// takes nobody for the local administrator: for pages, whose requests carry the key of the
// person who sent them and are refused without one.
func (s *Server) Inside() http.RoundTripper { return local{s, false} }

type local struct {
	s          *Server
	administer bool // without a key, it is the local administrator who asks
}

// RoundTrip implements http.RoundTripper.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	in := r.Clone(context.WithValue(r.Context(), localKey{}, l.administer))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	if err := w.serve(l.s.http, in); err != nil {
		return nil, err
	}
	trailer := http.Header{}
	if name := w.header.Get("Trailer"); name != "" {
		trailer.Set(name, w.header.Get(name))
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Trailer: trailer, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// serve runs a handler, and makes an error of an answer that was cut.
func (a *answer) serve(h http.Handler, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			err = io.ErrUnexpectedEOF
		}
	}()
	h.ServeHTTP(a, r)
	return nil
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
