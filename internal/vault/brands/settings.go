package brands

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/cloakroom/cloakroom/internal/platform/cards"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
)

// Settings are what a brand says of itself: one object, changed as a whole under a version.
//
// A setting is a field here, a line of the list settings below, and a member of
// api.Settings and api.SettingsChange with a line in package admin.
type Settings struct {
	// Country is where the controller is established, and PhoneCountry is that of national
	// phone numbers, where neither the row nor the customer has one: ISO 3166-1 alpha-2
	// codes, or empty.
	Country      string `json:"country,omitempty"`
	PhoneCountry string `json:"phone_country,omitempty"`
	// Languages are those in which the brand writes to customers, the first one by default.
	Languages []string `json:"languages,omitempty"`
	// MailFrom is the sender of mail to customers, and MailReplyTo where answers go.
	MailFrom    string `json:"mail_from,omitempty"`
	MailReplyTo string `json:"mail_reply_to,omitempty"`
	// TicketPattern is a regular expression that a whole ticket fits; empty: every one does.
	TicketPattern string `json:"ticket_pattern,omitempty"`
	// CoolingDays is how long the key of an erased customer lies aside.
	CoolingDays int `json:"cooling_days"`
	// TombstoneDays is for how long after the destruction of their key an erased customer does
	// not come back by an import.
	TombstoneDays int `json:"tombstone_days"`
	// RetentionDays is how long the values of log entries are kept at least: who acted, when.
	RetentionDays int `json:"retention_days"`
	// GlassHours is how long broken glass waits before it takes effect; 0: as the server says.
	GlassHours int `json:"glass_hours,omitempty"`
	// LoyaltyPrefixes begin the brand's own numbers, which are no payment cards in LoyaltyFields.
	LoyaltyPrefixes []string `json:"loyalty_prefixes,omitempty"`
	LoyaltyFields   []string `json:"loyalty_fields,omitempty"`
}

const (
	// DefaultCoolingDays is a week in which somebody notices that customers are missing,
	// well within the month in which a request is due (GDPR Art. 12(3)).
	DefaultCoolingDays = 7
	// MaxCoolingDays keeps the cooling time within that month.
	MaxCoolingDays = 21
	// DefaultTombstoneDays are three years: lists that somebody exported before an erasure are
	// still imported years later.
	DefaultTombstoneDays = 3 * 365
	// MaxTombstoneDays bounds it: a tombstone is still data about somebody (GDPR Art. 5(1)(e)).
	MaxTombstoneDays = 3650
	// MinRetentionDays is the shortest retention, and the default: budgets need the entries
	// of their longest window, 30 days, and of a day on top.
	MinRetentionDays = 31
	// MaxRetentionDays is ten years: the longest limitation of claims that brands asked for.
	MaxRetentionDays = 3650
	// MaxGlassHours is a week: who waits longer has found a second person.
	MaxGlassHours = 168

	maxPattern   = 100
	maxLanguages = 20
	maxPrefixes  = 50
	maxFields    = 20
	maxMail      = 200
)

// DefaultSettings are those of a new brand.
func DefaultSettings() Settings {
	return Settings{CoolingDays: DefaultCoolingDays, TombstoneDays: DefaultTombstoneDays, RetentionDays: MinRetentionDays}
}

var (
	// ErrSetting is returned for a setting that a brand cannot have.
	ErrSetting = fault.New(fault.Invalid, "a setting is refused")
	// ErrSettingsMoved is returned for a change of settings that are no more in force.
	ErrSettingsMoved = fault.New(fault.Conflict, "somebody else has changed the settings: look at them with `cloakroom settings show`, and send the change with their version")
	// ErrTicket is returned for a ticket that does not fit the brand's pattern.
	ErrTicket = fault.New(fault.Invalid, "the ticket does not fit the pattern of this brand: `cloakroom settings show` shows ticket_pattern")
)

// Difference is one setting that differs.
type Difference struct {
	Name    string
	Was, Is string // as people read them; empty where nothing is set
	// Weaker says what somebody could do, or could be noticed less by, after the change;
	// empty where it weakens nothing.
	Weaker string
	// Named says that the texts may name somebody.
	Named bool
}

// settings lists every setting with its text, and with what a change weakens.
var settings = []struct {
	name   string
	text   func(s *Settings) string
	weaker func(was, is *Settings) string
	named  bool
}{
	{name: "country", text: func(s *Settings) string { return s.Country }},
	{name: "phone_country", text: func(s *Settings) string { return s.PhoneCountry }},
	{name: "languages", text: func(s *Settings) string { return strings.Join(s.Languages, " ") }},
	{name: "mail_from", text: func(s *Settings) string { return s.MailFrom }, named: true},
	{name: "mail_reply_to", text: func(s *Settings) string { return s.MailReplyTo }, named: true},
	{name: "ticket_pattern", text: func(s *Settings) string { return s.TicketPattern }, weaker: func(was, _ *Settings) string {
		if was.TicketPattern == "" {
			return ""
		}
		return "tickets that are refused now may be accepted" // which of two patterns takes more is not computed
	}},
	{name: "cooling_days", text: func(s *Settings) string { return strconv.Itoa(s.CoolingDays) }, weaker: func(was, is *Settings) string {
		if is.CoolingDays >= was.CoolingDays {
			return ""
		}
		return "keys of erased customers are destroyed sooner"
	}},
	{name: "tombstone_days", text: func(s *Settings) string { return strconv.Itoa(s.TombstoneDays) }, weaker: func(was, is *Settings) string {
		if is.TombstoneDays >= was.TombstoneDays {
			return ""
		}
		return "erased customers can come back by an import sooner"
	}},
	{name: "retention_days", text: func(s *Settings) string { return strconv.Itoa(s.RetentionDays) }, weaker: func(was, is *Settings) string {
		if is.RetentionDays >= was.RetentionDays {
			return ""
		}
		return "who read customers can be erased from the log sooner"
	}},
	{name: "glass_hours", text: func(s *Settings) string {
		if s.GlassHours == 0 {
			return ""
		}
		return strconv.Itoa(s.GlassHours)
	}, weaker: func(was, is *Settings) string {
		if was.GlassHours > 0 && is.GlassHours >= was.GlassHours {
			return ""
		}
		return "people may have less time to refuse what one hand does by broken glass" // how long a server waits is not known here
	}},
	{name: "loyalty_prefixes", text: func(s *Settings) string { return strings.Join(s.LoyaltyPrefixes, " ") }},
	{name: "loyalty_fields", text: func(s *Settings) string { return strings.Join(s.LoyaltyFields, " ") }},
}

// Differences returns which settings a change changes.
func Differences(was, is Settings) []Difference {
	var out []Difference
	for _, x := range settings {
		d := Difference{Name: x.name, Was: x.text(&was), Is: x.text(&is), Named: x.named}
		if d.Was == d.Is {
			continue
		}
		if x.weaker != nil {
			d.Weaker = x.weaker(&was, &is)
		}
		out = append(out, d)
	}
	return out
}

func refused(name, why string) error { return fmt.Errorf("%w: %s %s", ErrSetting, name, why) }

// Checked returns the settings as they are stored, or says which one cannot be, and never
// repeats it: a prefix may be more than was meant.
func (s Settings) Checked() (Settings, error) {
	for _, c := range []struct {
		name string
		code *string
	}{{"country", &s.Country}, {"phone_country", &s.PhoneCountry}} {
		if *c.code == "" {
			continue
		}
		code, err := record.ReadCountry(*c.code)
		if err != nil {
			return s, fmt.Errorf("%w: %s %w", ErrSetting, c.name, err)
		}
		*c.code = code
	}
	if len(s.Languages) > maxLanguages {
		return s, refused("languages", fmt.Sprintf("are at most %d", maxLanguages))
	}
	s.Languages = slices.Clone(s.Languages)
	for i, l := range s.Languages {
		tag, err := language.Parse(l)
		if err != nil || slices.Contains(s.Languages[:i], tag.String()) {
			return s, refused("languages", fmt.Sprintf("number %d is no language tag such as fr or pt-BR, or is there twice", i+1))
		}
		s.Languages[i] = tag.String()
	}
	for _, m := range []struct {
		name string
		text *string
	}{{"mail_from", &s.MailFrom}, {"mail_reply_to", &s.MailReplyTo}} {
		if *m.text == "" {
			continue
		}
		a, err := mail.ParseAddress(*m.text)
		if err != nil || len(*m.text) > maxMail || strings.ContainsAny(*m.text, "\r\n") {
			return s, refused(m.name, "is no address such as privacy@gucci.example or \"Gucci\" <privacy@gucci.example>")
		}
		*m.text = a.Address
		if a.Name != "" {
			*m.text = a.String()
		}
	}
	if _, err := pattern(s.TicketPattern); err != nil {
		return s, refused("ticket_pattern", fmt.Sprintf("is no regular expression of at most %d characters such as CASE-[0-9]{1,8}", maxPattern))
	}
	if s.CoolingDays < 0 || s.CoolingDays > MaxCoolingDays {
		return s, refused("cooling_days", fmt.Sprintf("are 0 to %d", MaxCoolingDays))
	}
	if s.TombstoneDays < 0 || s.TombstoneDays > MaxTombstoneDays {
		return s, refused("tombstone_days", fmt.Sprintf("are 0 to %d", MaxTombstoneDays))
	}
	if s.RetentionDays < MinRetentionDays || s.RetentionDays > MaxRetentionDays {
		return s, refused("retention_days", fmt.Sprintf("are %d to %d", MinRetentionDays, MaxRetentionDays))
	}
	if s.GlassHours < 0 || s.GlassHours > MaxGlassHours {
		return s, refused("glass_hours", fmt.Sprintf("are 1 to %d, or 0 for as long as the server says", MaxGlassHours))
	}
	return s, s.loyalty()
}

// loyalty checks the brand's own numbers, and names what is wrong by its place.
func (s *Settings) loyalty() error {
	if len(s.LoyaltyPrefixes) > maxPrefixes || len(s.LoyaltyFields) > maxFields {
		return refused("loyalty_prefixes", fmt.Sprintf("are at most %d, in at most %d fields", maxPrefixes, maxFields))
	}
	for i, p := range s.LoyaltyPrefixes {
		if fault := cards.CheckPrefix(p); fault != cards.PrefixFine {
			return fmt.Errorf("%w: prefix %d %s", ErrSetting, i+1, fault)
		}
	}
	for i, f := range s.LoyaltyFields {
		attr, ok := strings.CutPrefix(f, "attr.")
		if f == record.ExternalID.String() || ok && record.AttributeName(attr) {
			continue
		}
		return fmt.Errorf("%w: field %d is neither external_id nor attr.NAME: own numbers are accepted there alone", ErrSetting, i+1)
	}
	if (len(s.LoyaltyPrefixes) == 0) != (len(s.LoyaltyFields) == 0) {
		return fmt.Errorf("%w: give both prefixes and fields, or neither to take the declaration back", ErrSetting)
	}
	return nil
}

// pattern compiles a pattern that a whole ticket has to fit; nil for an empty one. Go's
// expressions take linear time, and a ticket is short.
func pattern(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxPattern {
		return nil, errors.New("a pattern that is too long")
	}
	if _, err := syntax.Parse(text, syntax.Perl); err != nil { // alone: ")|(" would fit inside of the group
		return nil, err
	}
	return regexp.Compile(`^(?:` + text + `)$`)
}

// Ticket refuses a ticket that does not fit the brand's pattern. No ticket fits: whether
// there has to be one is not the pattern's to say.
func (b *Brand) Ticket(ticket string) error {
	if b.tickets == nil || ticket == "" || b.tickets.MatchString(ticket) {
		return nil
	}
	return ErrTicket
}

// Cooling is how long the key of an erased customer lies aside before it is destroyed.
func (b *Brand) Cooling() time.Duration {
	return time.Duration(b.Settings.CoolingDays) * 24 * time.Hour
}

// Tombstones is for how long after the destruction of their key an erased customer does not
// come back by an import.
func (b *Brand) Tombstones() time.Duration {
	return time.Duration(b.Settings.TombstoneDays) * 24 * time.Hour
}

// Glass is how long broken glass waits before it takes effect; 0: as the server says.
func (b *Brand) Glass() time.Duration {
	return time.Duration(b.Settings.GlassHours) * time.Hour
}

// Retention is how long the values of the brand's log entries are kept at least.
func (b *Brand) Retention() time.Duration {
	return time.Duration(b.Settings.RetentionDays) * 24 * time.Hour
}

// stored is a version of a brand's settings as it is stored. The log has a digest of the
// newest, and each has the hash of the one before: so all of them follow from the newest.
type stored struct {
	brand   record.BrandID
	version int64
	text    string
	created int64
	author  int64
	before  string
}

const (
	sqlNewestSettings = `SELECT brand, version, text, created, author, before FROM brand_settings WHERE brand = $1 ORDER BY version DESC LIMIT 1`
	sqlPageSettings   = `SELECT brand, version, text, created, author, before FROM brand_settings WHERE brand = $1 AND version < $2 ORDER BY version DESC LIMIT $3`
	sqlAllSettings    = `SELECT s.brand, s.version, s.text, s.created, s.author, s.before FROM brand_settings s WHERE s.version = (SELECT max(n.version) FROM brand_settings n WHERE n.brand = s.brand) ORDER BY s.brand`
	sqlDropSettings   = `DELETE FROM brand_settings WHERE brand = $1 AND version >= $2`
	sqlInsertSettings = `INSERT INTO brand_settings (brand, version, text, created, author, before) VALUES ($1, $2, $3, $4, $5, $6)`
)

func scanStored(r db.Row) (x stored, err error) {
	var brand int64
	err = r.Scan(&brand, &x.version, &x.text, &x.created, &x.author, &x.before)
	x.brand = record.BrandID(brand)
	return x, err
}

// row is the row that the brand's log has a digest of. Without a version there is none.
func (x *stored) row() rights.Row {
	return rights.Row{Table: tableVersions, Key: "newest", Gone: x.version == 0,
		Cells: []any{int64(x.brand), x.version, x.text, x.created, x.author, x.before}}
}

// hash is what the next version says of this one.
func (x *stored) hash() string {
	b, err := json.Marshal([]any{int64(x.brand), x.version, x.text, x.created, x.author, x.before})
	if err != nil {
		panic(err) // numbers and texts
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func (x *stored) settings() (s Settings, err error) {
	s = DefaultSettings() // of settings that its release did not have
	if err = json.Unmarshal([]byte(x.text), &s); err != nil {
		err = fmt.Errorf("reading version %d of the settings of brand %d: %w", x.version, x.brand, err)
	}
	return s, err
}

// row is what earlier releases logged of their settings. The defaults were no row.
func (l *legacy) row() rights.Row {
	return rights.Row{Table: tableSettings, Key: "brand", Cells: []any{l.own, l.country, l.days},
		Gone: l.own+l.country == "" && l.days == DefaultCoolingDays}
}

// settings are version 1.
func (l *legacy) settings() Settings {
	s := DefaultSettings()
	s.PhoneCountry, s.CoolingDays = l.country, int(l.days)
	if prefixes, fields, ok := strings.Cut(l.own, "\n"); ok {
		s.LoyaltyPrefixes, s.LoyaltyFields = strings.Fields(prefixes), strings.Fields(fields)
	}
	return s
}

// settled reads a brand with the settings in force, and their row.
func settled(ctx context.Context, q db.Queryer, brand record.BrandID) (Brand, stored, error) {
	var newest stored
	b, err := scanBrand(q.Row(ctx, sqlBrandByID, int64(brand)))
	if err != nil {
		return b, newest, found(err)
	}
	b.Version, b.Settings = 1, b.legacy.settings()
	newest, err = scanStored(q.Row(ctx, sqlNewestSettings, int64(brand)))
	switch {
	case errors.Is(err, db.ErrNoRows):
		newest = stored{}
	case err != nil:
		return b, newest, fmt.Errorf("reading the settings of brand %d: %w", brand, err)
	default:
		b.Version = int(newest.version)
		if b.Settings, err = newest.settings(); err != nil {
			return b, newest, err
		}
	}
	if len(b.Settings.LoyaltyPrefixes) > 0 {
		b.Own = cards.NewOwn(b.Settings.LoyaltyPrefixes, b.Settings.LoyaltyFields)
	}
	if b.tickets, err = pattern(b.Settings.TicketPattern); err != nil {
		err = fmt.Errorf("the ticket pattern of brand %d does not compile: %w", brand, err)
	}
	return b, newest, err
}

// SetSettings puts checked settings in the place of a version inside the caller's
// transaction, and returns theirs. Where another version is in force it is
// ErrSettingsMoved: of two who edit at once, the second is refused.
func (s *Store) SetSettings(ctx context.Context, q db.Queryer, brand record.BrandID, was int, to Settings, author uint64, at time.Time) (int, error) {
	b, newest, err := settled(ctx, q, brand)
	if err != nil {
		return 0, err
	}
	if b.Version != was {
		return 0, ErrSettingsMoved
	}
	if newest.version > 0 {
		if err := rights.Holds(q, newest.row()); err != nil {
			return 0, err
		}
	}
	text, err := json.Marshal(to)
	if err != nil {
		return 0, fmt.Errorf("writing the settings of brand %d: %w", brand, err)
	}
	next := stored{brand: brand, version: int64(was) + 1, text: string(text), created: at.UnixMicro(), author: int64(author)}
	if newest.version > 0 {
		next.before = newest.hash()
	}
	if _, err := q.Exec(ctx, sqlInsertSettings, int64(brand), next.version, next.text, next.created, next.author, next.before); err != nil {
		return 0, fmt.Errorf("storing version %d of the settings of brand %d: %w", next.version, brand, err)
	}
	rights.Changed(q, next.row())
	return int(next.version), revision.Bump(ctx, q)
}

// Version is a version of a brand's settings, and what it changed.
type Version struct {
	Number   int
	At       time.Time
	Author   uint64
	Settings Settings
	Changes  []Difference
	// Changed says that the version is not what was logged: it was changed in the database.
	Changed bool
}

// mendVersions writes the newest version as the log has it, in the place of it and of all
// that claim to be newer.
func (s *Store) mendVersions(ctx context.Context, q db.Queryer, brand record.BrandID, r rights.Row) (int64, error) {
	if r.Gone {
		return q.Exec(ctx, sqlDropSettings, int64(brand), int64(0))
	}
	if _, err := q.Exec(ctx, sqlDropSettings, int64(brand), r.Cells[1]); err != nil {
		return 0, err
	}
	return q.Exec(ctx, sqlInsertSettings, r.Cells...)
}

// History returns versions of a brand's settings, the newest first, before one or with 0
// from the newest. Version 1, which nobody made, is not among them.
func (s *Store) History(ctx context.Context, name string, before, limit int) ([]Version, error) {
	b, err := s.ByName(ctx, name) // refuses a newest version that the log does not know
	if err != nil {
		return nil, err
	}
	// All from the newest on are read, because each is held against the one after it.
	var out []Version
	open := false // the last of out waits for the version before it
	after, next := "", int64(b.Version)+1
	for done := false; !done; {
		page := make([]stored, 0, historyPage)
		err := s.db.Rows(ctx, func(r db.Row) error {
			x, err := scanStored(r)
			page = append(page, x)
			return err
		}, sqlPageSettings, int64(b.ID), next, historyPage)
		if err != nil {
			return nil, fmt.Errorf("reading the settings of brand %d: %w", b.ID, err)
		}
		for _, x := range page {
			now, err := x.settings()
			if err != nil {
				return nil, err
			}
			if n := len(out); open {
				out[n-1].Changes, open = Differences(now, out[n-1].Settings), false
				if n == limit {
					return out, nil
				}
			}
			if open = before == 0 || int(x.version) < before; open {
				out = append(out, Version{Number: int(x.version), At: time.UnixMicro(x.created).UTC(), Author: uint64(x.author), Settings: now,
					Changed: x.version != next-1 || after != "" && x.hash() != after})
			}
			after, next = x.before, x.version
		}
		done = len(page) < historyPage
	}
	if n := len(out); open {
		out[n-1].Changes = Differences(b.legacy.settings(), out[n-1].Settings)
	}
	return out, nil
}

// historyPage is how many versions are read at once.
const historyPage = 100
