package entry

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// ErrProof is returned for a path that does not lead to the root.
var ErrProof = fault.New(fault.Internal, "the proof does not lead to the root")

// The customers of one entry form a Merkle tree as in RFC 6962 section 2.1, whose
// leaf inputs are their commitments in ascending order of ordinal.

func leafHash(c [32]byte) [32]byte {
	var b [33]byte
	copy(b[1:], c[:])
	return sha256.Sum256(b[:])
}

func nodeHash(l, r [32]byte) [32]byte {
	b := [65]byte{1}
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// split is the largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// Root returns the Merkle root over commitments, and zero for none.
func Root(commitments [][32]byte) [32]byte {
	switch n := len(commitments); n {
	case 0:
		return [32]byte{}
	case 1:
		return leafHash(commitments[0])
	default:
		k := split(n)
		return nodeHash(Root(commitments[:k]), Root(commitments[k:]))
	}
}

// Prove returns the audit path of commitment i, nearest to the leaf first.
func Prove(commitments [][32]byte, i int) ([][32]byte, error) {
	n := len(commitments)
	if i < 0 || i >= n {
		return nil, fmt.Errorf("no commitment %d among %d", i, n)
	}
	if n == 1 {
		return nil, nil
	}
	k := split(n)
	near, far := commitments[:k], commitments[k:]
	if i >= k {
		near, far, i = far, near, i-k
	}
	path, err := Prove(near, i)
	if err != nil {
		return nil, err
	}
	return append(path, Root(far)), nil
}

// VerifyPath checks that a commitment is the i-th of n under root. It needs no key.
func VerifyPath(root [32]byte, n, i int, commitment [32]byte, path [][32]byte) error {
	if i < 0 || i >= n {
		return fmt.Errorf("%w: no commitment %d among %d", ErrProof, i, n)
	}
	got, rest, err := climb(n, i, commitment, path)
	if err != nil {
		return err
	}
	if len(rest) != 0 || got != root {
		return ErrProof
	}
	return nil
}

func climb(n, i int, commitment [32]byte, path [][32]byte) ([32]byte, [][32]byte, error) {
	if n == 1 {
		return leafHash(commitment), path, nil
	}
	k := split(n)
	left := i < k
	m, j := k, i
	if !left {
		m, j = n-k, i-k
	}
	h, rest, err := climb(m, j, commitment, path)
	if err != nil {
		return h, nil, err
	}
	if len(rest) == 0 {
		return h, nil, fmt.Errorf("%w: it is too short", ErrProof)
	}
	if left {
		return nodeHash(h, rest[0]), rest[1:], nil
	}
	return nodeHash(rest[0], h), rest[1:], nil
}
