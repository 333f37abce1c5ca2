package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// group is one row of log_groups: what one group commit added.
type group struct {
	first    uint64
	count    int
	at       int64  // microseconds
	leaves   []byte // as in an entry bundle: 16-bit length, leaf
	hashes   []byte // the stored hashes that the leaves brought, 32 bytes each
	subjects []byte // per entry: 32-bit length, and if not 0: salt, encoded list
	values   []byte // per entry: varint length, values; none in groups of earlier releases
}

const (
	sqlReadGroups = `SELECT first, count, at, entries, hashes, subjects, vals FROM log_groups WHERE brand = $1 AND first >= $2 ORDER BY first LIMIT $3`
	sqlReadGroup  = `SELECT first, count, at, entries, hashes, subjects, vals FROM log_groups WHERE brand = $1 AND first <= $2 ORDER BY first DESC LIMIT 1`
)

func (g *group) scan(r db.Row) error {
	return r.Scan(&g.first, &g.count, &g.at, &g.leaves, &g.hashes, &g.subjects, &g.values)
}

const saltBytes = 16

func appendLeaf(dst, leaf []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(leaf))), leaf...)
}

func appendSubjects(dst []byte, salt [saltBytes]byte, encoded []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(encoded)))
	if len(encoded) == 0 {
		return dst
	}
	return append(append(dst, salt[:]...), encoded...)
}

// item is one entry of a group as it is stored.
type item struct {
	index   uint64
	leaf    []byte
	salt    [saltBytes]byte
	encoded []byte // the list of customers, empty for none
	values  []byte // as they are kept, empty for an entry of version 1
	plain   []byte // unsealed, see opener
	lost    bool   // their key is not there
}

// each calls fn for every entry of the group in order. Bytes handed to fn belong
// to the group.
func (g *group) each(fn func(it item) error) error {
	leaves, subjects, values := g.leaves, g.subjects, g.values
	bad := func(i int, what string) error {
		return fmt.Errorf("entry %d: %s: %w", g.first+uint64(i), what, ErrTampered)
	}
	for i := range g.count {
		it := item{index: g.first + uint64(i)}
		if len(leaves) < 2 {
			return bad(i, "missing")
		}
		n := int(binary.BigEndian.Uint16(leaves))
		if leaves = leaves[2:]; len(leaves) < n {
			return bad(i, "cut short")
		}
		it.leaf, leaves = leaves[:n], leaves[n:]
		if len(subjects) < 4 {
			return bad(i, "its list of customers is missing")
		}
		m := int(binary.BigEndian.Uint32(subjects))
		if subjects = subjects[4:]; m > 0 {
			if len(subjects) < saltBytes || len(subjects)-saltBytes < m {
				return bad(i, "its list of customers is cut short")
			}
			it.salt = [saltBytes]byte(subjects)
			it.encoded, subjects = subjects[saltBytes:saltBytes+m], subjects[saltBytes+m:]
		}
		if len(g.values) > 0 {
			n, size := binary.Uvarint(values)
			if size <= 0 || n > uint64(len(values)-size) {
				return bad(i, "its values are cut short")
			}
			it.values, values = values[size:size+int(n)], values[size+int(n):]
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	if len(leaves)+len(subjects)+len(values) > 0 {
		return bad(g.count, "bytes beyond the last entry of its group")
	}
	return nil
}

// open parses an entry and its customers, and holds the one against the other. The
// values are the opener's.
func (it *item) open() (entry.Entry, []record.Ordinal, error) {
	e, err := entry.Unmarshal(it.leaf)
	if errors.Is(err, entry.ErrNewer) {
		return e, nil, fmt.Errorf("entry %d: %w", it.index, err)
	}
	if err != nil {
		return e, nil, fmt.Errorf("entry %d: %w: %w", it.index, ErrTampered, err)
	}
	if len(it.encoded) == 0 {
		if e.Count != 0 {
			return e, nil, fmt.Errorf("entry %d: its list of customers is gone: %w", it.index, ErrTampered)
		}
		return e, nil, nil
	}
	if entry.SubjectsDigest(it.salt, it.encoded) != e.Subjects {
		return e, nil, fmt.Errorf("entry %d: its list of customers is not the one that was logged: %w", it.index, ErrTampered)
	}
	ords, err := entry.DecodeSubjects(it.encoded)
	if err != nil {
		return e, nil, fmt.Errorf("entry %d: its list of customers: %w: %w", it.index, ErrTampered, err)
	}
	return e, ords, nil
}

// hash returns a stored hash that this group holds.
func (g *group) hash(index int64) (tlog.Hash, error) {
	at := (index - tlog.StoredHashCount(int64(g.first))) * tlog.HashSize
	if at < 0 || at+tlog.HashSize > int64(len(g.hashes)) {
		return tlog.Hash{}, fmt.Errorf("the hash %d is missing: %w", index, ErrTampered)
	}
	return tlog.Hash(g.hashes[at : at+tlog.HashSize]), nil
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
