package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

// A clock that jumps forward would free every budget, and then stand still for as long. The
// log takes no such time, and goes on by itself once the clocks agree.
func TestAJumpOfTheClockIsNotLogged(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	setRules(t, l, rules(t, 2))
	ahead := time.Duration(0)
	l.apart = func(time.Time) time.Duration { return ahead }
	if _, err := reveal(t, l, agent(7, 70), 1, 2); err != nil {
		t.Fatal(err)
	}
	for _, ahead = range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		size, _, _ := l.head(t.Context(), brand)
		if _, err := reveal(t, l, agent(8, 80), 3); !errors.Is(err, ErrClock) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s apart: %v", ahead, err)
		}
		if after, _, _ := l.head(t.Context(), brand); after != size {
			t.Errorf("%s apart: the log grew by %d", ahead, after-size)
		}
		if f := l.Faults(); len(f) != 1 || f[0].Trouble != Clock {
			t.Errorf("%+v", f)
		}
	}
	ahead = db.MaxApart
	if _, err := reveal(t, l, agent(8, 80), 3); err != nil || len(l.Faults()) != 0 {
		t.Errorf("the clocks agree: %v, %+v", err, l.Faults())
	}
}
