package entry

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// EncodeSubjects returns the list of the customers of an entry: nothing for none,
// four bytes (big endian) for one, a roaring bitmap in the portable format for more.
// Order and repeats do not matter.
func EncodeSubjects(ords []record.Ordinal) []byte {
	switch len(ords) {
	case 0:
		return nil
	case 1:
		return binary.BigEndian.AppendUint32(nil, uint32(ords[0]))
	}
	m := roaring.New()
	for _, o := range ords {
		m.Add(uint32(o))
	}
	if m.GetCardinality() == 1 {
		return binary.BigEndian.AppendUint32(nil, m.Minimum())
	}
	m.RunOptimize()
	b, err := m.ToBytes()
	if err != nil { // writing to memory
		panic(err)
	}
	return b
}

// DecodeSubjects reads the list, ascending. What EncodeSubjects would not write is
// ErrMalformed.
func DecodeSubjects(b []byte) ([]record.Ordinal, error) {
	switch {
	case len(b) == 0:
		return nil, nil
	case len(b) == 4:
		return []record.Ordinal{record.Ordinal(binary.BigEndian.Uint32(b))}, nil
	}
	m := roaring.New()
	n, err := m.ReadFrom(bytes.NewReader(b))
	if err != nil || n != int64(len(b)) || m.Validate() != nil || m.GetCardinality() < 2 {
		return nil, fmt.Errorf("%w: the list of customers does not decode", ErrMalformed)
	}
	out := make([]record.Ordinal, 0, m.GetCardinality())
	for it := m.Iterator(); it.HasNext(); {
		out = append(out, record.Ordinal(it.Next()))
	}
	if !bytes.Equal(EncodeSubjects(out), b) {
		return nil, fmt.Errorf("%w: another encoding of the same list of customers", ErrMalformed)
	}
	return out, nil
}

// SubjectsDigest binds the list to its entry. The salt, kept beside the list, keeps
// a stranger from trying lists.
func SubjectsDigest(salt [16]byte, encoded []byte) [32]byte {
	h := sha256.New()
	h.Write(salt[:])
	h.Write(encoded)
	return [32]byte(h.Sum(nil))
}

// Set is a set of customers to hold lists against.
type Set struct{ m roaring.Bitmap }

// Add adds customers to the set.
func (s *Set) Add(ords ...record.Ordinal) {
	for _, o := range ords {
		s.m.Add(uint32(o))
	}
}

// Remove removes customers from the set.
func (s *Set) Remove(ords ...record.Ordinal) {
	for _, o := range ords {
		s.m.Remove(uint32(o))
	}
}

// Merge adds the customers of another set.
func (s *Set) Merge(other *Set) { s.m.Or(&other.m) }

// Without returns the customers of the set that another has not.
func (s *Set) Without(other *Set) *Set {
	out := &Set{}
	out.m.Or(&s.m)
	out.m.AndNot(&other.m)
	return out
}

// Encode returns the set in the form of a list of customers.
func (s *Set) Encode() []byte { return EncodeSubjects(slices.Collect(s.All())) }

// Has reports whether a customer is in the set.
func (s *Set) Has(ord record.Ordinal) bool { return s.m.Contains(uint32(ord)) }

// Len is how many customers the set has.
func (s *Set) Len() int { return int(s.m.GetCardinality()) }

// All yields the customers of the set, ascending.
func (s *Set) All() iter.Seq[record.Ordinal] {
	return func(yield func(record.Ordinal) bool) {
		for it := s.m.Iterator(); it.HasNext(); {
			if !yield(record.Ordinal(it.Next())) {
				return
			}
		}
	}
}

// Meets reports whether a list of customers has one of the set, without decoding the
// list into customers. What is not a list is ErrMalformed.
func (s *Set) Meets(encoded []byte) (bool, error) {
	switch len(encoded) {
	case 0:
		return false, nil
	case 4:
		return s.m.Contains(binary.BigEndian.Uint32(encoded)), nil
	}
	var m roaring.Bitmap
	n, err := m.FromBuffer(encoded) // does not write to it
	if err != nil || n != int64(len(encoded)) || m.Validate() != nil {
		return false, fmt.Errorf("%w: the list of customers does not decode", ErrMalformed)
	}
	return m.Intersects(&s.m), nil
}
