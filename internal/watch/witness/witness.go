// Package witness has the logs cosigned by witnesses, as C2SP tlog-witness describes it: a
// witness signs a checkpoint only if it continues the last one that it signed. So nobody who
// holds the database and the signing key of a log can show two histories of it.
//
// Nothing of a witness is kept in the database. A witness signs its newest checkpoint again
// at any time, so a cosignature is asked for where it is needed: a follower asks every few
// seconds, and evidence asks when it is made.
package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

var (
	// ErrUnknown is returned where a witness does not know the log: it was never enrolled
	// there, or began a new epoch since.
	ErrUnknown = fault.New(fault.Conflict, "the witness does not know this log: its operator enrols the origin and the key that `cloakroom witness enroll` prints")
	// ErrFork is returned where a witness refuses a checkpoint that does not continue the
	// one that it signed.
	ErrFork = fault.New(fault.Conflict, "the witness has signed another history of this log")
	// ErrAhead is returned where a witness has signed more entries than the log has.
	ErrAhead = fault.New(fault.Conflict, "the witness has signed more entries than this log has: the log was cut, or restored from an older state")
	// ErrRefused is returned where a witness refuses the log's signature.
	ErrRefused = fault.New(fault.Conflict, "the witness knows another key of this log")
	// ErrUnreachable is returned where a witness does not answer as one.
	ErrUnreachable = fault.New(fault.Unavailable, "the witness does not answer")
	// ErrConfigured is returned for a text that names no witness.
	ErrConfigured = fault.New(fault.Invalid, "a witness is its verifier key, a space and its address, which begins with https:// (http:// on this machine only)")
)

// Limits on an answer of a witness.
const (
	timeout   = 5 * time.Second
	maxAnswer = 64 << 10
)

// Witness is one that an operator configured.
type Witness struct {
	URL      string
	verifier *torchwood.CosignatureVerifier
}

// Name is the name that the witness signs with.
func (w *Witness) Name() string { return w.verifier.Name() }

// VKey is the key that verifies its cosignatures.
func (w *Witness) VKey() string { return w.verifier.String() }

// Parse reads a witness from text: its verifier key and its address.
func Parse(text string) (Witness, error) {
	key, address, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok {
		return Witness{}, ErrConfigured
	}
	v, err := torchwood.NewCosignatureVerifier(key)
	if err != nil {
		return Witness{}, ErrConfigured
	}
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Witness{}, ErrConfigured
	}
	ip := net.ParseIP(u.Hostname())
	if here := ip != nil && ip.IsLoopback() || u.Hostname() == "localhost"; u.Scheme != "https" && (u.Scheme != "http" || !here) {
		return Witness{}, ErrConfigured
	}
	return Witness{strings.TrimSuffix(u.String(), "/"), v}, nil
}

// Log is what is cosigned.
type Log interface {
	Checkpoint(ctx context.Context, brand record.BrandID) ([]byte, error)
	Consistency(ctx context.Context, brand record.BrandID, older, size uint64) (tlog.TreeProof, error)
}

// State is how far a witness is with a log.
type State struct {
	Witness string
	Brand   record.BrandID
	Origin  string    // under which the log is
	Size    uint64    // of the newest checkpoint that the witness signed
	At      time.Time // when, by its own clock
	Err     error     // why it signed no newer one
	Signed  []byte    // that checkpoint, with its cosignature
}

type place struct {
	witness string
	brand   record.BrandID
}

// Set are the witnesses of a vault.
type Set struct {
	Logs Log
	http *http.Client
	list []Witness

	mu     sync.Mutex
	states map[place]State
}

// New returns a set of witnesses.
func New(logs Log, list ...Witness) *Set {
	return &Set{Logs: logs, list: list, states: map[place]State{}, http: &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Use sets the witnesses. It is called before anything is cosigned.
func (s *Set) Use(list []Witness) { s.list = list }

// List returns the witnesses.
func (s *Set) List() []Witness { return s.list }

// States returns how far each witness is with a log.
func (s *Set) States(brand record.BrandID) (out []State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list {
		x, ok := s.states[place{s.list[i].Name(), brand}]
		if !ok {
			x = State{Witness: s.list[i].Name(), Brand: brand}
		}
		out = append(out, x)
	}
	return out
}

// Cosign asks every witness for its cosignature of a signed checkpoint of a log, and returns
// the checkpoint with those that it got. Its error is that of a witness which did not sign;
// the checkpoint is good also then.
func (s *Set) Cosign(ctx context.Context, brand record.BrandID, signed []byte) ([]byte, error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	cp, err := torchwood.ParseCheckpoint(text + "\n")
	if !ok || err != nil {
		return signed, fmt.Errorf("reading a checkpoint to be cosigned: %w", errors.Join(ErrRefused, err))
	}
	out := signed
	var failed error
	for i := range s.list {
		w := &s.list[i]
		line, at, err := s.add(ctx, w, brand, &cp, signed)
		s.mu.Lock()
		x := s.states[place{w.Name(), brand}]
		if x.Origin != cp.Origin && err == nil {
			x = State{}
		}
		x.Witness, x.Brand, x.Err = w.Name(), brand, err
		if err == nil {
			x.Origin, x.Size, x.At, x.Signed = cp.Origin, uint64(cp.N), at, append(bytes.Clone(signed), line...)
			out = append(bytes.Clone(out), line...)
		}
		s.states[place{w.Name(), brand}] = x
		s.mu.Unlock()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("witness %s: %w", w.Name(), err))
		}
	}
	return out, failed
}

// add submits a checkpoint to one witness, and returns the line of its cosignature.
func (s *Set) add(ctx context.Context, w *Witness, brand record.BrandID, cp *torchwood.Checkpoint, signed []byte) (line []byte, at time.Time, err error) {
	old := uint64(0)
	s.mu.Lock()
	if x := s.states[place{w.Name(), brand}]; x.Origin == cp.Origin {
		old = x.Size
	}
	s.mu.Unlock()
	for range 3 { // a witness that moves on while it is asked is asked at the next round
		size := uint64(cp.N)
		if old > size {
			return nil, at, ErrAhead
		}
		var body bytes.Buffer
		fmt.Fprintf(&body, "old %d\n", old)
		if old > 0 && old < size {
			proof, err := s.Logs.Consistency(ctx, brand, old, size)
			if err != nil {
				return nil, at, err
			}
			for _, h := range proof {
				fmt.Fprintf(&body, "%s\n", h)
			}
		}
		body.WriteString("\n")
		body.Write(signed)
		answer, known, err := s.post(ctx, w, &body)
		switch {
		case errors.Is(err, errOther):
			old = known
			continue
		case err != nil:
			return nil, at, err
		}
		return w.cosignature(signed, answer)
	}
	return nil, at, ErrUnreachable
}

// errOther says that a witness has signed another size than it was said to have.
var errOther = errors.New("another size")

// post sends one request. Whatever a stranger answers is bounded, and not repeated.
func (s *Set) post(ctx context.Context, w *Witness, body io.Reader) (answer []byte, known uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+"/add-checkpoint", body)
	if err != nil {
		return nil, 0, fmt.Errorf("asking a witness: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, 0, ErrUnreachable
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, 0, ErrUnreachable
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return answer, 0, nil
	case http.StatusConflict:
		if known, err = strconv.ParseUint(strings.TrimSpace(string(answer)), 10, 63); err != nil {
			return nil, 0, ErrUnreachable
		}
		return nil, known, errOther
	case http.StatusNotFound:
		return nil, 0, ErrUnknown
	case http.StatusForbidden:
		return nil, 0, ErrRefused
	case http.StatusUnprocessableEntity:
		return nil, 0, ErrFork
	}
	return nil, 0, ErrUnreachable
}

// cosignature finds the line of the witness in its answer, and checks it.
func (w *Witness) cosignature(signed, answer []byte) ([]byte, time.Time, error) {
	for line := range bytes.SplitAfterSeq(answer, []byte("\n")) {
		if !bytes.HasPrefix(line, []byte("— "+w.Name()+" ")) {
			continue
		}
		n, err := note.Open(append(bytes.Clone(signed), line...), note.VerifierList(w.verifier))
		if err != nil || len(n.Sigs) != 1 {
			continue
		}
		seconds, err := torchwood.CosignatureTimestamp(n.Sigs[0])
		if err != nil {
			continue
		}
		return line, time.Unix(seconds, 0).UTC(), nil
	}
	return nil, time.Time{}, ErrUnreachable
}
