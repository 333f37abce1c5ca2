package evidence

import (
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// VerifyDisclosures checks the vault's answer to who read a customer with nothing but
// the brand's verifier key: that every disclosure is in the log that the key signed,
// that it says of itself what its entry says (the principal's name, which the log has
// as a number, is the vault's word), that the pseudonym of the reader is the one that
// was committed to, and that none of those before the last is withheld. It returns the
// tree that was signed. A disclosure that is said to be unproven is held against its entry,
// and that it is of the customer is the vault's word: [Unproven] counts these.
//
// It cannot tell whose disclosures they are: that takes the customer's log key, see
// [CustomerProof.Opens].
func VerifyDisclosures(vkey string, d *api.Disclosures) (tlog.Tree, error) {
	key, err := openKey(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	head, err := openCheckpoint(key, []byte(d.Checkpoint))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("opening the checkpoint: %w", err)
	}
	for i := range d.Disclosures {
		x := &d.Disclosures[i]
		if err := verifyDisclosure(vkey, d.Checkpoint, x); err != nil {
			return tlog.Tree{}, fmt.Errorf("the proof of entry %d does not hold: %w", x.Entry, err)
		}
		if i > 0 && x.Entry <= d.Disclosures[i-1].Entry {
			return tlog.Tree{}, fmt.Errorf("%w: entry %d stands after entry %d", ErrProof, x.Entry, d.Disclosures[i-1].Entry)
		}
		if x.Proof.Counter != uint32(i) {
			return tlog.Tree{}, fmt.Errorf("%w: disclosure %d of this customer says that %d came before it: one is withheld", ErrProof, i+1, x.Proof.Counter)
		}
	}
	return head.Tree, nil
}

// Unproven counts the disclosures of which the vault says that it cannot prove whose they
// are: their commitments were lost from its database.
func Unproven(d *api.Disclosures) (n int) {
	for i := range d.Disclosures {
		if d.Disclosures[i].Unproven != "" {
			n++
		}
	}
	return n
}

// NewCustomerProof returns the proof that comes with a disclosure in an answer whose log
// has that signed checkpoint.
func NewCustomerProof(x *api.Disclosure, checkpoint string) (CustomerProof, error) {
	said, err := entry.Unmarshal(x.Proof.Leaf)
	if err != nil {
		return CustomerProof{}, err
	}
	p := CustomerProof{
		Brand: said.Brand, Entry: x.Entry, Leaf: x.Proof.Leaf, Customers: x.Proof.Customers, Position: x.Proof.Position, Checkpoint: checkpoint,
	}
	path, err := Hashes(x.Proof.Path)
	if err != nil {
		return CustomerProof{}, err
	}
	inclusion, err := Hashes(x.Proof.Inclusion)
	if err != nil {
		return CustomerProof{}, err
	}
	if x.Unproven == "" {
		commitment, err := Hashes([][]byte{x.Proof.Commitment})
		if err != nil {
			return CustomerProof{}, err
		}
		p.Commitment = commitment[0]
	}
	p.Path, p.Inclusion = path, inclusion
	p.Reader, p.Core = x.Proof.Reader, x.Proof.Core
	for _, s := range x.Proof.Shown {
		salt, err := Hashes([][]byte{s.Salt})
		if err != nil {
			return CustomerProof{}, err
		}
		path, err := Hashes(s.Path)
		if err != nil {
			return CustomerProof{}, err
		}
		shown := entry.Shown{Name: s.Name, Value: s.Value, Salt: salt[0]}
		for _, h := range path {
			shown.Path = append(shown.Path, h)
		}
		p.Shown = append(p.Shown, shown)
	}
	return p, nil
}

func verifyDisclosure(vkey, checkpoint string, x *api.Disclosure) error {
	p, err := NewCustomerProof(x, checkpoint)
	if err != nil {
		return err
	}
	verify := p.Verify
	if x.Unproven != "" {
		verify = p.verifyEntry
	}
	e, err := verify(vkey)
	if err != nil {
		return err
	}
	if x.Erased != (e.LeafVersion() > entry.Version1 && !p.shows(entry.ShownAt)) || !x.Erased && e.Shows(entry.ShownTicket) && !p.shows(entry.ShownTicket) {
		return fmt.Errorf("%w: not every value that the line says is shown", ErrProof)
	}
	if x.Kind != e.Kind.String() || !x.At.Equal(e.At) || x.Role != e.Role || x.Purpose != e.Purpose || x.Ticket != e.Ticket ||
		x.Level != e.Level || !slices.Equal(x.Fields, e.Fields.Names()) {
		return fmt.Errorf("%w: it is said to be a %s of %s for %q at %s, and the log has a %s of %s for %q at %s",
			ErrProof, x.Kind, x.Fields, x.Purpose, stamp(x.At), e.Kind, e.Fields.Names(), e.Purpose, stamp(e.At))
	}
	return nil
}

func (p *CustomerProof) shows(name string) bool {
	return slices.ContainsFunc(p.Shown, func(s entry.Shown) bool { return s.Name == name })
}

// Hashes reads hashes as the API writes them.
func Hashes(list [][]byte) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(list))
	for i, b := range list {
		if len(b) != tlog.HashSize {
			return nil, fmt.Errorf("%w: a hash has %d bytes in place of %d", ErrProof, len(b), tlog.HashSize)
		}
		out[i] = tlog.Hash(b)
	}
	return out, nil
}
