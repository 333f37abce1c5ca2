package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/brands"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/detect"
	"github.com/cloakroom/cloakroom/internal/keys"
	"github.com/cloakroom/cloakroom/internal/record"
)

const (
	// postTimeout bounds one request to a receiver.
	postTimeout = 10 * time.Second
	// lease is how long a server has a receiver to itself after it last noted its
	// progress; it notes it at least every noteEvery.
	lease     = 45 * time.Second
	noteEvery = 15 * time.Second
	// page is how many alarms are read, and at most sent without a note of it: after a
	// kill so many may be sent again.
	page = 50
	// backoffFirst and backoffMost are between two tries: twice as long each time, and
	// half of it by chance, so that many do not come back at one instant.
	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute
	// poll is how often a sender looks for alarms that other servers stored, and for
	// receivers to try again.
	poll = time.Second
)

// Sender sends the alarms of every brand to their receivers. Every server has one; one
// of them at a time serves a receiver.
type Sender struct {
	DB     *db.DB
	Ring   *keys.Ring
	Brands *brands.Store
	Alarms *detect.Store

	client *http.Client
	holder string
	wake   chan struct{}
	mu     sync.Mutex
	busy   map[string]bool
}

// NewSender returns the sender of one server.
func NewSender(d *db.DB, ring *keys.Ring, b *brands.Store, alarms *detect.Store) *Sender {
	return &Sender{
		DB: d, Ring: ring, Brands: b, Alarms: alarms, holder: newHolder(), wake: make(chan struct{}, 1), busy: map[string]bool{},
		client: &http.Client{Timeout: postTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a signed alarm goes where it was meant to
		}},
	}
}

// Wake makes the sender look now. It never blocks.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run sends until the context ends.
func (s *Sender) Run(ctx context.Context, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		due, err := s.due(ctx)
		if err != nil && ctx.Err() == nil {
			log.Warn("alarms are not sent", "cause", err)
		}
		for i := range due {
			r := &due[i]
			id := fmt.Sprint(r.brand, "/", r.name)
			s.mu.Lock()
			busy := s.busy[id]
			s.busy[id] = true
			s.mu.Unlock()
			if busy {
				continue
			}
			wg.Go(func() {
				defer func() {
					s.mu.Lock()
					delete(s.busy, id)
					s.mu.Unlock()
				}()
				if err := s.serve(ctx, r); err != nil && ctx.Err() == nil {
					log.Warn("a receiver did not take an alarm", "receiver", r.name, "cause", err)
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// due returns the receivers that may be served now, and have something to get.
func (s *Sender) due(ctx context.Context) ([]receiver, error) {
	now, err := s.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	var all []receiver
	err = s.DB.Rows(ctx, func(row db.Row) error {
		var r receiver
		var brand, grade, at int64
		var rule string
		err := row.Scan(&brand, &r.name, &r.url, &grade, &r.key, &r.created, &at, &rule)
		r.brand, r.grade, r.place = record.BrandID(brand), detect.Grade(grade), detect.Place{Entry: uint64(at), Rule: detect.Rule(rule)}
		all = append(all, r)
		return err
	}, sqlDueReceivers, now.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading the receivers: %w", err)
	}
	var out []receiver
	for _, r := range all {
		list, err := s.Alarms.After(ctx, r.brand, r.place, r.grade, false, 1)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			out = append(out, r)
		}
	}
	return out, nil
}

// errLost says that another server serves this receiver.
var errLost = errors.New("another server serves this receiver")

// serve sends one receiver what there is, in order, until it fails or has all.
func (s *Sender) serve(ctx context.Context, r *receiver) error {
	address, secret, err := open(ctx, s.Ring, r)
	if err != nil {
		return err
	}
	b, err := s.Brands.Get(ctx, r.brand)
	if err != nil {
		return err
	}
	if err := s.take(ctx, r); err != nil {
		if errors.Is(err, errLost) {
			return nil
		}
		return err
	}
	for {
		list, err := s.Alarms.After(ctx, r.brand, r.place, r.grade, false, page)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return s.note(ctx, r, 0, 0)
		}
		noted := time.Now()
		for i := range list {
			a := &list[i]
			status, err := s.post(ctx, address, secret, b.Name, &a.Alarm)
			r.status = status
			if err != nil {
				if ctx.Err() != nil { // this server stops: the receiver is not to blame
					return errors.Join(err, s.note(context.WithoutCancel(ctx), r, 0, 0))
				}
				r.failures++
				return errors.Join(err, s.note(ctx, r, backoff(r.failures), 0))
			}
			r.place, r.failures = detect.Place{Entry: a.Entry, Rule: a.Rule}, 0
			r.delivered++
			if time.Since(noted) > noteEvery {
				if err := s.note(ctx, r, 0, lease); err != nil {
					return err
				}
				noted = time.Now()
			}
		}
		if err := s.note(ctx, r, 0, lease); err != nil {
			return err
		}
	}
}

// take makes the receiver this server's, by the database's clock.
func (s *Sender) take(ctx context.Context, r *receiver) error {
	return s.DB.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		var at int64
		var rule string
		err = q.Row(ctx, sqlLeaseReceiver, int64(r.brand), r.name, s.holder, now.Add(lease).UnixMicro(), now.UnixMicro()).Scan(&at, &rule, &r.failures)
		if errors.Is(err, db.ErrNoRows) {
			return errLost
		}
		r.place, r.delivered = detect.Place{Entry: uint64(at), Rule: detect.Rule(rule)}, 0
		return err
	})
}

// note writes down how far a receiver was served, when to try again, and for how long
// it is this server's.
func (s *Sender) note(ctx context.Context, r *receiver, wait, hold time.Duration) error {
	var n int64
	err := s.DB.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		var next, until int64
		if wait > 0 {
			next = now.Add(wait).UnixMicro()
		}
		if hold > 0 {
			until = now.Add(hold).UnixMicro()
		}
		n, err = q.Exec(ctx, sqlServed, int64(r.brand), r.name, s.holder, int64(r.place.Entry), string(r.place.Rule), r.delivered, r.failures, r.status, next, until)
		return err
	})
	if err != nil {
		return fmt.Errorf("noting what a receiver got: %w", err)
	}
	if n == 0 {
		return errLost
	}
	r.delivered = 0
	return nil
}

// backoff is how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	d := backoffMost
	if failures < 20 {
		d = min(backoffFirst<<(failures-1), backoffMost)
	}
	return d/2 + rand.N(d/2)
}

// message is the body of a webhook.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      api.Alarm `json:"data"`
}

// MessageType is the type of every webhook.
const MessageType = "alarm.raised"

// post sends one alarm. Any answer but 2xx is a failure.
func (s *Sender) post(ctx context.Context, address string, secret []byte, brand string, a *detect.Alarm) (status int, err error) {
	body, err := json.Marshal(message{MessageType, a.At, detect.Shown(brand, a)})
	if err != nil {
		return 0, fmt.Errorf("writing an alarm: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the receiver's address is not a URL") // err holds the address
	}
	now := time.Now()
	id := "alarm_" + brand + "_" + a.ID()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Cloakroom")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", Sign(secret, id, now, body))
	resp, err := s.client.Do(req)
	if err != nil {
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() {
			return 0, errors.New("the receiver did not answer in time")
		}
		return 0, errors.New("the receiver cannot be reached") // err holds the address
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, fmt.Errorf("the receiver answered %d", resp.StatusCode)
	}
	return resp.StatusCode, nil
}
