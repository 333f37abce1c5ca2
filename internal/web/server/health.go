package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/build"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// healthRoutes serve whether the vault is well.
func (s *Server) healthRoutes() {
	route(s, "GET", "/v1/health", "health", "Whether the vault can serve", s.health)
	route(s, "GET", "/v1/live", "live", "Whether the process answers; needs neither database nor key", s.live)
	route(s, "GET", "/v1/ready", "ready", "Whether this server can serve: its schema, the log, its root key", s.ready)
	route(s, "GET", "/v1/whoami", "whoami", "Who you are to the vault, and your roles", s.whoami)
	route(s, "GET", "/v1/version", "version", "Which release answers", s.version)
	route(s, "POST", "/v1/check", "check", "Check the next part of the database; shows no value", s.check)
	route(s, "POST", "/v1/mend", "mend", "Repair what the vault can repair by itself, or with dry_run say what that is; shows no value", s.mend)
	route(s, "GET", "/v1/rights/unadopted", "rights-unadopted", "List the rows of rights that stand as they were found and that nobody has confirmed", s.unadopted)
	route(s, "POST", "/v1/rights/adopt", "rights-adopt", "Confirm the rows of rights of a list that was read, or end some of them", s.adopt)
}

// health is open to everybody, so it names no brand and no size, except to the machine
// itself.
func (s *Server) health(ctx context.Context, _ identity.Caller, _ *none) (*api.Health, error) {
	if faults := s.vault.Ledger.Faults(); len(faults) > 0 {
		local, _ := ctx.Value(localKey{}).(bool)
		what := map[string]bool{}
		for _, f := range faults {
			if local {
				what[fmt.Sprintf("log of %s: %s", s.vault.LogName(ctx, f.Brand), f.What())] = true
			} else {
				what[fmt.Sprintf("a log is %s", f.Trouble)] = true
			}
		}
		detail := strings.Join(slices.Sorted(maps.Keys(what)), "; ")
		if !local {
			detail += ": run `cloakroom doctor` on the server's machine"
		}
		return nil, unhealthy(detail)
	}
	if _, err := s.vault.Ledger.Size(ctx, record.Group); err != nil {
		return nil, unhealthy("the database does not answer, or holds no vault: run `cloakroom doctor` on the server's machine")
	}
	return &api.Health{Status: "ok", Late: s.vault.Followers.Late(), Owed: s.vault.Ledger.Owed()}, nil
}

func unhealthy(detail string) *api.Error {
	return &api.Error{Type: api.TypeLogUnavailable, Title: titles[api.TypeLogUnavailable], Status: http.StatusServiceUnavailable, Detail: detail}
}

func (s *Server) live(context.Context, identity.Caller, *none) (*api.Health, error) {
	return &api.Health{Status: "ok"}, nil
}

// ready is for a load balancer: it opens a key that it has not in memory, so that a server
// with an old root key takes no requests.
func (s *Server) ready(ctx context.Context, _ identity.Caller, _ *none) (*api.Health, error) {
	not := func(why string) error {
		return &api.Error{Type: api.TypeLogUnavailable, Title: "Not ready", Status: http.StatusServiceUnavailable, Detail: why}
	}
	if s.draining.Load() {
		return nil, not("this server is stopping")
	}
	if err := s.vault.Upkeep.DB.Fits(ctx); errors.Is(err, db.ErrNewerSchema) {
		return nil, not(db.ErrNewerSchema.Error())
	} else if err != nil {
		return nil, not("the database does not answer")
	}
	if _, err := s.vault.Ledger.Size(ctx, record.Group); err != nil {
		return nil, not("the log cannot be read")
	}
	if err := s.vault.Upkeep.Ring.Opens(ctx, record.Group, keys.Log); err != nil {
		return nil, not("root.key of this server does not open the vault's keys: copy the current one and start it again")
	}
	if !s.vault.Ledger.Stats().Writable {
		return nil, not("the log cannot be written")
	}
	return &api.Health{Status: "ok", Late: s.vault.Followers.Late(), Owed: s.vault.Ledger.Owed()}, nil
}

func (s *Server) whoami(ctx context.Context, c identity.Caller, _ *none) (*api.Whoami, error) {
	return s.vault.Admin.Whoami(ctx, c)
}

func (s *Server) version(ctx context.Context, _ identity.Caller, _ *none) (*api.Version, error) {
	b := build.Info()
	schema, err := s.vault.Upkeep.DB.Version(ctx)
	if err != nil {
		return nil, err
	}
	return &api.Version{Version: b.Version, Commit: b.Commit, Go: b.Go, Platform: b.Platform, Schema: schema}, nil
}

func (s *Server) check(ctx context.Context, c identity.Caller, in *sent[api.CheckPlace]) (*api.Checked, error) {
	return s.vault.Upkeep.Check(ctx, c, in.Body)
}

func (s *Server) mend(ctx context.Context, c identity.Caller, in *sent[api.MendRequest]) (*api.Mended, error) {
	return s.vault.Upkeep.Mend(ctx, c, in.Body)
}

type unadoptedQuery struct {
	From int `query:"from" minimum:"0" doc:"How many rows to pass over."`
}

func (s *Server) unadopted(ctx context.Context, c identity.Caller, in *unadoptedQuery) (*api.Unadopted, error) {
	return s.vault.Upkeep.Unadopted(ctx, c, in.From)
}

func (s *Server) adopt(ctx context.Context, c identity.Caller, in *sent[api.AdoptRequest]) (*api.Adopted, error) {
	return s.vault.Upkeep.Adopt(ctx, c, in.Body)
}
