package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/exercise/generate/work"
)

// Variant is one way to attack.
type Variant struct {
	Name, Title, Story string
	// begins is when, in seconds after the midnight that ends the day of the phishing.
	begins int64
	// start sets the thieves to work.
	start func(ctx context.Context, r *raid, at int64) error
}

// Variants returns every attack.
func Variants() []Variant {
	const night, morning = 2*work.Hour + 600, 8 * work.Hour
	return []Variant{
		{"a", "Smash and grab", "A service agent is phished at night and consents to a connected app, CRM Loader. After probing it takes 20,000 customers a minute.", night,
			func(ctx context.Context, r *raid, at int64) error {
				const every, batch = 3, 1000 // 20,000 a minute
				return r.loader(ctx, at, false, func(t *thief, at int64) { r.steadily(t, at, every, batch) })
			}},
		{"b", "Below the radar", "The same app, after the same probing, runs a job of 9,500 customers every 30 minutes.", night,
			func(ctx context.Context, r *raid, at int64) error {
				const every, job = 1800, 9500
				return r.loader(ctx, at, false, func(t *thief, at int64) { r.steadily(t, at, every, job) })
			}},
		{"c", "Stolen associates", "The keys of %d store associates take 500 customers a day each, in shop hours.", morning,
			func(ctx context.Context, r *raid, at int64) error { return r.associates(ctx, at) }},
		{"d", "Purchased insider", "A service agent is paid to take as many customers again as the work needs, in working hours.", morning,
			func(ctx context.Context, r *raid, _ int64) error { return r.insider(ctx) }},
		{"e", "Walking", "The app, after probing, goes through the list in the order in which customers joined: one every 30 seconds.", night,
			func(ctx context.Context, r *raid, at int64) error {
				return r.loader(ctx, at, true, func(t *thief, at int64) { r.steadily(t, at, 30, 1) })
			}},
	}
}

// ParseVariants reads a list such as a,c.
func ParseVariants(list string) ([]Variant, error) {
	all := Variants()
	var out []Variant
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(v Variant) bool { return v.Name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("no such variant %q: the variants are a to %s", name, all[len(all)-1].Name)
		}
		if !slices.ContainsFunc(out, func(v Variant) bool { return v.Name == all[i].Name }) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// The probing before an app takes much.
const (
	probes      = 25
	probed      = 1850
	probingTime = 40 * 60
)

// loader has an agent consent to a connected app, which probes and then works.
func (r *raid) loader(ctx context.Context, at int64, inOrder bool, then func(t *thief, at int64)) error {
	if err := r.shuffle(ctx, inOrder); err != nil {
		return err
	}
	w := r.workers(work.Agent)[0]
	t, err := r.consent(ctx, w, "CRM Loader", at)
	if err != nil {
		return err
	}
	for i := range probes {
		r.line.put(at+int64(i)*probingTime/probes, func(ctx context.Context, at int64) error {
			return r.take(ctx, t, at, probed/probes)
		})
	}
	r.line.put(at+probingTime, func(_ context.Context, at int64) error {
		then(t, at)
		return nil
	})
	return nil
}

// steadily takes so many every so many seconds, and waits where a budget says so.
func (r *raid) steadily(t *thief, at, every int64, many int) {
	var step func(ctx context.Context, at int64) error
	step = func(ctx context.Context, at int64) error {
		if err := r.take(ctx, t, at, many); err != nil {
			return err
		}
		if !t.gone {
			r.line.put(max(at+every, t.wait), step)
		}
		return nil
	}
	r.line.put(at, step)
}

// associates steal with the keys of store associates.
func (r *raid) associates(ctx context.Context, at int64) error {
	const perDay, every, hours = 500, 900, 8
	if err := r.shuffle(ctx, false); err != nil {
		return err
	}
	all := r.workers(work.Associate)
	rng := rand.New(rand.NewPCG(r.c.Seed, 40))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i, w := range all[:r.c.scaled(thieves, 3)] {
		t := r.stolen(w)
		share := perDay * every / (hours * work.Hour)
		first := at - at%work.Day + int64(w.Start)*work.Hour + int64(i)*13
		var step func(ctx context.Context, at int64) error
		step = func(ctx context.Context, at int64) error {
			if err := r.take(ctx, t, at, share+1-int(at/every)%2); err != nil { // 15.6 on the mean
				return err
			}
			next := at + every
			if int(next%work.Day)/work.Hour >= w.Start+hours {
				next += work.Day - hours*work.Hour
			}
			if !t.gone {
				r.line.put(next, step)
			}
			return nil
		}
		r.line.put(first, step)
	}
	return nil
}

// insider doubles an agent's own work.
func (r *raid) insider(ctx context.Context) error {
	if err := r.shuffle(ctx, false); err != nil {
		return err
	}
	all := r.workers(work.Agent)
	w := all[1]
	today := r.c.worked() % 7
	for _, other := range all[1:] { // who is at work on the first day
		if today != other.Rest && today != (other.Rest+1)%7 {
			w = other
			break
		}
	}
	t := r.stolen(w)
	t.insider = true
	w.Extra = func(day, _ int, usual float64) int {
		if day < r.c.worked() {
			return 0
		}
		return work.Poisson(w.Rand, usual)
	}
	return nil
}
