package main

import (
	"errors"
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

var fleetRounds = flag.Int("contain-fleet-rounds", 1, "contain so many lineages while a fleet serves them")

// Three servers over one database, a thief who reveals through all of them without pause.
// When the command is back, nothing more of the thief's comes into the log, by whichever
// server it was sent.
func TestAFleetContains(t *testing.T) {
	t.Parallel()
	const servers, clients = 3, 9
	ctx := t.Context()
	dsn := dbtest.DSN(t)
	f := newFleet(t, dsn, servers)
	admin := unixClient(f.dirs[0], "")
	_, tokens := crowd(t, admin, 1, 40, 1000)
	newKey := func(name string) (c api.Credential) {
		t.Helper()
		if err := admin.Do(ctx, "POST", client.Path("principals", name, "credentials"), api.CredentialRequest{}, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var responder string
	for _, name := range []string{"rhea", "omar"} { // somebody must be left to undo it
		if err := admin.Do(ctx, "POST", "/v1/principals", api.Principal{Name: name, Kind: "person", Roles: map[string]string{"gucci": "incident-responder"}}, nil); err != nil {
			t.Fatal(err)
		}
		responder = newKey(name).Key
	}

	back := map[uint64]uint64{} // by lineage: how long the log was when its command was back
	var took []int64
	for round := range *fleetRounds {
		stolen := newKey("agent-0")
		var answered [servers]atomic.Int64
		var wg sync.WaitGroup
		for i := range clients {
			at := i % servers
			c := unixClient(f.dirs[at], stolen.Key)
			wg.Go(func() {
				for {
					_, err := c.Reveal(ctx, "gucci", api.RevealRequest{Tokens: some(tokens), Fields: []string{"email"}, Purpose: "customer-support"})
					answered[at].Add(1)
					if ae, ok := errors.AsType[*api.Error](err); ok && ae.Type == api.TypeConflict {
						continue // what it was decided under moved five times; it is decided anew
					} else if ok && ae.Type == api.TypeContained {
						return
					} else if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
				}
			})
		}
		for at := range servers {
			for deadline := time.Now().Add(90 * time.Second); answered[at].Load() < 5; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("server %d does not answer", at)
				}
			}
		}
		var c api.Containment
		if err := unixClient(f.dirs[round%servers], responder).Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Lineage: stolen.ID}, &c); err != nil {
			t.Fatal(err)
		}
		var log api.Checkpoint
		if err := admin.Do(ctx, "GET", "/v1/brands/gucci/log", nil, &log); err != nil {
			t.Fatal(err)
		}
		back[stolen.Lineage] = log.Size
		took = append(took, c.TookMillis)
		wg.Wait() // each has met the containment
	}

	v, err := app.Open(ctx, f.first, app.Options{Database: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	logged := map[uint64]int{}
	err = v.Ledger.Scan(ctx, 1, 0, func(i uint64, e entry.Entry, _ []record.Ordinal) error {
		size, contained := back[e.Lineage]
		if !contained || e.Kind != entry.KindDisclosure {
			return nil
		}
		logged[e.Lineage]++
		if i >= size {
			t.Errorf("entry %d discloses to lineage %d, which was contained at %d", i, e.Lineage, size)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for lineage := range back {
		if logged[lineage] < servers {
			t.Errorf("lineage %d was disclosed to %d times: too few to show anything", lineage, logged[lineage])
		}
	}
	slices.Sort(took)
	t.Logf("time to contain: %d servers, %d clients, %d rounds: median %d ms, most %d ms", servers, clients, len(took), took[len(took)/2], took[len(took)-1])
}
