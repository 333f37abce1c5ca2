package record

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

func TestAddressesAreReadAsPeopleWriteThem(t *testing.T) {
	for written, want := range map[string]string{
		"ana@example.com":                  "ana@example.com",
		"Ana@Example.com":                  "Ana@Example.com",
		"Ana Lima <ana@example.com>":       "ana@example.com",
		`"Lima, Ana" <ana@example.com>`:    "ana@example.com",
		"Ana@home <ana@example.com>":       "ana@example.com",
		"<ana@example.com>":                "ana@example.com",
		"mailto:bea@example.com":           "bea@example.com",
		"MAILTO:bea@example.com?subject=x": "bea@example.com",
		"<mailto:bea@example.com>":         "bea@example.com",
		"'cyn@example.com'":                "cyn@example.com",
		"'cyn@example.com":                 "cyn@example.com",
		"“cyn@example.com”":                "cyn@example.com",
		"fay @example.com":                 "fay@example.com",
		"fay@ example.com":                 "fay@example.com",
		"\u200efay@example.com\u202c":      "fay@example.com",
		"fay@example.com (work)":           "fay@example.com",
		"fay@example.com;":                 "fay@example.com",
		"O'Connor@example.com":             "O'Connor@example.com",
		"zoë@exämple.de":                   "zoë@exämple.de",
	} {
		if got, err := ReadEmail(written); err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", written, got, err, want)
		}
	}
	for written, want := range map[string]error{
		"dan@example.com; eve@example.com":           ErrTwoEmails,
		"dan@example.com,eve@example.com":            ErrTwoEmails,
		"dan@example.com eve@example.com":            ErrTwoEmails,
		"Dan <dan@example.com>, Eve <e@example.com>": ErrTwoEmails,
		"n/a":                 ErrEmail,
		"-":                   ErrEmail,
		"ana lima":            ErrEmail,
		"@":                   ErrEmail,
		"@ana":                ErrEmail,
		"ana@":                ErrEmail,
		"see note: ana@x.com": ErrEmail,
		"":                    ErrEmail,
	} {
		if got, err := ReadEmail(written); !errors.Is(err, want) {
			t.Errorf("%q is read as %q, %v; want %v", written, got, err, want)
		}
	}
}

func TestNumbersAreReadAsPeopleWriteThem(t *testing.T) {
	for _, c := range []struct{ written, country, want string }{
		{"+33612345678", "", "+33612345678"},
		{"+33 6 12 34 56 78", "", "+33 6 12 34 56 78"},
		{"0612345678", "FR", "+33612345678"},
		{"06 12 34 56 78", "FR", "+33612345678"},
		{"06.12.34.56.78", "FR", "+33612345678"},
		{"0033612345678", "", "+33612345678"},
		{"'+33612345678", "DE", "+33612345678"},
		{"\u202a+33 6 12 34 56 78\u202c", "", "+33612345678"},
		{"\u200e+33612345678", "", "+33612345678"},
		{"070 123 45 67 (Axel)", "SE", "+46701234567"},
		{"Mobile: 06 12 34 56 78", "FR", "+33612345678"},
		{"tel:+33612345678", "", "+33612345678"},
		{"33612345678.0", "FR", "+33612345678"},
		{"33612345678", "FR", "+33612345678"},
		{"020 7946 0958", "GB", "+442079460958"},
		{"+44 (0)20 7946 0958", "", "+442079460958"},
		{"(212) 736-5000", "US", "+12127365000"},
	} {
		got, err := ReadPhone(c.written, c.country)
		if err == nil && c.want[0] == '+' && c.written != c.want {
			got, err = NormalPhone(got, "")
			c.want, _ = NormalPhone(c.want, "")
		}
		if err != nil || got != c.want {
			t.Errorf("%q in %q is read as %q, %v; want %q", c.written, c.country, got, err, c.want)
		}
	}
	for _, c := range []struct {
		written, country string
		want             error
	}{
		{"3.36E+10", "FR", ErrLostDigits},
		{"3,36E+10", "FR", ErrLostDigits},
		{"3.3612345678E+10", "FR", ErrLostDigits},
		{"0612345678", "", ErrNoCountry},
		{"33612345678", "", ErrNoCountry},
		{"n/a", "FR", errUnreadPhone},
		{"none", "FR", errUnreadPhone},
		{"-", "FR", errUnreadPhone},
		{"0", "FR", errUnreadPhone},
		{"+33612345678, +33698765432", "FR", errUnreadPhone},
		{"0612345678 / 0698765432", "FR", errUnreadPhone},
		{"0612345678 or 0698765432", "FR", errUnreadPhone},
		{"+12", "FR", errUnreadPhone},
	} {
		if got, err := ReadPhone(c.written, c.country); !errors.Is(err, c.want) {
			t.Errorf("%q in %q is read as %q, %v; want %v", c.written, c.country, got, err, c.want)
		}
	}
}

func TestCountriesAndLocales(t *testing.T) {
	for written, want := range map[string]string{
		"FR": "FR", "fr": "FR", "Fr": "FR", "FRA": "FR", "fra": "FR", "France": "FR", "FRANCE": "FR",
		"Türkiye": "TR", "Republic of Ireland": "IE", "Korea, Republic of": "KR", "United Kingdom (UK)": "GB", "United States (US)": "US",
		"UK": "GB", "uk": "GB", "United Kingdom": "GB", "Royaume-Uni": "GB", "GBR": "GB", "Germany": "DE", "Allemagne": "DE", "DEU": "DE",
		"États-Unis": "US", "USA": "US", "United States": "US", "Japan": "JP", "Côte d’Ivoire": "CI", " it ": "IT", "South Korea": "KR",
	} {
		if got, err := ReadCountry(written); err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", written, got, err, want)
		}
	}
	// In the languages of the product, with and without accents and hyphens, and as shops write.
	for code, names := range map[string][]string{
		"DE": {"Deutschland", "DEUTSCHLAND", "Germania", "Alemania", "Alemanha", "ドイツ", "독일", "德国", "德國", "BRD", "Bundesrepublik Deutschland"},
		"AT": {"Österreich", "Osterreich", "Oesterreich", "Autriche", "Áustria", "オーストリア", "奥地利"},
		"CH": {"Schweiz", "Suisse", "Svizzera", "Suiza", "Suíça", "スイス", "스위스", "瑞士"},
		"IT": {"Italia", "Italien", "Italie", "Itália", "イタリア", "이탈리아", "意大利", "義大利"},
		"ES": {"España", "Espana", "Espagne", "Spagna", "Spanien", "Espanha", "スペイン", "스페인", "西班牙"},
		"JP": {"日本", "일본", "Giappone", "Japon", "Japón", "Japão"},
		"KR": {"대한민국", "한국", "韓国", "韩国", "南韓", "Südkorea", "Corea del Sur", "Corée du Sud", "Coreia do Sul", "Korea, Republic of"},
		"CN": {"中国", "中國", "중국", "Cina", "Chine", "China", "People's Republic of China", "People’s Republic of China"},
		"HK": {"Hong Kong", "香港", "홍콩", "Hongkong", "中国香港特别行政区", "Hong Kong SAR China"},
		"TW": {"台湾", "台灣", "臺灣", "대만", "Taïwan", "Taiwán"},
		"US": {"Vereinigte Staaten", "Stati Uniti", "Estados Unidos", "EE. UU.", "EEUU", "アメリカ合衆国", "アメリカ", "米国", "미국", "美国", "美國", "U.S.A.", "Etats Unis", "EUA"},
		"GB": {"Vereinigtes Königreich", "Großbritannien", "Regno Unito", "Reino Unido", "イギリス", "英国", "영국", "Inghilterra", "Northern Ireland", "the United Kingdom"},
		"CI": {"Cote d'Ivoire", "Côte d'Ivoire", "COTE D’IVOIRE", "Costa d'Avorio", "Elfenbeinküste"},
		"NL": {"Niederlande", "Paesi Bassi", "Países Bajos", "Países Baixos", "Pays Bas", "Olanda", "オランダ", "荷兰"},
		"BA": {"Bosnia and Herzegovina", "Bosnia & Herzegovina", "Bosnien und Herzegowina"}, "LC": {"St. Lucia", "Saint Lucia", "St Lucia"},
		"MK": {"North Macedonia", "Nordmazedonien"}, "TR": {"Türkei", "Turchia", "トルコ", "터키"}, "AE": {"UAE", "Vereinigte Arabische Emirate", "阿拉伯联合酋长国"},
		"CD": {"République démocratique du Congo", "Congo - Kinshasa"}, "CG": {"Congo-Brazzaville"}, "NE": {"Niger"}, "NG": {"Nigeria", "ナイジェリア"}, "VN": {"Vietname", "Viet Nam", "베트남"},
	} {
		for _, written := range names {
			if got, err := ReadCountry(written); err != nil || got != code {
				t.Errorf("%q is read as %q, %v; want %s", written, got, err, code)
			}
		}
	}
	// A name that several countries have is none of them.
	for _, written := range []string{"Congo", "Kongo", "コンゴ", "콩고", "刚果", "Virgin Islands", "Saint Martin (both)", "America", "アメリカン", strings.Repeat("日本", 200)} {
		if got, err := ReadCountry(written); err == nil {
			t.Errorf("%q is read as %q", written, got)
		}
	}
	// Every name of the tables is read as what it names.
	read := 0
	for _, in := range nameLanguages {
		for i, is := range countries() {
			if !is {
				continue
			}
			code := string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})
			name := display.Regions(in).Name(language.MustParseRegion(code))
			if name == "" {
				continue // a country that is gone
			}
			read++
			if got, err := ReadCountry(name); err != nil || got != code {
				t.Errorf("%v: %q is read as %q, %v; want %s", in, name, got, err, code)
			}
		}
	}
	if read < 240*len(nameLanguages) {
		t.Errorf("only %d names were tried", read)
	}
	for _, written := range []string{"XX", "EU", "xx", "eu", "ZZ", "Europe", "", "F", "Narnia", "123", "QQQ", "AA", "EUR", "European Union"} {
		if got, err := ReadCountry(written); err == nil {
			t.Errorf("%q is read as %q", written, got)
		}
	}
	for written, want := range map[string]string{"fr": "fr", "fr-FR": "fr-FR", "fr_FR": "fr-FR", "fr_FR.UTF-8": "fr-FR", "zh_Hant_TW": "zh-Hant-TW", "EN-us": "EN-us", "en_us": "en-US"} {
		if got, err := ReadLocale(written); err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", written, got, err, want)
		}
	}
	for _, written := range []string{"!!", "français de France", "fr/FR", "_"} {
		if got, err := ReadLocale(written); err == nil {
			t.Errorf("%q is read as %q", written, got)
		}
	}
}

// A standing is kept in one form, whichever way its words are written.
func TestReadStanding(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"": "", "deceased": "deceased", "Deceased": "deceased", "DO NOT WRITE": "do-not-write", "do_not_write": "do-not-write",
		"do-not-write, minor": "minor,do-not-write", "minor|minor": "minor", "represented; Deceased ": "deceased,represented",
		"\u200bminor": "minor",
	} {
		if got, err := ReadStanding(written); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", written, got, err, want)
		}
		c := Customer{}
		c.Set(Standing, want)
		var back Customer
		if err := errors.Join(c.Check(), DecodeCustomer(AppendCustomer(nil, &c), &back)); err != nil || back.Get(Standing) != want {
			t.Errorf("%q: kept as %q, %v", want, back.Get(Standing), err)
		}
	}
	for _, written := range []string{"alive", "minor,dead", ",", "deceased minor", "x"} {
		if got, err := ReadStanding(written); err == nil || strings.Contains(err.Error(), written) && len(written) > 1 {
			t.Errorf("%q: %q, %v", written, got, err)
		}
	}
	c := Customer{}
	c.Set(Standing, "do-not-write,minor")
	if c.Check() == nil {
		t.Error("another order is kept")
	}
}

// What is kept is read again by the next import of the same file: it must stay.
func FuzzWhatIsReadIsReadAgain(f *testing.F) {
	for _, s := range []string{"Ana <ana@example.com>", "0612345678", "070 123 45 67 (Axel)", "France", "fr_FR", "''a@b.c", "+44 (0)20 7946 0958"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, read := range map[string]func(string) (string, error){
			"e-mail": ReadEmail, "country": ReadCountry, "locale": ReadLocale, "standing": ReadStanding,
			"phone": func(s string) (string, error) { return ReadPhone(s, "FR") },
		} {
			once, err := read(s)
			if err != nil {
				continue
			}
			if twice, err := read(once); err != nil || twice != once {
				t.Errorf("%s: %q is read as %q, and that as %q, %v", name, s, once, twice, err)
			}
		}
		if once, err := ReadEmail(s); err == nil {
			if _, err := NormalEmail(once); err != nil {
				t.Errorf("%q is read as %q, which has no normal form", s, once)
			}
		}
		if once, err := ReadPhone(s, "FR"); err == nil {
			if _, err := NormalPhone(once, ""); err != nil {
				t.Errorf("%q is read as %q, which has no normal form without a country", s, once)
			}
		}
	})
}
