package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// Source gives the files of a log by their paths in C2SP tlog-tiles: checkpoint,
// tile/<L>/<N>[.p/<W>] and tile/entries/<N>[.p/<W>]. For an absent file its error
// must be [fs.ErrNotExist].
type Source interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
}

// maxFile bounds a file: an entry bundle with 256 entries of the greatest length.
const maxFile = torchwood.TileWidth * (2 + entry.MaxLeaf)

// Dir is the log in a directory, as `cloakroom log tiles` writes it. Nothing outside
// the directory is read, also by way of symbolic links, and nothing but plain files
// no longer than a file of a log can be.
func Dir(path string) Source { return dir(path) }

type dir string

func (d dir) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name := filepath.FromSlash(path)
	// Opening a pipe would wait for its writer.
	switch info, err := root.Stat(name); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a plain file", path)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is longer than the %d bytes that a file of a log can have", path, maxFile)
	}
	return b, err
}

// read returns a file that must be there. Why says what calls for it.
func read(ctx context.Context, src Source, path, why string) ([]byte, error) {
	b, err := src.ReadFile(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no %s%s: %w", ErrMissing, path, why, err)
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b, nil
}

// readTile returns a tile or an entry bundle. A log that grew past its checkpoint
// may have only the full tile where the checkpoint calls for a part of it: then full
// is true, and what goes beyond the part is not the checkpoint's.
func readTile(ctx context.Context, src Source, t tlog.Tile, size int64) (data []byte, path string, full bool, err error) {
	path = torchwood.TilePath(t)
	if t.W < torchwood.TileWidth {
		whole := t
		whole.W = torchwood.TileWidth
		data, err = src.ReadFile(ctx, path)
		if !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, path, false, fmt.Errorf("reading %s: %w", path, err)
			}
			return data, path, false, nil
		}
		if data, err = src.ReadFile(ctx, torchwood.TilePath(whole)); err == nil {
			return data, torchwood.TilePath(whole), true, nil
		}
	}
	data, err = read(ctx, src, path, fmt.Sprintf(", and the checkpoint is over %d entries", size))
	return data, path, false, err
}
