package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrSeenFull is returned where too many processes keep checkpoints in one directory.
var ErrSeenFull = fault.Newf(fault.Internal, "%d processes keep checkpoints in this data directory already: give each server a directory of its own", maxSeenFiles)

// Seen keeps, outside the database, the newest checkpoint of each log that a process of a
// data directory has signed or checked. A database that is put back to an older state
// cannot put back these files, so that a restarted server notices.
//
// Each process writes a file of its own, and reads those of all. A file holds two slots
// for each brand, written in turn: what a power failure tears is one of them. A checkpoint
// is written after its commit and before anybody is answered, without waiting for the
// disk, so that a killed process leaves the newest; [Seen.Sync] makes it durable.
type Seen struct {
	dir string

	mu     sync.Mutex
	file   *os.File // this process's own; nil where the directory cannot be written
	before map[record.BrandID][]seenCheckpoint
	mine   map[record.BrandID]seenCheckpoint
	next   map[record.BrandID]int            // which of its two slots is written next
	other  map[string]map[record.BrandID]int // by file: the slot that has not the newest
	dirty  bool
}

// seenCheckpoint is one checkpoint that was kept.
type seenCheckpoint struct {
	size uint64
	text []byte
}

const (
	// maxSeenFiles bounds the files of one directory.
	maxSeenFiles = 256
	// seenSlot is the size of a slot: a checkpoint has some 200 bytes and the log's name.
	seenSlot = 1024
	// seenHead is what comes before the checkpoint in a slot: its hash and its length.
	seenHead = sha256.Size + 4
	// seenSuffix ends the name of a file.
	seenSuffix = ".seen"
)

// ReadSeen reads what the processes of a directory kept, and keeps and makes nothing: for
// who does not know yet whether there is a vault.
func ReadSeen(dir string) (*Seen, error) {
	s := &Seen{dir: dir, before: map[record.BrandID][]seenCheckpoint{}, mine: map[record.BrandID]seenCheckpoint{}, next: map[record.BrandID]int{}, other: map[string]map[record.BrandID]int{}}
	if err := s.read(); err != nil {
		return nil, fmt.Errorf("reading the checkpoints that were kept: %w", err)
	}
	return s, nil
}

// OpenSeen reads what the processes of a directory kept, and takes a file for this one.
// It makes the directory. Where it cannot be written, this process keeps nothing, and goes
// by what the others kept.
func OpenSeen(dir string) (*Seen, error) {
	err := os.MkdirAll(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("keeping checkpoints: %w", err)
	}
	s, err := ReadSeen(dir)
	if err != nil {
		return nil, err
	}
	for i := range maxSeenFiles {
		name := strconv.Itoa(i) + seenSuffix
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrNotExist):
			return s, nil
		case err != nil:
			return nil, fmt.Errorf("keeping checkpoints: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				continue // another process's
			}
			return nil, fmt.Errorf("keeping checkpoints: %w", err)
		}
		s.file = f
		maps.Copy(s.next, s.other[name])
		return s, nil
	}
	return nil, ErrSeenFull
}

func (s *Seen) read() error {
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+seenSuffix))
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		newest, other := map[record.BrandID]seenCheckpoint{}, map[record.BrandID]int{}
		for i := 0; i*seenSlot < len(b); i++ {
			text, ok := parseSlot(b[i*seenSlot : min((i+1)*seenSlot, len(b))])
			if !ok {
				continue // never written, or torn by a power failure
			}
			brand := record.BrandID(i / 2)
			if c := (seenCheckpoint{sizeOf(text), text}); newest[brand].text == nil || c.size > newest[brand].size {
				newest[brand], other[brand] = c, 1-i%2
			}
		}
		s.other[filepath.Base(name)] = other
		for brand, c := range newest {
			s.before[brand] = append(s.before[brand], c)
		}
	}
	return nil
}

func parseSlot(b []byte) (text []byte, ok bool) {
	if len(b) < seenHead {
		return nil, false
	}
	n := int(binary.BigEndian.Uint32(b[sha256.Size:]))
	if n == 0 || n > len(b)-seenHead {
		return nil, false
	}
	text = b[seenHead : seenHead+n]
	return text, sha256.Sum256(text) == [sha256.Size]byte(b)
}

// sizeOf is the size that a checkpoint names, unverified: 0 where it names none.
func sizeOf(checkpoint []byte) uint64 {
	lines := strings.SplitN(string(checkpoint), "\n", 3)
	if len(lines) < 2 {
		return 0
	}
	n, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil {
		return 0
	}
	return n
}

// Empty reports whether no process of the directory has kept a checkpoint of any log with
// entries.
func (s *Seen) Empty() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.before {
		for _, c := range list {
			if c.size > 0 {
				return false
			}
		}
	}
	return len(s.mine) == 0
}

// of returns the checkpoints of a log that were kept: the newest of each process.
func (s *Seen) of(brand record.BrandID) []seenCheckpoint {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]seenCheckpoint(nil), s.before[brand]...)
	if c, ok := s.mine[brand]; ok {
		out = append(out, c)
	}
	return out
}

// size is the greatest size that a checkpoint of the log was kept of.
func (s *Seen) size(brand record.BrandID) (size uint64) {
	for _, c := range s.of(brand) {
		size = max(size, c.size)
	}
	return size
}

// has reports whether a head was kept already: one that is no shorter than what had been
// kept before it was read, and no longer than what is kept now.
func (s *Seen) has(brand record.BrandID, before, size uint64, checkpoint []byte) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.mine[brand]
	switch {
	case !ok || size < before || size > c.size:
		return false
	case size == c.size:
		return bytes.Equal(checkpoint, c.text)
	}
	return true // this server has written on since
}

// note keeps a checkpoint that was signed here, or checked against what was kept before.
func (s *Seen) note(brand record.BrandID, size uint64, checkpoint []byte) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.mine[brand]; ok && c.size >= size {
		return nil
	}
	if s.file != nil {
		if len(checkpoint) > seenSlot-seenHead {
			return fmt.Errorf("keeping a checkpoint: it has %d bytes", len(checkpoint))
		}
		var slot [seenSlot]byte
		sum := sha256.Sum256(checkpoint)
		copy(slot[:], sum[:])
		binary.BigEndian.PutUint32(slot[sha256.Size:], uint32(len(checkpoint)))
		n := seenHead + copy(slot[seenHead:], checkpoint)
		if _, err := s.file.WriteAt(slot[:n], int64(2*int(brand)+s.next[brand])*seenSlot); err != nil {
			return fmt.Errorf("keeping a checkpoint: %w", err)
		}
		s.next[brand] = 1 - s.next[brand]
		s.dirty = true
	}
	s.mine[brand] = seenCheckpoint{size, checkpoint}
	return nil
}

// Sync makes what was kept durable.
func (s *Seen) Sync() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	file, dirty := s.file, s.dirty
	s.dirty = false
	s.mu.Unlock()
	if file == nil || !dirty {
		return nil
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("keeping checkpoints: %w", err)
	}
	return nil
}

// Close makes what was kept durable, and leaves the file to the next process.
func (s *Seen) Close() error {
	if s == nil {
		return nil
	}
	err := s.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

// Retire puts aside what was kept of a log, as evidence: each checkpoint becomes a file of
// its own, a signed note that people and tools can read, and no process goes by it any more.
// It returns the names of the files.
func (s *Seen) Retire(brand record.BrandID) (files []string, err error) {
	if s == nil {
		return nil, nil
	}
	list := s.of(brand)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range list {
		name := filepath.Join(s.dir, retiredName(c.text))
		if err := os.WriteFile(name, c.text, 0o600); err != nil {
			return files, fmt.Errorf("putting a checkpoint aside: %w", err)
		}
		if !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+seenSuffix))
	for _, name := range names {
		f, ferr := os.OpenFile(name, os.O_WRONLY, 0)
		if ferr == nil {
			_, ferr = f.WriteAt(make([]byte, 2*seenSlot), 2*int64(brand)*seenSlot)
			ferr = errors.Join(ferr, f.Sync(), f.Close())
		}
		err = errors.Join(err, ferr)
	}
	if err != nil {
		return files, fmt.Errorf("putting checkpoints aside: %w", err)
	}
	delete(s.before, brand)
	delete(s.mine, brand)
	return files, nil
}

// RetireAll is Retire for every log: for a restore into a directory that has
// belonged to one.
func (s *Seen) RetireAll() (files []string, err error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	brands := slices.Collect(maps.Keys(s.before))
	s.mu.Unlock()
	for _, brand := range brands {
		more, err := s.Retire(brand)
		if files = append(files, more...); err != nil {
			return files, err
		}
	}
	return files, nil
}

// Known returns the checkpoints of all logs that this directory has: those that processes
// kept, and those that were put aside.
func (s *Seen) Known() (out [][]byte, err error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	for _, list := range s.before {
		for _, c := range list {
			out = append(out, c.text)
		}
	}
	for _, c := range s.mine {
		out = append(out, c.text)
	}
	s.mu.Unlock()
	names, err := filepath.Glob(filepath.Join(s.dir, retiredPrefix+"*"+retiredSuffix))
	for _, name := range names {
		b, rerr := os.ReadFile(name)
		if err = errors.Join(err, rerr); rerr == nil {
			out = append(out, b)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoints that were put aside: %w", err)
	}
	return out, nil
}

// What the names of checkpoints begin and end with that were put aside.
const (
	retiredPrefix = "evidence-"
	retiredSuffix = ".checkpoint"
)

// retiredName names the file of a checkpoint that was put aside, after its log and size.
func retiredName(checkpoint []byte) string {
	origin, _, _ := strings.Cut(string(checkpoint), "\n")
	log := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, origin)
	sum := sha256.Sum256(checkpoint)
	return fmt.Sprintf("%s%s-%d-%x%s", retiredPrefix, log, sizeOf(checkpoint), sum[:4], retiredSuffix)
}
