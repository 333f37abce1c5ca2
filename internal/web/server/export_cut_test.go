package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

func TestAFileOnItsWayIsCut(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(20, fileOnItsWayIsCut))
}

// What is contained, stopped or revoked after a file was logged and before it is sent
// sends nothing of it.
func fileOnItsWayIsCut(t *testing.T, s *shelf) {
	ctx := t.Context()
	req := s.extract()
	req.Tokens = s.tokens
	v := s.vault
	var own api.Credential
	s.must(s.Do(ctx, "POST", client.Path("principals", "analyst", "credentials"), api.CredentialRequest{Label: "second"}, &own))
	key, err := identity.ParseKey(own.Key)
	s.must(err)
	caller, err := v.Identity.Authenticate(ctx, key)
	s.must(err)
	second := client.New(s.url, own.Key, nil)
	begin := func() (*api.Export, *export.File) {
		x := s.approved(second, req)
		var f *export.File
		s.must(v.Revisions.Decide(ctx, func(ctx context.Context) error {
			f, err = v.Exports.File(ctx, caller, "gucci", x.ID, 1, export.Customers)
			return err
		}))
		return x, f
	}
	sends := func(f *export.File) (int, error) {
		var b bytes.Buffer
		err := f.Write(ctx, &b)
		return b.Len(), err
	}
	_, f := begin()
	s.must(s.Do(ctx, "POST", "/v1/principals", api.Principal{Name: "somebody", Kind: "person", Roles: map[string]string{"gucci": "support-agent"}}, nil))
	s.must(s.Do(ctx, "DELETE", client.Path("principals", "somebody", "roles", "gucci"), nil, nil))
	if _, err := sends(f); err != nil {
		t.Errorf("a change that is about others cut it: %v", err)
	}
	x, f := begin()
	if _, err := s.export(second, "DELETE", x.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := sends(f); !errors.Is(err, export.ErrState) {
		t.Errorf("after it was stopped: %v", err)
	}
	_, f = begin()
	var c api.Containment
	s.must(s.as["incident-responder"].Do(ctx, "POST", client.Path("brands", "gucci", "containments"), api.ContainRequest{AllExports: true}, &c))
	if _, err := sends(f); !errors.Is(err, containment.ErrContained) {
		t.Errorf("after exports were contained: %v", err)
	}
	undo := client.Path("brands", "gucci", "containments", fmt.Sprint(c.ID), "undo")
	s.must(s.as["data-protection-officer"].Do(ctx, "POST", undo, nil, nil))
	s.must(s.as["incident-responder"].Do(ctx, "POST", undo+"/confirm", nil, nil))
	_, f = begin()
	s.must(s.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(own.Lineage)), nil, nil))
	if _, err := sends(f); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("after its lineage was revoked: %v", err)
	}
}
