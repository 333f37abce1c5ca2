package console

import (
	"html/template"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/web/page"
	"github.com/cloakroom/cloakroom/internal/web/page/pagetest"
)

// worst is text that tries to be markup, a script, an attribute, a template and an address,
// is written in both directions, and has a word that breaks nowhere.
const worst = `"'><script>alert(1)</script><img src=x onerror=alert(2)>{{.}} javascript:alert(3) שלום عليكم Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft`

// fill puts the worst text into every string of a value, large numbers into every number,
// and two things into every list.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)))
		return
	}
	if v.Type() == reflect.TypeFor[*page.Form]() {
		f := page.NewForm("value", worst, "ticket", worst, "reason", worst, "older", worst, "purpose", worst, "kind", worst, "principal", worst, "lineage", worst, "alarm", worst, "country", "FR", "next", worst, "once", worst)
		f.Wrong("", worst)
		v.Set(reflect.ValueOf(f))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(worst)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(1234567)
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		v.SetUint(1234567)
	case reflect.Float64:
		v.SetFloat(3.75)
	case reflect.Uint8:
		v.SetUint('x')
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() || v.Type().Field(i).Anonymous {
				if v.Field(i).CanSet() {
					fill(v.Field(i))
				}
			}
		}
	}
}

// data is what each page shows: a page without data here fails the test.
func data() map[string]any {
	return map[string]any{
		"alarm": &alarmPage{}, "alarms": &alarmsPage{}, "approvals": &approvalsPage{}, "change": &changePage{}, "contain": &containPage{}, "containment": &containmentPage{},
		"containments": &containmentsPage{}, "customers": &customerPage{}, "entry": &entryPage{}, "export": &exportPage{}, "incident": &incidentPage{}, "incidents": &incidentsPage{},
		"log": &logPage{}, "purchases": &oneCustomer{}, "readers": &oneCustomer{}, "reveal": &revealPage{}, "reveal_form": &revealPage{}, "settings": &settingsPage{}, "verified": &logPage{}, "watch": &watchPage{},
		"error": &struct {
			Frame
			Error *api.Error
		}{},
		"ended": &struct {
			Frame
			To, SignIn string
			Form       *page.Form
		}{},
		"sign_in": &struct {
			Frame
			Form *page.Form
			Next string
		}{},
	}
}

// empty makes what a page never lacks.
func empty(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case f.Kind() == reflect.Struct && v.Type().Field(i).Anonymous && f.CanSet():
			empty(f)
		case f.Kind() == reflect.Pointer && f.CanSet() && slices.Contains([]string{"Form", "Error", "Alarm", "Change", "Export", "Containment", "Incident", "Impact", "Read", "Verified", "Health", "Whoami", "Checkpoint"}, v.Type().Field(i).Name):
			f.Set(reflect.New(f.Type().Elem()))
			if f.Type() == reflect.TypeFor[*page.Form]() {
				f.Set(reflect.ValueOf(page.NewForm()))
			}
		}
	}
}

// filled are the pages with the worst that could be stored, and with nothing at all.
func filled(name string, full bool, state string) any {
	d := data()[name]
	v := reflect.ValueOf(d).Elem()
	if !full {
		empty(v)
	} else {
		fill(v)
	}
	f := v.FieldByName("Frame").Addr().Interface().(*Frame)
	f.ReloadTo = ""
	if f.Title == "" {
		f.Title = "A page"
	}
	switch d := d.(type) {
	case *changePage:
		d.State, d.Mine = cmpOr(state, "asked"), state == ""
	case *exportPage:
		d.State, d.Mine = cmpOr(state, "requested"), state == ""
	case *alarmPage:
		d.State = cmpOr(state, "new")
		if full && state == "" {
			d.Contained = nil
		}
	case *containmentPage:
		if state != "" || !full {
			d.Ended, d.Asked = time.Time{}, time.Time{}
		}
	case *watchPage:
		d.Live = "/live"
	case *customerPage:
		d.Ways = (&visit{Words: testWords()}).ways()
		for i := range d.Cards {
			d.Cards[i].N = i + 1
		}
	case *revealPage:
		d.N, d.HideAfter = 1, HideAfter
	}
	return d
}

func testWords() *page.Words {
	s, err := page.New(os.DirFS("pages"), french(), template.FuncMap{"newest": newest, "live": alive})
	if err != nil {
		panic(err)
	}
	return s.Words(page.English)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func testSite(t *testing.T) *page.Site {
	t.Helper()
	c, err := New(NewKeys(http.DefaultTransport), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.site
}

// Every page, with the worst that could be stored and with nothing, in a real browser: the
// content policy refuses nothing, no script of a value runs, and it can be read, in both
// themes and languages, on a desk and on a phone.
func TestEveryPageInABrowser(t *testing.T) {
	t.Parallel()
	site := testSite(t)
	srv := httptest.NewServer(page.Secure(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		switch {
		case strings.HasPrefix(r.URL.Path, page.AssetsPath):
			site.ServeAsset(w, r)
		case len(parts) == 4:
			state := parts[3]
			if state == "-" {
				state = ""
			}
			if err := site.Render(w, parts[0], http.StatusOK, parts[1], filled(parts[1], parts[2] == "full", state)); err != nil {
				t.Errorf("%s: %v", r.URL.Path, err)
				http.Error(w, "fault", http.StatusInternalServerError)
			}
		default:
			http.NotFound(w, r)
		}
	})))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	tab := pagetest.Start(t).Tab()
	tab.Zone("Asia/Tokyo")
	for name := range data() {
		if !slices.Contains(site.Pages(), name) {
			t.Errorf("no page %s", name)
		}
	}
	for _, view := range []struct {
		name, lang, scheme string
		phone              bool
	}{{"desk-light", "en", "light", false}, {"phone-dark", "fr", "dark", true}} {
		if view.phone {
			tab.Phone()
		} else {
			tab.Desktop()
		}
		tab.Prefer("prefers-color-scheme", view.scheme)
		for _, name := range site.Pages() {
			if data()[name] == nil {
				t.Fatalf("the page %s is not tried: give it data", name)
			}
			kinds := []string{"full/-", "empty/-"}
			if slices.Contains([]string{"change", "export", "alarm", "containment"}, name) {
				kinds = append(kinds, "full/asked", "full/done")
			}
			for _, kind := range kinds {
				at := "/" + view.lang + "/" + name + "/" + kind
				tab.Open(srv.URL + at)
				for _, f := range tab.Findings() {
					t.Errorf("%s, %s: %s", at, view.name, f)
				}
				if bad := tab.Refused(); len(bad) > 0 {
					t.Fatalf("%s, %s: %v", at, view.name, bad)
				}
				tab.Shot(view.name + "-" + name + "-" + strings.ReplaceAll(kind, "/", "-"))
			}
		}
	}

	// Negative controls: the policy does refuse, and the checks do find.
	tab.Open(srv.URL + "/en/settings/empty/-")
	tab.Eval(`(() => { const i = document.createElement('img'); i.src = 'https://elsewhere.invalid/x.png'; document.body.append(i); return ''; })()`)
	tab.Eval(`(() => { document.querySelector('h1').setAttribute('style', 'color: #999'); return ''; })()`)
	if got := tab.Eval(`(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch (e) { return e.name; } })()`); got != "TypeError" {
		t.Errorf("a script made markup of a text: %s", got)
	}
	if bad := tab.Refused(); len(bad) < 2 {
		t.Errorf("the content policy refused only %v", bad)
	}
	if found := strings.Join(tab.Findings(), "\n"); !strings.Contains(found, "no text for a picture") || !strings.Contains(found, "style or script within the page") {
		t.Errorf("the checks found only %q", found)
	}
}

// A page and all that it loads is small.
func TestPagesAreSmall(t *testing.T) {
	site := testSite(t)
	assets := 0
	for _, name := range []string{"pages.css", "pages.js", "icon.svg"} {
		b, err := os.ReadFile(filepath.Join("..", "page", "assets", name))
		if err != nil {
			t.Fatal(err)
		}
		assets += len(b)
		if n := strings.Count(string(b), "\n"); name == "pages.js" && n > 250 {
			t.Errorf("the script has %d lines", n)
		}
	}
	for _, name := range site.Pages() {
		w := httptest.NewRecorder()
		if err := site.Render(w, page.English, http.StatusOK, name, filled(name, true, "")); err != nil {
			t.Fatal(err)
		}
		if n := w.Body.Len() + assets; n > 100_000 {
			t.Errorf("%s has %d bytes with its assets", name, n)
		}
	}
}

var (
	inTemplate = regexp.MustCompile(`\bt "((?:[^"\\]|\\.)*)"`)
	counted    = regexp.MustCompile(`\bcount [^"{}]*"([^"]*)" "([^"]*)"`)
	inCode     = regexp.MustCompile(`\bSay\("((?:[^"\\]|\\.)*)"`)
	verbs      = regexp.MustCompile(`%[a-z]`)
)

// Every text of every page has its French, with the same values in it, and no French is
// left of a text that nobody says.
func TestEveryTextHasItsFrench(t *testing.T) {
	said := map[string]string{}
	read := func(fsys fs.FS, glob string, patterns ...*regexp.Regexp) {
		names, err := fs.Glob(fsys, glob)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", glob, err)
		}
		for _, name := range names {
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, p := range patterns {
				for _, m := range p.FindAllStringSubmatch(string(b), -1) {
					for _, text := range m[1:] {
						plain, err := strconv.Unquote(`"` + text + `"`)
						if err != nil {
							t.Fatal(err)
						}
						said[plain] = name
					}
				}
			}
		}
	}
	read(os.DirFS("pages"), "*.html", inTemplate, counted)
	read(os.DirFS("../page/parts"), "*.html", inTemplate, counted)
	read(os.DirFS("."), "*.go", inCode)
	known := french()
	for text, name := range said {
		fr, ok := known[text]
		if !ok {
			t.Errorf("%s says %q, which has no French", name, text)
		} else if !slices.Equal(verbs.FindAllString(text, -1), verbs.FindAllString(fr, -1)) {
			t.Errorf("%q has other values in French: %q", text, fr)
		}
	}
	words := frenchWords()
	for text := range known {
		if _, word := words[text]; !word && said[text] == "" {
			t.Errorf("nobody says %q", text)
		}
	}
	if len(said) < 300 {
		t.Errorf("only %d texts were found", len(said))
	}
}
