package entry

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Committed is what a customer's commitment binds.
type Committed struct {
	Nonce   [16]byte
	Fields  record.FieldSet
	Counter uint32 // how many disclosures of this customer came before
	// Reader is the entry's, nil in an entry of version 1: its commitments do not bind
	// the reader.
	Reader *[16]byte
}

// Committed returns what the commitment of one of the entry's customers binds.
func (e *Entry) Committed(counter uint32) Committed {
	c := Committed{Nonce: e.Nonce, Fields: e.Fields, Counter: counter}
	if e.version != Version1 {
		c.Reader = &e.Reader
	}
	return c
}

// Commitment binds a customer to an entry: HMAC-SHA-256 under the customer's own log
// key of the entry's nonce, the fields, and how many disclosures of this customer came
// before. Without the key it says nothing; a counter that skips shows a disclosure
// withheld. From version 2 on the customer's pseudonym of the reader is hashed in, see
// [WithReader].
func Commitment(logKey []byte, c Committed) [32]byte {
	core := Core(logKey, c)
	if c.Reader == nil {
		return core
	}
	return WithReader(core, Pseudonym(logKey, *c.Reader))
}

// Core is the part of a commitment that does not bind the reader.
func Core(logKey []byte, c Committed) [32]byte {
	var msg [24]byte
	copy(msg[:], c.Nonce[:])
	binary.BigEndian.PutUint32(msg[16:], uint32(c.Fields))
	binary.BigEndian.PutUint32(msg[20:], c.Counter)
	return mac(logKey, msg[:])
}

// pseudonymLabel begins what a pseudonym is made of. No commitment's message is as long.
const pseudonymLabel = "cloakroom reader 1\x00"

// Pseudonym is what a customer is told of a reader: the same for every entry by which
// that reader saw this customer in one UTC month, and another for every other customer.
// It is made under the customer's own log key, so that two customers who compare theirs
// cannot find out that they were seen by the same person.
func Pseudonym(logKey []byte, reader [16]byte) [16]byte {
	var msg [len(pseudonymLabel) + 16]byte
	copy(msg[:], pseudonymLabel)
	copy(msg[len(pseudonymLabel):], reader[:])
	sum := mac(logKey, msg[:])
	return [16]byte(sum[:16])
}

// WithReader hashes a customer's pseudonym of the reader into the commitment, so that
// whoever is shown both can check it without any key.
func WithReader(core [32]byte, pseudonym [16]byte) [32]byte {
	var b [48]byte
	copy(b[:], core[:])
	copy(b[32:], pseudonym[:])
	return sha256.Sum256(b[:])
}

// mac is HMAC-SHA-256 of at most 64 bytes, without the memory that crypto/hmac takes:
// there are two of these for each customer of an import. A test holds that both agree.
func mac(key, msg []byte) [32]byte {
	if len(key) > sha256.BlockSize || len(msg) > sha256.BlockSize {
		m := hmac.New(sha256.New, key)
		m.Write(bytes.Clone(msg)) // which alone goes to the heap then
		return [32]byte(m.Sum(nil))
	}
	var inner [2 * sha256.BlockSize]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[sha256.BlockSize:], msg)
	sum := sha256.Sum256(inner[:sha256.BlockSize+n])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}
