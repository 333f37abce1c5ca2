// Package signintest is an authenticator and its browser, for tests: it makes passkeys and
// signs with them as WebAuthn Level 3 says, and errs where a test tells it to.
package signintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The flags of authenticator data, WebAuthn 6.1.
const (
	flagPresent  = 1 << 0
	flagVerified = 1 << 2
	flagAttested = 1 << 6
)

// Authenticator is one device with at most one passkey.
type Authenticator struct {
	// Origin is that of the page that asks.
	Origin string
	// Unverified leaves out that the device knows its user.
	Unverified bool
	// Counts makes the device count; Counter is what it says next, less one.
	Counts  bool
	Counter uint32
	// RPID takes the place of the relying party that was asked for, as a phishing page would.
	RPID string

	t    testing.TB
	key  *ecdsa.PrivateKey
	id   []byte
	user []byte
}

// New returns a device in front of a page.
func New(t testing.TB, origin string) *Authenticator { return &Authenticator{Origin: origin, t: t} }

// Clone returns a copy of the device, with its key.
func (a *Authenticator) Clone() *Authenticator {
	b := *a
	return &b
}

// options are what both ceremonies ask for.
type options struct {
	PublicKey struct {
		Challenge string `json:"challenge"`
		RPID      string `json:"rpId"`
		RP        struct {
			ID string `json:"id"`
		} `json:"rp"`
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		UserVerification string `json:"userVerification"`
		Selection        struct {
			UserVerification string `json:"userVerification"`
		} `json:"authenticatorSelection"`
	} `json:"publicKey"`
}

func (a *Authenticator) read(b json.RawMessage) options {
	a.t.Helper()
	var o options
	if err := json.Unmarshal(b, &o); err != nil {
		a.t.Fatal(err)
	}
	if o.PublicKey.UserVerification != "required" && o.PublicKey.Selection.UserVerification != "required" {
		a.t.Error("the options do not require that the user is verified")
	}
	return o
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (a *Authenticator) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// client is the client data of a ceremony.
func (a *Authenticator) client(kind, challenge string) []byte {
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false})
	a.must(err)
	return b
}

// data is the authenticator data, with what was attested behind it.
func (a *Authenticator) data(rpid string, flags byte, attested []byte) []byte {
	if a.RPID != "" {
		rpid = a.RPID
	}
	flags |= flagPresent
	if !a.Unverified {
		flags |= flagVerified
	}
	if a.Counts {
		a.Counter++
	}
	h := sha256.Sum256([]byte(rpid))
	return append(binary.BigEndian.AppendUint32(append(h[:], flags), a.Counter), attested...)
}

// Create makes a passkey for the options of a registration.
func (a *Authenticator) Create(opts json.RawMessage) json.RawMessage {
	a.t.Helper()
	o := a.read(opts)
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	a.id = make([]byte, 32)
	rand.Read(a.id)
	a.user, err = base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	a.must(err)
	point, err := a.key.PublicKey.Bytes() // 4, x, y
	a.must(err)
	mode, err := cbor.CTAP2EncOptions().EncMode()
	a.must(err)
	public, err := mode.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	a.must(err)
	attested := make([]byte, 16, 18+len(a.id)+len(public)) // no model
	attested = append(binary.BigEndian.AppendUint16(attested, uint16(len(a.id))), a.id...)
	object, err := mode.Marshal(map[string]any{
		"fmt": "none", "attStmt": map[string]any{}, "authData": a.data(o.PublicKey.RP.ID, flagAttested, append(attested, public...)),
	})
	a.must(err)
	return a.answer(map[string]any{
		"clientDataJSON": encode(a.client("webauthn.create", o.PublicKey.Challenge)), "attestationObject": encode(object),
	})
}

// Get signs for the options of a sign-in.
func (a *Authenticator) Get(opts json.RawMessage) json.RawMessage {
	a.t.Helper()
	o := a.read(opts)
	client := a.client("webauthn.get", o.PublicKey.Challenge)
	data := a.data(o.PublicKey.RPID, 0, nil)
	hash := sha256.Sum256(client)
	signed := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, signed[:])
	a.must(err)
	return a.answer(map[string]any{
		"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": encode(a.user),
	})
}

func (a *Authenticator) answer(response map[string]any) json.RawMessage {
	b, err := json.Marshal(map[string]any{"id": encode(a.id), "rawId": encode(a.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	a.must(err)
	return b
}
