package server

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/idempotency"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// headerKey is the header that makes a write safe to send again.
const headerKey = "Idempotency-Key"

// again does a write, unless it was done before: then it repeats the answer.
func (s *Server) again(w http.ResponseWriter, r *http.Request, keep bool, next http.Handler) {
	ctx := r.Context()
	var c identity.Caller
	err := s.decide(ctx, func(_ context.Context, now identity.Caller) error {
		c = now
		return nil
	})
	if err != nil {
		s.fail(w, s.problem(ctx, err))
		return
	}
	key := r.Header.Get(headerKey)
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.timeout)) // where the writer has none, the context's holds
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBulkBody+1))
	if err != nil {
		s.fail(w, &api.Error{Type: api.TypeTimeout, Title: "Timeout", Status: http.StatusRequestTimeout,
			Detail: "the body did not arrive in time: send smaller requests"})
		return
	}
	before, err := s.vault.Once.Begin(ctx, c.Principal, key, digest(r, key, body))
	if err != nil {
		s.fail(w, s.problem(ctx, err))
		return
	}
	if before != nil {
		if len(before.Body) == 0 {
			s.fail(w, &api.Error{Type: api.TypeConflict, Title: "Request already processed", Status: http.StatusConflict,
				Detail: "an earlier request with this idempotency key succeeded; its answer held a secret and was not stored"})
			return
		}
		w.Header().Set("Idempotency-Replayed", "true")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(before.Status)
		w.Write(before.Body)
		return
	}
	a := &answer{header: w.Header(), status: http.StatusOK}
	r.Body = io.NopCloser(bytes.NewReader(body))
	finished, known := false, false
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	defer func() { // a panic too leaves nothing that seems to run
		switch {
		case finished:
		case known:
			s.note(s.vault.Once.Drop(after, c.Principal, key))
		default:
			s.note(s.vault.Once.Unknown(after, c.Principal, key))
		}
	}()
	next.ServeHTTP(a, r)
	known = !a.unknown()
	if a.status < 300 && a.body.Len() <= idempotency.MaxAnswer {
		finished = true
		kept := idempotency.Answer{Status: a.status}
		if keep {
			kept.Body = a.body.Bytes()
		}
		s.note(s.vault.Once.Finish(after, c.Principal, key, kept))
	}
	w.WriteHeader(a.status)
	w.Write(a.body.Bytes())
}

// unknown reports whether an answer leaves open whether the request was done.
func (a *answer) unknown() bool {
	if a.status < http.StatusInternalServerError || a.status == http.StatusInsufficientStorage {
		return false
	}
	var e api.Error
	if json.Unmarshal(a.body.Bytes(), &e) != nil {
		return true
	}
	return e.Type != api.TypeLogUnavailable && e.Type != api.TypePartlyDone && e.Type != api.TypeDamaged
}

// note logs what did not hinder the answer.
func (s *Server) note(err error) {
	if err != nil {
		s.log.Error("storing an answer failed: a retry of this request will be processed again", "cause", err)
	}
}

// digest tells one request from another. It is a MAC under what only the caller has,
// so that the database holds nothing by which a body could be guessed.
func digest(r *http.Request, key string, body []byte) [32]byte {
	secret := sha256.Sum256([]byte("cloakroom idempotent request 1\x00" + r.Header.Get("Authorization") + "\x00" + key))
	m := hmac.New(sha256.New, secret[:])
	io.WriteString(m, r.Method+"\x00"+r.URL.RequestURI()+"\x00")
	m.Write(body)
	return [32]byte(m.Sum(nil))
}
