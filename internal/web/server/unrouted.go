package server

import (
	"net/http"
	"path"

	"github.com/cloakroom/cloakroom/api"
)

// routed answers what no route is for as every other error is answered: the mux would
// answer in plain text, and repeat the path in a redirection.
func (s *Server) routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, found := mux.Handler(r)
		clean := path.Clean(r.URL.Path) == r.URL.Path
		if found != "" && clean {
			if place := s.misplaced(r, found); place != "" {
				s.fail(w, refuseText(place))
				return
			}
			if keep, changes := s.once[found]; changes && r.Header.Get(headerKey) != "" {
				s.again(w, r, keep, mux)
				return
			}
			mux.ServeHTTP(w, r)
			return
		}
		e := &api.Error{Type: api.TypeNotFound, Title: "No such path", Status: http.StatusNotFound,
			Detail: "the API has no such path: /v1/openapi.yaml lists all"}
		if clean {
			a := &answer{header: http.Header{}}
			h.ServeHTTP(a, r)
			if a.status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", a.header.Get("Allow"))
				e = &api.Error{Type: api.TypeInvalid, Title: "Method not allowed", Status: http.StatusMethodNotAllowed,
					Detail: "the header Allow lists the methods of this path"}
			}
		}
		s.fail(w, e)
	})
}
