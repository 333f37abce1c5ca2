package brands

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
)

const (
	tamperSettings = `UPDATE brand_settings SET text = $2 WHERE brand = 1 AND version = $1`
	dropSettings   = `DELETE FROM brand_settings WHERE brand = 1 AND version = $1`
	oldSettings    = `UPDATE brands SET loyalty = $1, country = 'FR', cooling = 3 WHERE id = 2`
)

// Each change is a version; of two for the same one, the second is refused; and the history
// says what each changed, a page at a time.
func TestSettingsHaveVersions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx, at := t.Context(), time.UnixMicro(5).UTC()
		s := New(d)
		for _, name := range []string{"gucci", "balenciaga"} {
			if _, err := s.Create(ctx, d, name, "", at); err != nil {
				t.Fatal(err)
			}
		}
		b, err := s.ByName(ctx, "gucci")
		if err != nil || b.Version != 1 || len(Differences(b.Settings, DefaultSettings())) != 0 {
			t.Fatalf("a new brand: %+v, %v", b, err)
		}
		if list, err := s.History(ctx, "gucci", 0, 10); err != nil || len(list) != 0 {
			t.Errorf("a history of nothing: %+v, %v", list, err)
		}
		for v := 1; v <= 150; v++ {
			to := b.Settings
			to.CoolingDays = v % 20
			to.LoyaltyPrefixes, to.LoyaltyFields = []string{"600649"}, []string{"attr.card"}
			if n, err := s.SetSettings(ctx, d, 1, v, to, 9, at); err != nil || n != v+1 {
				t.Fatalf("version %d: %d, %v", v, n, err)
			}
			if _, err := s.SetSettings(ctx, d, 1, v, to, 8, at); !errors.Is(err, ErrSettingsMoved) {
				t.Fatalf("two changes of version %d: %v", v, err)
			}
		}
		b, err = s.ByName(ctx, "gucci")
		if err != nil || b.Version != 151 || b.Cooling() != 10*24*time.Hour || !b.Own.Lets("attr.card", "6006490000000012") || b.Own.Lets("attr.note", "6006490000000012") {
			t.Errorf("%+v, %v", b, err)
		}
		seen := 0
		for before := 0; before != 2; {
			list, err := s.History(ctx, "gucci", before, 7)
			if err != nil || len(list) == 0 {
				t.Fatalf("before %d: %d, %v", before, len(list), err)
			}
			for _, v := range list {
				if seen++; v.Number != 152-seen || v.Changed || v.Author != 9 || v.Settings.CoolingDays != (v.Number-1)%20 {
					t.Fatalf("%+v", v)
				}
				if want := fmt.Sprint((v.Number - 1) % 20); v.Number > 2 && (len(v.Changes) != 1 || v.Changes[0].Name != "cooling_days" || v.Changes[0].Is != want) {
					t.Fatalf("version %d: %+v", v.Number, v.Changes)
				}
				if v.Number == 2 && len(v.Changes) != 3 {
					t.Fatalf("the first change: %+v", v.Changes)
				}
			}
			before = list[len(list)-1].Number
		}
		if seen != 150 {
			t.Errorf("%d versions of 150", seen)
		}

		// What somebody changes in the database behind the newest is seen.
		for _, tamper := range []func() (int64, error){
			func() (int64, error) {
				return d.Exec(ctx, tamperSettings, 140, `{"cooling_days":1,"retention_days":31}`)
			},
			func() (int64, error) { return d.Exec(ctx, dropSettings, 120) },
		} {
			if _, err := tamper(); err != nil {
				t.Fatal(err)
			}
		}
		list, err := s.History(ctx, "gucci", 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var changed []int
		for _, v := range list {
			if v.Changed {
				changed = append(changed, v.Number)
			}
		}
		if fmt.Sprint(changed) != "[140 119]" {
			t.Errorf("changed in the database: %v", changed)
		}
	})
}

// What an earlier release stored is version 1.
func TestSettingsOfAnEarlierReleaseStay(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, db.Options{}, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := New(d)
		for _, name := range []string{"gucci", "balenciaga"} {
			if _, err := s.Create(ctx, d, name, "", time.UnixMicro(5)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.Exec(ctx, oldSettings, "600649 900000\nexternal_id attr.card"); err != nil {
			t.Fatal(err)
		}
		b, err := s.ByName(ctx, "balenciaga")
		if err != nil || b.Version != 1 || b.Settings.PhoneCountry != "FR" || b.Settings.CoolingDays != 3 || b.Settings.RetentionDays != 31 || !b.Own.Lets("attr.card", "9000000000000002") {
			t.Errorf("%+v, %v", b, err)
		}
		if _, err := s.SetSettings(ctx, d, 2, 1, DefaultSettings(), 1, time.UnixMicro(6)); err != nil {
			t.Fatal(err)
		}
		if b, err := s.ByName(ctx, "balenciaga"); err != nil || b.Own != nil || b.Settings.PhoneCountry != "" || b.Settings.CoolingDays != 7 {
			t.Errorf("the columns of before still count: %+v, %v", b, err)
		}
		list, err := s.History(ctx, "balenciaga", 0, 10)
		if err != nil || len(list) != 1 || len(list[0].Changes) != 4 {
			t.Errorf("%+v, %v", list, err)
		}
		if b, err := s.ByName(ctx, "gucci"); err != nil || b.Version != 1 {
			t.Errorf("one brand's settings are the other's: %+v, %v", b, err)
		}
	})
}

// A setting that cannot be is refused by its name, and is not repeated.
func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(s *Settings){
		"country":          func(s *Settings) { s.Country = "Atlantis" },
		"phone_country":    func(s *Settings) { s.PhoneCountry = "EU" },
		"languages":        func(s *Settings) { s.Languages = []string{"fr", "Atlantis!"} },
		"number 2":         func(s *Settings) { s.Languages = []string{"fr", "FR"} },
		"mail_from":        func(s *Settings) { s.MailFrom = "Atlantis" },
		"mail_reply_to":    func(s *Settings) { s.MailReplyTo = "a@b.example\r\nBcc: Atlantis@b.example" },
		"ticket_pattern":   func(s *Settings) { s.TicketPattern = "Atlantis)|(" },
		"at most 100":      func(s *Settings) { s.TicketPattern = strings.Repeat("A", 101) },
		"cooling_days":     func(s *Settings) { s.CoolingDays = 22 },
		"retention_days":   func(s *Settings) { s.RetentionDays = 30 },
		"prefix 1":         func(s *Settings) { s.LoyaltyPrefixes, s.LoyaltyFields = []string{"411111"}, []string{"external_id"} },
		"field 1":          func(s *Settings) { s.LoyaltyPrefixes, s.LoyaltyFields = []string{"600649"}, []string{"email"} },
		"both prefixes":    func(s *Settings) { s.LoyaltyPrefixes = []string{"600649"} },
		"loyalty_prefixes": func(s *Settings) { s.LoyaltyPrefixes = make([]string, 51) },
	} {
		s := DefaultSettings()
		set(&s)
		if _, err := s.Checked(); !errors.Is(err, ErrSetting) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "Atlantis") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := DefaultSettings()
	s.Country, s.Languages, s.MailFrom = "italy", []string{"it", "PT-br"}, "Gucci <privacy@gucci.example>"
	got, err := s.Checked()
	if err != nil || got.Country != "IT" || got.Languages[1] != "pt-BR" || got.MailFrom != `"Gucci" <privacy@gucci.example>` {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := got.Checked(); err != nil || len(Differences(got, again)) != 0 {
		t.Errorf("what was checked is changed by a second check: %+v, %v", again, err)
	}
}

// A pattern is of the whole ticket.
func TestTicketsFitThePattern(t *testing.T) {
	t.Parallel()
	p, err := pattern(`CASE-[0-9]+|INC-[0-9]+`)
	if err != nil {
		t.Fatal(err)
	}
	b := Brand{tickets: p}
	for ticket, fits := range map[string]bool{"": true, "CASE-1": true, "INC-77": true, "CASE-": false, "XCASE-1": false, "INC-7x": false} {
		if err := b.Ticket(ticket); (err == nil) != fits {
			t.Errorf("%q: %v", ticket, err)
		}
	}
	if err := new(Brand).Ticket("anything"); err != nil {
		t.Error(err)
	}
}

// What a change weakens is said, and nothing else.
func TestWhatAChangeOfSettingsWeakens(t *testing.T) {
	t.Parallel()
	was := DefaultSettings()
	was.TicketPattern, was.RetentionDays = "CASE-[0-9]+", 90
	for name, c := range map[string]struct {
		set  func(s *Settings)
		weak bool
	}{
		"longer cooling":    {func(s *Settings) { s.CoolingDays = 8 }, false},
		"shorter cooling":   {func(s *Settings) { s.CoolingDays = 6 }, true},
		"longer retention":  {func(s *Settings) { s.RetentionDays = 91 }, false},
		"shorter retention": {func(s *Settings) { s.RetentionDays = 89 }, true},
		"no pattern":        {func(s *Settings) { s.TicketPattern = "" }, true},
		"another pattern":   {func(s *Settings) { s.TicketPattern = ".*" }, true},
		"languages":         {func(s *Settings) { s.Languages = []string{"fr"} }, false},
	} {
		is := was
		c.set(&is)
		diff := Differences(was, is)
		if len(diff) != 1 || (diff[0].Weaker != "") != c.weak {
			t.Errorf("%s: %+v", name, diff)
		}
	}
	was.TicketPattern = ""
	is := was
	is.TicketPattern = "CASE-[0-9]+"
	if diff := Differences(was, is); len(diff) != 1 || diff[0].Weaker != "" {
		t.Errorf("a first pattern: %+v", diff)
	}
}
