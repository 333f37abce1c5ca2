package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// load brings the parts in, each at the schema that it was written with, and the
// schema forward between them: so that a backup of an older release takes the same
// way as its database would have.
func (r *restore) load(ctx context.Context) error {
	if err := r.v.Database().BeginRestore(ctx, r.data.Schema); err != nil {
		return err
	}
	for _, step := range []struct {
		s     *source
		parts []db.Part
	}{{r.data, []db.Part{db.PartData}}, {r.keys, []db.Part{db.PartAdmin, db.PartKeys}}, {r.log, []db.Part{db.PartLog}}} {
		if err := r.v.Database().MigrateRestore(ctx, step.s.Schema); err != nil {
			return err
		}
		if err := r.readSchema(ctx); err != nil {
			return err
		}
		for _, p := range step.parts {
			if err := r.loadPart(ctx, step.s, p); err != nil {
				return fmt.Errorf("restoring the %s: %w", p, err)
			}
		}
	}
	if err := r.v.Database().MigrateRestore(ctx, db.LatestSchema()); err != nil {
		return err
	}
	return r.readSchema(ctx)
}

func (r *restore) readSchema(ctx context.Context) error {
	list, err := db.Tables(ctx, r.v.Database())
	if err != nil {
		return err
	}
	r.tables = map[string]db.Table{}
	for _, t := range list {
		r.tables[t.Name] = t
	}
	return nil
}

// loadPart reads one part whole and brings in what is to be brought in of it.
func (r *restore) loadPart(ctx context.Context, s *source, p db.Part) (err error) {
	// A migration may have put rows where those of the backup belong.
	for _, t := range r.tables {
		if t.Part == p {
			if err := r.v.Database().Tx(ctx, func(q db.Queryer) error { return db.ClearTable(ctx, q, t) }); err != nil {
				return err
			}
		}
	}
	pr, f, err := r.part(s, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pr.close()) }()
	var versions, laid *merge
	if p == db.PartKeys {
		for _, m := range []**merge{&versions, &laid} {
			if *m, err = r.openMerge(); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, (*m).close()) }()
		}
	}
	b := &batch{r: r, f: f, part: p}
	for {
		row, err := pr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if pr.table != b.table {
			if err := b.flush(ctx); err != nil {
				return err
			}
			b.table, b.columns, b.done = pr.table, pr.columns, 0
		}
		keep := true
		switch {
		case pr.table == versionsTable:
			keep = false
		case pr.table == "customer_keys":
			keep, err = versions.apply(pr, row)
		case pr.table == coolingTable:
			keep, err = laid.apply(pr, row)
		case pr.table == takeBacksTable:
			var ord int64
			ord, err = pr.int(row, "ord")
			keep = r.cold.Contains(uint32(ord))
		case pr.table == erasuresTable: // of customers who are not here, nothing is due
			var ord int64
			ord, err = pr.int(row, "ord")
			keep = r.live.Contains(uint32(ord)) || r.cold.Contains(uint32(ord))
		case p == db.PartData:
			keep, err = r.alive(pr, row)
		}
		if err != nil {
			return err
		}
		if err := b.add(ctx, row, keep && r.wanted(p, pr.table)); err != nil {
			return err
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	for table, n := range f.Rows {
		if pr.counts[table] != n {
			return pr.damaged("%s has %d rows, and %d in the manifest", table, pr.counts[table], n)
		}
	}
	return nil
}

// wanted leaves out of a dry run what the logs can be checked without.
func (r *restore) wanted(p db.Part, table string) bool {
	return !r.DryRun || p != db.PartData && table != "customer_keys" && table != coolingTable && table != takeBacksTable
}

// alive decides over a row of the data. A customer whose key is gone leaves a row that
// says that they were erased, and nothing else. Of one whose key lies aside everything is
// brought back but the index. The copies may be of different times: a customer who was
// cooling in the copy of the data, and is there in the copy of the keys, is indexed again.
func (r *restore) alive(pr *partReader, row []any) (bool, error) {
	if !slices.Contains(pr.columns, "ord") {
		return true, nil
	}
	ord, err := pr.int(row, "ord")
	if err != nil {
		return false, err
	}
	live := r.live.Contains(uint32(ord))
	cold := r.cold.Contains(uint32(ord))
	if pr.table != "customers" {
		return live || cold && pr.table != "lookups" && pr.table != "externals", nil
	}
	sealed, erased := slices.Index(pr.columns, "sealed"), slices.Index(pr.columns, "erased")
	if sealed < 0 || erased < 0 {
		return false, pr.damaged("the customers have no sealed records")
	}
	switch {
	case row[sealed] == nil:
	case live && row[erased] != int64(0):
		row[erased] = int64(0)
		brand, err := pr.int(row, "brand")
		if err != nil {
			return false, err
		}
		r.again[record.BrandID(brand)] = append(r.again[record.BrandID(brand)], record.Ordinal(ord))
	case cold && row[erased] == int64(0):
		row[erased] = r.keys.Made.UnixMicro()
	case !live && !cold:
		row[sealed], row[erased] = nil, r.keys.Made.UnixMicro()
		if bought := slices.Index(pr.columns, "bought"); bought >= 0 {
			row[bought] = nil
		}
	}
	return true, nil
}

// batch collects rows of a table for one transaction.
type batch struct {
	r       *restore
	f       *File
	part    db.Part
	table   string
	columns []string
	rows    [][]any
	bytes   int
	done    uint64
}

// batchBytes ends a batch before its rows fill the memory.
const batchBytes = 16 << 20

func (b *batch) add(ctx context.Context, row []any, keep bool) error {
	b.done++
	if keep {
		b.rows = append(b.rows, row)
		b.bytes += rowBytes(row)
	}
	if len(b.rows) < batchRows && b.bytes < batchBytes && b.done%batchRows != 0 {
		return nil
	}
	return b.flush(ctx)
}

func (b *batch) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.table != "" {
		b.r.progress(Progress{Part: string(b.part), Table: b.table, Rows: b.done, All: b.f.Rows[b.table]})
	}
	if len(b.rows) == 0 {
		return nil
	}
	t, ok := b.r.tables[b.table]
	if !ok || t.Part != b.part {
		return fmt.Errorf("%w: a table %q in the %s", ErrDamaged, b.table, b.part)
	}
	err := b.r.v.Database().Tx(ctx, func(q db.Queryer) error { return db.LoadTable(ctx, q, t, b.columns, b.rows) })
	b.rows, b.bytes = nil, 0
	return err
}

// merge walks the versions of the data beside the keys, both ascending, so that a key
// is brought in with the version that its records in the data were sealed with.
type merge struct {
	pr  *partReader
	row []any
	ord int64
	end bool
}

func (r *restore) openMerge() (*merge, error) {
	pr, _, err := r.part(r.data, db.PartData)
	if err != nil {
		return nil, err
	}
	m := &merge{pr: pr}
	return m, m.step()
}

func (m *merge) close() error { return m.pr.close() }

func (m *merge) step() (err error) {
	m.row, err = m.pr.next()
	if err == io.EOF || err == nil && m.pr.table != versionsTable {
		m.end = true
		return nil
	}
	if err == nil {
		m.ord, err = m.pr.int(m.row, "ord")
	}
	return err
}

// apply changes a row of customer_keys into what belongs to the data, and reports
// whether the customer is in the data at all.
func (m *merge) apply(keys *partReader, row []any) (bool, error) {
	ord, err := keys.int(row, "ord")
	if err != nil {
		return false, err
	}
	for !m.end && m.ord < ord {
		if err := m.step(); err != nil {
			return false, err
		}
	}
	if m.end || m.ord != ord {
		return false, nil
	}
	for _, c := range []string{"version", "epoch", "segments"} {
		v, err := m.pr.int(m.row, c)
		if err != nil {
			return false, err
		}
		i := slices.Index(keys.columns, c)
		if i < 0 {
			return false, keys.damaged("the keys have no %s", c)
		}
		row[i] = v
	}
	return true, nil
}
