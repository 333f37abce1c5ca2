// Package audit answers who read a customer, with a proof for each release.
//
// It opens no record of a customer: what it says is the log's, and the keys that it takes
// make the commitments that prove it. The question is an entry of the log itself.
package audit

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/disclose"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/vault/seal"
)

// Desk answers who read a customer.
type Desk struct {
	Door     *door.Door
	Ledger   *ledger.Ledger
	Seal     *seal.Store
	Disclose *disclose.Desk // for its fence around tokens
}

// WhoRead returns every release of a customer with its proof, up to the entry that says
// that the caller asked.
func (d *Desk) WhoRead(ctx context.Context, c identity.Caller, brand, token string) (*api.Disclosures, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	ords, err := d.Disclose.Resolve(ctx, v, []string{token})
	if err != nil {
		return nil, err
	}
	u, err := d.Seal.Fetch(ctx, v.Brand.ID, ords, 0)
	if err != nil {
		return nil, err
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAudit, Who: v.Who, Ords: u.Ords(), Commit: u.Commitment(0)})
	if err != nil {
		return nil, err
	}
	out := &api.Disclosures{Token: token, Disclosures: []api.Disclosure{}}
	if out.VerifierKey, err = d.Ledger.VerifierKey(ctx, v.Brand.ID); err != nil {
		return nil, err
	}
	// One checkpoint for every proof: the newest, which includes the audit itself.
	cp, err := d.Ledger.Checkpoint(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out.Checkpoint = string(cp)
	tree, err := ledger.CheckpointRoot(out.VerifierKey, cp)
	if err != nil {
		return nil, err
	}
	inclusion, err := d.Ledger.Inclusions(ctx, v.Brand.ID, uint64(tree.N))
	if err != nil {
		return nil, err
	}
	readers := map[uint64]reader{}
	err = d.Ledger.Concerning(ctx, v.Brand.ID, ords[0], 0, func(rel ledger.Disclosure) error {
		if !rel.Released() || rel.Index > r.Entry() {
			return nil
		}
		p, unproven, err := d.prove(ctx, v.Brand.ID, rel, ords[0], inclusion)
		if err != nil {
			return err
		}
		e := rel.Entry
		x := api.Disclosure{
			Entry: rel.Index, At: e.At, Role: e.Role, Kind: e.Kind.String(),
			Purpose: e.Purpose, Ticket: e.Ticket, Fields: e.Fields.Names(), Level: e.Level, Erased: e.Bare(), Unproven: unproven, Proof: *p,
		}
		if !e.Bare() {
			r := d.reader(ctx, readers, e.Principal)
			x.Principal, x.Profile = r.name, r.Profile
		}
		out.Disclosures = append(out.Disclosures, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// prove returns the proof of a disclosure, and why it does not prove whose that is: what is
// lost of one entry costs this proof, and no other.
func (d *Desk) prove(ctx context.Context, brand record.BrandID, rel ledger.Disclosure, ord record.Ordinal, included func(index uint64) (tlog.RecordProof, error)) (out *api.Proof, unproven string, err error) {
	logKeys, err := d.Seal.LogKeys(ctx, brand, rel.Ords)
	if err != nil {
		return nil, "", err
	}
	p, err := d.Ledger.Prove(ctx, brand, rel, ord, logKeys)
	switch {
	case errors.Is(err, ledger.ErrNoCommitment), errors.Is(err, ledger.ErrValuesErased):
		unproven = err.Error()
	case err != nil:
		return nil, "", err
	}
	inclusion, err := included(rel.Index)
	if err != nil {
		return nil, "", err
	}
	out = &api.Proof{
		Leaf: rel.Leaf, Customers: len(rel.Ords), Position: p.Position, Counter: rel.Counters[p.Position],
		Commitment: []byte{}, Path: [][]byte{}, Inclusion: [][]byte{},
	}
	if unproven == "" {
		out.Commitment = p.Commitment[:]
	}
	for _, h := range p.Path {
		out.Path = append(out.Path, slices.Clone(h[:]))
	}
	for _, h := range inclusion {
		out.Inclusion = append(out.Inclusion, slices.Clone(h[:]))
	}
	if p.Core != [32]byte{} {
		out.Core, out.Reader = p.Core[:], p.Reader[:]
	}
	for _, s := range p.Shown {
		path := [][]byte{}
		for _, h := range s.Path {
			path = append(path, slices.Clone(h[:]))
		}
		out.Shown = append(out.Shown, api.Shown{Name: s.Name, Value: s.Value, Salt: slices.Clone(s.Salt[:]), Path: path})
	}
	return out, unproven, nil
}

// reader is who read, as the vault knows them now.
type reader struct {
	name string
	api.Profile
}

func (d *Desk) reader(ctx context.Context, known map[uint64]reader, id uint64) reader {
	if r, ok := known[id]; ok {
		return r
	}
	r := reader{name: strconv.FormatUint(id, 10)}
	if p, err := d.Door.Identity.Get(ctx, id); err == nil {
		r.name = p.Name
	}
	if p, err := d.Door.Identity.Profile(ctx, id); err == nil { // none that the log does not know
		r.Profile = api.Profile{DisplayName: p.Display, Team: p.Team, Place: p.Place}
	}
	known[id] = r
	return r
}
