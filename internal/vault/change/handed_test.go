package change_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/app/apptest"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
)

// receivers stands for those who get alarms.
type receivers struct{ any, handed bool }

func (r *receivers) Handed(context.Context, []change.Place) (any, handed bool, err error) {
	return r.any, r.handed, nil
}

// No act takes effect before its alarm reached somebody, or was tried for its time.
func TestTheAlarmComesFirst(t *testing.T) {
	h := apptest.Open(t)
	r := &receivers{any: true}
	h.Changes.Receivers, h.Changes.Wait = r, -1
	give := func(name, want string) {
		t.Helper()
		_, err := h.Admin.SetRole(t.Context(), h.Local, name, "gucci", access.DataProtectionOfficer)
		var waits *change.PendingError
		if !errors.As(err, &waits) || waits.State != change.Approved {
			t.Fatalf("it took effect untold: %v", err)
		}
		h.Must(h.Changes.Due(t.Context()))
		if got := role(h, t, name, "gucci"); got != "" {
			t.Fatalf("it took effect untold: %s", got)
		}
		if r.handed = want == "alone"; !r.handed {
			h.Later(change.DefaultPatience + time.Second)
		}
		h.Must(h.Changes.Due(t.Context()))
		x, err := h.Changes.Show(t.Context(), h.Local, waits.ID)
		h.Must(err)
		if got := role(h, t, name, "gucci"); got != access.DataProtectionOfficer || x.Mark != want {
			t.Errorf("told: %q, marked %q", got, x.Mark)
		}
		r.handed = false
	}
	for _, n := range []string{"one", "two"} {
		h.Changes.Receivers = nil
		h.Person(n, nil)
		h.Changes.Receivers = r
	}
	give("one", "alone")
	give("two", "alone unsent")
}
