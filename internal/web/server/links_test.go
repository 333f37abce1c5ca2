package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

func TestALinkDownloadsOneExport(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(20, linkDownloadsOneExport))
}

// A link's key fetches the files of its export, does nothing else of all that the API
// can do, and dies with its lineage.
func linkDownloadsOneExport(t *testing.T, s *shelf) {
	ctx := t.Context()
	analyst := s.as["analyst"]
	req := s.extract()
	req.Tokens = s.tokens
	waiting, err := s.asked(analyst, req)
	s.must(err)
	link := func(c *client.Client, id string) (*api.Credential, error) {
		out := &api.Credential{}
		return out, c.Do(ctx, "POST", client.Path("brands", "gucci", "exports", id, "link"), nil, out)
	}
	if _, err := link(analyst, waiting.ID); err == nil {
		t.Error("a link to an export that nobody approved")
	}
	x, other := s.approved(analyst, req), s.approved(analyst, req)
	if _, err := link(s.as["incident-responder"], x.ID); err == nil {
		t.Error("a link by somebody else")
	}
	made, err := link(analyst, x.ID)
	s.must(err)
	if made.Export != x.ID || !made.Expires.Equal(x.Expires) {
		t.Errorf("%+v of %+v", made, x)
	}
	key := client.New(s.url, made.Key, nil)
	for _, file := range x.Files {
		b, err := s.file(key, x.ID, 1, file)
		s.must(err)
		if rows := rowsOf(t, b); len(rows) != 1+len(s.tokens) {
			t.Errorf("%s has %d rows", file, len(rows))
		}
	}
	if _, err := s.export(key, "GET", x.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.file(key, other.ID, 1, export.Customers); !refusedAsLink(err) {
		t.Errorf("the file of another export: %v", err)
	}
	fill := strings.NewReplacer("{brand}", "gucci", "{export}", x.ID, "{part}", "1", "{file}", "customers")
	asked := 0
	for path, item := range s.server.Described().Paths {
		for method, op := range map[string]bool{"GET": item.Get != nil, "POST": item.Post != nil, "PUT": item.Put != nil, "PATCH": item.Patch != nil, "DELETE": item.Delete != nil} {
			if !op || server.Open(path) || method == "GET" && strings.HasPrefix(path, "/v1/brands/{brand}/exports/{export}") {
				continue
			}
			asked++
			if err := key.Do(ctx, method, fill.Replace(path), nil, nil); !refusedAsLink(err) {
				t.Errorf("%s %s: %v", method, path, err)
			}
		}
	}
	if asked < 50 {
		t.Errorf("only %d operations were tried", asked)
	}
	changes, _ := s.entries(x.ID)
	if got := fmt.Sprint(changes); got != "[request approve link download]" {
		t.Errorf("the log says %s", got)
	}
	s.must(s.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(made.Lineage)), nil, nil))
	if _, err := s.file(key, x.ID, 1, export.Customers); !isType(err, api.TypeUnauthenticated) {
		t.Errorf("after its lineage was revoked: %v", err)
	}
}

func TestALinkLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(20, linkLetsNobodyElseIn))
}

// Somebody whose keys are over but for a link to an export undoes nothing, and a thief of
// what is left takes files alone.
func linkLetsNobodyElseIn(t *testing.T, s *shelf) {
	ctx := t.Context()
	second, own := s.person(t, "second", "person", map[string]string{"gucci": "data-protection-officer"})
	req := s.extract()
	req.Purpose, req.Tokens = "migration", s.tokens
	x := s.approved(second, req)
	var link api.Credential
	s.must(second.Do(ctx, "POST", client.Path("brands", "gucci", "exports", x.ID, "link"), nil, &link))
	key := client.New(s.url, link.Key, nil)
	row := func() api.ExposureRow {
		t.Helper()
		var u api.Exposure
		s.must(s.as["incident-responder"].Do(ctx, "GET", client.Path("brands", "gucci", "exposure")+"?principal=second", nil, &u))
		rows := map[string]api.ExposureRow{}
		for _, r := range u.Rows {
			rows[r.Kind] = r
		}
		whole, one := rows["principal"], rows["lineage"]
		if whole.State != one.State || whole.Bound != one.Bound {
			t.Errorf("the principal: %+v, its only lineage: %+v", whole, one)
		}
		return one
	}
	stop := func() error { // of the three who could undo it
		return s.as["incident-responder"].Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Principal: "data-protection-officer", DryRun: true}, nil)
	}
	if r := row(); r.State != "" || len(r.Classes) < 3 {
		t.Errorf("with a key: %+v", r)
	}
	s.must(stop())
	_, err := s.vault.DB.Exec(ctx, `UPDATE credentials SET expires = 1 WHERE id = $1`, int64(own.ID))
	s.must(err)
	s.must(s.vault.Upkeep.ResealRows(ctx))
	if err := stop(); !isType(err, api.TypeConflict) {
		t.Errorf("whoever has a link alone counts among those who could undo it: %v", err)
	}
	if r := row(); r.State != "export links only" || len(r.Classes) != 1 || r.Classes[0].Class != "export" || r.Classes[0].Bound != r.Bound || r.Bound.Hour == 0 {
		t.Errorf("with a link alone: %+v", r)
	}
	if _, err := s.file(key, x.ID, 1, export.Customers); err != nil {
		t.Errorf("the file, after the key that asked for it was over: %v", err)
	}
	s.must(s.Do(ctx, "DELETE", client.Path("lineages", fmt.Sprint(own.Lineage)), nil, nil))
	if r := row(); r.State != "no live key" || r.Bound != (api.Windows{}) {
		t.Errorf("with nothing: %+v", r)
	}
}

func refusedAsLink(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == http.StatusForbidden && e.Type == api.TypePolicyDenied && e.Detail == identity.ErrLink.Error()
}
