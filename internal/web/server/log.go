package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/govern/admin"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// logRoutes serve a brand's log to whoever may watch it; under tiles as C2SP
// tlog-tiles has it, so that its clients read it with a key and nothing else.
func (s *Server) logRoutes(mux *http.ServeMux) {
	route(s, "GET", "/v1/logs", "log-list", "Whether each log is well, as this server sees it", s.logs)
	route(s, "GET", "/v1/brands/{brand}/log", "log-checkpoint", "The newest signed checkpoint", s.checkpoint)
	route(s, "GET", "/v1/brands/{brand}/log/entries", "log-entries", "Entries by principal, lineage, kind and time, the newest first", s.logEntries)
	route(s, "GET", "/v1/brands/{brand}/log/entries/{index}", "log-entry", "One entry", s.logEntry)
	route(s, "GET", "/v1/brands/{brand}/log/inclusion", "log-inclusion", "Prove that an entry is in the log of a size (RFC 6962)", s.inclusion)
	route(s, "GET", "/v1/brands/{brand}/log/consistency", "log-consistency", "Prove that the log of a size continues an older one (RFC 6962)", s.consistency)
	route(s, "POST", "/v1/brands/{brand}/log/verify", "log-verify", "Replay the whole log, with the lists of customers that its tiles do not hold", s.verifyLog)
	route(s, "POST", "/v1/brands/{brand}/log/follow", "log-follow", "Follow a new epoch of the log that lacks entries which this server has seen; over its own socket only", s.followLog)
	route(s, "POST", "/v1/brands/{brand}/log/accept-loss", "log-accept-loss", "Continue a log without entries that this server has seen and that are lost; takes two people", s.acceptLoss)
	route(s, "POST", "/v1/brands/{brand}/log/expire", "log-expire", "Erase the values of old log entries: who acted, when exactly, and texts", s.expireLog)
	s.describe("/v1/brands/{brand}/tiles/{path}", "log-tile", "A file of the log as C2SP tlog-tiles names it: checkpoint, tile/...; or log.vkey", "application/octet-stream", "brand", "path")
	mux.HandleFunc("GET /v1/brands/{brand}/tiles/{path...}", s.logTile)
}

// logs tells whoever may watch the group's log.
func (s *Server) logs(ctx context.Context, c identity.Caller, _ *none) ([]api.LogState, error) {
	if _, err := s.vault.Admin.Watch(ctx, c, brands.GroupName); err != nil {
		return nil, err
	}
	list, err := s.vault.Admin.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	s.look(ctx, list)
	faults := map[record.BrandID]ledger.Fault{}
	for _, f := range s.vault.Ledger.Faults() {
		faults[f.Brand] = f
	}
	out := []api.LogState{}
	for _, b := range append([]brands.Brand{{ID: record.Group, Name: brands.GroupName}}, list...) {
		l := api.LogState{Brand: b.Name, State: "ok", Seen: s.vault.Ledger.Seen(b.ID)}
		if f, ok := faults[b.ID]; ok {
			l.State, l.Size, l.Seen, l.Since, l.What = string(f.Trouble), f.Size, f.Seen, f.Since.UTC(), f.What()
		}
		if size, err := s.vault.Ledger.Size(ctx, b.ID); err == nil {
			l.Size = size
		}
		if a, ok := s.vault.Ledger.Audited(b.ID); ok {
			l.Verified, l.VerifiedAt = a.Size, a.At.UTC()
		}
		out = append(out, l)
	}
	return out, nil
}

func (s *Server) checkpoint(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Checkpoint, error) {
	id, err := s.vault.Admin.Watch(ctx, c, in.Brand)
	if err != nil {
		return nil, err
	}
	out := &api.Checkpoint{}
	if out.VerifierKey, err = s.vault.Ledger.VerifierKey(ctx, id); err != nil {
		return nil, err
	}
	cp, err := s.vault.Ledger.Checkpoint(ctx, id)
	if err != nil {
		return nil, err
	}
	out.Checkpoint = string(cp)
	out.Size, err = s.vault.Ledger.Size(ctx, id)
	return out, err
}

func (s *Server) logEntry(ctx context.Context, c identity.Caller, in *entryPath) (*api.Entry, error) {
	id, err := s.vault.Admin.Watch(ctx, c, in.Brand)
	if err != nil {
		return nil, err
	}
	e, leaf, err := s.vault.Ledger.Entry(ctx, id, in.Index)
	if err != nil {
		return nil, err
	}
	return &api.Entry{
		Index: in.Index, Kind: e.Kind.String(), At: e.At, Principal: e.Principal, Role: e.Role, Purpose: e.Purpose,
		Ticket: e.Ticket, Fields: e.Fields.Names(), Level: e.Level, Detail: e.Texts(), Leaf: leaf,
	}, nil
}

func (s *Server) logEntries(ctx context.Context, c identity.Caller, in *entriesQuery) (*api.Entries, error) {
	return s.vault.Admin.Entries(ctx, c, in.Brand, admin.EntriesQuery{
		Principal: in.Principal, Lineage: in.Lineage, Kind: in.Kind, Since: in.Since, Before: in.Before, Limit: in.Limit,
	})
}

func (s *Server) inclusion(ctx context.Context, c identity.Caller, in *inclusionQuery) (*api.Hashes, error) {
	id, err := s.vault.Admin.Watch(ctx, c, in.Brand)
	if err != nil {
		return nil, err
	}
	p, err := s.vault.Ledger.Inclusion(ctx, id, in.Index, in.Size)
	return hashes(p), err
}

func (s *Server) consistency(ctx context.Context, c identity.Caller, in *consistencyQuery) (*api.Hashes, error) {
	id, err := s.vault.Admin.Watch(ctx, c, in.Brand)
	if err != nil {
		return nil, err
	}
	p, err := s.vault.Ledger.Consistency(ctx, id, in.Older, in.Size)
	return hashes(p), err
}

func (s *Server) verifyLog(ctx context.Context, c identity.Caller, in *sentTo[api.VerifyRequest]) (*api.Verified, error) {
	id, err := s.vault.Admin.Watch(ctx, c, in.Brand)
	if err != nil {
		return nil, err
	}
	r, err := s.vault.Ledger.Verify(ctx, id, []byte(in.Body.Older))
	if err != nil {
		return &api.Verified{Fault: err.Error()}, nil
	}
	out := &api.Verified{OK: !r.Incomplete(), Size: r.Size, Newer: r.Newer, Erased: r.Erased, Incomplete: r.Incomplete()}
	if out.Incomplete {
		out.Fault = fmt.Sprintf("%d entries move budgets or rights and were %v", r.Critical, entry.ErrNewer)
	}
	return out, nil
}

func (s *Server) expireLog(ctx context.Context, c identity.Caller, in *sentTo[api.ExpireRequest]) (*api.Expired, error) {
	return s.vault.Upkeep.Expire(ctx, c, in.Brand, in.Body)
}

// look looks at the logs of brands and at the group's: where this process is a command and
// no server, nobody has.
func (s *Server) look(ctx context.Context, list []brands.Brand) {
	all := []record.BrandID{record.Group}
	for _, b := range list {
		all = append(all, b.ID)
	}
	s.vault.Ledger.Look(ctx, all...)
}

// errOwner is returned where the machine's owner has to act.
var errOwner = fault.New(fault.Denied, "this is confirmed on the server's machine, over its socket: run it there without a key")

// followLog asks no log whether the caller may: the group's may be the one that parted. Who
// has the socket owns the machine.
func (s *Server) followLog(ctx context.Context, c identity.Caller, in *BrandPath) (*api.LogFollowed, error) {
	if !c.Owner {
		return nil, errOwner
	}
	list, err := s.vault.Admin.Door.Brands.List(ctx)
	if err != nil && !errors.Is(err, ledger.ErrUnavailable) {
		return nil, err
	}
	s.look(ctx, list)
	for _, f := range s.vault.Ledger.Faults() {
		if s.vault.LogName(ctx, f.Brand) != in.Brand {
			continue
		}
		files, err := s.vault.Ledger.Follow(f.Brand)
		if err != nil {
			return nil, err
		}
		s.log.Warn("a new epoch of a log is followed after a restart", "brand", in.Brand, "seen", f.Seen, "from", f.Size)
		return &api.LogFollowed{Brand: in.Brand, Files: files}, nil
	}
	return nil, ledger.ErrFollows
}

func (s *Server) acceptLoss(ctx context.Context, c identity.Caller, in *sentTo[api.LossRequest]) (*api.LossAccepted, error) {
	return s.vault.Upkeep.AcceptLoss(ctx, c, in.Brand, in.Body)
}

func (s *Server) logTile(w http.ResponseWriter, r *http.Request) {
	var b []byte
	err := s.decide(r.Context(), func(ctx context.Context, c identity.Caller) error {
		id, err := s.vault.Admin.Watch(ctx, c, r.PathValue("brand"))
		if err != nil {
			return err
		}
		if path := r.PathValue("path"); path != "log.vkey" {
			b, err = s.vault.Ledger.Tile(ctx, id, path)
			return err
		}
		key, err := s.vault.Ledger.VerifierKey(ctx, id)
		b = []byte(key + "\n")
		return err
	})
	if err != nil {
		s.fail(w, s.problem(r.Context(), err))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(b)
}

type entryPath struct {
	BrandPath
	Index uint64 `path:"index"`
}

type entriesQuery struct {
	BrandPath
	Principal string    `query:"principal" maxLength:"64" doc:"Name or number of who acted."`
	Lineage   uint64    `query:"lineage" doc:"Credential and all made through it."`
	Kind      string    `query:"kind" maxLength:"40" doc:"Such as disclosure, refusal or administration."`
	Since     time.Time `query:"since" doc:"Only entries from this time on."`
	Before    uint64    `query:"before" doc:"Only entries below this index: the page before answers it."`
	Limit     int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type inclusionQuery struct {
	BrandPath
	Index uint64 `query:"index" required:"true"`
	Size  uint64 `query:"size" required:"true"`
}

type consistencyQuery struct {
	BrandPath
	Older uint64 `query:"older" required:"true"`
	Size  uint64 `query:"size" required:"true"`
}

func hashes[P ~[]tlog.Hash](p P) *api.Hashes {
	out := &api.Hashes{Hashes: [][]byte{}}
	for _, h := range p {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out
}
