package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

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
	ErrUnwrap = errors.New("a wrapped key does not open: it was changed or moved, or this is not the root key that wrapped it")
	// ErrKeyFile is returned for a file that is not a root key.
	ErrKeyFile = errors.New("not a Cloakroom root key file")
)

// File is a root key kept in a file that only its owner may read.
type File struct{ aead cipher.AEAD }

// OpenFile reads the root key in path. With create set, and only where no file is,
// it makes one first, of 256 random bits, mode 0600, durable before it returns. A
// file that others may read is refused with the command that mends it.
func OpenFile(path string, create bool) (*File, error) {
	if create {
		if err := createFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("creating the root key: %w", err)
		}
	}
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
	text, ok := strings.CutPrefix(string(buf[:n]), fileHeader)
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyFile)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(text, "\n"))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s: %w", path, ErrKeyFile) // the decoder's error could quote the key
	}
	return newFile(key)
}

func newFile(key []byte) (*File, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &File{aead}, nil
}

// createFile writes the key under another name first and links it into place, so
// that a crash never leaves half a key and two starters never overwrite each other.
func createFile(path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".root-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	key := make([]byte, keyBytes)
	rand.Read(key)
	if _, err := f.WriteString(fileHeader + base64.StdEncoding.EncodeToString(key) + "\n"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Wrap implements Root.
func (f *File) Wrap(_ context.Context, plain, aad []byte) ([]byte, error) {
	out := make([]byte, 1+nonceBytes, 1+nonceBytes+len(plain)+f.aead.Overhead())
	out[0] = wrapV1
	rand.Read(out[1:])
	return f.aead.Seal(out, out[1:1+nonceBytes], plain, aad), nil
}

// Unwrap implements Root.
func (f *File) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	if len(wrapped) < 1+nonceBytes+f.aead.Overhead() || wrapped[0] != wrapV1 {
		return nil, ErrUnwrap
	}
	plain, err := f.aead.Open(nil, wrapped[1:1+nonceBytes], wrapped[1+nonceBytes:], aad)
	if err != nil {
		return nil, ErrUnwrap
	}
	return plain, nil
}
