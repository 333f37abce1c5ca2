package seal

import (
	"context"
	"crypto/aes"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cloakroom/cloakroom/internal/keys"
	"github.com/cloakroom/cloakroom/internal/record"
)

// TokenPrefix begins every token.
const TokenPrefix = "cus_"

const tokenLetters = 26

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// TokenError says which of the tokens of a request is unknown.
type TokenError struct{ Index int }

// Error counts from 1, as people do.
func (e *TokenError) Error() string { return fmt.Sprintf("token %d: %s", e.Index+1, ErrUnknownToken) }

// Unwrap returns ErrUnknownToken.
func (e *TokenError) Unwrap() error { return ErrUnknownToken }

// encipher is one AES block over brand, ordinal, the key's generation and zeros
// (encode-then-encipher, Bellare and Rogaway 2000). The 72 zero bits refuse a forged
// token without a look at the database.
func encipher(key keys.Key, brand record.BrandID, ord record.Ordinal) (string, error) {
	return encipherWith(key.Bytes(), key.Version, brand, ord)
}

func encipherWith(key []byte, generation int, brand record.BrandID, ord record.Ordinal) (string, error) {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint16(b[0:], uint16(brand))
	binary.BigEndian.PutUint32(b[2:], uint32(ord))
	b[6] = byte(generation)
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", err
	}
	block.Encrypt(b[:], b[:])
	return TokenPrefix + tokenEncoding.EncodeToString(b[:]), nil
}

func decipher(key keys.Key, brand record.BrandID, token string) (record.Ordinal, bool) {
	return decipherWith(key.Bytes(), key.Version, brand, token)
}

func decipherWith(key []byte, generation int, brand record.BrandID, token string) (record.Ordinal, bool) {
	text, ok := strings.CutPrefix(token, TokenPrefix)
	if !ok || len(text) != tokenLetters {
		return 0, false
	}
	b, err := tokenEncoding.DecodeString(text)
	if err != nil || len(b) != aes.BlockSize || tokenEncoding.EncodeToString(b) != text {
		return 0, false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return 0, false
	}
	block.Decrypt(b, b)
	ord := record.Ordinal(binary.BigEndian.Uint32(b[2:]))
	ok = binary.BigEndian.Uint16(b) == uint16(brand) && b[6] == byte(generation) && ord != 0
	return ord, ok && [9]byte(b[7:]) == [9]byte{}
}

// Token returns the token of a customer of a brand.
func (s *Store) Token(ctx context.Context, brand record.BrandID, ord record.Ordinal) (string, error) {
	key, err := s.ring.Current(ctx, brand, keys.Token)
	if err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	return encipher(key, brand, ord)
}

// Resolve returns the ordinals that tokens of a brand stand for, in their order. It
// does not say whether there are such customers. The first that is not a token of
// the brand is a *TokenError.
func (s *Store) Resolve(ctx context.Context, brand record.BrandID, tokens []string) ([]record.Ordinal, error) {
	current, err := s.ring.Current(ctx, brand, keys.Token)
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	out := make([]record.Ordinal, len(tokens))
	for i, token := range tokens {
		ord, ok := decipher(current, brand, token)
		for v := current.Version - 1; v > 0 && !ok; v-- {
			key, err := s.ring.Version(ctx, brand, keys.Token, v)
			if err != nil {
				return nil, fmt.Errorf("reading tokens: %w", err)
			}
			ord, ok = decipher(key, brand, token)
		}
		if !ok {
			return nil, &TokenError{i}
		}
		out[i] = ord
	}
	return out, nil
}
