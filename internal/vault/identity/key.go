// Package identity says who is calling: principals, their credentials, and the API
// keys by which a credential proves itself.
//
// An API key is "ckr_", 52 characters of base32 that carry 256 random bits, and 7
// that carry a 32-bit checksum. The prefix lets secret scanners recognise a leaked
// key; the checksum lets a mistyped one be told from an unknown one without asking
// the database. Only the SHA-256 of a key is ever stored: the key has the entropy
// of the hash, so no slow password hash is needed.
package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

const (
	// KeyPrefix begins every API key.
	KeyPrefix = "ckr_"

	secretBytes   = 32
	secretChars   = 52 // 256 bits at 5 a character
	checksumChars = 7  // 32 bits at 5 a character
)

// ErrMalformedKey is returned for text that cannot be an API key: it was cut or
// mistyped. It never holds the text.
var ErrMalformedKey = fault.New(fault.Unauthenticated, "malformed API key: a key is ckr_ followed by 59 letters and digits; copy all of it")

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Key is an API key in clear. It prints as its prefix only.
type Key struct{ text string }

// NewKey makes a key of 256 random bits.
func NewKey() Key {
	return Key{newText(KeyPrefix)}
}

// newText writes 256 random bits behind a prefix.
func newText(prefix string) string {
	var secret [secretBytes]byte
	rand.Read(secret[:]) // never fails: the process ends first
	body := keyEncoding.EncodeToString(secret[:])
	return prefix + body + checksum(prefix, body)
}

// ParseKey reads a key and checks its shape and checksum; it does not say whether
// the key is known.
func ParseKey(text string) (Key, error) {
	if !wellFormed(KeyPrefix, text) {
		return Key{}, ErrMalformedKey
	}
	return Key{text}, nil
}

func wellFormed(prefix, text string) bool {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) != secretChars+checksumChars {
		return false
	}
	body := rest[:secretChars]
	raw, err := keyEncoding.DecodeString(body)
	return err == nil && keyEncoding.EncodeToString(raw) == body && checksum(prefix, body) == rest[secretChars:]
}

// Reveal returns the key's text, for the one time that it is shown to its owner.
func (k Key) Reveal() string { return k.text }

// Hash returns what is stored in the key's place.
func (k Key) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(k.text)) }

// String hides the key, so that a log line or an error cannot leak it.
func (k Key) String() string { return KeyPrefix + "…" }

// GoString hides the key from %#v.
func (k Key) GoString() string { return k.String() }

func checksum(prefix, body string) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], crc32.ChecksumIEEE([]byte(prefix+body)))
	return keyEncoding.EncodeToString(b[:])
}
