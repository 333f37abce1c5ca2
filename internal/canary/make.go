package canary

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"

	"github.com/cloakroom/cloakroom/internal/generate"
	"github.com/cloakroom/cloakroom/internal/record"
	sealed "github.com/cloakroom/cloakroom/internal/seal"
)

// style is how the decoys of one request look.
type style struct {
	brand  string
	domain string
	prefix string
	digits int
}

// invent makes one customer, of a seed of their own that is kept nowhere. Countries and
// names are those of package generate.
func (y style) invent() (sealed.Put, error) {
	var seed [8]byte
	rand.Read(seed[:])
	var p sealed.Put
	for c := range generate.Customers(generate.Config{Customers: 1, Seed: binary.BigEndian.Uint64(seed[:]), Brands: []string{y.brand}}) {
		p.Customer, p.Purchases = c.Customer, c.Purchases
	}
	p.Set = record.AllFields.Without(record.Purchases)
	number, err := digits(y.digits)
	if err != nil {
		return p, err
	}
	made := p.Customer.Columns[record.ExternalID]
	id := y.prefix + number
	p.Customer.Columns[record.ExternalID] = id
	for i := range p.Purchases {
		p.Purchases[i].ID = id + strings.TrimPrefix(p.Purchases[i].ID, made)
	}
	if mail := p.Customer.Columns[record.Email]; mail != "" {
		if p.Customer.Columns[record.Email], err = y.email(mail); err != nil {
			return p, err
		}
	}
	return p, nil
}

// email replaces the number in a generated address, which is 0 for the first customer
// of every seed, and the domain.
func (y style) email(mail string) (string, error) {
	local, domain, _ := strings.Cut(mail, "@")
	name, tag, tagged := strings.Cut(local, "+")
	number, err := digits(3)
	if err != nil {
		return "", err
	}
	local = strings.TrimSuffix(name, "0") + number
	if tagged {
		local += "+" + tag
	}
	if y.domain != "" {
		domain = y.domain
	}
	return local + "@" + domain, nil
}

// digits draws so many digits, the first of them not 0.
func digits(n int) (string, error) {
	low := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n-1)), nil)
	v, err := rand.Int(rand.Reader, new(big.Int).Mul(low, big.NewInt(9)))
	if err != nil {
		return "", fmt.Errorf("drawing a number: %w", err)
	}
	return v.Add(v, low).String(), nil
}
