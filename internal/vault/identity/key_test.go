package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"pgregory.net/rapid"
)

func TestKeyRoundTrip(t *testing.T) {
	t.Parallel()
	k := identity.NewKey()
	got, err := identity.ParseKey(k.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if got != k || got.Hash() != k.Hash() {
		t.Fatal("a parsed key is not the key that was made")
	}
	if len(k.Reveal()) != 63 {
		t.Fatalf("a key has %d characters", len(k.Reveal()))
	}
	if identity.NewKey().Hash() == k.Hash() {
		t.Fatal("two keys are equal")
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	k := identity.NewKey()
	secret := strings.TrimPrefix(k.Reveal(), identity.KeyPrefix)
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %q", k, k, k, k, k), fmt.Sprint(struct{ K identity.Key }{k})} {
		if strings.Contains(s, secret[:8]) {
			t.Errorf("printing a key shows it: %s", s[:20])
		}
	}
}

func TestKeyChangedAnywhereIsMalformed(t *testing.T) {
	t.Parallel()
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567ABC018_-"
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(identity.NewKey().Reveal())
		i := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		c := rapid.SampledFrom([]byte(alphabet)).Draw(t, "character")
		if text[i] == c {
			t.Skip("unchanged")
		}
		text[i] = c
		if _, err := identity.ParseKey(string(text)); !errors.Is(err, identity.ErrMalformedKey) {
			t.Fatalf("a key changed at %d was accepted", i)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(identity.NewKey().Reveal())
	f.Add("ckr_")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := identity.ParseKey(text)
		if err == nil && k.Reveal() != text {
			t.Fatal("a key was accepted that is not its own canonical text")
		}
	})
}
