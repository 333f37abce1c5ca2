package evidence

import (
	"fmt"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// levels is more than a tree of 2^63 entries has.
const levels = 64

// tree computes the root of a growing log from its leaves. Of each level it keeps
// the last finished node only: these are all that the next leaf and the root need.
type tree struct {
	size  int64
	edge  [levels]node
	tiles [levels / torchwood.TileHeight][]tlog.Hash // the row of the tile being filled, by tile level
}

type node struct {
	n    int64
	hash tlog.Hash
	set  bool
}

// ReadHashes gives the nodes of the right edge to tlog.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if level >= levels || !t.edge[level].set || t.edge[level].n != n {
			return nil, fmt.Errorf("node %d of level %d is not on the right edge of %d entries", n, level, t.size)
		}
		out[i] = t.edge[level].hash
	}
	return out, nil
}

// add appends a leaf and returns the tiles that it filled, lowest first.
func (t *tree) add(leaf tlog.Hash) ([]row, error) {
	hashes, err := tlog.StoredHashesForRecordHash(t.size, leaf, t)
	if err != nil {
		return nil, err
	}
	var filled []row
	for level, h := range hashes {
		t.edge[level] = node{t.size >> level, h, true}
		if level%torchwood.TileHeight != 0 {
			continue
		}
		l := level / torchwood.TileHeight
		t.tiles[l] = append(t.tiles[l], h)
		if len(t.tiles[l]) == torchwood.TileWidth {
			filled = append(filled, t.row(l, t.size>>(level+torchwood.TileHeight)))
			t.tiles[l] = t.tiles[l][:0]
		}
	}
	t.size++
	return filled, nil
}

// partial returns the rows that are not full, lowest first.
func (t *tree) partial() []row {
	var out []row
	for l := range t.tiles {
		if len(t.tiles[l]) > 0 {
			out = append(out, t.row(l, t.size>>((l+1)*torchwood.TileHeight)))
		}
	}
	return out
}

func (t *tree) row(level int, n int64) row {
	return row{
		tile:   tlog.Tile{H: torchwood.TileHeight, L: level, N: n, W: len(t.tiles[level])},
		hashes: t.tiles[level],
	}
}

// root returns the root over the leaves so far.
func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }

// row is the content that a hash tile must have. Its hashes are good until the next
// add.
type row struct {
	tile   tlog.Tile
	hashes []tlog.Hash
}

// compare returns the position of the first hash of a stored tile that differs, and
// -1 for none.
func (r row) compare(stored []byte) int {
	for i, h := range r.hashes {
		if len(stored) < (i+1)*tlog.HashSize || tlog.Hash(stored[i*tlog.HashSize:(i+1)*tlog.HashSize]) != h {
			return i
		}
	}
	return -1
}
