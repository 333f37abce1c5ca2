package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// RootFile is the name of the root key's file in a data directory.
const RootFile = "root.key"

const (
	// fileHeader begins a key file, so that another file given by mistake is not
	// taken for a key.
	fileHeader = "cloakroom-root-key-1 "
	keyBytes   = 32
	nonceBytes = 12
	wrapV1     = 1 // first byte of everything wrapped: AES-256-GCM, random nonce
)

var (
	// ErrUnwrap is returned when wrapped bytes do not open: another root key, another
	// place, or a changed byte.
	ErrUnwrap = fault.New(fault.Unavailable, "a wrapped key does not open: it was changed or moved, or this is not the root key that wrapped it")
	// ErrKeyFile is returned for a file that is not a root key.
	ErrKeyFile = fault.New(fault.Internal, "not a Cloakroom root key file")
)

// File is a root key kept in a file that only its owner may read: a line with the
// key in force. While the root key is rotated a second line holds the next one, and
// both unwrap.
//
// The file is read again when something does not unwrap, so that a server goes on
// with a file that was rotated or put in place by somebody else.
type File struct {
	path string

	mu   sync.Mutex
	keys []rootKey // the one that wraps first; at most maxRootKeys
}

type rootKey struct {
	id    string // says which it is, and nothing of it
	bytes []byte
	aead  cipher.AEAD
}

const maxRootKeys = 2

// OpenFile reads the root key in path. With create set, and only where no file is,
// it makes one first, of 256 random bits, mode 0600, durable before it returns. A
// file that others may read is refused with the command that mends it.
func OpenFile(path string, create bool) (*File, error) {
	if create {
		if err := createFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating the root key: %w", err)
		}
	}
	keys, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, keys: keys}, nil
}

func readFile(path string) ([]rootKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the root key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the root key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the root key %s may be read by others (mode %04o): run chmod 0600 %s", path, info.Mode().Perm(), path)
	}
	buf := make([]byte, 256)
	n, err := f.Read(buf)
	if err != nil {
		return nil, fmt.Errorf("reading the root key %s: %w", path, err)
	}
	return parseFile(path, buf[:n])
}

// parseFile reads the text of a root key's file; path is for people.
func parseFile(path string, text []byte) ([]rootKey, error) {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) > maxRootKeys {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyFile)
	}
	var out []rootKey
	for _, line := range lines {
		text, ok := strings.CutPrefix(line, fileHeader)
		if !ok {
			return nil, fmt.Errorf("%s: %w", path, ErrKeyFile)
		}
		key, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("%s: %w", path, ErrKeyFile) // the decoder's error could quote the key
		}
		k, err := newRootKey(key)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func newRootKey(key []byte) (rootKey, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return rootKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return rootKey{}, err
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte("cloakroom root key name 1"))
	return rootKey{hex.EncodeToString(m.Sum(nil)[:16]), key, aead}, nil
}

func line(key []byte) string {
	return fileHeader + base64.StdEncoding.EncodeToString(key) + "\n"
}

// createFile writes the key under another name first and links it into place, so
// that a crash never leaves half a key and two starters never overwrite each other.
func createFile(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	key := make([]byte, keyBytes)
	rand.Read(key)
	return place(path, line(key), os.Link)
}

// place writes a file under another name, durably, and has put bring it to its path.
func place(path, text string, put func(from, to string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".root-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := put(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// replace puts another text into the file's place, in one step, and then overwrites
// what was there, as far as the file system writes in place.
func (f *File) replace(text string) error {
	old, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil {
		return err
	}
	if err := place(f.path, text, os.Rename); err != nil {
		return err
	}
	if _, err := old.WriteAt(make([]byte, info.Size()), 0); err != nil {
		return err
	}
	return old.Sync()
}

// Interrupted reports whether a root key file holds two keys: a rotation has not
// ended, and the old one is still there.
func Interrupted(path string) (bool, error) {
	keys, err := readFile(path)
	return len(keys) > 1, err
}

// Adopt implements Root.
func (f *File) Adopt(_ context.Context, id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first(id) {
		return true
	}
	keys, err := readFile(f.path)
	if err != nil {
		return false
	}
	f.keys = keys
	return f.first(id)
}

// first makes the named key the one that wraps.
func (f *File) first(id string) bool {
	i := slices.IndexFunc(f.keys, func(k rootKey) bool { return k.id == id })
	if i > 0 {
		f.keys[0], f.keys[i] = f.keys[i], f.keys[0]
	}
	return i >= 0
}

// Succeed implements Successor.
func (f *File) Succeed(_ context.Context, inForce string) (string, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, err := readFile(f.path)
	if err != nil {
		return "", false, err
	}
	if len(keys) == maxRootKeys {
		f.keys = keys
		if keys[1].id == inForce {
			f.first(inForce)
			return inForce, true, nil
		}
		return keys[1].id, false, nil
	}
	key := make([]byte, keyBytes)
	rand.Read(key)
	next, err := newRootKey(key)
	if err != nil {
		return "", false, err
	}
	if err := f.replace(line(keys[0].bytes) + line(next.bytes)); err != nil {
		return "", false, err
	}
	f.keys = append(keys, next)
	return next.id, false, nil
}

// WrapNext implements Successor.
func (f *File) WrapNext(_ context.Context, plain, aad []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.keys) < maxRootKeys {
		return nil, errors.New("there is no next root key")
	}
	return f.keys[1].wrap(plain, aad), nil
}

// Retire implements Successor.
func (f *File) Retire(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.first(id) {
		return errors.New("the root key that is to stay is not there")
	}
	if err := f.replace(line(f.keys[0].bytes)); err != nil {
		return err
	}
	for _, k := range f.keys[1:] {
		clear(k.bytes)
	}
	f.keys = f.keys[:1:1]
	return nil
}

func (k *rootKey) wrap(plain, aad []byte) []byte {
	out := make([]byte, 1+nonceBytes, 1+nonceBytes+len(plain)+k.aead.Overhead())
	out[0] = wrapV1
	rand.Read(out[1:])
	return k.aead.Seal(out, out[1:1+nonceBytes], plain, aad)
}

// Wrap implements Root.
func (f *File) Wrap(_ context.Context, plain, aad []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys[0].wrap(plain, aad), nil
}

// Unwrap implements Root.
func (f *File) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	plain, err := unwrap(f.keys, wrapped, aad)
	if err == nil {
		return plain, nil
	}
	keys, rerr := readFile(f.path)
	if rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	if plain, err = unwrap(keys, wrapped, aad); err != nil {
		return nil, err
	}
	f.keys = keys
	return plain, nil
}

func unwrap(keys []rootKey, wrapped, aad []byte) ([]byte, error) {
	for i := range keys {
		aead := keys[i].aead
		if len(wrapped) < 1+nonceBytes+aead.Overhead() || wrapped[0] != wrapV1 {
			return nil, ErrUnwrap
		}
		if plain, err := aead.Open(nil, wrapped[1:1+nonceBytes], wrapped[1+nonceBytes:], aad); err == nil {
			return plain, nil
		}
	}
	return nil, ErrUnwrap
}

// OpensRow reports whether the text of a root key's file opens a brand's key, as its row has it:
// ErrUnwrap where it is another vault's.
func OpensRow(text []byte, brand record.BrandID, kind Kind, version int, wrapped []byte) error {
	list, err := parseFile(RootFile, text)
	if err != nil {
		return err
	}
	_, err = unwrap(list, wrapped, name{brand, kind, version}.aad())
	return err
}
