package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/app"
)

// A server is killed at any moment while it erases customers. Whoever the log says is
// erased is gone when the next server has started, and does not come back; everybody else is
// there.
func TestErasuresOutliveKills(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "vault")
	demoIn(t, dir, 30)
	serve := func() (admin *client.Client, kill func()) {
		cmd, errs := program(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return socket(t, dir, ""), func() {
			cmd.Process.Kill()
			cmd.Wait()
			if strings.Contains(errs.String(), "panic") {
				t.Error(errs)
			}
		}
	}
	admin, kill := serve()
	defer func() { kill() }()
	x := &trap{t: t}
	_, key := x.person(admin, "olga", "data-protection-officer")
	_, shopKey := x.person(admin, "shop", "application")
	// cutOff lists the erasures that are in the log and not carried out.
	cutOff := func() (tokens []string) {
		v, err := app.Open(ctx, dir, app.Options{Begin: app.MustExist})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		list, err := v.Ledger.ErasuresDue(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, due := range list {
			token, err := v.Disclose.Seal.Token(ctx, due.Brand, due.Ord)
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, token)
		}
		return tokens
	}
	there := func(token string) bool {
		err := unixClient(dir, shopKey).Do(ctx, "PATCH", client.Path("brands", "gucci", "customers", token), api.Fields{"given_name": "Zoe"}, nil)
		if err != nil && !isError(err, api.TypeUnknownToken) {
			t.Fatal(err)
		}
		return err == nil
	}
	cut := 0
	for round := range rarely(12, 3) {
		var put api.PutRequest
		for i := range 60 {
			put.Customers = append(put.Customers, api.Fields{"external_id": fmt.Sprintf("E-%d-%d", round, i), "given_name": "Zoe"})
		}
		w, err := unixClient(dir, shopKey).Put(ctx, "gucci", put)
		if err != nil {
			t.Fatal(err)
		}
		erased, done := 0, make(chan bool)
		go func() {
			defer close(done)
			for _, r := range w.Results {
				if _, err := unixClient(dir, key).Erase(ctx, "gucci", r.Token); err != nil {
					return
				}
				erased++
			}
		}()
		time.Sleep(time.Duration(5_000+rand.IntN(60_000)) * time.Microsecond) // at a random moment
		kill()
		<-done
		due := cutOff()
		cut += len(due)
		_, kill = serve()
		for _, token := range due {
			x.until("an erasure that was cut off is carried out", func() bool { return !there(token) })
		}
		gone := 0
		for i, r := range w.Results {
			is := there(r.Token)
			if !is {
				gone++
			}
			if i < erased && is || i > erased && !is {
				t.Errorf("of %d that were erased, customer %d is there: %v", erased, i, i >= erased)
			}
		}
		// None of them comes back with the list that they were on.
		again, err := unixClient(dir, "").Put(ctx, "gucci", put)
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		if again.Withheld != nil {
			kept = again.Withheld.Rows.All()
		}
		if kept != gone {
			t.Errorf("of %d who are erased %d stay out of an import", gone, kept)
		}
	}
	t.Logf("%d erasures were cut off between their entry and the end of the key", cut)
}
