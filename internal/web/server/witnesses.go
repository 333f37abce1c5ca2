package server

import (
	"context"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// witnessRoutes say how far witnesses are with a log.
func (s *Server) witnessRoutes() {
	route(s, "GET", "/v1/brands/{brand}/witnesses", "witness-list", "Show the state of each witness for a brand's log", s.witnesses)
}

func (s *Server) witnesses(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.WitnessState, error) {
	id, err := s.vault.Admin.Watch(ctx, c, in.Brand)
	if err != nil {
		return nil, err
	}
	cp, err := s.vault.Ledger.Checkpoint(ctx, id)
	if err != nil {
		return nil, err
	}
	size, err := s.vault.Ledger.Size(ctx, id)
	if err != nil {
		return nil, err
	}
	key, err := s.vault.Ledger.VerifierKey(ctx, id)
	if err != nil {
		return nil, err
	}
	origin, _, _ := strings.Cut(string(cp), "\n")
	out := []api.WitnessState{}
	states := s.vault.Witness.States(id)
	for i, w := range s.vault.Witness.List() {
		x := &states[i]
		o := api.WitnessState{Witness: w.Name(), VKey: w.VKey(), URL: w.URL, State: "signs", Origin: origin, LogKey: key, Size: size, Signed: x.Size, SignedAt: x.At, Last: string(x.Signed)}
		switch {
		case x.Err != nil:
			o.State, o.What = "fails", x.Err.Error()
		case x.Origin != origin:
			o.State = "waits"
		}
		out = append(out, o)
	}
	return out, nil
}
