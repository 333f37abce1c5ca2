package page

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
)

func site(t *testing.T, files map[string]string) *Site {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	s, err := New(fsys, map[string]string{"%d thing": "%d chose", "%d things": "%d choses", "Open": "Ouvert"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const layout = `<!doctype html><html lang="{{lang}}">{{block "main" .}}{{end}}</html>`

// A page that fails in its middle sends nothing of it.
func TestHalfAPageIsNeverSent(t *testing.T) {
	s := site(t, map[string]string{"layout.html": layout, "bad.html": `{{define "main"}}SECRET {{.Missing}}{{end}}`, "good.html": `{{define "main"}}{{t "Open"}} {{.}}{{end}}`})
	w := httptest.NewRecorder()
	if err := s.Render(w, English, http.StatusOK, "bad", struct{}{}); err == nil || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "" {
		t.Errorf("a page that failed sent %q, %v", w.Body, err)
	}
	if err := s.Render(w, "xx", http.StatusOK, "good", 1); err == nil {
		t.Error("a page was rendered in no language")
	}
	w = httptest.NewRecorder()
	if err := s.Render(w, French, http.StatusTeapot, "good", "<b>&"); err != nil || w.Code != http.StatusTeapot || !strings.Contains(w.Body.String(), `<html lang="fr">Ouvert &lt;b&gt;&amp;`) {
		t.Errorf("%d %q %v", w.Code, w.Body, err)
	}
}

func TestLanguagesAndCounts(t *testing.T) {
	s := site(t, map[string]string{"layout.html": layout})
	ask := func(accept, cookie string) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", accept)
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: langCookie, Value: cookie})
		}
		return s.Language(r)
	}
	for _, c := range []struct{ accept, cookie, want string }{
		{"", "", "en"}, {"fr-CH, fr;q=0.9, en;q=0.8", "", "fr"}, {"de, it", "", "en"}, {"en-GB", "fr", "fr"}, {"fr", "nonsense", "fr"}, {strings.Repeat("x", 5000), "", "en"},
	} {
		if got := ask(c.accept, c.cookie); got != c.want {
			t.Errorf("%q with the cookie %q: %s", c.accept, c.cookie, got)
		}
	}
	for n, want := range map[int][2]string{0: {"0 things", "0 chose"}, 1: {"1 thing", "1 chose"}, 2: {"2 things", "2 choses"}, 12345: {"12,345 things", "12\u00a0345 choses"}} {
		if en := s.Words(English).Count(n, "%d thing", "%d things"); en != want[0] {
			t.Errorf("%d: %q", n, en)
		}
		if fr := s.Words(French).Count(n, "%d thing", "%d things"); fr != want[1] {
			t.Errorf("%d: %q", n, fr)
		}
	}
	if got := s.Words(English).Word("postal_code") + s.Words(English).Word("a_b c"); got != "postal codea_b c" {
		t.Errorf("words: %q", got)
	}
}

func TestFormsAreReadFromTheBodyAlone(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/?a=address", strings.NewReader(url.Values{"b": {" x "}, "c": {"1", "2"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	f, err := Read(httptest.NewRecorder(), r)
	if err != nil || f.Get("a") != "" || f.Get("b") != "x" || len(f.All("c")) != 2 || !f.Has("c", "2") || len(f.Pairs()) != 3 {
		t.Fatalf("%+v %v", f, err)
	}
	if f.Need("d", "missing") != "" || f.OK() || f.Fault("d") != "missing" || f.Fault("b") != "" {
		t.Errorf("%+v", f.Faults)
	}
	r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader("a="+strings.Repeat("x", MaxForm+1)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := Read(httptest.NewRecorder(), r); err == nil {
		t.Error("a form of any size is read")
	}
}

func TestLocal(t *testing.T) {
	for to, want := range map[string]bool{"/": true, "/b/gucci?x=1": true, "": false, "//e.example": false, `/\e.example`: false, "https://e.example": false, "javascript:alert(1)": false, "/\te": false} {
		if Local(to) != want {
			t.Errorf("%q: %v", to, Local(to))
		}
	}
}

func TestAssetsAreNamedAfterTheirContent(t *testing.T) {
	s := site(t, map[string]string{"layout.html": layout})
	h := Secure(http.HandlerFunc(s.ServeAsset))
	for name, at := range s.paths {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, at, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, AssetsPath+"0/pages.css", nil))
	if w.Code != http.StatusNotFound || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("another version: %d %v", w.Code, w.Header())
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		value, of int
		want      string
	}{{0, 0, "0"}, {1, 0, "0"}, {-1, 5, "0"}, {1, 2, "50.0"}, {7, 5, "100.0"}} {
		if got := (Bar{Value: c.value, Of: c.of}).Width(); got != c.want {
			t.Errorf("%d of %d: %s", c.value, c.of, got)
		}
	}
}
