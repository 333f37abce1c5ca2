package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

const (
	sqlRotateKey     = `INSERT INTO customer_keys (ord, brand, kek, version, epoch, segments, wrapped) VALUES ($1, 1, 1, 1, 0, 0, $2)`
	sqlRotateOrdinal = `UPDATE ordinals SET next = $1`
	sqlRotatePlain   = `UPDATE customer_keys SET epoch = epoch + 1 WHERE ord >= $1 AND ord < $2`
	sqlRotateLeft    = `SELECT count(*) FROM customer_keys WHERE kek <> 2`
)

// rotations measures how many customers' keys a rotation of the KEK wraps anew, on
// SQLite and, where -database names a server, on PostgreSQL. Nothing else runs.
func (b *bench) rotations(ctx context.Context) {
	fmt.Println("## Rotation of the KEK: keys wrapped anew, verified, and the old key destroyed")
	fmt.Println("engine | keys | seconds | keys/s | CPU of this process per key | a bare UPDATE of one number in the same rows/s | ratio")
	b.rotate(ctx, b.sqlite(ctx, "rotate"), "")
	if b.database == "" {
		return
	}
	admin, err := pgx.Connect(ctx, b.database)
	fatal(err)
	defer admin.Close(ctx)
	name := "cloakroom_bench_" + strings.ToLower(rand.Text())
	_, err = admin.Exec(ctx, "CREATE DATABASE "+name)
	fatal(err)
	c := admin.Config()
	dsn := fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", c.Host, c.Port, c.User, c.Password, name)
	d, err := db.OpenPostgres(ctx, dsn, db.Options{})
	fatal(err)
	fatal(d.Migrate(ctx))
	b.rotate(ctx, d, dsn)
	_, err = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	fatal(err)
}

func (b *bench) rotate(ctx context.Context, d *db.DB, dsn string) {
	defer d.Close()
	root, err := keys.OpenFile(filepath.Join(b.fresh("rotate-key"), "root.key"), true)
	fatal(err)
	ring := keys.NewRing(d, root)
	for _, brand := range []record.BrandID{record.Group, 1} {
		fatal(d.Tx(ctx, func(q db.Queryer) error { return ring.Create(ctx, q, brand, time.Now()) }))
	}
	b.fillKeys(ctx, d, ring, dsn)
	store := seal.New(d, ring)
	start, used := time.Now(), cpu()
	fatal(d.Tx(ctx, func(q db.Queryer) error {
		next, err := store.NextOrdinal(ctx, q)
		if err == nil {
			_, err = ring.Rotate(ctx, q, 1, keys.KEK, next, keys.Starter{}, time.Now())
		}
		return err
	}))
	rot, err := ring.Claim(ctx, "bench")
	fatal(err)
	fatal(store.Rewrap(ctx, rot))
	fatal(ring.Finish(ctx, rot))
	took := time.Since(start)
	used = cpu() - used
	var left int64
	fatal(d.Row(ctx, sqlRotateLeft).Scan(&left))
	if left > 0 || rot.Done != int64(b.keys) {
		fatal(fmt.Errorf("%d keys are left, %d were counted", left, rot.Done))
	}
	start = time.Now()
	for from := 1; from <= b.keys; from += 8192 {
		_, err := d.Exec(ctx, sqlRotatePlain, from, from+8192)
		fatal(err)
	}
	plain := time.Since(start)
	fmt.Printf("%s | %d | %.2f | %.0f | %.1f us | %.0f | %.2f\n", d.Engine(), b.keys, took.Seconds(), float64(b.keys)/took.Seconds(), used.Seconds()*1e6/float64(b.keys), float64(b.keys)/plain.Seconds(), plain.Seconds()/took.Seconds())
}

// fillKeys writes wrapped keys as docs/sealed-format.md has them.
func (b *bench) fillKeys(ctx context.Context, d *db.DB, ring *keys.Ring, dsn string) {
	kek, err := ring.Current(ctx, 1, keys.KEK)
	fatal(err)
	block, err := aes.NewCipher(kek.Bytes())
	fatal(err)
	aead, err := cipher.NewGCM(block)
	fatal(err)
	wrapped := func(ord int64) []byte {
		aad := append([]byte("cloakroom customer key 1"), 0, 0, 1)
		aad = binary.BigEndian.AppendUint32(aad, uint32(ord))
		aad = binary.BigEndian.AppendUint32(aad, 1)
		out := make([]byte, 13, 61)
		out[0] = seal.Version
		rand.Read(out[1:])
		secret := make([]byte, 32)
		rand.Read(secret)
		return aead.Seal(out, out[1:], secret, aad)
	}
	_, err = d.Exec(ctx, sqlRotateOrdinal, b.keys+1)
	fatal(err)
	if dsn != "" {
		c, err := pgx.Connect(ctx, dsn)
		fatal(err)
		defer c.Close(ctx)
		n := int64(0)
		_, err = c.CopyFrom(ctx, pgx.Identifier{"customer_keys"}, []string{"ord", "brand", "kek", "version", "epoch", "segments", "wrapped"},
			pgx.CopyFromFunc(func() ([]any, error) {
				if n++; n > int64(b.keys) {
					return nil, nil
				}
				return []any{n, 1, 1, int64(1), int64(0), 0, wrapped(n)}, nil
			}))
		fatal(err)
		return
	}
	for from := int64(1); from <= int64(b.keys); from += 20000 {
		fatal(d.Tx(ctx, func(q db.Queryer) error {
			for ord := from; ord < min(from+20000, int64(b.keys)+1); ord++ {
				if _, err := q.Exec(ctx, sqlRotateKey, ord, wrapped(ord)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	fatal(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
