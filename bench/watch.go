package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
)

// watched measures what alarms and everything else that follows the logs cost reveals:
// rounds alternate between a server that follows, as serve does, and one that does not.
func (b *bench) watched(ctx context.Context) {
	const customers = 5000
	var o app.Options
	database := func() time.Duration { return 0 }
	if b.database != "" {
		dsn, drop := b.postgres(ctx)
		defer drop()
		o.Database = dsn
		database = func() time.Duration { return sessionTime(dsn[strings.LastIndexByte(dsn, '/')+1:]) }
	}
	f := b.vault(ctx, customers, o)
	defer f.stop()
	brand, err := f.Alarms.Door.Brands.ByName(ctx, "gucci")
	fatal(err)
	fmt.Printf("## Reveals over HTTP with and without alarms, %s: %d rounds of %v each\n", b.engine(), b.rounds, b.seconds)
	fmt.Println("clients, batch | with: customers a second, p50, p99, CPU+database | without | with to without")
	for shape := range strings.SplitSeq(b.shapes, ",") {
		var c struct{ clients, batch int }
		_, err := fmt.Sscanf(shape, "%d/%d", &c.clients, &c.batch)
		fatal(err)
		with, without := &service{}, &service{}
		for range b.rounds {
			for _, s := range []*service{with, without} {
				stop := func() {}
				if s == with {
					watching, cancel := context.WithCancel(ctx)
					done := make(chan error, 1)
					go func() { done <- f.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
					stop = func() {
						cancel()
						fatal(<-done)
					}
					for { // what was logged while nobody watched is not part of it
						size, err := f.Ledger.Size(ctx, brand.ID)
						fatal(err)
						at, err := f.Alarms.Store.Reached(ctx, brand.ID)
						fatal(err)
						if at >= size {
							break
						}
						time.Sleep(10 * time.Millisecond)
					}
				}
				h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.clients}}
				cl := client.New(f.url, f.key, h)
				before, dbBefore := cpuTime(), database()
				took, times := b.times(c.clients, func(w, i int) {
					at := (w*7919 + i*c.batch) % (len(f.tokens) - c.batch)
					_, err := cl.Reveal(ctx, "gucci", api.RevealRequest{Tokens: f.tokens[at : at+c.batch], Fields: []string{"given_name", "email", "phone"}, Purpose: "customer-support", Ticket: "CASE-1"})
					fatal(err)
				})
				h.CloseIdleConnections()
				s.cpu += cpuTime() - before
				s.dbs += database() - dbBefore
				s.took, s.all = s.took+took, append(s.all, times...)
				stop()
			}
		}
		rate := func(s *service) float64 { return float64(len(s.all)*c.batch) / s.took.Seconds() }
		fmt.Printf("%d, %d", c.clients, c.batch)
		for _, s := range []*service{with, without} {
			slices.Sort(s.all)
			each := func(d time.Duration) time.Duration {
				return (d / time.Duration(len(s.all)*c.batch)).Round(100 * time.Nanosecond)
			}
			fmt.Printf(" | %.0f %v %v %v+%v", rate(s), s.all[len(s.all)/2].Round(10*time.Microsecond), s.all[len(s.all)*99/100].Round(10*time.Microsecond), each(s.cpu), each(s.dbs))
		}
		fmt.Printf(" | %.2f\n", rate(with)/rate(without))
	}
}
