package page

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// The languages that pages speak.
const (
	English = "en"
	French  = "fr"
)

// Words writes texts in one language.
type Words struct {
	Lang    string
	printer *message.Printer
	known   map[string]string // the texts that have a translation
}

func books(french map[string]string) map[string]*Words {
	c := catalog.NewBuilder(catalog.Fallback(language.English))
	for en, fr := range french {
		// Neither fails for a text: only a malformed message of several parts would.
		_ = c.SetString(language.French, en, fr)
		_ = c.SetString(language.English, en, en)
	}
	return map[string]*Words{
		English: {Lang: English, printer: message.NewPrinter(language.English, message.Catalog(c))},
		French:  {Lang: French, printer: message.NewPrinter(language.French, message.Catalog(c)), known: french},
	}
}

// Say writes a text, with its numbers as the language writes them.
func (w *Words) Say(text string, args ...any) string { return w.printer.Sprintf(text, args...) }

// Count is Say with one of two texts: for one thing, or for another number of them. The
// number is the first of the text's values.
func (w *Words) Count(n int, one, other string, more ...any) string {
	text := other
	if n == 1 || n == 0 && w.Lang == French {
		text = one
	}
	return w.printer.Sprintf(text, append([]any{n}, more...)...)
}

// Word translates a word of the vault, such as a state, that may have no translation: then
// it stays as it is.
func (w *Words) Word(word string) string {
	if fr, ok := w.known[word]; ok {
		return fr
	}
	if strings.Contains(word, " ") { // a sentence, or what somebody wrote
		return word
	}
	return strings.ReplaceAll(strings.TrimPrefix(word, "attr."), "_", " ")
}

// langCookie keeps the language that somebody chose.
const langCookie = "__Host-language"

// Language is the one that a request asks for: the person's choice, or the browser's.
func (s *Site) Language(r *http.Request) string {
	if c, err := r.Cookie(langCookie); err == nil && s.books[c.Value] != nil {
		return c.Value
	}
	// The matcher needs no state, and a header is short.
	tags := []language.Tag{language.English, language.French}
	_, i := language.MatchStrings(language.NewMatcher(tags), r.Header.Get("Accept-Language"))
	return []string{English, French}[i]
}

// Words are those of a language.
func (s *Site) Words(lang string) *Words { return s.books[lang] }

// ChooseLanguage keeps the choice of a language in the browser.
func ChooseLanguage(w http.ResponseWriter, lang string) {
	if !slices.Contains([]string{English, French}, lang) {
		return
	}
	http.SetCookie(w, &http.Cookie{Name: langCookie, Value: lang, Path: "/", MaxAge: 31536000, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
