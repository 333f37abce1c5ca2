package duties

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/api"
)

// loaded is the book of this release, which no test that takes it changes.
var loaded = sync.OnceValues(func() (*Book, error) { return Load() })

func load(t *testing.T) *Book {
	t.Helper()
	b, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// case1 is a situation of statements, with every clock started at one moment.
func case1(t testing.TB, now time.Time, statements ...string) *Situation {
	t.Helper()
	s := NewSituation(now)
	if err := s.State(statements...); err != nil {
		t.Fatal(err)
	}
	for fact := range Standard() {
		s.Clocks[fact] = []Moment{{When: now.Add(-time.Hour)}}
	}
	return s
}

func duty(t testing.TB, list []api.Duty, rule string) *api.Duty {
	t.Helper()
	for i := range list {
		if list[i].Rule == rule {
			return &list[i]
		}
	}
	t.Fatalf("no rule %s", rule)
	return nil
}

// everything answers every question with yes and puts 60,000 persons into each
// jurisdiction that has a rule.
func everything(b *Book) (out []string) {
	for name := range Questions() {
		out = append(out, name+"=yes")
	}
	for i := range b.laws {
		switch p := b.laws[i].Jurisdiction; p {
		case "EU":
			out = append(out, "DE=60000")
		case "US-*":
			out = append(out, "US-GA=60000")
		case "*", "US", "CN":
		default:
			out = append(out, p+"=60000")
		}
	}
	return append(out, "CN=60000", "total=7400000")
}

// What fires for four sets of fields, with every flag, harm and event: docs/duties.md says
// where the figures come from.
func TestGoldenSets(t *testing.T) {
	b := load(t)
	list := []string{"name", "email", "phone", "postal", "gender", "purchase_history", "purchase_total", "customer_no"}
	for _, c := range []struct {
		name    string
		classes []string
		want    int
	}{
		{"A: a customer list", list, 76},
		{"B: A and dates of birth", append([]string{"dob"}, list...), 81},
		{"C: A and passwords", append([]string{"password_login"}, list...), 118},
		{"T: tokens alone", []string{"token_only"}, 11},
	} {
		s := case1(t, at(t, "2026-11-30T12:00:00Z"), append(everything(b), c.classes...)...)
		var due []string
		for _, d := range b.Decide(s) {
			if d.Verdict == api.DutyDue {
				due = append(due, d.Rule)
			}
		}
		if len(due) != c.want {
			t.Errorf("%s: %d fire, want %d: %v", c.name, len(due), c.want, due)
		}
	}
}

// A harmless score and a duty stand beside each other: published cases of the EDPB, as far as
// their conclusions were read. G1 in Guidelines 01/2021 itself; the others in summaries by
// law firms, G2 of the draft, G3's first answer from memory.
func TestPublishedCases(t *testing.T) {
	b := load(t)
	for _, c := range []struct {
		id, source         string
		facts              []string
		authority, persons string
	}{
		{"G1", "EDPB Guidelines 01/2021 v2.0, case 01", []string{"name", "email", "DE=40", "not_unlikely_risk=no", "high_risk=no"}, api.DutyNotMet, api.DutyNotMet},
		{"G2", "EDPB Guidelines 01/2021, case 03 (a law firm on the draft)", []string{"name", "health", "DE=4000", "not_unlikely_risk=yes", "high_risk=yes"}, api.DutyDue, api.DutyDue},
		{"G3", "EDPB Guidelines 01/2021, case 06 (a summary; the authority from memory)", []string{"email", "DE=1200", "not_unlikely_risk=no", "high_risk=no"}, api.DutyNotMet, api.DutyNotMet},
		{"G4", "EDPB Guidelines 01/2021, case 09 (a summary)", []string{"name", "email", "DE=100", "not_unlikely_risk=no", "high_risk=no"}, api.DutyNotMet, api.DutyNotMet},
		{"G5", "EDPB Guidelines 01/2021, case 13 (a summary)", []string{"name", "postal", "purchase_history", "DE=2", "not_unlikely_risk=no", "high_risk=no"}, api.DutyNotMet, api.DutyNotMet},
		{"G6", "EDPB Guidelines 01/2021, case 14 (a summary)", []string{"name", "special_category", "DE=60000", "not_unlikely_risk=yes", "high_risk=yes"}, api.DutyDue, api.DutyDue},
		{"G7", "EDPB Guidelines 01/2021, case 16 (a summary)", []string{"name", "postal", "DE=1", "not_unlikely_risk=yes", "high_risk=no"}, api.DutyDue, api.DutyNotMet},
		{"G8", "EDPB Guidelines 9/2022, Annex B (a summary)", []string{"email", "DE=5000", "not_unlikely_risk=yes", "high_risk=yes"}, api.DutyDue, api.DutyDue},
		{"G8b", "EDPB Guidelines 9/2022, Annex B (a summary)", []string{"email", "DE=20", "not_unlikely_risk=no", "high_risk=no"}, api.DutyNotMet, api.DutyNotMet},
	} {
		list := b.Decide(case1(t, at(t, "2026-11-30T12:00:00Z"), append(c.facts, "controller=yes")...))
		if got := duty(t, list, "eu-gdpr-33-sa").Verdict; got != c.authority {
			t.Errorf("%s (%s): the authority: %s, want %s", c.id, c.source, got, c.authority)
		}
		if got := duty(t, list, "eu-gdpr-34-subjects").Verdict; got != c.persons {
			t.Errorf("%s (%s): the persons: %s, want %s", c.id, c.source, got, c.persons)
		}
		if got := duty(t, list, "eu-gdpr-33-5-register").Verdict; got != api.DutyDue {
			t.Errorf("%s: the register is always due, and is %s", c.id, got)
		}
	}
}

// Files that must not be read: each error names the file and what is wrong with it, an
// unknown field its line.
func TestFilesThatDoNotHold(t *testing.T) {
	const head = "law: Test\njurisdiction: XX\nzone: UTC\naddress: 'https://law.example/'\nrules:\n"
	rule := func(id, more string) string {
		return "  - id: " + id + "\n    article: s. 1\n    demands: Tell.\n    basis: memory\n    sources: [memory]\n    read_on: '2026-11-29'\n    read_by: none\n    still_valid_on: '2026-11-29'\n    confidence: low\n    to: regulator\n    recipients: [office]\n    when: [{data: [card]}]\n    content: [nature]\n" + more +
			"    cases: [{why: fires, given: [payment_card_full, XX=1], then: due}]\n"
	}
	aware := "    clock: awareness\n"
	for _, c := range []struct{ name, text, want string }{
		{"an unknown field", head + rule("xx-a", aware+"    dedline: {n: 72, unit: hours, kind: hard}\n"), "line 20: field dedline is not known"},
		{"an unknown field of a condition", head + strings.Replace(rule("xx-a", aware), "{data: [card]}", "{data: [card], harms: none}", 1), "line 17: field harms is not known"},
		{"a cycle", head + rule("xx-a", aware+"    not_before: [xx-b]\n") + rule("xx-b", aware+"    not_before: [xx-a]\n"), "xx-a -> xx-b -> xx-a"},
		{"a cycle through a clock", head + rule("xx-a", "    clock: filed:xx-b\n") + rule("xx-b", aware+"    not_before: [xx-a]\n"), "wait for each other"},
		{"a rule that waits for itself", head + rule("xx-a", aware+"    not_before: [xx-a]\n"), "xx-a -> xx-a"},
		{"a clock that nobody has", head + rule("xx-a", "    clock: full-moon\n"), "the clock \"full-moon\" is unknown"},
		{"business days without a calendar", head + rule("xx-a", aware+"    deadline: {n: 3, unit: business_days, kind: hard}\n"), "business days have a calendar"},
		{"a calendar that nobody has", head + rule("xx-a", aware+"    deadline: {n: 3, unit: business_days, kind: hard, calendar: ZZ}\n"), "the calendar \"ZZ\" is unknown"},
		{"a deadline of nothing", head + rule("xx-a", aware+"    deadline: {n: 0, unit: hours, kind: hard}\n"), "a number from 1"},
		{"a wrong case", head + strings.Replace(rule("xx-a", aware), "then: due", "then: not-met", 1), "case 1 (fires): it is due, not not-met"},
		{"no case", head + strings.Replace(rule("xx-a", aware), "    cases: [{why: fires, given: [payment_card_full, XX=1], then: due}]\n", "", 1), "a rule has worked cases"},
		{"an id of ours twice", head + rule("xx-a", aware) + rule("xx-a", aware), "stands twice"},
		{"a zone of nowhere", strings.Replace(head, "UTC", "Mars/Olympus", 1) + rule("xx-a", aware), "the zone is unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(fstest.MapFS{"mine.yaml": {Data: []byte(c.text)}})
			if !errors.Is(err, ErrRules) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "mine.yaml") && !strings.Contains(c.name, "cycle") && !strings.Contains(c.name, "itself") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	b, err := Load(fstest.MapFS{"mine.yaml": {Data: []byte(head + rule("xx-a", aware))}})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Overlay) != 1 || b.Version == load(t).Version {
		t.Errorf("overlay %v, version %s", b.Overlay, b.Version)
	}
	if d := duty(t, b.Decide(case1(t, at(t, "2026-11-30T12:00:00Z"), "payment_card_full", "XX=1")), "xx-a"); d.Verdict != api.DutyDue || !d.AskCounsel {
		t.Errorf("%+v", d)
	}
}

// Days end in their own zone, hours run through everything, and what cannot be computed says
// so.
func TestDeadlines(t *testing.T) {
	for _, c := range []struct {
		name       string
		d          Deadline
		zone       string
		begin, end string
	}{
		{"hours through a weekend", Deadline{N: 72, Unit: "hours"}, "Europe/Paris", "2026-11-27T18:30:00Z", "2026-11-30T18:30:00Z"},
		{"hours through the end of summer time", Deadline{N: 72, Unit: "hours"}, "Europe/Paris", "2026-10-24T10:00:00+02:00", "2026-10-27T09:00:00+01:00"},
		{"days through the end of summer time", Deadline{N: 30, Unit: "days"}, "America/Los_Angeles", "2026-10-20T10:00:00-07:00", "2026-11-19T23:59:59-08:00"},
		{"days through the start of summer time", Deadline{N: 5, Unit: "days"}, "America/New_York", "2027-03-12T23:30:00-05:00", "2027-03-17T23:59:59-04:00"},
		{"a night that is another day there", Deadline{N: 3, Unit: "days"}, "Asia/Singapore", "2026-11-29T20:00:00Z", "2026-12-03T23:59:59+08:00"},
		{"from 29 February", Deadline{N: 30, Unit: "days"}, "America/Denver", "2028-02-29T09:00:00-07:00", "2028-03-30T23:59:59-06:00"},
		{"a month from 31 January", Deadline{N: 1, Unit: "months"}, "Europe/Brussels", "2027-01-31T09:00:00+01:00", "2027-02-28T23:59:59+01:00"},
		{"a month from 31 January of a leap year", Deadline{N: 1, Unit: "months"}, "Europe/Brussels", "2028-01-31T09:00:00+01:00", "2028-02-29T23:59:59+01:00"},
		{"a year's end", Deadline{N: 1, Unit: "months"}, "Europe/Brussels", "2026-12-15T09:00:00+01:00", "2027-01-15T23:59:59+01:00"},
		{"four business days over Thanksgiving", Deadline{N: 4, Unit: "business_days", Calendar: "US-SEC"}, "America/New_York", "2026-11-24T15:00:00-05:00", "2026-12-01T23:59:59-05:00"},
		{"determined on a Saturday", Deadline{N: 4, Unit: "business_days", Calendar: "US-SEC"}, "America/New_York", "2026-07-04T15:00:00-04:00", "2026-07-09T23:59:59-04:00"},
		{"the third of July is observed", Deadline{N: 1, Unit: "business_days", Calendar: "US-SEC"}, "America/New_York", "2026-07-02T15:00:00-04:00", "2026-07-06T23:59:59-04:00"},
		{"20 November in Brazil", Deadline{N: 3, Unit: "business_days", Calendar: "BR"}, "America/Sao_Paulo", "2026-11-18T15:00:00-03:00", "2026-11-24T23:59:59-03:00"},
		{"carnival is business", Deadline{N: 3, Unit: "business_days", Calendar: "BR"}, "America/Sao_Paulo", "2026-02-13T15:00:00-03:00", "2026-02-18T23:59:59-03:00"},
		{"Colombia moves holidays to Monday", Deadline{N: 1, Unit: "business_days", Calendar: "CO"}, "America/Bogota", "2026-11-13T15:00:00-05:00", "2026-11-17T23:59:59-05:00"},
		{"Town Meeting Day", Deadline{N: 1, Unit: "business_days", Calendar: "VT"}, "America/New_York", "2027-03-01T15:00:00-05:00", "2027-03-03T23:59:59-05:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := c.d.end(at(t, c.begin), zone)
		if err != nil || !got.Equal(at(t, c.end)) {
			t.Errorf("%s: %s, %v, want %s", c.name, got.Format(time.RFC3339), err, c.end)
		}
	}
	_, note, err := (&Deadline{N: 5, Unit: "days"}).end(at(t, "2026-11-30T09:00:00Z"), time.UTC)
	if err != nil || !strings.Contains(note, "Saturday") {
		t.Errorf("a last day on a Saturday: %q, %v", note, err)
	}
	if _, _, err := (&Deadline{N: 3, Unit: "business_days", Calendar: "CO"}).end(at(t, "2030-12-30T09:00:00Z"), time.UTC); err == nil {
		t.Error("a day outside of the tables was computed")
	}
	b := load(t)
	s := case1(t, at(t, "2031-02-01T12:00:00Z"), "name", "CO=5")
	if d := duty(t, b.Decide(s), "co-sic"); d.Verdict != api.DutyDue || d.State != api.DutyNotComputable || !d.Due.IsZero() || d.DueNote == "" {
		t.Errorf("outside of the tables: %+v", d)
	}
}

// The federal holidays of 2026 as the Office of Personnel Management published them.
func TestFederalHolidaysOf2026(t *testing.T) {
	off := map[string]bool{"2026-01-01": true, "2026-01-19": true, "2026-02-16": true, "2026-05-25": true, "2026-06-19": true, "2026-07-03": true, "2026-09-07": true, "2026-10-12": true, "2026-11-11": true, "2026-11-26": true, "2026-12-25": true}
	c := calendar("US-SEC")
	for day := at(t, "2026-01-01T12:00:00Z"); day.Year() == 2026; day = day.AddDate(0, 0, 1) {
		weekday := day.Weekday() != time.Saturday && day.Weekday() != time.Sunday
		if got := c.IsWorkday(day); got != (weekday && !off[day.Format(time.DateOnly)]) {
			t.Errorf("%s: a day of business: %v", day.Format(time.DateOnly), got)
		}
	}
}

// A correction that moves a deadline into the past says when it was due before.
func TestACorrectionMovesADeadlineIntoThePast(t *testing.T) {
	b := load(t)
	s := case1(t, at(t, "2026-11-30T12:00:00Z"), "name", "FR=5", "controller=yes")
	s.Clocks["aware"] = []Moment{{When: at(t, "2026-11-26T08:00:00Z"), Was: at(t, "2026-11-29T08:00:00Z"), Entry: 9}}
	d := duty(t, b.Decide(s), "eu-gdpr-33-sa")
	if d.State != api.DutyLate || !d.Late || !d.Due.Equal(at(t, "2026-11-29T08:00:00Z")) || !d.MovedFrom.Equal(at(t, "2026-12-02T08:00:00Z")) || d.Clock.Entry != 9 {
		t.Errorf("%+v", d)
	}
	s.Filed["eu-gdpr-33-sa"] = Filing{When: at(t, "2026-11-29T09:00:00Z"), Said: "dana"}
	if d := duty(t, b.Decide(s), "eu-gdpr-33-sa"); d.State != api.DutyFiled || !d.Late || d.Elapsed != "73h0m0s" {
		t.Errorf("filed an hour late: %+v", d)
	}
}

// What comes first, what comes at the same moment, and what hangs on another notice.
func TestOrder(t *testing.T) {
	b := load(t)
	now := at(t, "2026-11-30T12:00:00Z")
	s := case1(t, now, "name", "ssn", "US-NJ=10", "US-PA=600", "US-MD=5", "US-OK=700", "US-MA=3", "US-IL=9", "identity_fraud_reasonable=yes", "substantial_id_theft_risk=yes")
	list := b.Decide(s)
	if d := duty(t, list, "us-nj-subjects"); len(d.WaitFor) != 1 || d.WaitFor[0] != "us-nj-police" {
		t.Errorf("New Jersey: %+v", d)
	}
	if d := duty(t, list, "us-md-subjects"); len(d.WaitFor) != 1 || d.WaitFor[0] != "us-md-ag" {
		t.Errorf("Maryland: %+v", d)
	}
	if d := duty(t, list, "us-pa-ag"); d.State != api.DutyClockNotStarted || len(d.WaitFor) != 1 || !d.Due.IsZero() {
		t.Errorf("Pennsylvania before: %+v", d)
	}
	if d := duty(t, list, "us-ok-ag"); d.State != api.DutyClockNotStarted || d.Clock.Needs[0] != "filed us-ok-subjects" {
		t.Errorf("Oklahoma before: %+v", d)
	}
	if d := duty(t, list, "us-ma-subjects"); len(d.Forbidden) != 2 || !d.Due.IsZero() || d.Elapsed == "" {
		t.Errorf("Massachusetts: %+v", d)
	}
	if d := duty(t, list, "us-il"); len(d.Forbidden) != 1 || d.Forbidden[0] != "n_residents" {
		t.Errorf("Illinois: %+v", d)
	}
	sent := at(t, "2026-11-30T10:00:00Z")
	s.Filed = map[string]Filing{"us-nj-subjects": {When: sent}, "us-nj-police": {When: sent.Add(time.Hour)}, "us-pa-subjects": {When: sent}, "us-ok-subjects": {When: sent}}
	list = b.Decide(s)
	if d := duty(t, list, "us-nj-subjects"); !d.Disorder || len(d.WaitFor) != 0 {
		t.Errorf("New Jersey in the wrong order: %+v", d)
	}
	if d := duty(t, list, "us-pa-ag"); d.State != api.DutyLate || !d.Due.Equal(sent) {
		t.Errorf("Pennsylvania after: %+v", d)
	}
	if d := duty(t, list, "us-ok-ag"); d.State != api.DutyRunning || !d.Due.Equal(at(t, "2027-01-29T23:59:59-06:00")) {
		t.Errorf("Oklahoma after: %+v", d)
	}
}

// A leak that is only possible starts a clock of its own in Korea.
func TestAPossibleLeakStartsAClock(t *testing.T) {
	s := NewSituation(at(t, "2026-11-30T12:00:00Z"))
	if err := s.State("name", "KR=20", "malicious=yes", "leak_possible_persons_unknown=yes"); err != nil {
		t.Fatal(err)
	}
	s.Clocks["leak-possible"] = []Moment{{When: at(t, "2026-11-29T03:00:00Z")}}
	list := load(t).Decide(s)
	if d := duty(t, list, "kr-pipa-possible"); d.Verdict != api.DutyDue || !d.Due.Equal(at(t, "2026-12-02T03:00:00Z")) {
		t.Errorf("%+v", d)
	}
	if d := duty(t, list, "kr-pipa-subjects"); d.State != api.DutyClockNotStarted || d.Clock.Needs[0] != "aware" {
		t.Errorf("the clock of the known leak: %+v", d)
	}
}

// Statuses that are not law in force never fire, even when their day has come.
func TestStatusesThatNeverFire(t *testing.T) {
	b := load(t)
	for _, now := range []string{"2026-11-30T12:00:00Z", "2028-01-01T12:00:00Z"} {
		for _, d := range b.Decide(case1(t, at(t, now), append(everything(b), "name", "health", "minors")...)) {
			if d.Status != "" && d.Verdict != api.DutyNotInForce {
				t.Errorf("%s is %s, and %s at %s", d.Rule, d.Status, d.Verdict, now)
			}
		}
	}
}

// Where nobody has looked, the answer says so, and where somebody looked and found nothing it
// says that.
func TestJurisdictionsThatNobodyHasRead(t *testing.T) {
	unread, none := load(t).Unread(case1(t, at(t, "2026-11-30T12:00:00Z"), "name", "RU=5", "OM=1", "MO=3", "US-GA=4", "FR=1", "CA-ON=2", "US-TX=1", "BH=0", "??=7"))
	if fmt.Sprint(unread) != "[OM RU US-GA]" || len(none) != 1 || none[0].Jurisdiction != "MO" {
		t.Errorf("%v, %+v", unread, none)
	}
}

// Two statements that contradict each other count as none, and persons of unknown country may
// live anywhere.
func TestWhatIsNotKnownStaysOpen(t *testing.T) {
	b := load(t)
	now := at(t, "2026-11-30T12:00:00Z")
	d := duty(t, b.Decide(case1(t, now, "name", "FR=5", "controller=yes", "high_risk=yes", "high_risk=no")), "eu-gdpr-34-subjects")
	if d.Verdict != api.DutyOpen || !strings.Contains(strings.Join(d.Why, " "), "contradict") {
		t.Errorf("said both ways: %+v", d)
	}
	d = duty(t, b.Decide(case1(t, now, "name", "ssn", "US=900")), "us-ca-ag")
	if d.Verdict != api.DutyOpen || fmt.Sprint(d.Asks) != "[residents]" {
		t.Errorf("a country without states: %+v", d)
	}
	if d := duty(t, b.Decide(case1(t, now, "name", "ssn", "US=400")), "us-ca-ag"); d.Verdict != api.DutyNotMet {
		t.Errorf("too few in the whole country: %+v", d)
	}
	empty := NewSituation(now)
	for _, d := range b.Decide(empty) {
		if d.Verdict == api.DutyDue || d.Verdict == api.DutyNotMet {
			t.Errorf("nothing was said, and %s is %s: %v", d.Rule, d.Verdict, d.Why)
		}
	}
}

// More knowledge never turns what is due or not due back: only what was open moves.
func TestAnswersOnlySettle(t *testing.T) {
	b := load(t)
	names := []string{}
	for name := range Questions() {
		names = append(names, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := NewSituation(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
		given := []string{"name", rapid.SampledFrom([]string{"ssn", "email", "health", "password_login", "dob"}).Draw(t, "class"), rapid.SampledFrom([]string{"FR=3", "US-NY=7000", "KR=1500", "??=10", "BR=2"}).Draw(t, "residents")}
		if err := s.State(given...); err != nil {
			t.Fatal(err)
		}
		name := rapid.SampledFrom(names).Draw(t, "question")
		more, err := s.WhatIf(name + "=" + rapid.SampledFrom([]string{"yes", "no"}).Draw(t, "answer"))
		if err != nil {
			t.Fatal(err)
		}
		presumed := harms[name].presumed
		for _, c := range b.WhatChanges(s, more) {
			if c.Before != api.DutyOpen && !presumed {
				t.Fatalf("%s went from %s to %s", c.Rule, c.Before, c.After)
			}
		}
	})
}

// What an incident keeps decides the same, and names the same version.
func TestKeptBooks(t *testing.T) {
	b := load(t)
	text, err := b.Keep()
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 44<<10 {
		t.Errorf("an entry of the log holds 48 KiB, and the rules take %d bytes", len(text))
	}
	kept, err := Kept(text)
	if err != nil {
		t.Fatal(err)
	}
	s := case1(t, at(t, "2026-11-30T12:00:00Z"), append(everything(b), "name", "email", "password_login")...)
	if kept.Version != b.Version || len(Compare(kept, b, s)) != 0 {
		t.Errorf("version %s, kept as %s; %v", b.Version, kept.Version, Compare(kept, b, s))
	}
	t.Logf("%d bytes", len(text))
	for _, bad := range []string{"", "no base64!", text[:len(text)/2]} {
		if _, err := Kept(bad); err == nil {
			t.Error("rules that are cut were read")
		}
	}
}

// An error names no statement: it could hold anything.
func TestStatementsAreNotEchoed(t *testing.T) {
	for _, bad := range []string{"zoe@mail.example", "FR=many", "FR=-1", "high_risk=perhaps", "=", "", "fr=1", "x=yes", "+", "++dob", "email=yes"} {
		err := NewSituation(time.Time{}).State(bad)
		if !errors.Is(err, ErrStatement) || bad == "zoe@mail.example" && strings.Contains(err.Error(), "zoe") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
