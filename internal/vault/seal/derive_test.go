package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

// What is derived from a customer's secret is HKDF-Expand, whichever way it is made.
func TestDerivedKeysAreThoseOfHKDF(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s secret
		copy(s[:], rapid.SliceOfN(rapid.Byte(), keyBytes, keyBytes).Draw(t, "secret"))
		label := rapid.StringN(0, -1, 130).Draw(t, "label")
		if got, want := s.derive(label), derive(s[:], label); !bytes.Equal(got[:], want) {
			t.Fatalf("%x, by crypto/hkdf %x", got, want)
		}
	})
}

func BenchmarkDerive(b *testing.B) {
	s := newSecret()
	b.ReportAllocs()
	for b.Loop() {
		s.logKey()
	}
}

func BenchmarkDeriveHKDF(b *testing.B) {
	s := newSecret()
	b.ReportAllocs()
	for b.Loop() {
		derive(s[:], "cloakroom log key 1")
	}
}

func BenchmarkDeriveHMAC(b *testing.B) {
	s := newSecret()
	b.ReportAllocs()
	for b.Loop() {
		h := hmac.New(sha256.New, s[:])
		h.Write([]byte("cloakroom log key 1"))
		h.Write([]byte{1})
		h.Sum(nil)
	}
}
