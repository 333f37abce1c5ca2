package follow

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	// DefaultSnapshotEvery is how many entries come, at least, between two snapshots: a
	// start after a kill replays them in a fraction of a second.
	DefaultSnapshotEvery = 8192
	// snapshotBytesPerEntry makes the snapshots of a large state rarer: they then cost no
	// more bytes than a few times the entries between them.
	snapshotBytesPerEntry = 512
	// snapshotOnLeave is how many entries make it worth to write one when stopping.
	snapshotOnLeave = 256
	// snapshotPart is the size of the rows that a snapshot is cut into: each is a
	// transaction of its own, so that no commit in between waits for a large one.
	snapshotPart = 256 << 10
	// maxSnapshot bounds what is read.
	maxSnapshot = 1 << 30
)

const (
	sqlListSnapshots = `SELECT size, parts, bytes FROM follower_snapshots WHERE brand = $1 AND follower = $2 ORDER BY size DESC LIMIT 2`
	sqlWriteSnapshot = `INSERT INTO follower_snapshots (brand, follower, size, parts, bytes) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (brand, follower, size) DO UPDATE SET parts = excluded.parts, bytes = excluded.bytes`
	sqlWritePart = `INSERT INTO follower_snapshot_parts (brand, follower, size, part, data) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (brand, follower, size, part) DO UPDATE SET data = excluded.data`
	sqlReadPart      = `SELECT data FROM follower_snapshot_parts WHERE brand = $1 AND follower = $2 AND size = $3 AND part = $4`
	sqlDropSnapshots = `DELETE FROM follower_snapshots WHERE brand = $1 AND follower = $2 AND size < $3`
	sqlDropParts     = `DELETE FROM follower_snapshot_parts WHERE brand = $1 AND follower = $2 AND size < $3`
)

// snapshot is a state as it stood before an entry. It is a shortcut and never evidence.
type snapshot struct {
	size  uint64 // the entry that comes next
	parts uint32
	bytes uint64
}

// shelf holds the snapshots of one follower of one log.
type shelf struct {
	r        *Runner
	follower string
	version  int
	brand    record.BrandID
}

// seal returns what seals the snapshots, and what it binds one to.
func (s *shelf) seal(ctx context.Context, size uint64) (cipher.AEAD, []byte, error) {
	secret, err := s.r.source.Secret(ctx, s.brand, "follower snapshot 1")
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return aead, fmt.Appendf(nil, "%q %d %d", s.follower, s.version, size), err
}

// list returns the newest snapshots, newest first. None is checked yet.
func (s *shelf) list(ctx context.Context) (out []snapshot, err error) {
	err = s.r.db.Rows(ctx, func(r db.Row) error {
		var h snapshot
		var size, parts, n int64
		err := r.Scan(&size, &parts, &n)
		h.size, h.parts, h.bytes = uint64(size), uint32(parts), uint64(n)
		out = append(out, h)
		return err
	}, sqlListSnapshots, int64(s.brand), s.follower)
	if err != nil {
		return nil, fmt.Errorf("reading the snapshots of %s: %w", s.follower, err)
	}
	return out, nil
}

// load returns what a snapshot holds, and false if it does not open: changed, cut short, in
// another's place or of another version.
func (s *shelf) load(ctx context.Context, h *snapshot) ([]byte, bool, error) {
	if h.bytes > maxSnapshot || uint64(h.parts) > maxSnapshot/snapshotPart+1 {
		return nil, false, nil
	}
	out := make([]byte, 0, h.bytes)
	for i := range h.parts {
		var part []byte
		err := s.r.db.Row(ctx, sqlReadPart, int64(s.brand), s.follower, int64(h.size), int64(i)).Scan(&part)
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err != nil || uint64(len(out)+len(part)) > h.bytes {
			return nil, false, nil
		}
		out = append(out, part...)
	}
	aead, bound, err := s.seal(ctx, h.size)
	if err != nil {
		return nil, false, err
	}
	plain, err := aead.Open(nil, nil, out, bound)
	return plain, err == nil, nil
}

// save writes a snapshot, its head last, and drops all but the newest two.
func (s *shelf) save(ctx context.Context, size uint64, data []byte) error {
	aead, bound, err := s.seal(ctx, size)
	if err != nil {
		return err
	}
	sealed := aead.Seal(nil, nil, data, bound)
	h := &snapshot{size: size, bytes: uint64(len(sealed))}
	for left := sealed; len(left) > 0; {
		n := min(len(left), snapshotPart)
		if _, err := s.r.db.Exec(ctx, sqlWritePart, int64(s.brand), s.follower, int64(size), int64(h.parts), left[:n]); err != nil {
			return fmt.Errorf("writing a snapshot of %s: %w", s.follower, err)
		}
		left, h.parts = left[n:], h.parts+1
	}
	if _, err := s.r.db.Exec(ctx, sqlWriteSnapshot, int64(s.brand), s.follower, int64(size), int64(h.parts), int64(h.bytes)); err != nil {
		return fmt.Errorf("writing a snapshot of %s: %w", s.follower, err)
	}
	list, err := s.list(ctx)
	if err != nil || len(list) < 2 {
		return err
	}
	oldest := int64(list[len(list)-1].size)
	err = s.r.db.Batch(ctx, []db.Stmt{
		{SQL: sqlDropSnapshots, Args: []any{int64(s.brand), s.follower, oldest}},
		{SQL: sqlDropParts, Args: []any{int64(s.brand), s.follower, oldest}},
	})
	if err != nil {
		return fmt.Errorf("dropping old snapshots of %s: %w", s.follower, err)
	}
	return nil
}

// encode writes a state with what holds for every state before it.
func encode(next uint64, write func(*bufio.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	w.Write(binary.AppendUvarint(nil, next))
	err := write(w)
	if err == nil {
		err = w.Flush()
	}
	return out.Bytes(), err
}

// decode reads what encode wrote, all of it.
func decode(data []byte, next uint64, read func(*bufio.Reader) error) error {
	r := bufio.NewReader(bytes.NewReader(data))
	at, err := binary.ReadUvarint(r)
	if err == nil && at != next {
		err = fmt.Errorf("a snapshot before entry %d says %d", next, at)
	}
	if err == nil {
		err = read(r)
	}
	if err == nil {
		if _, more := r.ReadByte(); more != io.EOF {
			err = fmt.Errorf("a snapshot before entry %d has bytes beyond its end", next)
		}
	}
	return err
}

// saveTimeout bounds the writing of one snapshot.
const saveTimeout = time.Minute
