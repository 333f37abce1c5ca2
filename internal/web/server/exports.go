package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/export"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// exportRoutes ask for, decide on and hand out exports.
func (s *Server) exportRoutes(mux *http.ServeMux) {
	route(s, "POST", "/v1/brands/{brand}/exports", "export-request", "Request customers as a file", s.requestExport, once, bulk)
	route(s, "GET", "/v1/brands/{brand}/exports", "export-list", "List the newest exports that you may see", s.listExports)
	route(s, "GET", "/v1/brands/{brand}/exports/{export}", "export-show", "One export", s.showExport)
	route(s, "POST", "/v1/brands/{brand}/exports/{export}/gather", "export-gather", "Evaluate the next step of an export's filter, until it is not gathering any more", s.gatherExport)
	route(s, "POST", "/v1/brands/{brand}/exports/{export}/approve", "export-approve", "Approve an export", s.approveExport, once)
	route(s, "POST", "/v1/brands/{brand}/exports/{export}/refuse", "export-refuse", "Refuse what another person asked for", s.refuseExport, once)
	route(s, "DELETE", "/v1/brands/{brand}/exports/{export}", "export-stop", "End an export: no further file of it leaves", s.stopExport, once)
	route(s, "POST", "/v1/brands/{brand}/exports/{export}/link", "export-link", "Create a key that only downloads this export; it expires with the requesting lineage", s.linkExport, onceSecret)
	const file = "/v1/brands/{brand}/exports/{export}/parts/{part}/{file}"
	s.describe(file, "export-file", "A file of an approved export, encrypted with age to its recipient: customers or purchases. The trailer "+api.TrailerDigest+" comes with a whole file only", "application/octet-stream", "brand", "export", "part", "file")
	mux.HandleFunc("GET "+file, s.exportFile)
}

func (s *Server) requestExport(ctx context.Context, c identity.Caller, in *sentTo[api.ExportRequest]) (*api.Export, error) {
	return s.vault.Exports.Request(ctx, c, in.Brand, in.Body)
}

func (s *Server) listExports(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Exports, error) {
	return s.vault.Exports.List(ctx, c, in.Brand)
}

func (s *Server) showExport(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Export, error) {
	return s.vault.Exports.Show(ctx, c, in.Brand, in.Export)
}

func (s *Server) gatherExport(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Export, error) {
	return s.vault.Exports.Gather(ctx, c, in.Brand, in.Export)
}

func (s *Server) approveExport(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Export, error) {
	return s.vault.Exports.Approve(ctx, c, in.Brand, in.Export)
}

func (s *Server) refuseExport(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Export, error) {
	return s.vault.Exports.Refuse(ctx, c, in.Brand, in.Export)
}

func (s *Server) stopExport(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Export, error) {
	return s.vault.Exports.Stop(ctx, c, in.Brand, in.Export)
}

func (s *Server) linkExport(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Credential, error) {
	return s.vault.Exports.Link(ctx, c, in.Brand, in.Export)
}

// ExportPath is part of requests.
type ExportPath struct {
	BrandPath
	Export string `path:"export" maxLength:"40"`
}

func (s *Server) exportFile(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if err := s.files.Acquire(ctx, 1); err != nil {
		s.fail(w, problem(err))
		return
	}
	defer s.files.Release(1)
	var f *export.File
	err := s.decide(ctx, func(ctx context.Context, c identity.Caller) (err error) {
		part, err := strconv.Atoi(r.PathValue("part"))
		if err != nil {
			return export.ErrNoExport
		}
		f, err = s.vault.Exports.File(ctx, c, r.PathValue("brand"), r.PathValue("export"), part, r.PathValue("file"))
		return err
	})
	if err != nil {
		e := s.problem(r.Context(), err)
		if e.Status >= http.StatusInternalServerError {
			s.failures.add("export-file", e.Type, w.Header().Get(headerRequest), err)
		}
		s.fail(w, e)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.Name))
	w.Header().Set("Trailer", api.TrailerDigest)
	w.WriteHeader(http.StatusOK) // its customers are logged: from here on it is sent, or cut
	h := sha256.New()
	if err := f.Write(ctx, io.MultiWriter(w, h)); err != nil {
		s.log.Error("a file of an export was cut", "operation", "export-file", "cause", err)
		s.metrics.failed(api.TypeInternal)
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(api.TrailerDigest, hex.EncodeToString(h.Sum(nil)))
}
