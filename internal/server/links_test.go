package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/export"
)

func TestALinkDownloadsOneExport(t *testing.T) {
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
	for path, item := range s.server.api.OpenAPI().Paths {
		for method, op := range map[string]bool{"GET": item.Get != nil, "POST": item.Post != nil, "PUT": item.Put != nil, "PATCH": item.Patch != nil, "DELETE": item.Delete != nil} {
			if !op || open(path) || method == "GET" && strings.HasPrefix(path, "/v1/brands/{brand}/exports/{export}") {
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

func refusedAsLink(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == http.StatusForbidden && e.Title == "For one export"
}
