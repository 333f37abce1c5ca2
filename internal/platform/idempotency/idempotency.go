// Package idempotency keeps the answers of writes that came with an idempotency key for a
// day, so that a request that is sent again, because its answer was lost, is answered
// again and not done again.
//
// A key is its principal's: two principals may use the same. Of the key only a hash
// is kept, and of the request a MAC that the caller makes. What is kept of an answer
// is the caller's to choose: never one with personal data or a secret in it.
package idempotency

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
)

const (
	// Kept is how long an answer is kept.
	Kept = 24 * time.Hour
	// Stale is when a request that was begun and never finished counts as lost, with
	// the server that did it: nobody knows then whether it was done. It is longer than any
	// request may take.
	Stale = 5 * time.Minute
	// MaxAnswer bounds an answer that is kept, in bytes.
	MaxAnswer = 1 << 20
	// MaxKey bounds an idempotency key, in bytes.
	MaxKey = 128
)

var (
	// ErrOther is returned for a key that came with another request before.
	ErrOther = fault.Typed(fault.Invalid, "idempotency-key-reused", "this idempotency key was used for another request: use a new key per request")
	// ErrRunning is returned while the first request of a key is not answered.
	ErrRunning = fault.New(fault.Conflict, "a request with this idempotency key is in progress: retry in a moment")
	// ErrUnknown is returned for a key whose first request may have been done, or not.
	ErrUnknown = fault.New(fault.Conflict, "the outcome of the first request with this idempotency key is unknown: read what it would have changed, and use a new key if it was not done")
	// ErrRights is returned for an answer that was given under rights which have changed.
	ErrRights = fault.New(fault.Conflict, "an earlier request with this idempotency key succeeded; rights have changed since, so its answer is not repeated: read the result instead")
	// ErrKey is returned for a text that is no key.
	ErrKey = fault.New(fault.Invalid, "an idempotency key is 1 to 128 visible ASCII characters, such as a random UUID")
)

// Answer is what a finished request was answered with. No Body means that it was not
// kept.
type Answer struct {
	Status int
	Body   []byte
}

// Store keeps answers in a database. It is safe for concurrent use, by any number of
// servers.
type Store struct{ db *db.DB }

// New returns the store of a database.
func New(d *db.DB) *Store { return &Store{d} }

const (
	sqlSweep  = `DELETE FROM write_answers WHERE at < $1`
	sqlBegin  = `INSERT INTO write_answers (principal, name, request, at, status, answer) VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT DO NOTHING`
	sqlRead   = `SELECT request, at, status, answer, revision FROM write_answers WHERE principal = $1 AND name = $2`
	sqlFinish = `UPDATE write_answers SET status = $3, answer = $4, revision = $5 WHERE principal = $1 AND name = $2`
	sqlDrop   = `DELETE FROM write_answers WHERE principal = $1 AND name = $2 AND status = 0`
)

// Valid reports whether a text can be a key.
func Valid(key string) bool {
	if key == "" || len(key) > MaxKey {
		return false
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

func name(key string) []byte {
	h := sha256.Sum256([]byte("cloakroom idempotency key 1\x00" + key))
	return h[:]
}

// Begin says whether a request is to be done: then it answers nil, and Finish or Drop
// must follow. Otherwise it returns what the request was answered with, or ErrOther,
// ErrRunning or ErrKey.
func (s *Store) Begin(ctx context.Context, principal uint64, key string, request [32]byte) (*Answer, error) {
	if !Valid(key) {
		return nil, ErrKey
	}
	var out *Answer
	err := s.db.Tx(ctx, func(q db.Queryer) error {
		out = nil
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if _, err := q.Exec(ctx, sqlSweep, now.Add(-Kept).UnixMicro()); err != nil {
			return err
		}
		n, err := q.Exec(ctx, sqlBegin, int64(principal), name(key), request[:], now.UnixMicro(), []byte{})
		if err != nil || n == 1 {
			return err
		}
		var before, body []byte
		var at, given int64
		var status int
		if err := q.Row(ctx, sqlRead, int64(principal), name(key)).Scan(&before, &at, &status, &body, &given); err != nil {
			return err
		}
		switch {
		case len(before) != len(request) || [32]byte(before) != request:
			return ErrOther
		case status == unknown:
			return ErrUnknown
		case status != 0:
			var holds int64
			if err := q.Batch(ctx, []db.Stmt{revision.Stmt(&holds)}); err != nil {
				return err
			}
			if given != holds {
				return ErrRights
			}
			out = &Answer{status, body}
			return nil
		case now.Sub(time.UnixMicro(at)) < Stale:
			return ErrRunning
		}
		return ErrUnknown // the server died with it
	})
	if err != nil {
		return nil, fmt.Errorf("reading what was answered before: %w", err)
	}
	return out, nil
}

// unknown stands for the status of a request that may have been done.
const unknown = 1

// Finish keeps the answer of a request that was done. It is repeated for as long as no
// right is taken from anybody: who may read it is not asked again.
func (s *Store) Finish(ctx context.Context, principal uint64, key string, a Answer) error {
	if a.Body == nil {
		a.Body = []byte{}
	}
	err := s.db.Tx(ctx, func(q db.Queryer) error {
		var holds int64
		if err := q.Batch(ctx, []db.Stmt{revision.Stmt(&holds)}); err != nil {
			return err
		}
		_, err := q.Exec(ctx, sqlFinish, int64(principal), name(key), a.Status, a.Body, holds)
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping an answer: %w", err)
	}
	return nil
}

// Unknown keeps that a request may have been done: nobody does it again under its key.
func (s *Store) Unknown(ctx context.Context, principal uint64, key string) error {
	if _, err := s.db.Exec(ctx, sqlFinish, int64(principal), name(key), unknown, []byte{}, 0); err != nil {
		return fmt.Errorf("keeping that an outcome is unknown: %w", err)
	}
	return nil
}

// Drop forgets a request that was not done: the same may be tried again.
func (s *Store) Drop(ctx context.Context, principal uint64, key string) error {
	if _, err := s.db.Exec(ctx, sqlDrop, int64(principal), name(key)); err != nil {
		return fmt.Errorf("forgetting a request that was not done: %w", err)
	}
	return nil
}
