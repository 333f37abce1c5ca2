package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// A vault whose counter of ordinals is wrong says so wherever somebody looks, says what to
// do, and takes new customers again after it.
func TestAWrongCounterOfOrdinalsIsFoundAndMended(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vault")
	demoIn(t, dir, 30)
	at := env{"CLOAKROOM_DATA": dir}
	counter := func(sql string, args ...any) (next int64) {
		t.Helper()
		d, err := db.OpenSQLite(t.Context(), filepath.Join(dir, app.DatabaseFile), db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if sql != "" {
			if _, err := d.Exec(t.Context(), sql, args...); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Row(t.Context(), `SELECT next FROM ordinals`).Scan(&next); err != nil {
			t.Fatal(err)
		}
		return next
	}
	put := []string{"put", "--brand", "gucci", "external_id=NEW", "given_name=Noor"}
	well := counter("")
	at.run(t, "doctor")
	if out := at.run(t, "db", "mend"); out != "nothing to repair\n" || counter("") != well {
		t.Fatalf("mending a vault that is well said %q and left %d of %d", out, counter(""), well)
	}
	for name, c := range map[string]struct {
		next    int64
		refused bool
		mended  int64
	}{
		"in the range of strangers":  {4_294_173_918, true, well},
		"far above the customers":    {3_000_000_000, false, well},
		"below the customers":        {3, false, well},
		"at its honest end":          {int64(record.FirstNobody), true, well},
		"above what 32 bits can say": {1 << 33, true, well},
	} {
		t.Run(name, func(t *testing.T) {
			counter(`UPDATE ordinals SET next = $1`, c.next)
			if c.refused {
				if out := at.fails(t, put...); !strings.Contains(out, seal.ErrNoOrdinals.Error()) {
					t.Errorf("a new customer got %q", out)
				}
				if next := counter(""); next != c.next {
					t.Errorf("a refused write moved the counter to %d", next)
				}
			}
			for _, verb := range [][]string{{"doctor"}, {"db", "check"}, {"db", "mend", "--dry-run"}} {
				if out := at.fails(t, verb...); !strings.Contains(out, "next ordinal") {
					t.Errorf("%v says %q", verb, out)
				}
			}
			if next := counter(""); next != c.next {
				t.Errorf("looking moved the counter to %d", next)
			}
			var out api.Mended
			if err := json.Unmarshal([]byte(at.run(t, "db", "mend", "--json")), &out); err != nil || len(out.Repairs) != 1 {
				t.Errorf("%+v, %v", out, err)
			}
			if next := counter(""); next != c.mended {
				t.Errorf("the counter is %d, not %d", next, c.mended)
			}
			at.run(t, "doctor")
		})
	}
	at.run(t, put...)
	if next := counter(""); next != well+1 {
		t.Errorf("after a new customer the next ordinal is %d, not %d", next, well+1)
	}
}
