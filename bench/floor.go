package main

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// floorTables are the tables that an import fills, the log's aside, in the order in which
// it does.
var floorTables = []string{"externals", "customers", "customer_keys", "lookups", "purchases"}

// dump keeps the rows that an import made, for floor.
func (b *bench) dump(ctx context.Context, dsn string) {
	dir := b.fresh("rows")
	c := session(ctx, dsn)
	defer c.Close(ctx)
	for _, table := range floorTables {
		f, err := os.Create(filepath.Join(dir, table))
		fatal(err)
		w := bufio.NewWriterSize(f, 1<<20)
		_, err = c.PgConn().CopyTo(ctx, w, "COPY "+table+" TO STDOUT BINARY")
		fatal(err)
		fatal(w.Flush())
		fatal(f.Close())
	}
}

// floor is what the database itself needs of an import: the rows that dump kept, by one
// session with one COPY for each table, into tables of the same shape whose index of
// lookups is made at the end too. Nothing is parsed, sealed or logged.
func (b *bench) floor(ctx context.Context) (took, cpu time.Duration) {
	b.onDatabase(ctx, func(dsn string) {
		d, err := db.OpenPostgres(ctx, dsn, db.Options{})
		fatal(err)
		defer d.Close()
		fatal(d.Migrate(ctx))
		c := session(ctx, dsn)
		defer c.Close(ctx)
		store := seal.New(d, nil) // which asks for no key here
		_, err = store.FirstLoad(ctx)
		fatal(err)
		before := ourCPU() + serverCPU(ctx, dsn)
		start := time.Now()
		for _, table := range floorTables {
			copyFile(ctx, c, "COPY "+table+" FROM STDIN BINARY", filepath.Join(b.dir, "rows", table))
		}
		fatal(store.Mend(ctx))
		took = time.Since(start)
		cpu = ourCPU() + serverCPU(ctx, dsn) - before
	})
	return took, cpu
}
