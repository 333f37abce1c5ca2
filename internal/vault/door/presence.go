package door

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// Presence tells whether the holder of a session has just shown that they are there.
type Presence interface {
	// Present reports whether a proof is of this caller's session and of this act, and young.
	Present(ctx context.Context, c identity.Caller, act, proof string) (bool, error)
}

// AbsentError says that an act waits for a passkey of the caller. Nothing changed.
type AbsentError struct {
	Act string // what the passkey is asked for
}

// Error says what to do next.
func (e *AbsentError) Error() string {
	return "this needs your passkey, at most five minutes ago and for this act: a session alone, which somebody may have stolen, is not enough"
}

type proofKey struct{}

// WithProof returns a context with the proof that a request carries.
func WithProof(ctx context.Context, proof string) context.Context {
	if proof == "" {
		return ctx
	}
	return context.WithValue(ctx, proofKey{}, proof)
}

// Present refuses an act of a caller who came by a session, or by what was made through one,
// without a young passkey for it. Keys that were not made through a session are themselves
// what is held. content is what the act is about; all of it is in what the passkey signs.
func (d *Door) Present(ctx context.Context, c identity.Caller, act string, content ...any) error {
	if c.Session == 0 {
		return nil
	}
	act = Act(act, content...)
	proof, _ := ctx.Value(proofKey{}).(string)
	if d.Presence == nil || proof == "" {
		return &AbsentError{act}
	}
	ok, err := d.Presence.Present(ctx, c, act, proof)
	if err == nil && !ok {
		err = &AbsentError{act}
	}
	return err
}

// Act writes an act with what it is about: short words as they are, all else as a digest.
func Act(act string, content ...any) string {
	words := []string{act}
	for _, x := range content {
		if s, ok := x.(string); ok && len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
		}) {
			words = append(words, s)
			continue
		}
		b, err := json.Marshal(x)
		if err != nil {
			b = []byte(err.Error()) // what cannot be written cannot be sent either
		}
		h := sha256.Sum256(b)
		words = append(words, "sha256-"+hex.EncodeToString(h[:]))
	}
	return strings.Join(words, " ")
}
