package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// watched measures what alarms and everything else that follows the logs cost reveals:
// rounds alternate between a server that follows, as serve does, and one that does not.
func (b *bench) watched(ctx context.Context) {
	f, database, stop := b.revealed(ctx)
	defer stop()
	brand, err := f.Alarms.Door.Brands.ByName(ctx, "gucci")
	fatal(err)
	fmt.Printf("## Reveals over HTTP with and without alarms, %s: %d rounds of %v each\n", b.engine(), b.rounds, b.seconds)
	fmt.Println("clients, batch | with: customers a second, p50, p99, CPU+database | without | with to without")
	for shape := range strings.SplitSeq(b.shapes, ",") {
		c := shapeOf(shape)
		with, without := &service{name: "with", url: f.url}, &service{name: "without", url: f.url}
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
				b.round(ctx, f, s, c, database)
				stop()
			}
		}
		fmt.Printf("%d, %d", c.clients, c.batch)
		for _, s := range []*service{with, without} {
			slices.Sort(s.all)
			fmt.Printf(" | %.0f %v %v %v+%v", s.rate(c), s.all[len(s.all)/2].Round(10*time.Microsecond), s.all[len(s.all)*99/100].Round(10*time.Microsecond), s.each(c, s.cpu), s.each(c, s.dbs))
		}
		fmt.Printf(" | %.2f\n", with.rate(c)/without.rate(c))
	}
}
