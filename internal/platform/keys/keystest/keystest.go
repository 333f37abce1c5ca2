// Package keystest makes rings of keys for tests and benchmarks of what needs one.
package keystest

import (
	"bytes"
	"context"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
)

// Ring returns a ring over a database whose root key is the same in every test, so that
// several of them open each other's keys.
func Ring(d *db.DB) *keys.Ring { return keys.NewRing(d, root{}) }

// root keeps nothing secret. It binds what it wraps to its place, as a root does.
type root struct{}

func (root) Wrap(_ context.Context, plain, aad []byte) ([]byte, error) {
	return append(bytes.Clone(plain), aad...), nil
}

func (root) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	plain, ok := bytes.CutSuffix(wrapped, aad)
	if !ok {
		return nil, keys.ErrUnwrap
	}
	return bytes.Clone(plain), nil
}

func (root) Adopt(context.Context, string) bool { return true }
