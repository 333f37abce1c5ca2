package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/cloakroom/cloakroom/internal/exercise/generate"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	brand = "gucci"
	seed  = 4
	// samples is how many customers are kept to ask for: enough that a database
	// larger than memory has to read for them.
	samples = 20_000
)

// sample is one customer to ask for.
type sample struct {
	external, email string
}

// rows invents the customers of one size, each with its share of purchases. The
// generator gives a heavy-tailed five or so; more are repetitions in other months.
func (o *options) rows(ctx context.Context, n int, fn func(*invent.Customer) error) error {
	var have int64
	i := 0
	for c := range invent.Customers(invent.Config{Customers: n, Seed: seed, Brands: []string{brand}}) {
		if i++; i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		want := int64(i)*int64(o.purchases) - have
		own := len(c.Purchases)
		for round := 1; own > 0 && int64(len(c.Purchases)) < want && round < 64; round++ {
			for _, p := range c.Purchases[:own] {
				if int64(len(c.Purchases)) == want {
					break
				}
				p.ID += "-" + strconv.Itoa(round)
				p.At = p.At.AddDate(0, -round, 0)
				c.Purchases = append(c.Purchases, p)
			}
		}
		if int64(own) > want { // a heavy tail is cut where the whole has enough
			c.Purchases = c.Purchases[:max(want, 0)]
		}
		have += int64(len(c.Purchases))
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

// source is what an import reads.
type source struct {
	customers, purchases string
	bytes                int64 // of both; 0 through pipes
	took                 time.Duration
	total                generate.Totals
	samples              []sample
	first                string // external id of the first customer
	wait                 func() error
}

// source writes the files, or makes the pipes and begins to fill them.
func (o *options) source(ctx context.Context, n int) (*source, error) {
	dir := filepath.Join(o.work, "rows")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &source{customers: filepath.Join(dir, "customers.csv"), purchases: filepath.Join(dir, "purchases.csv"), wait: func() error { return nil }}
	keep := func(i int, c *invent.Customer) {
		x := sample{c.Get(record.ExternalID), c.Get(record.Email)}
		if i == 0 && !o.pipe {
			s.first = x.external
		}
		if len(s.samples) < samples {
			s.samples = append(s.samples, x)
		} else if j := rand.IntN(i + 1); j < samples {
			s.samples[j] = x
		}
	}
	start := time.Now()
	if !o.pipe {
		if err := o.write(ctx, n, s.customers, s.purchases, keep, &s.total); err != nil {
			return nil, err
		}
		for _, f := range []string{s.customers, s.purchases} {
			info, err := os.Stat(f)
			if err != nil {
				return nil, err
			}
			s.bytes += info.Size()
		}
		s.took = time.Since(start)
		return s, nil
	}
	// One pass for each pipe, so that it does not matter which the import reads first.
	for _, f := range []string{s.customers, s.purchases} {
		if err := syscall.Mkfifo(f, 0o600); err != nil {
			return nil, fmt.Errorf("making a pipe: %w", err)
		}
	}
	for c := range invent.Customers(invent.Config{Customers: 1, Seed: seed, Brands: []string{brand}}) {
		s.first = c.Get(record.ExternalID) // known before the pipe is read
	}
	done := make(chan error, 2)
	go func() { done <- o.write(ctx, n, s.customers, os.DevNull, keep, &s.total) }()
	go func() { done <- o.write(ctx, n, os.DevNull, s.purchases, func(int, *invent.Customer) {}, nil) }()
	s.wait = func() error { return errors.Join(<-done, <-done) }
	return s, nil
}

func (o *options) write(ctx context.Context, n int, customers, purchases string, keep func(int, *invent.Customer), total *generate.Totals) (err error) {
	var buffers [2]*bufio.Writer
	for i, name := range []string{customers, purchases} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		buffers[i] = bufio.NewWriterSize(f, 1<<20)
	}
	w, err := generate.NewWriter(buffers[0], buffers[1])
	if err != nil {
		return err
	}
	i := 0
	err = o.rows(ctx, n, func(c *invent.Customer) error {
		keep(i, c)
		i++
		return w.Write(c)
	})
	if err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), buffers[0].Flush(), buffers[1].Flush()); err != nil {
		return err
	}
	if total != nil {
		*total = w.Totals()
	}
	return nil
}

func (s *source) remove() error {
	return errors.Join(os.Remove(s.customers), os.Remove(s.purchases))
}

// copyFile copies a key to the directory of another process, readable by its owner.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// quantile returns a quantile of times, which it sorts.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
