package entry

import (
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// BenchmarkLeaf is what a release costs to write and to read.
func BenchmarkLeaf(b *testing.B) {
	e := Entry{
		Kind: KindDisclosure, At: time.UnixMicro(1_790_000_000_000_000), Brand: 1, Principal: 7000, Credential: 31, Lineage: 29, Role: "support-agent",
		Purpose: "customer-support", Ticket: "CASE-17", Class: "clear", Level: "clear", Fields: record.Fields(record.Email, record.Phone), Count: 1,
		Nonce: [16]byte{1}, Root: [32]byte{1}, Subjects: [32]byte{1},
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x := e
			if _, _, err := Marshal(&x, Secret{1}); err != nil {
				b.Fatal(err)
			}
		}
	})
	leaf, values, err := Marshal(&e, Secret{1})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Unmarshal(leaf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		bare, err := Unmarshal(leaf)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			x := bare
			if err := x.Open(values); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Logf("%d bytes of leaf, %d of values", len(leaf), len(values))
}
