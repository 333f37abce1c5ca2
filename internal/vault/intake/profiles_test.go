package intake

import (
	"os"
	"path/filepath"
	"testing"
)

// Every profile brings in a file of its format, whole and as it is meant. The people in
// the files are invented; the formats are those that the shops write.
func TestProfiles(t *testing.T) {
	checks := map[string]func(t *testing.T, got brought){
		"shopify-customers": func(t *testing.T, got brought) {
			got.customer(t, "6000000000011", map[string]string{"phone": "+33478000000", "postal_code": "69002", "family_name": "D'Arcy", "attr.note": "line one\nline two", "attr.tags": "new, eu", "email": "Lena.DArcy@example.org"})
			got.customer(t, "6000000000012", map[string]string{"country": ""})
		},
		"shopify-orders": func(t *testing.T, got brought) {
			got.purchase(t, "lena@example.org", "#2001-1", "2025-03-01T09:00:00Z", "30.00", "EUR", 3)
			got.purchase(t, "lena@example.org", "#2001-2", "2025-03-01T09:00:00Z", "120.00", "EUR", 1)
			got.purchase(t, "kim@example.org", "#2002-1", "2025-03-01T09:00:00Z", "250000", "KRW", 1)
		},
		"woocommerce-customers": func(t *testing.T, got brought) {
			got.customer(t, "lena@example.org", map[string]string{"given_name": "Lena", "family_name": "D'Arcy", "created_at": "2024-07-01T10:00:00Z", "attr.username": "lena"})
			got.customer(t, "walkin@example.org", map[string]string{"given_name": "", "family_name": "walkin"})
		},
		"woocommerce-orders": func(t *testing.T, got brought) {
			got.purchase(t, "lena@example.org", "501-1", "2024-07-01T10:00:00Z", "19.00", "EUR", 2)
			got.purchase(t, "lena@example.org", "501-2", "2024-07-01T10:00:00Z", "20", "EUR", 1)
			got.purchase(t, "kim@example.org", "502-1", "2024-12-01T07:30:00Z", "0.00", "EUR", 0)
		},
		"magento-customers": func(t *testing.T, got brought) {
			got.customer(t, "lena@example.org", map[string]string{"given_name": "Lena Ann", "birth_date": "1990-02-28", "created_at": "2024-07-01T10:00:00Z"})
			got.customer(t, "kim@example.org", map[string]string{"birth_date": "1990-02-28"})
		},
		"magento-orders": func(t *testing.T, got brought) {
			got.purchase(t, "lena@example.org", "000000101", "2024-07-01T10:00:00Z", "1250.00", "", 1)
			got.purchase(t, "kim@example.org", "000000102", "2024-07-01T12:30:00Z", "12.5000", "", 1)
		},
		"klaviyo": func(t *testing.T, got brought) {
			got.customer(t, "01JAAAAAA", map[string]string{"phone": "+33478000000", "country": "FR", "created_at": "2024-07-01T10:00:00Z"})
			got.customer(t, "01JAAAAAB", map[string]string{"country": "KR", "created_at": "2024-07-01T10:00:00Z"})
		},
		"mailchimp": func(t *testing.T, got brought) {
			got.customer(t, "e1f2a3", map[string]string{"phone": "+33478000000", "country": "FR", "created_at": "2024-07-01T10:00:00Z", "attr.birthday": "02/28", "birth_date": ""})
			got.customer(t, "e1f2a4", map[string]string{"email": "kim@example.org"})
		},
		"salesforce-contacts": func(t *testing.T, got brought) {
			got.customer(t, "003A000001abcdEIAQ", map[string]string{"street": "3 quai\nétage 2", "phone": "+33478000000", "country": "FR", "birth_date": "1990-02-28", "created_at": "2024-07-01T10:00:00Z"})
			got.customer(t, "003A000001abcdFIAQ", map[string]string{"country": "KR", "phone": "+821012345678", "created_at": "2024-07-01T10:00:00Z"})
		},
		"sfcc-customers": func(t *testing.T, got brought) {
			got.customer(t, "00000101", map[string]string{"family_name": "D'Arcy", "phone": "+33478000000", "street": "3 quai des Brumes", "city": "Lyon", "locale": "fr-FR", "birth_date": "1990-02-28", "created_at": "2024-07-01T10:00:00Z", "attr.gender": "2"})
			got.customer(t, "00000102", map[string]string{"family_name": "Park & Sons", "city": ""})
		},
	}
	for _, name := range Profiles() {
		t.Run(name, func(t *testing.T) {
			check := checks[name]
			if check == nil {
				t.Fatal("no file in this format is read: add one to testdata/profiles")
			}
			m, err := Profile(name)
			if err != nil {
				t.Fatal(err)
			}
			ext := ".csv"
			if m.file.xml != "" {
				ext = ".xml"
			}
			b, err := os.ReadFile(filepath.Join("testdata/profiles", name+ext))
			if err != nil {
				t.Fatal(err)
			}
			got := bring{kind: m.Kind(), mapping: "@" + name, rules: paris, sink: known("lena@example.org", "kim@example.org")}.in(t, b)
			if got.err != nil {
				t.Fatal(got.err)
			}
			got.lines(t)
			check(t, got)
		})
	}
}
