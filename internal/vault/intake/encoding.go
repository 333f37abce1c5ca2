package intake

import (
	"bufio"
	"bytes"
	"strings"
	stdunicode "unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// encodings are those that files may be written in, by name.
var encodings = []struct {
	name string
	enc  encoding.Encoding // nil: UTF-8
}{
	{"utf-8", nil},
	{"utf-16", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)},
	{"utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
	{"utf-16be", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
	{"windows-1252", charmap.Windows1252},
	{"windows-1250", charmap.Windows1250},
	{"windows-1251", charmap.Windows1251},
	{"windows-1254", charmap.Windows1254},
	{"latin-1", charmap.ISO8859_1},
	{"iso-8859-1", charmap.ISO8859_1},
	{"iso-8859-15", charmap.ISO8859_15},
	{"macroman", charmap.Macintosh},
	{"shift_jis", japanese.ShiftJIS},
	{"euc-jp", japanese.EUCJP},
	{"iso-2022-jp", japanese.ISO2022JP},
	{"euc-kr", korean.EUCKR},
	{"gbk", simplifiedchinese.GBK},
	{"gb18030", simplifiedchinese.GB18030},
	{"big5", traditionalchinese.Big5},
}

// eastern are the encodings in which a letter may be several bytes, in the order in which
// they are tried.
var eastern = []string{"shift_jis", "euc-jp", "euc-kr", "gb18030", "big5"}

func encodingNames() string {
	names := make([]string, len(encodings))
	for i, e := range encodings {
		names[i] = e.name
	}
	return strings.Join(names, ", ")
}

func encodingOf(name string) (encoding.Encoding, bool) {
	for _, e := range encodings {
		if strings.EqualFold(e.name, strings.ReplaceAll(name, "shift-jis", "shift_jis")) {
			return e.enc, true
		}
	}
	return nil, false
}

func knownEncoding(name string) bool { _, ok := encodingOf(name); return ok }

func isUTF8(name string) bool { return name == "" || strings.EqualFold(name, "utf-8") }

// mistaken says why a text that was decoded is not what it was: bytes that mean nothing,
// or the UTF-8 of a file whose encoding changes half-way.
func mistaken(text string) error {
	if ascii(text) {
		return nil
	}
	if strings.ContainsRune(text, utf8.RuneError) {
		return errUndefined
	}
	// Letters of UTF-8 read as a code page come in runs that are UTF-8 again.
	for _, cm := range []*charmap.Charmap{charmap.Windows1252, charmap.ISO8859_1, charmap.Macintosh} {
		b, err := cm.NewEncoder().String(text)
		if err == nil && utf8.ValidString(b) {
			return errMistaken
		}
	}
	// In encodings of more bytes that happens by chance, to a word. A sentence is none.
	if easternRunes(text) < sentence {
		return nil
	}
	for _, name := range eastern {
		enc, _ := encodingOf(name)
		if b, err := enc.NewEncoder().String(text); err == nil && utf8.ValidString(b) && easternRunes(b) >= sentence {
			return errMistaken
		}
	}
	return nil
}

// sentence is how many letters of the East in a row do not read as UTF-8 by chance.
const sentence = 4

// easternRunes counts letters of Japanese, Korean and Chinese.
func easternRunes(s string) (n int) {
	for _, r := range s {
		if stdunicode.In(r, stdunicode.Han, stdunicode.Hiragana, stdunicode.Katakana, stdunicode.Hangul) {
			n++
		}
	}
	return n
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lineEnds makes a line feed of a carriage return that stands alone: old spreadsheets end
// lines so.
type lineEnds struct{ r *bufio.Reader }

// Read implements io.Reader.
func (l lineEnds) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for b := p[:n]; ; {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return n, err
		}
		if i == len(b)-1 {
			if next, _ := l.r.Peek(1); len(next) == 0 || next[0] != '\n' {
				b[i] = '\n'
			}
		} else if b[i+1] != '\n' {
			b[i] = '\n'
		}
		b = b[i+1:]
	}
}
