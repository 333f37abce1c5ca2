package backup_test

import (
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// A legal hold that is in the log binds a restored copy, whatever state its data and keys
// are of; one that was released does not.
func TestARestoreKnowsLegalHolds(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		ctx := t.Context()
		h, c := newHouse(t, engine, 20), newCustody(t)
		tokens := h.tokens["gucci"][:2]
		_, err := h.as("").SetErasureCooling(ctx, "gucci", api.ErasureCooling{Days: 7})
		must(t, err)
		c.backup(h, "data")
		// One hand is enough here: two people have not existed yet.
		place := func(token string) *api.Hold {
			x, err := h.as("officer").PlaceHold(ctx, "gucci", api.HoldRequest{Tokens: []string{token}, Ground: "claim", Review: time.Now().AddDate(1, 0, 0).Format(time.DateOnly)})
			must(t, err)
			return x
		}
		place(tokens[0])
		over := place(tokens[1])
		_, err = h.as("officer").ReleaseHold(ctx, "gucci", over.ID, api.HoldRelease{Reason: "withdrawn"})
		must(t, err)
		for _, token := range tokens {
			_, err := h.as("officer").Erase(ctx, "gucci", token)
			must(t, err)
		}
		c.backup(h, "log", db.PartLog)
		o := c.options(h, other(engine), "data")
		o.LogFrom = c.dir("log")
		r, _ := c.restored(h, o)
		_, err = r.v.Erase.DestroyCooled(ctx, afterwards)
		must(t, err)
		for i, want := range []string{"cooling", "gone"} {
			if got := r.state(tokens[i]); got != want {
				t.Errorf("customer %d is %s, not %s", i, got, want)
			}
		}
		list, err := r.as("officer").Holds(ctx, "gucci")
		if err != nil || len(list.Holds) != 1 || list.Holds[0].Ground != "claim" {
			t.Errorf("%+v, %v", list, err)
		}
		r.wellKept()
	})
}
