package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// brand is under attack.
const brand = "gucci"

// clock is the vault's: simulated time, which only the drill moves, and never back.
type clock struct{ at atomic.Int64 } // seconds since work.Begin

func (c *clock) now() time.Time { return moment(c.at.Load()) }

func (c *clock) reach(at int64) { c.at.Store(max(c.at.Load(), at)) }

func moment(at int64) time.Time { return time.Unix(work.Begin+at, 0).UTC() }

// house is a vault that serves, with its watcher, by the drill's clock.
type house struct {
	clock clock
	v     *app.Vault
	url   string
	admin *client.Client // the local administrator
	inner *http.Client   // into the server without a socket
	outer *http.Client   // over loopback, as a stranger comes
	brand record.BrandID
	stop  func() error
}

func open(ctx context.Context, dir, dsn string, at int64) (*house, error) {
	h := &house{}
	h.clock.at.Store(at)
	v, err := app.Open(ctx, dir, app.Options{
		Database: dsn, DB: db.Options{Clock: h.clock.now}, Ledger: ledger.Options{RefusalWindow: -1},
	})
	if err != nil {
		return nil, err
	}
	v.Changes.Patience = time.Nanosecond // its clock stands still while a request runs
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := app.NewServer(v, log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening: %w", err), v.Close())
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 2)
	go func() { done <- s.Serve(running, l) }()
	go func() { done <- v.Watch(running, log, "") }()
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	h.v, h.url = v, "http://"+l.Addr().String()
	h.inner, h.outer = &http.Client{Transport: s.Local()}, &http.Client{Transport: transport}
	h.admin = client.New("http://vault", "", h.inner)
	h.stop = func() error {
		transport.CloseIdleConnections()
		cancel()
		return errors.Join(<-done, <-done, v.Close())
	}
	if b, err := v.Alarms.Door.Brands.ByName(ctx, brand); err == nil {
		h.brand = b.ID
	}
	return h, nil
}

// as is a client of a person at work.
func (h *house) as(key string) *client.Client { return client.New("http://vault", key, h.inner) }

// abroad is a client of who comes over the network.
func (h *house) abroad(key string) *client.Client { return client.New(h.url, key, h.outer) }

// patience bounds how long the watcher may take to read the log to its end.
const patience = 5 * time.Minute

// settle waits until every entry of the log has been watched.
func (h *house) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := h.v.Followers.Settle(ctx, h.brand); err != nil {
		return fmt.Errorf("waiting for the alarms: %w", err)
	}
	return nil
}

// alarms returns those that were stored at or after an entry, oldest first, as whoever
// has the key sees them.
func (h *house) alarms(ctx context.Context, c *client.Client, from uint64) ([]api.Alarm, error) {
	if err := h.settle(ctx); err != nil {
		return nil, err
	}
	var out []api.Alarm
	before, limit := "", 10 // mostly there is nothing new
	for {
		var page api.Alarms
		path := client.Path("brands", brand, "alarms") + "?limit=" + strconv.Itoa(limit)
		if before != "" {
			path += "&before=" + before
		}
		if err := c.Do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		for _, a := range page.Alarms {
			if a.Entry < from {
				page.Before = ""
				break
			}
			out = append(out, a)
		}
		if before = page.Before; before == "" {
			break
		}
		limit = 500
	}
	slices.Reverse(out)
	return out, nil
}

// isType reports whether the vault answered with this error.
func isType(err error, t string) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Type == t
}
