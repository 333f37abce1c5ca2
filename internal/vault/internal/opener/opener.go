// Package opener opens sealed records, and nothing else in the module does.
//
// What is true of it: no value leaves the vault without a receipt of the log. It is not
// true that nothing is opened without one. A search confirms its match, a write compares
// with what is stored, an erasure reads which indexes to delete, and `db check` tries
// every record, all before or without an entry that names the customer. Each such
// function is listed by name, with its reason, in internal/structure/opening_test.go,
// and gives away at most what its reason says.
//
// A type with readable fields, seal.Profile, leaves the store in one way only: through
// seal.Store.Open, which takes a [Permit] beside the receipt. Only packages in
// internal/vault can import this one, the test lists those that do, and a Permit that
// [Allow] did not make is refused.
package opener

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Version is the first byte of everything sealed in this form.
const Version = 1

// The parts of a sealed record around its ciphertext, in bytes.
const (
	NonceBytes = 12
	TagBytes   = 16
)

// ErrDamaged is returned for bytes that do not open in their place.
var ErrDamaged = fault.New(fault.Damaged, "a sealed record does not open: it was changed, moved, or is an old one put back")

// GCM returns the cipher that records are sealed with under a key.
func GCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Open opens a sealed record: version, nonce, ciphertext and tag. The additional data
// says where the record belongs.
func Open(key, b, aad []byte) ([]byte, error) {
	aead, err := GCM(key)
	if err != nil {
		return nil, err
	}
	return OpenBy(aead, b, aad)
}

// OpenBy is Open with a key that is set up already.
func OpenBy(aead cipher.AEAD, b, aad []byte) ([]byte, error) {
	if len(b) < 1+NonceBytes+TagBytes || b[0] != Version {
		return nil, ErrDamaged
	}
	plain, err := aead.Open(nil, b[1:1+NonceBytes], b[1+NonceBytes:], aad)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Permit lets its holder take readable customers from the store. The zero Permit lets
// nobody.
type Permit struct{ allowed bool }

// Allow makes a Permit. Only disclose calls it, after the receipt.
func Allow() Permit { return Permit{true} }

// Valid reports whether Allow made the permit.
func (p Permit) Valid() bool { return p.allowed }
