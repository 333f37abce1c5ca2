// Package page is what the vault's pages are made of: templates that are rendered whole
// before a byte leaves, forms, texts in English and French, and the headers that a browser
// holds a page to.
//
// A page works without its script. The script and the style sheet are files of this
// package, served under a path that names their content; no other source is allowed to a
// page, and no style or script within it.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed assets parts
var files embed.FS

// AssetsPath begins the path of every asset.
const AssetsPath = "/assets/"

// Policy is what a browser may load, run and send for a page. Trusted Types without a
// policy leave the script no way to make markup of a text.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

type asset struct {
	path, kind string
	body       []byte
}

// Site renders the pages of one origin.
type Site struct {
	assets map[string]asset                         // by path
	paths  map[string]string                        // by name
	pages  map[string]map[string]*template.Template // by language, and by the name of the page
	books  map[string]*Words                        // by language
}

// New parses the pages of a folder: each file is a page, except layout.html, which they
// are shown in, and those whose names begin with an underscore, which they share. french
// has the French of every text, and more what the pages call beside this package's own.
func New(pages fs.FS, french map[string]string, more template.FuncMap) (*Site, error) {
	s := &Site{assets: map[string]asset{}, paths: map[string]string{}, pages: map[string]map[string]*template.Template{}, books: books(french)}
	list, err := fs.ReadDir(files, "assets")
	if err != nil {
		return nil, fmt.Errorf("reading the assets: %w", err)
	}
	for _, f := range list {
		body, err := fs.ReadFile(files, "assets/"+f.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the assets: %w", err)
		}
		sum := sha256.Sum256(body)
		a := asset{AssetsPath + hex.EncodeToString(sum[:8]) + "/" + f.Name(), mime.TypeByExtension(path.Ext(f.Name())), body}
		s.assets[a.path], s.paths[f.Name()] = a, a.path
	}
	shared, err := fs.Glob(pages, "_*.html")
	if err != nil {
		return nil, fmt.Errorf("reading the pages: %w", err)
	}
	all, err := fs.Glob(pages, "*.html")
	if err != nil {
		return nil, fmt.Errorf("reading the pages: %w", err)
	}
	for lang, words := range s.books {
		base, err := template.New("layout.html").Funcs(s.functions(words)).Funcs(more).Option("missingkey=error").ParseFS(files, "parts/*.html")
		if err == nil {
			base, err = base.ParseFS(pages, append([]string{"layout.html"}, shared...)...)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the pages: %w", err)
		}
		s.pages[lang] = map[string]*template.Template{}
		for _, name := range all {
			if name == "layout.html" || slices.Contains(shared, name) {
				continue
			}
			t, err := base.Clone()
			if err == nil {
				t, err = t.ParseFS(pages, name)
			}
			if err != nil {
				return nil, fmt.Errorf("reading the page %s: %w", name, err)
			}
			s.pages[lang][strings.TrimSuffix(name, ".html")] = t
		}
	}
	return s, nil
}

// Pages lists the names of the pages.
func (s *Site) Pages() []string {
	var out []string
	for name := range s.pages[English] {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Render answers with a page. Nothing is sent before the page is whole, so that a fault
// never leaves half a page behind a status that says well.
func (s *Site) Render(w http.ResponseWriter, lang string, status int, name string, data any) error {
	t := s.pages[lang][name]
	if t == nil {
		return errors.New("no page " + name)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("rendering the page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", lang)
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// ServeAsset answers with an asset. Its path names its content, so that a browser may keep
// it for a year.
func (s *Site) ServeAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.assets[r.URL.Path]
	if !ok {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(a.body)
}

// Secure sets the headers of every answer, and refuses what another origin sends in a
// person's name.
func Secure(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// Local reports whether a text is a path of this origin, where a browser may be sent.
func Local(to string) bool {
	return strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.ContainsAny(to, "\\\r\n\t")
}
