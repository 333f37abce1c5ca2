package intake

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// readSample reads a whole sample: the e-mail addresses of its rows, "-" where there is
// none, and the rows with a card.
func readSample(t *testing.T, text string) (s *Sample, mails []string, cards int) {
	t.Helper()
	s, err := OpenSample(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := s.Next()
		if err == io.EOF {
			return s, mails, cards
		}
		if err != nil {
			t.Fatal(err)
		}
		v := row.Values[record.Email]
		if v == "" {
			v = "-"
		}
		if row.Card {
			cards++
		}
		mails = append(mails, v)
	}
}

func utf16Of(text string) string {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return string(out)
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

// Whatever a stranger's list is written in, its rows are found, and the answer says how it
// was read.
func TestASampleIsReadAsItIs(t *testing.T) {
	t.Parallel()
	const two = "ana@mail.example bo@mail.example"
	for name, c := range map[string]struct {
		text, want string
		shape      SampleShape
	}{
		"commas":                 {"email,phone\nana@mail.example,+391\nbo@mail.example,+392\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "comma", Header: true}},
		"semicolons, French":     {"Prénom;Ville;E-mail\nAna;x;ana@mail.example\nBo;y;bo@mail.example\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "semicolon", Header: true}},
		"a wrong delimiter":      {"email,given_name\nana@mail.example;Ana\nbo@mail.example;Bo\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "semicolon", Header: true}},
		"tabs, Windows line end": {"email\tcity\r\nana@mail.example\tRome\r\nbo@mail.example\tOslo\r\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "tab", Header: true}},
		"no header":              {"1,ana@mail.example,Rome\n2,bo@mail.example,Oslo\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "comma"}},
		"passwords":              {"ana@mail.example:hunter2\nbo@mail.example:letmein\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "colon"}},
		"a list":                 {"ana@mail.example\nbo@mail.example\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "comma"}},
		"a quoted line break":    {"email,street\nana@mail.example,\"Via 1\nRome\"\nbo@mail.example,\"a \"\"b\"\"\"\n", two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "comma", Header: true}},
		"UTF-16":                 {utf16Of("email,city\nana@mail.example,Málaga\nbo@mail.example,Köln\n"), two, SampleShape{Format: "csv", Encoding: "utf-16", Delimiter: "comma", Header: true}},
		"gzip":                   {gzipped("email,city\nana@mail.example,Rome\nbo@mail.example,Oslo\n"), two, SampleShape{Format: "csv", Encoding: "utf-8", Delimiter: "comma", Header: true}},
		"JSON lines":             {"{\"email\":\"ana@mail.example\"}\n{\"contact\":{\"email\":\"bo@mail.example\"}}\nnot json\n", two, SampleShape{Format: "json", Encoding: "utf-8"}},
		"a JSON array":           {"[\n {\"id\": 1, \"email\": \"ana@mail.example\"},\n {\"id\": 2, \"email\": \"bo@mail.example\"}\n]\n", two, SampleShape{Format: "json", Encoding: "utf-8"}},
		"a dump of MySQL":        {"-- MySQL dump\nCREATE TABLE `users` (\n  `id` int NOT NULL,\n  `email` varchar(99),\n  `note` text,\n  PRIMARY KEY (`id`)\n);\nINSERT INTO `users` VALUES (1,'ana@mail.example','it''s; (a) \\'note\\''),(2,'bo@mail.example',NULL);\n", two, SampleShape{Format: "sql", Encoding: "utf-8"}},
		"a dump with columns":    {"INSERT INTO users (id, email)\nVALUES (1, 'ana@mail.example'),\n (2, 'bo@mail.example');\n", two, SampleShape{Format: "sql", Encoding: "utf-8"}},
		"a dump of PostgreSQL":   {"SET x = 1;\nCOPY public.users (id, email, note) FROM stdin;\n1\tana@mail.example\t\\N\n2\tbo@mail.example\ta\\tb\n\\.\n\nSELECT 1;\n", two, SampleShape{Format: "sql", Encoding: "utf-8"}},
		"a mail":                 {"We have your data. Proof: ana@mail.example, and <bo@mail.example>.\nPay by Friday.\n", two, SampleShape{Format: "text", Encoding: "utf-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, mails, _ := readSample(t, c.text)
			mails = slices.DeleteFunc(mails, func(m string) bool { return m == "-" })
			got := s.Shape
			got.Columns = nil
			if strings.Join(mails, " ") != c.want || got.Format != c.shape.Format || got.Encoding != c.shape.Encoding || got.Delimiter != c.shape.Delimiter || got.Header != c.shape.Header {
				t.Errorf("rows %q as %+v, want %q as %+v", mails, got, c.want, c.shape)
			}
		})
	}
}

func TestASampleWithoutRowsIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": " \n", "a spreadsheet": "PK\x03\x04 and more", "a cut array": "[{\"email\":\"ana@mail.example\""} {
		s, err := OpenSample(strings.NewReader(text))
		for err == nil {
			_, err = s.Next()
		}
		if !errors.Is(err, ErrSample) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A quote that never ends, and lines longer than a row may be, cost their row and no more.
func TestABrokenRowCostsItselfAlone(t *testing.T) {
	t.Parallel()
	text := "email,city\nana@mail.example,\"Rome\n" + strings.Repeat("x", 2*MaxRow) + "\n"
	for i := range 60 {
		text += fmt.Sprintf("c%d@mail.example,Oslo\n", i)
	}
	_, mails, _ := readSample(t, text)
	if n := len(mails); n < 40 {
		t.Errorf("%d rows", n)
	}
}

// A card is noticed wherever it stands in the row.
func TestACardInASampleIsCounted(t *testing.T) {
	t.Parallel()
	_, mails, cards := readSample(t, "email,card,exp\nana@mail.example,4111 1111 1111 1111,12/27\nbo@mail.example,,\n")
	if len(mails) != 2 || cards != 1 {
		t.Errorf("%d rows, %d with a card", len(mails), cards)
	}
}

// No bytes make the reader of samples panic, or read more rows than there are bytes.
func TestAnySampleIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	pieces := []string{"email", ",", ";", "\n", "\"", "'", "(", ")", "INSERT INTO t VALUES ", "COPY t FROM stdin;\n", "\\.\n", "{", "}", "[", "a@b.example", "\\", "\x00", "\xff", "CREATE TABLE t (\n", ":", "\t"}
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 60).Draw(rt, "pieces"), "")
		s, err := OpenSample(strings.NewReader(text))
		n := 0
		for ; err == nil; n++ {
			_, err = s.Next()
		}
		if n > len(text)+1 {
			rt.Fatalf("%d rows of %d bytes", n, len(text))
		}
		if err != io.EOF && !errors.Is(err, ErrSample) {
			rt.Fatalf("an error of no kind: %v", err)
		}
	})
}

// generated yields rows without having them all.
type generated struct {
	n, rows int
	buf     []byte
}

func (g *generated) Read(p []byte) (int, error) {
	for len(g.buf) < len(p) && g.n < g.rows {
		g.buf = fmt.Appendf(g.buf, "customer%d@mail.example,Ana,Rossi,+39 06 %07d\n", g.n, g.n)
		g.n++
	}
	if len(g.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, g.buf)
	g.buf = append(g.buf[:0], g.buf[n:]...)
	return n, nil
}

var sampleRows = flag.Int("sample.rows", 300_000, "how many rows the large sample has")

// Five million rows (-sample.rows=5000000) take no more memory than a few.
func TestALargeSampleTakesNoMemory(t *testing.T) {
	rows := *sampleRows
	s, err := OpenSample(&generated{rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	most, n := uint64(0), 0
	for ; ; n++ {
		if _, err = s.Next(); err != nil {
			break
		}
		if n%(rows/10) == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if err != io.EOF || n != rows {
		t.Fatalf("%d rows: %v", n, err)
	}
	if most > 64<<20 {
		t.Errorf("%d bytes in memory", most)
	}
}
