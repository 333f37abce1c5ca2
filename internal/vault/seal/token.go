package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
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

// tokenCipher makes and reads the tokens of one generation of a brand's token key, or
// under another prefix what stands for customers in one extract.
type tokenCipher struct {
	prefix     string
	block      cipher.Block
	brand      record.BrandID
	generation byte
}

func newTokenCipher(key []byte, generation int, brand record.BrandID) (*tokenCipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("setting up a token key: %w", err)
	}
	return &tokenCipher{TokenPrefix, block, brand, byte(generation)}, nil
}

// enciphered is one AES block over brand, ordinal, the key's generation and zeros
// (encode-then-encipher, Bellare and Rogaway 2000). The 72 zero bits refuse a forged
// token without a look at the database.
func (c *tokenCipher) enciphered(ord record.Ordinal) (b [aes.BlockSize]byte) {
	binary.BigEndian.PutUint16(b[0:], uint16(c.brand))
	binary.BigEndian.PutUint32(b[2:], uint32(ord))
	b[6] = c.generation
	c.block.Encrypt(b[:], b[:])
	return b
}

func (c *tokenCipher) encipher(ord record.Ordinal) string {
	b := c.enciphered(ord)
	return c.prefix + tokenEncoding.EncodeToString(b[:])
}

func (c *tokenCipher) decipher(token string) (record.Ordinal, bool) {
	text, ok := strings.CutPrefix(token, c.prefix)
	if !ok || len(text) != tokenLetters {
		return 0, false
	}
	b, err := tokenEncoding.DecodeString(text)
	if err != nil || len(b) != aes.BlockSize || tokenEncoding.EncodeToString(b) != text {
		return 0, false
	}
	c.block.Decrypt(b, b)
	ord := record.Ordinal(binary.BigEndian.Uint32(b[2:]))
	ok = binary.BigEndian.Uint16(b) == uint16(c.brand) && b[6] == c.generation && ord != 0
	return ord, ok && [9]byte(b[7:]) == [9]byte{}
}

// tokens returns the cipher of the newest generation.
func (s *Store) tokens(ctx context.Context, brand record.BrandID) (*tokenCipher, error) {
	key, err := s.ring.Current(ctx, brand, keys.Token)
	if err != nil {
		return nil, err
	}
	return newTokenCipher(key.Bytes(), key.Version, brand)
}

// Token returns the token of a customer of a brand.
func (s *Store) Token(ctx context.Context, brand record.BrandID, ord record.Ordinal) (string, error) {
	c, err := s.tokens(ctx, brand)
	if err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	return c.encipher(ord), nil
}

// Resolve returns the ordinals that tokens of a brand stand for, in their order. It
// does not say whether there are such customers. The first that is not a token of
// the brand is a *TokenError.
func (s *Store) Resolve(ctx context.Context, brand record.BrandID, tokens []string) ([]record.Ordinal, error) {
	current, err := s.tokens(ctx, brand)
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	out := make([]record.Ordinal, len(tokens))
	for i, token := range tokens {
		ord, ok := current.decipher(token)
		for v := int(current.generation) - 1; v > 0 && !ok; v-- {
			key, err := s.ring.Version(ctx, brand, keys.Token, v)
			if err != nil {
				return nil, fmt.Errorf("reading tokens: %w", err)
			}
			old, err := newTokenCipher(key.Bytes(), key.Version, brand)
			if err != nil {
				return nil, err
			}
			ord, ok = old.decipher(token)
		}
		if !ok {
			return nil, &TokenError{i}
		}
		out[i] = ord
	}
	return out, nil
}
