package ledger

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// A transaction held open, such as a backup's, does not make commits dearer: reading the head
// and taking the lock touch no more pages after many of them. Where each group
// updated the head, every commit walked all versions that the transaction still saw.
func TestAHeldSnapshotLeavesTheHeadNear(t *testing.T) {
	d := dbtest.Postgres(t, db.Options{})
	begin(t, d)
	l := open(t, d)
	record := func(n int) {
		t.Helper()
		for range n {
			if _, err := l.Record(t.Context(), Event{Kind: entry.KindAdministration, Who: agent(7, 70)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	buffers := regexp.MustCompile(`^\s*Buffers: shared hit=(\d+)(?: read=(\d+))?`)
	pages := func() (n int) {
		t.Helper()
		for _, sql := range []string{sqlReadHead, sqlPostgresLockLog} {
			err := d.Tx(t.Context(), func(q db.Queryer) error {
				// The plan of one who asks it often: a sequence of pages is read faster once,
				// of few rows.
				if _, err := q.Exec(t.Context(), "SET LOCAL enable_seqscan = off"); err != nil {
					return err
				}
				return q.Rows(t.Context(), func(r db.Row) error {
					var line string
					err := r.Scan(&line)
					if m := buffers.FindStringSubmatch(line); m != nil {
						hit, _ := strconv.Atoi(m[1])
						read, _ := strconv.Atoi(m[2])
						n += hit + read
					}
					return err
				}, "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, COSTS OFF, SUMMARY OFF) "+strings.ReplaceAll(sql, "$1", "1"))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	record(10)
	pages() // what planning reads once
	held := errors.New("held")
	err := d.LongSnapshot(t.Context(), func(q db.Queryer) error {
		if _, err := q.Now(t.Context()); err != nil {
			return err
		}
		before := pages()
		record(700)
		after := pages()
		if before == 0 || after > before+10 {
			t.Errorf("the head lies %d pages away, and %d after 700 commits", before, after)
		}
		return held
	})
	if !errors.Is(err, held) {
		t.Fatal(err)
	}
}
