package ledger

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// A purpose stands for any row of rights.
const (
	sqlTestInsert = `INSERT INTO purposes (brand, name, legal_basis, description, created, retired) VALUES (1, $1, $2, '', 0, 0)`
	sqlTestUpdate = `UPDATE purposes SET legal_basis = $2 WHERE name = $1`
	sqlTestDelete = `DELETE FROM purposes WHERE name = $1`
	sqlTestRead   = `SELECT name, legal_basis FROM purposes WHERE brand = 1 ORDER BY name`
)

func row(name, text string) rights.Row {
	return rights.Row{Table: "purposes", Key: name, Cells: []any{name, text}}
}

// change logs an act that writes a row.
func change(t testing.TB, l *Ledger, sql, name, text string, r rights.Row) {
	t.Helper()
	args := []any{name, text}
	if sql == sqlTestDelete {
		args = args[:1]
	}
	_, _, err := l.Change(t.Context(), Event{Kind: entry.KindAdministration, Who: agent(1, 1), Detail: entry.Checked{Check: "test"}}, func(q db.Queryer, _ time.Time) error {
		_, err := q.Exec(t.Context(), sql, args...)
		rights.Changed(q, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// void returns what a ledger finds, as "key: what".
func void(t testing.TB, l *Ledger) (out []string) {
	t.Helper()
	list, err := l.Void(t.Context(), brand, func(q db.Queryer) (rights.Found, error) {
		f := rights.Found{Whole: []string{"purposes"}}
		err := q.Rows(t.Context(), func(r db.Row) error {
			var name, text string
			err := r.Scan(&name, &text)
			f.Rows = append(f.Rows, row(name, text))
			return err
		}, sqlTestRead)
		return f, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		out = append(out, v.Key+" "+v.What)
	}
	slices.Sort(out)
	return out
}

func (l *Ledger) tamper(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := l.db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// A row is what the log says, on the server that changed it, on another, and after a start
// from the whole log or a snapshot; whatever is done to it outside the vault is found.
func TestRowsAreWhatTheLogSays(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		a, b := open(t, d), open(t, d)
		change(t, a, sqlTestInsert, "support", "contract", row("support", "contract"))
		change(t, b, sqlTestInsert, "returns", "contract", row("returns", "contract"))
		change(t, a, sqlTestUpdate, "support", "consent", row("support", "consent"))
		change(t, b, sqlTestInsert, "ended", "contract", row("ended", "contract"))
		change(t, a, sqlTestDelete, "ended", "", rights.Row{Table: "purposes", Key: "ended", Gone: true})
		fine := func() {
			t.Helper()
			for _, l := range []*Ledger{a, b, open(t, d)} {
				if got := void(t, l); got != nil {
					t.Errorf("found %q where all is well", got)
				}
			}
		}
		fine()
		for _, x := range []struct {
			name, attack, undo string
			a, u               []any
			want               []string
		}{
			{"inserted", sqlTestInsert, sqlTestDelete, []any{"resale", "contract"}, []any{"resale"}, []string{"resale " + rights.Forged}},
			{"changed", sqlTestUpdate, sqlTestUpdate, []any{"returns", "consent"}, []any{"returns", "contract"}, []string{"returns " + rights.Altered}},
			{"put back from an older state", sqlTestUpdate, sqlTestUpdate, []any{"support", "contract"}, []any{"support", "consent"}, []string{"support " + rights.Altered}},
			{"revived", sqlTestInsert, sqlTestDelete, []any{"ended", "contract"}, []any{"ended"}, []string{"ended " + rights.Forged}},
			{"deleted", sqlTestDelete, sqlTestInsert, []any{"returns"}, []any{"returns", "contract"}, []string{"returns " + rights.Missing}},
		} {
			a.tamper(t, x.attack, x.a...)
			for what, l := range map[string]*Ledger{"the server": a, "another": b, "a new one": open(t, d)} {
				if got := void(t, l); !slices.Equal(got, x.want) {
					t.Errorf("%s: %s found %q", x.name, what, got)
				}
			}
			a.tamper(t, x.undo, x.u...)
		}
		fine()
		c := reading(t, a)
		if _, err := c.save(t.Context(), everything(t, c)); err != nil {
			t.Fatal(err)
		}
		fine()
		same(t, c)
	})
}

// A server whose projection is older than the log does not take an older row for good.
func TestAServerThatIsBehindAsksTheLog(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		a, b := open(t, d), open(t, d)
		change(t, a, sqlTestInsert, "support", "contract", row("support", "contract"))
		if got := void(t, b); got != nil {
			t.Fatal(got)
		}
		change(t, a, sqlTestUpdate, "support", "consent", row("support", "consent"))
		a.tamper(t, sqlTestUpdate, "support", "contract")
		if got := void(t, b); !slices.Equal(got, []string{"support " + rights.Altered}) {
			t.Errorf("found %q", got)
		}
	})
}

// An act and its entry are one transaction: an act that fails leaves neither, and what
// queues beside it goes on.
func TestAnActAndItsEntryAreOne(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		begin(t, d)
		l := open(t, d)
		setRules(t, l, rules(t, 1000))
		size, err := l.Size(t.Context(), brand)
		if err != nil {
			t.Fatal(err)
		}
		wrong := errors.New("wrong")
		var waits []chan error
		for i := range 20 {
			done := make(chan error, 1)
			waits = append(waits, done)
			go func() {
				if i%2 == 0 {
					_, err := reveal(t, l, agent(1, 1), record.Ordinal(i+1))
					done <- err
					return
				}
				_, _, err := l.Change(t.Context(), Event{Kind: entry.KindAdministration, Who: agent(1, 1), Detail: entry.Checked{Check: "test"}}, func(q db.Queryer, _ time.Time) error {
					if _, err := q.Exec(t.Context(), sqlTestInsert, "support", "contract"); err != nil {
						return err
					}
					rights.Changed(q, row("support", "contract"))
					return wrong
				})
				if !errors.Is(err, wrong) {
					err = errors.Join(errors.New("the act did not fail as it should"), err)
				} else {
					err = nil
				}
				done <- err
			}()
		}
		for _, done := range waits {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n, err := l.Size(t.Context(), brand); err != nil || n != size+10 {
			t.Errorf("%d entries, %v", n-size, err)
		}
		if got := void(t, l); got != nil {
			t.Errorf("rows of acts that failed: %q", got)
		}
	})
}

// An act that changes more rows than an entry holds goes on in the next entries.
func TestAnActOfManyRows(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	const n = 3000
	_, _, err := l.Change(t.Context(), Event{Kind: entry.KindAdministration, Who: agent(1, 1), Detail: entry.Checked{Check: "test"}}, func(q db.Queryer, _ time.Time) error {
		for i := range n {
			name := rights.Key("purpose", i)
			if _, err := q.Exec(t.Context(), sqlTestInsert, name, "contract"); err != nil {
				return err
			}
			rights.Changed(q, row(name, "contract"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Ledger{l, open(t, d)} {
		if got := void(t, l); got != nil {
			t.Errorf("%d rows are void", len(got))
		}
	}
	rows, entries := 0, 0
	err = l.Scan(context.Background(), brand, 0, func(_ uint64, e entry.Entry, _ []record.Ordinal) error {
		rows += len(e.Rows)
		entries++
		return nil
	})
	if err != nil || rows != n || entries < 3 || entries > 10 {
		t.Errorf("%d rows in %d entries, %v", rows, entries, err)
	}
}
