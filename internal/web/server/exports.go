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

// ExportPath is part of requests.
type ExportPath struct {
	BrandPath
	Export string `path:"export" maxLength:"40"`
}

// exportRoutes ask for, decide on and hand out exports.
func (s *Server) exportRoutes(mux *http.ServeMux) {
	d := s.vault.Exports
	const one = "/v1/brands/{brand}/exports/{export}"
	s.writes("POST", "/v1/brands/{brand}/exports")
	s.writes("POST", one+"/approve")
	s.writes("POST", one+"/refuse")
	s.writes("DELETE", one)
	route(s, "POST", "/v1/brands/{brand}/exports", "export-request", "Request customers as a file", maxBulkBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.ExportRequest
	}) (*api.Export, error) {
		return d.Request(ctx, c, in.Brand, in.Body)
	})
	route(s, "GET", "/v1/brands/{brand}/exports", "export-list", "List the newest exports that you may see", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) (*api.Exports, error) {
		return d.List(ctx, c, in.Brand)
	})
	for _, r := range []struct {
		method, path, id, summary string
		do                        func(ctx context.Context, c identity.Caller, brand, id string) (*api.Export, error)
	}{
		{"GET", one, "export-show", "One export", d.Show},
		{"POST", one + "/gather", "export-gather", "Evaluate the next step of an export's filter, until it is not gathering any more", d.Gather},
		{"POST", one + "/approve", "export-approve", "Approve an export", d.Approve},
		{"POST", one + "/refuse", "export-refuse", "Refuse what another person asked for", d.Refuse},
		{"DELETE", one, "export-stop", "End an export: no further file of it leaves", d.Stop},
	} {
		route(s, r.method, r.path, r.id, r.summary, maxBody, func(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Export, error) {
			return r.do(ctx, c, in.Brand, in.Export)
		})
	}
	s.showsSecret("POST", one+"/link")
	route(s, "POST", one+"/link", "export-link", "Create a key that only downloads this export; it expires with the requesting lineage", maxBody, func(ctx context.Context, c identity.Caller, in *ExportPath) (*api.Credential, error) {
		return d.Link(ctx, c, in.Brand, in.Export)
	})
	s.describe(one+"/parts/{part}/{file}", "export-file", "A file of an approved export, encrypted with age to its recipient: customers or purchases. The trailer "+api.TrailerDigest+" comes with a whole file only", "application/octet-stream", "brand", "export", "part", "file")
	mux.HandleFunc("GET "+one+"/parts/{part}/{file}", s.exportFile)
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
		e := problem(err)
		if e.Status >= http.StatusInternalServerError {
			s.failures.add("export-file", e.Type, err)
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
