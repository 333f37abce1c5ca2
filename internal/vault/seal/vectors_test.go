package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/internal/opener"
)

var update = flag.Bool("update", false, "write testdata/sealed-format.json anew")

// vector is one customer, with every secret, as docs/sealed-format.md describes it.
type vector struct {
	Brand      record.BrandID  `json:"brand"`
	Ordinal    record.Ordinal  `json:"ordinal"`
	KEKVersion int             `json:"kek_version"`
	KEK        string          `json:"kek"`
	TokenKey   string          `json:"token_key"`
	IndexKey   string          `json:"index_key"`
	Secret     string          `json:"customer_secret"`
	DataKey    string          `json:"data_key"`
	LogKey     string          `json:"log_key"`
	Wrapped    string          `json:"wrapped_secret"`
	Token      string          `json:"token"`
	Profile    sealedVector    `json:"profile"`
	Purchases  sealedVector    `json:"purchases"`
	Email      string          `json:"email"`
	EmailIndex int64           `json:"email_index"`
	Nonce      string          `json:"entry_nonce"`
	Fields     record.FieldSet `json:"entry_fields"`
	Counter    uint32          `json:"entry_counter"`
	Commitment string          `json:"entry_commitment"`
}

type sealedVector struct {
	Number uint64 `json:"number"` // a profile's version; a segment's epoch and place
	AAD    string `json:"aad"`
	Plain  string `json:"plain"`
	Sealed string `json:"sealed"`
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors hold the form still: what is in them must open for ever.
func TestSealedFormatVectors(t *testing.T) {
	t.Parallel()
	const path = "testdata/sealed-format.json"
	if *update {
		writeVectors(t, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	plain, err := opener.Open(unhex(t, v.KEK), unhex(t, v.Wrapped), wrapPlace(v.Brand, v.Ordinal, v.KEKVersion))
	if err != nil || hex.EncodeToString(plain) != v.Secret {
		t.Fatalf("the wrapped secret does not open: %v", err)
	}
	s := secret(plain)
	if hex.EncodeToString(s.dek()) != v.DataKey || hex.EncodeToString(s.logKey()) != v.LogKey {
		t.Error("the keys derived from the secret are others")
	}
	for k, r := range map[kind]sealedVector{profileRecord: v.Profile, purchaseRecord: v.Purchases} {
		if got := place(v.Brand, v.Ordinal, k, r.Number); hex.EncodeToString(got) != r.AAD {
			t.Errorf("%s: the additional data is %x", k, got)
		}
		got, err := opener.Open(s.dek(), unhex(t, r.Sealed), unhex(t, r.AAD))
		if err != nil || hex.EncodeToString(got) != r.Plain {
			t.Errorf("%s: does not open: %v", k, err)
		}
	}
	var c record.Customer
	if err := record.DecodeCustomer(unhex(t, v.Profile.Plain), &c); err != nil || c.Get(record.Email) != v.Email {
		t.Errorf("the profile does not decode: %v", err)
	}
	if ps, err := record.DecodePurchases(unhex(t, v.Purchases.Plain), nil); err != nil || len(ps) != 1 {
		t.Errorf("the purchases do not decode: %v", err)
	}
	if got := blind(unhex(t, v.IndexKey), indexLabel(record.Email), v.Email); got != v.EmailIndex {
		t.Errorf("the index of the e-mail is %d", got)
	}
	got := entry.Commitment(unhex(t, v.LogKey), entry.Committed{Nonce: [16]byte(unhex(t, v.Nonce)), Fields: v.Fields, Counter: v.Counter})
	if hex.EncodeToString(got[:]) != v.Commitment {
		t.Errorf("the commitment is %x", got)
	}
	if got, err := enciphered(unhex(t, v.TokenKey), 1, v.Brand, v.Ordinal); err != nil || got != v.Token {
		t.Errorf("the token is %s, %v", got, err)
	}
}

func writeVectors(t *testing.T, path string) {
	t.Helper()
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, keyBytes) }
	v := vector{
		Brand: 3, Ordinal: 70001, KEKVersion: 2, KEK: hex.EncodeToString(key(1)), TokenKey: hex.EncodeToString(key(2)),
		IndexKey: hex.EncodeToString(key(3)), Secret: hex.EncodeToString(key(4)), Email: "zoe@example.com",
		Nonce: hex.EncodeToString(key(5)[:16]), Fields: record.Fields(record.Email, record.Purchases), Counter: 6,
	}
	s := secret(key(4))
	v.DataKey, v.LogKey = hex.EncodeToString(s.dek()), hex.EncodeToString(s.logKey())
	var c record.Customer
	c.Set(record.ExternalID, "C-1")
	c.Set(record.GivenName, "Zoë")
	c.Set(record.Email, v.Email)
	c.Attributes = map[string]string{"size": "42"}
	bought := []record.Purchase{{ID: "o-1", At: time.Date(2025, 3, 1, 10, 0, 0, 0, time.UTC), SKU: "GU1", Description: "Loafer", Quantity: 1,
		Amount: record.Amount{Units: 79000, Scale: 2}, Currency: "EUR"}}
	close := func(k kind, number uint64, plain []byte) sealedVector {
		aad := place(v.Brand, v.Ordinal, k, number)
		b, err := sealed(nil, s.dek(), plain, aad)
		if err != nil {
			t.Fatal(err)
		}
		return sealedVector{number, hex.EncodeToString(aad), hex.EncodeToString(plain), hex.EncodeToString(b)}
	}
	v.Profile = close(profileRecord, 7, record.AppendCustomer(nil, &c))
	v.Purchases = close(purchaseRecord, segmentNumber(1, 2), record.AppendPurchases(nil, bought, nil))
	w, err := sealed(nil, key(1), s[:], wrapPlace(v.Brand, v.Ordinal, v.KEKVersion))
	if err != nil {
		t.Fatal(err)
	}
	v.Wrapped = hex.EncodeToString(w)
	v.EmailIndex = blind(key(3), indexLabel(record.Email), v.Email)
	commitment := entry.Commitment(s.logKey(), entry.Committed{Nonce: [16]byte(key(5)), Fields: v.Fields, Counter: v.Counter})
	v.Commitment = hex.EncodeToString(commitment[:])
	if v.Token, err = enciphered(key(2), 1, v.Brand, v.Ordinal); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The primitives are the standard library's. These vectors hold that they are used as
// the standards say: nonce, tag and additional data in their places, every forgery
// refused.
func TestWycheproof(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/wycheproof.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		AESGCM []struct {
			TcID                               int
			Key, IV, AAD, Msg, Ct, Tag, Result string
		} `json:"aes_gcm"`
		HMAC []struct {
			TcID                  int
			Key, Msg, Tag, Result string
		} `json:"hmac_sha256"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.AESGCM) == 0 || len(v.HMAC) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.AESGCM {
		record := append([]byte{Version}, unhex(t, c.IV+c.Ct+c.Tag)...)
		plain, err := opener.Open(unhex(t, c.Key), record, unhex(t, c.AAD))
		if valid := err == nil && hex.EncodeToString(plain) == c.Msg; valid != (c.Result == "valid") {
			t.Errorf("AES-GCM %d, %s: %v", c.TcID, c.Result, err)
		}
	}
	for _, c := range v.HMAC {
		h := hmac.New(sha256.New, unhex(t, c.Key))
		h.Write(unhex(t, c.Msg))
		if same := hex.EncodeToString(h.Sum(nil)) == c.Tag; same != (c.Result == "valid") {
			t.Errorf("HMAC %d, %s", c.TcID, c.Result)
		}
	}
}

func FuzzDecipher(f *testing.F) {
	key := bytes.Repeat([]byte{2}, keyBytes)
	token, err := enciphered(key, 1, 3, 70001)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("cus_")
	f.Fuzz(func(t *testing.T, s string) {
		ord, ok := deciphered(key, 1, 3, s)
		if !ok {
			return
		}
		if back, err := enciphered(key, 1, 3, ord); err != nil || back != s {
			t.Errorf("two tokens of one customer, %v", err)
		}
	})
}

func FuzzOpened(f *testing.F) {
	key := bytes.Repeat([]byte{1}, keyBytes)
	good, err := hex.DecodeString("013eca376a3747a82ab1e8bad82b89ffd65a5d51b4a224189c384d53e71bab4d5c1e")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, err := opener.Open(key, b, []byte("aad")); err == nil && !bytes.Equal(b, good) {
			t.Errorf("%x opened as %x", b, plain)
		}
	})
}

func enciphered(key []byte, generation int, brand record.BrandID, ord record.Ordinal) (string, error) {
	c, err := newTokenCipher(key, generation, brand)
	if err != nil {
		return "", err
	}
	return c.encipher(ord), nil
}

func deciphered(key []byte, generation int, brand record.BrandID, token string) (record.Ordinal, bool) {
	c, err := newTokenCipher(key, generation, brand)
	if err != nil {
		return 0, false
	}
	return c.decipher(token)
}
