package intake

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/approval"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

const (
	// queueEvery is how often a server looks for room for what waits.
	queueEvery = 30 * time.Second
	// queueMost and queueBytes bound what waits at a brand.
	queueMost  = 10_000
	queueBytes = 64 << 20
	// queueFor is how long a request waits at most: its rows hold customers' data.
	queueFor = 7 * 24 * time.Hour
	// queueRetry is what a caller is told to wait when the queue is full.
	queueRetry = 5 * time.Minute
	// queueBatch is how many requests one look reads.
	queueBatch = 100
)

// Queue holds writes under standing approvals that found no room: sealed, bounded, and in
// order of arrival.
type Queue struct {
	*follow.Loop

	db   *db.DB
	ring *keys.Ring
}

// NewQueue returns the queue of a database.
func NewQueue(d *db.DB, ring *keys.Ring) *Queue {
	return &Queue{follow.NewLoop(queueEvery), d, ring}
}

const (
	waitingColumns = `id, brand, approval, principal, credential, lineage, key, sealed, created`

	sqlQueueAdd   = `INSERT INTO write_queue (` + waitingColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	sqlQueueSize  = `SELECT count(*), coalesce(sum(length(sealed)), 0) FROM write_queue WHERE brand = $1`
	sqlQueueHolds = `SELECT count(*) FROM write_queue WHERE brand = $1 AND approval = $2`
	sqlQueueRead  = `SELECT ` + waitingColumns + ` FROM write_queue WHERE created > $1 OR created = $1 AND id > $2 ORDER BY created, id LIMIT $3`
	sqlQueueOf    = `SELECT ` + waitingColumns + ` FROM write_queue WHERE brand = $1 AND (created > $2 OR created = $2 AND id > $3) ORDER BY created, id LIMIT $4`
	sqlQueueLess  = `UPDATE write_queue SET key = $3, sealed = $4 WHERE id = $1 AND sealed = $2`
	sqlQueueDrop  = `DELETE FROM write_queue WHERE id = $1`
)

// waiting is a request that waits.
type waiting struct {
	id       int64
	brand    record.BrandID
	approval uint64
	who      identity.Caller
	key      int
	sealed   []byte
	created  time.Time
}

// additional binds what is sealed to who asked for it.
func (x *waiting) additional() []byte {
	b := []byte("cloakroom waiting write 1\x00")
	for _, n := range []uint64{uint64(x.id), uint64(x.brand), x.approval, x.who.Principal, x.who.Credential, x.who.Lineage, uint64(x.created.UnixMicro())} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// full is the answer while the queue has no room.
func full() error {
	return &api.Error{Type: api.TypeQueueFull, Title: "Queue full", Status: http.StatusServiceUnavailable, RetryIn: int64(queueRetry.Seconds()),
		Detail: "the queue of writes that wait for room under standing approvals is full: nothing of this request was taken, retry later"}
}

// holds reports whether requests under an approval wait already: later ones wait behind
// them, so that no older row comes after a newer one.
func (q *Queue) holds(ctx context.Context, brand record.BrandID, id uint64) (bool, error) {
	var n int64
	if err := q.db.Row(ctx, sqlQueueHolds, int64(brand), int64(id)).Scan(&n); err != nil {
		return false, fmt.Errorf("reading the queue of writes: %w", err)
	}
	return n > 0, nil
}

// add takes a request in.
func (q *Queue) add(ctx context.Context, v *door.Visit, a *approval.Approval, put *api.PutRequest) error {
	plain, err := json.Marshal(put)
	if err != nil {
		return fmt.Errorf("writing a request that waits: %w", err)
	}
	var n, bytes int64
	if err := q.db.Row(ctx, sqlQueueSize, int64(v.Brand.ID)).Scan(&n, &bytes); err != nil {
		return fmt.Errorf("reading the queue of writes: %w", err)
	}
	if n >= queueMost || bytes+int64(len(plain)) > queueBytes {
		return full()
	}
	now, err := q.db.Now(ctx)
	if err != nil {
		return err
	}
	var id [8]byte
	rand.Read(id[:])
	x := &waiting{id: int64(binary.BigEndian.Uint64(id[:]) >> 1), brand: v.Brand.ID, approval: a.ID, who: v.Who.Caller, created: now}
	err = q.db.Tx(ctx, func(tx db.Queryer) error {
		key, sealed, err := q.seal(ctx, tx, x, plain, now)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlQueueAdd, x.id, int64(x.brand), int64(x.approval), int64(x.who.Principal), int64(x.who.Credential), int64(x.who.Lineage),
			key, sealed, now.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("storing a request that waits: %w", err)
	}
	return nil
}

// seal closes a request's rows under the brand's newest key.
func (q *Queue) seal(ctx context.Context, tx db.Queryer, x *waiting, plain []byte, now time.Time) (key int, sealed []byte, err error) {
	k, err := q.ring.Ensure(ctx, tx, x.brand, keys.Change, now)
	if err != nil {
		return 0, nil, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return 0, nil, err
	}
	return k.Version, aead.Seal(nil, nil, plain, x.additional()), nil
}

func (q *Queue) open(ctx context.Context, x *waiting) (*api.PutRequest, error) {
	k, err := q.ring.Version(ctx, x.brand, keys.Change, x.key)
	if err != nil {
		return nil, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, x.sealed, x.additional())
	if err != nil {
		return nil, errForgedWait
	}
	put := &api.PutRequest{}
	if err := json.Unmarshal(plain, put); err != nil {
		return nil, fmt.Errorf("reading a request that waits: %w", err)
	}
	return put, nil
}

var errForgedWait = errors.New("a request that waits is not what was stored: it was changed in the database")

func (q *Queue) read(ctx context.Context, after time.Time, id int64) ([]*waiting, error) {
	return q.list(ctx, sqlQueueRead, db.Micros(after), id, queueBatch)
}

func (q *Queue) list(ctx context.Context, sql string, args ...any) (out []*waiting, err error) {
	err = q.db.Rows(ctx, func(r db.Row) error {
		x := &waiting{}
		var brand, of, principal, credential, lineage, key, created int64
		err := r.Scan(&x.id, &brand, &of, &principal, &credential, &lineage, &key, &x.sealed, &created)
		x.brand, x.approval, x.key, x.created = record.BrandID(brand), uint64(of), int(key), db.Time(created)
		x.who.Principal, x.who.Credential, x.who.Lineage = uint64(principal), uint64(credential), uint64(lineage)
		out = append(out, x)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the queue of writes: %w", err)
	}
	return out, nil
}

func (q *Queue) drop(ctx context.Context, id int64) error {
	if _, err := q.db.Exec(ctx, sqlQueueDrop, id); err != nil {
		return fmt.Errorf("dropping a request that waited: %w", err)
	}
	return nil
}

// Run works the queue off until the context ends.
func (d *Desk) Run(ctx context.Context, log *slog.Logger) error {
	return d.Queue.Run(ctx, log, "writes under standing approvals wait", d.Work)
}

// Work writes what waits and has room now. Of one approval nothing overtakes another.
func (d *Desk) Work(ctx context.Context) error {
	var failed error
	stuck := map[uint64]bool{}
	after, id := time.Time{}, int64(0)
	for {
		list, err := d.Queue.read(ctx, after, id)
		if err != nil {
			return errors.Join(failed, err)
		}
		for _, x := range list {
			after, id = x.created, x.id
			if stuck[x.approval] {
				continue
			}
			done, err := d.resume(ctx, x)
			stuck[x.approval] = !done
			failed = errors.Join(failed, err)
		}
		if len(list) < queueBatch {
			return failed
		}
	}
}

// resume writes one request that waits, if there is room. It may write what a kill kept it
// from dropping: that changes nothing.
func (d *Desk) resume(ctx context.Context, x *waiting) (done bool, err error) {
	now, err := d.Queue.db.Now(ctx)
	if err != nil {
		return false, err
	}
	err = d.Door.Revisions.Decide(revision.Unbound(ctx), func(ctx context.Context) error {
		b, err := d.Door.Brands.Get(ctx, x.brand)
		if err != nil {
			return err
		}
		p, err := d.Door.Identity.Get(ctx, x.who.Principal)
		if err != nil {
			return err
		}
		x.who.Name, x.who.Country, x.who.Entity = p.Name, p.Country, p.Entity
		v, err := d.Door.Admit(ctx, x.who, b.Name, access.ActWrite)
		if err != nil {
			return err
		}
		a, err := d.Approvals.Taken(ctx, v, x.approval)
		if err != nil {
			return err
		}
		put, err := d.Queue.open(ctx, x)
		if err != nil {
			return err
		}
		batch := putBatch(v, put)
		return d.bring(ctx, v, a, batch, roomsOf(a, 1))
	})
	lost := ""
	switch {
	case err == nil:
		return true, d.Queue.drop(ctx, x.id)
	case errors.Is(err, approval.ErrEnded):
		lost = entry.LostApproval
	case errors.Is(err, errForgedWait):
		lost = entry.LostForged
	case now.Sub(x.created) > queueFor:
		lost = entry.LostOld
	case ledger.Refused(err):
		return false, nil // later there is room
	default:
		return false, err
	}
	// It was accepted, and is not written: that is an entry, and an alarm, before it is gone.
	_, err = d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindRefusal, Who: identity.Who{Caller: x.who, Brand: x.brand},
		Detail: entry.Refused{Action: entry.KindWrite.String(), Reason: lost, Times: 1}})
	if err != nil {
		return false, err
	}
	return true, d.Queue.drop(ctx, x.id)
}
