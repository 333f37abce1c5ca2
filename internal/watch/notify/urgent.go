package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// An urgent alarm is about the log or the database itself, and so cannot wait for an entry,
// a stored alarm or a cursor. It leaves from memory, to the receivers that this server last
// read, until each has taken it. Each server sends its own; they have one id.

// Urgent is what an urgent alarm says.
type Urgent struct {
	Brand record.BrandID // whose receivers, and the group's; the group means everybody's
	Name  string         // of the brand
	Rule  detect.Rule    // a stable word, such as log-shorter
	Entry uint64         // where in the log; part of the alarm's id
	At    time.Time      // this machine's clock
	Usual string         // what should be
	Seen  string         // what is, and what to do
}

func (u *Urgent) notice() notice {
	return notice{brand: u.Name, Notice: alarm.Notice{Alarm: &alarm.Stored{Alarm: detect.Alarm{
		Brand: u.Brand, Entry: u.Entry, At: u.At, Rule: u.Rule, Grade: detect.Critical, Usual: u.Usual, Seen: u.Seen,
		Key: fmt.Sprintf("%d/%s/%s/%s", u.Brand, u.Rule, detect.Critical, u.At.UTC().Format(time.DateOnly)),
	}}}}
}

// calling is an urgent alarm, and whom it goes to already.
type calling struct {
	Urgent
	called map[receiverName]bool
}

// contact is a receiver as this server remembers it, with its address and its secret.
type contact struct {
	name    receiverName
	stored  string // the sealed address: another one is another contact
	address string
	secret  []byte
}

type receiverName struct {
	brand record.BrandID
	name  string
}

// errand is one urgent alarm on its way to one contact.
type errand struct {
	contact  contact
	notice   notice
	failures int
	next     time.Time // this machine's clock
	busy     bool
}

const (
	// contactsEvery is how many rounds of the sender lie between two readings of all
	// receivers.
	contactsEvery = 15
	// maxErrands bounds the urgent alarms that wait for receivers. The oldest are dropped.
	maxErrands = 1000
	// maxUrgent bounds the urgent alarms that receivers which are read later are told of.
	maxUrgent = 100
)

const sqlContacts = `SELECT brand, name, url, key, created FROM receivers ORDER BY brand, name`

// runUrgent sends urgent alarms until the context ends, and remembers whom they go to.
func (s *Sender) runUrgent(ctx context.Context, log *slog.Logger) {
	var wg sync.WaitGroup
	defer wg.Wait()
	s.sooner.Run(ctx, log, "receivers are not read", func(ctx context.Context) error {
		s.send(ctx, log, wg.Go)
		s.rounds++
		if s.rounds%contactsEvery != 1 {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, postTimeout)
		defer cancel()
		return s.Remember(ctx)
	})
}

// Remember reads whom an urgent alarm goes to. While one is urgent no receiver is
// forgotten: the database that it is about may have lost them.
func (s *Sender) Remember(ctx context.Context) error {
	var list []receiver
	err := s.DB.Rows(ctx, func(row db.Row) error {
		var r receiver
		var brand int64
		err := row.Scan(&brand, &r.name, &r.url, &r.key, &r.created)
		r.brand = record.BrandID(brand)
		list = append(list, r)
		return err
	}, sqlContacts)
	if err != nil {
		return fmt.Errorf("reading the receivers: %w", err)
	}
	s.mu.Lock()
	old := s.contacts
	s.mu.Unlock()
	now := map[receiverName]contact{}
	for i := range list {
		r := &list[i]
		c := contact{name: receiverName{r.brand, r.name}, stored: r.url}
		if was, ok := old[c.name]; ok && was.stored == c.stored {
			now[c.name] = was
			continue
		}
		var oerr error
		if c.address, c.secret, oerr = open(ctx, s.Ring, r); oerr != nil {
			err = errors.Join(err, oerr)
			continue
		}
		now[c.name] = c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.urgent) > 0 {
		for k, c := range s.contacts {
			if _, ok := now[k]; !ok {
				now[k] = c
			}
		}
	}
	s.contacts = now
	return err
}

// Urgent sends an alarm from memory, also to receivers that are read only after it. It does
// not wait.
func (s *Sender) Urgent(u Urgent) {
	s.mu.Lock()
	s.urgent = append(s.urgent, &calling{Urgent: u, called: map[receiverName]bool{}})
	s.urgent = s.urgent[max(0, len(s.urgent)-maxUrgent):]
	s.mu.Unlock()
	s.sooner.Wake()
}

// send tries every urgent alarm that is due, each beside the others.
func (s *Sender) send(ctx context.Context, log *slog.Logger, start func(func())) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.urgent {
		for _, c := range s.contacts {
			if to := c.name.brand; u.called[c.name] || to != u.Brand && to != record.Group && u.Brand != record.Group {
				continue
			}
			u.called[c.name] = true
			s.errands = append(s.errands, &errand{contact: c, notice: u.notice()})
		}
	}
	s.errands = s.errands[max(0, len(s.errands)-maxErrands):]
	for _, e := range s.errands {
		if e.busy || now.Before(e.next) {
			continue
		}
		e.busy = true
		start(func() { s.try(ctx, log, e) })
	}
}

func (s *Sender) try(ctx context.Context, log *slog.Logger, e *errand) {
	var err error
	if to := s.way(e.contact.address, e.contact.secret); to != nil {
		_, err = to.deliver(ctx, &e.notice)
		to.close()
	} else {
		err = errNoMail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.busy = false
	if err == nil || errors.Is(err, errNoMail) {
		s.drop(e)
		return
	}
	if e.failures++; e.failures == 1 && ctx.Err() == nil {
		log.Warn("a receiver did not take an urgent alarm; the server retries", "receiver", e.contact.name.name, "cause", err)
	}
	e.next = time.Now().Add(backoff(e.failures))
}

// drop takes an errand off the list, whose lock the caller holds.
func (s *Sender) drop(e *errand) {
	for i, x := range s.errands {
		if x == e {
			s.errands = append(s.errands[:i:i], s.errands[i+1:]...)
			return
		}
	}
}

// Urgent appends an urgent alarm to the file, beside those that are stored.
func (f *Feed) Urgent(u Urgent) error {
	n := u.notice()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.write([]notice{n}); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}
