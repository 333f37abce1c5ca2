package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

const (
	// lease is how long a server has a receiver to itself after it last noted its
	// progress; it notes it at least every noteEvery.
	lease     = 45 * time.Second
	noteEvery = 10 * time.Second
	// page is how many alarms are read, and at most sent without a note of it: after a
	// kill so many may be sent again.
	page = 50
	// backoffFirst and backoffMost are between two tries: twice as long each time, and
	// half of it by chance, so that many do not come back at one instant.
	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute
	// refusedEvery is between two tries where a receiver refuses for good, which a person
	// has to mend, and refusedMost how long that is tried at all.
	refusedEvery = time.Hour
	refusedMost  = 24 * time.Hour
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
	Alarms *alarm.Store
	// Contained tells what a containment is about; may be nil.
	Contained *containment.Store
	// Allow are the networks beside public ones in which webhooks may be: of this machine,
	// or private.
	Allow []netip.Prefix
	*follow.Loop

	mail atomic.Pointer[MailServer]

	client *http.Client
	leases *follow.Leases
	mu     sync.Mutex
	busy   map[follow.Work]bool

	sooner   *follow.Loop // of urgent alarms, which wait for no database
	rounds   int
	urgent   []*calling // while there is one, no receiver is forgotten
	contacts map[receiverName]contact
	errands  []*errand
}

// NewSender returns the sender of one server.
func NewSender(d *db.DB, ring *keys.Ring, b *brands.Store, alarms *alarm.Store) *Sender {
	s := &Sender{
		DB: d, Ring: ring, Brands: b, Alarms: alarms, Loop: follow.NewLoop(poll), leases: follow.NewLeases(d), busy: map[follow.Work]bool{},
		sooner: follow.NewLoop(poll),
	}
	s.client = newWebhookClient(func() []netip.Prefix { return s.Allow })
	return s
}

// Use sets the mail server that mail goes through from now on. Without one, receivers of
// mail are left to other servers.
func (s *Sender) Use(m *MailServer) { s.mail.Store(m) }

// Run sends until the context ends.
func (s *Sender) Run(ctx context.Context, log *slog.Logger) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.runUrgent(ctx, log) })
	return s.Loop.Run(ctx, log, "alarms are not sent", func(ctx context.Context) error {
		due, err := s.due(ctx)
		if err != nil {
			return err
		}
		for i := range due {
			r := &due[i]
			s.mu.Lock()
			busy := s.busy[r.work()]
			s.busy[r.work()] = true
			s.mu.Unlock()
			if busy {
				continue
			}
			wg.Go(func() {
				defer func() {
					s.mu.Lock()
					delete(s.busy, r.work())
					s.mu.Unlock()
				}()
				if err := s.serve(ctx, r); err != nil && ctx.Err() == nil {
					log.Warn("a receiver did not take an alarm", "receiver", r.name, "cause", err)
				}
			})
		}
		return nil
	})
}

// audience is which alarms and events the receiver is notified of.
func (r *receiver) audience() alarm.Audience {
	return alarm.Audience{Least: r.grade, Since: r.since}
}

// work names the serving of a receiver among the leases.
func (r *receiver) work() follow.Work { return follow.Work{Name: "receiver/" + r.name, Brand: r.brand} }

// due returns the receivers that may be served now, and have something to get.
func (s *Sender) due(ctx context.Context) ([]receiver, error) {
	now, err := s.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	var all []receiver
	err = s.DB.Rows(ctx, func(row db.Row) error {
		r, err := scanReceiver(row)
		all = append(all, r)
		return err
	}, sqlDueReceivers, now.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("reading the receivers: %w", err)
	}
	held, err := s.leases.Held(ctx)
	if err != nil {
		return nil, err
	}
	var out []receiver
	for _, r := range all {
		if held[r.work()] {
			continue
		}
		list, err := s.Alarms.Notices(ctx, r.brand, r.place, r.audience(), 1)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			out = append(out, r)
		}
	}
	return out, nil
}

// serve sends one receiver what there is, in order, until it fails or has all.
func (s *Sender) serve(ctx context.Context, r *receiver) error {
	to, err := s.carrier(ctx, r)
	if err != nil {
		return err
	}
	defer to.close()
	b, err := s.Brands.Get(ctx, r.brand)
	if err != nil {
		return err
	}
	if err := s.take(ctx, r); err != nil {
		if errors.Is(err, follow.ErrLost) {
			return nil
		}
		return err
	}
	for {
		list, err := s.Alarms.Notices(ctx, r.brand, r.place, r.audience(), page)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return s.note(ctx, r, 0, 0)
		}
		noted := time.Now()
		for i := range list {
			n, err := noticeOf(ctx, b.Name, r.brand, list[i], s.Contained)
			if err != nil {
				return err
			}
			status, err := to.deliver(ctx, &n)
			r.status = status
			if err != nil {
				if ctx.Err() != nil { // this server stops: the receiver is not to blame
					return errors.Join(err, s.note(context.WithoutCancel(ctx), r, 0, 0))
				}
				return errors.Join(err, s.failed(ctx, r, err))
			}
			r.place, r.failures, r.fault, r.refused = n.Place, 0, "", 0
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

// carrier brings one receiver what it is told.
type carrier interface {
	// deliver returns the number that the other side answered, 0 for none, and an error
	// unless it took the notice. The error says nothing of the address.
	deliver(ctx context.Context, n *notice) (status int, err error)
	close()
}

// carrier returns the way to a receiver. What stands in it is noted where people look.
func (s *Sender) carrier(ctx context.Context, r *receiver) (carrier, error) {
	to, err := s.reach(ctx, r)
	if errors.Is(err, errNoMail) {
		_, failed := s.DB.Exec(ctx, sqlNoteFault, int64(r.brand), r.name, errNoMail.Error())
		err = errors.Join(err, failed)
	}
	return to, err
}

// way returns the way to an address, nil where it takes a mail server that this server has
// not.
func (s *Sender) way(address string, secret []byte) carrier {
	to, mail := strings.CutPrefix(address, mailScheme+":")
	switch {
	case !mail:
		return &webhook{s.client, address, secret}
	case s.mail.Load() == nil:
		return nil
	}
	return &letters{server: s.mail.Load(), to: to, key: secret}
}

// refusedError says that trying again is of no use: somebody has to mend something.
type refusedError struct{ text string }

// Error returns what was answered, without the address.
func (e *refusedError) Error() string { return e.text }

// failed notes a failure and when to try again.
func (s *Sender) failed(ctx context.Context, r *receiver, cause error) error {
	r.failures++
	r.fault = cause.Error()
	wait := backoff(r.failures)
	if _, refused := errors.AsType[*refusedError](cause); refused {
		now, err := s.DB.Now(ctx)
		if err != nil {
			return err
		}
		if r.refused == 0 {
			r.refused = now.UnixMicro()
		}
		wait = refusedEvery
		if now.Sub(time.UnixMicro(r.refused)) >= refusedMost {
			r.stopped = now.UnixMicro()
		}
	} else {
		r.refused = 0
	}
	return s.note(ctx, r, wait, 0)
}

// take makes the receiver this server's, by the database's clock.
func (s *Sender) take(ctx context.Context, r *receiver) error {
	return s.DB.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if err := s.leases.TakeIn(ctx, q, r.work(), lease); err != nil {
			return err
		}
		var at int64
		var rule string
		err = q.Row(ctx, sqlTakenReceiver, int64(r.brand), r.name, now.UnixMicro()).Scan(&at, &rule, &r.failures, &r.refused)
		if errors.Is(err, db.ErrNoRows) {
			return follow.ErrLost // served, removed or given up since
		}
		r.place, r.delivered = alarm.Place{Entry: uint64(at), Rule: detect.Rule(rule)}, 0
		return err
	})
}

// note writes down how far a receiver was served, when to try again, and for how long
// it is this server's.
func (s *Sender) note(ctx context.Context, r *receiver, wait, hold time.Duration) error {
	err := s.DB.Tx(ctx, func(q db.Queryer) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if err := s.leases.KeepIn(ctx, q, r.work(), hold); err != nil {
			return err
		}
		var next int64
		if wait > 0 {
			next = now.Add(wait).UnixMicro()
		}
		_, err = q.Exec(ctx, sqlServed, int64(r.brand), r.name, int64(r.place.Entry), string(r.place.Rule), r.delivered, r.failures, r.status, next, r.fault, r.refused, r.stopped)
		return err
	})
	if err != nil {
		return fmt.Errorf("noting what a receiver got: %w", err)
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
