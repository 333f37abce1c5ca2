package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type settingsCmd struct {
	Show    settingsShowCmd    `cmd:"" default:"withargs" help:"Show a brand's settings and their version; same as settings alone."`
	Set     settingsSetCmd     `cmd:"" help:"Change settings, and show what differs."`
	History settingsHistoryCmd `cmd:"" help:"Show who changed which settings, the newest version first."`
}

type settingsShowCmd struct{ forBrand }

// Run shows settings.
func (c *settingsShowCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.Settings, error) { return v.Settings(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, s *api.Settings) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, x := range []struct{ name, text, says string }{
			{"country", s.Country, "where the brand is established"},
			{"phone_country", s.PhoneCountry, "of national phone numbers"},
			{"languages", strings.Join(s.Languages, " "), "in which it writes to customers"},
			{"mail_from", s.MailFrom, "sender of mail to customers"},
			{"mail_reply_to", s.MailReplyTo, "where answers go"},
			{"ticket_pattern", s.TicketPattern, "that whole tickets fit"},
			{"cooling_days", fmt.Sprint(s.CoolingDays), "that erased customers' keys lie aside"},
			{"tombstone_days", fmt.Sprint(s.TombstoneDays), "that they are kept out of imports after that"},
			{"retention_days", fmt.Sprint(s.RetentionDays), "that the log keeps who read what"},
			{"glass_hours", hoursSet(s.GlassHours), "that broken glass waits; -: as the server says"},
			{"loyalty_prefixes", strings.Join(s.LoyaltyPrefixes, " "), "of numbers that are no payment cards"},
			{"loyalty_fields", strings.Join(s.LoyaltyFields, " "), "where these may stand"},
		} {
			if x.text == "" {
				x.text = "-"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", x.name, x.text, x.says)
		}
		t.Flush()
		fmt.Fprintf(w, "version %d\n", s.Version)
	})
}

// hoursSet is a number of hours, empty where none is set.
func hoursSet(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

type settingsSetCmd struct {
	forBrand
	Country       *string  `help:"Country where the brand is established." placeholder:"CC"`
	PhoneCountry  *string  `help:"Country of phone numbers without a country code, for rows and customers without a country. Numbers that are stored keep the country of the day they came in." placeholder:"CC"`
	Languages     *string  `help:"Languages in which the brand writes to customers, with spaces; the first is the default." placeholder:"TAGS"`
	MailFrom      *string  `help:"Sender of mail to customers." placeholder:"ADDRESS"`
	MailReplyTo   *string  `help:"Where customers' answers go." placeholder:"ADDRESS"`
	TicketPattern *string  `help:"Regular expression that a whole ticket fits. Changing one takes a second person." placeholder:"RE2"`
	TombstoneDays *int     `help:"For how long erased customers are kept out of imports: 0 to 3650. Fewer take a second person." placeholder:"N"`
	CoolingDays   *int     `help:"How long erased customers' keys lie aside: 0 to 21; 0 destroys keys at once. Fewer take a second person." placeholder:"N"`
	RetentionDays *int     `help:"How long the log keeps who read what at least: 31 to 3650. Fewer take a second person." placeholder:"N"`
	GlassHours    *int     `help:"How long broken glass waits before it takes effect: 1 to 168; 0: as the server says (serve --glass-delay). Fewer, or the first ones, take a second person." placeholder:"N"`
	Prefixes      []string `name:"loyalty-prefix" help:"The first 6 to 12 digits of the brand's own numbers; all of them, they replace those of before. none: no more." placeholder:"DIGITS"`
	Fields        []string `name:"loyalty-field" help:"Where such numbers may stand: external_id or attr.NAME." placeholder:"FIELD"`
	Version       int      `help:"The version that the change was written for: refused where another is in force." placeholder:"N"`
	DryRun        bool     `help:"Show what would differ; change nothing."`
}

// Help is the long help text.
func (settingsSetCmd) Help() string {
	return `Changes the settings that are named, and leaves the others. An empty value takes one
away: --country ''. What weakens something takes a second person: the command then exits
with status 5 until they approved it (cloakroom change list).

See docs/settings.md for what each setting does.`
}

// change is what the flags ask for.
func (c *settingsSetCmd) change() (api.SettingsChange, error) {
	in := api.SettingsChange{Version: c.Version, Country: c.Country, PhoneCountry: c.PhoneCountry, MailFrom: c.MailFrom, MailReplyTo: c.MailReplyTo,
		TicketPattern: c.TicketPattern, CoolingDays: c.CoolingDays, TombstoneDays: c.TombstoneDays, RetentionDays: c.RetentionDays, GlassHours: c.GlassHours}
	if c.Languages != nil {
		in.Languages = append([]string{}, strings.Fields(*c.Languages)...)
	}
	switch {
	case len(c.Prefixes) == 1 && c.Prefixes[0] == "none":
		in.LoyaltyPrefixes, in.LoyaltyFields = []string{}, []string{}
	case len(c.Prefixes) > 0:
		in.LoyaltyPrefixes = c.Prefixes
	}
	if len(c.Fields) > 0 {
		in.LoyaltyFields = c.Fields
	}
	empty := in.Country == nil && in.PhoneCountry == nil && in.MailFrom == nil && in.MailReplyTo == nil && in.TicketPattern == nil &&
		in.CoolingDays == nil && in.TombstoneDays == nil && in.RetentionDays == nil && in.GlassHours == nil && in.Languages == nil && in.LoyaltyPrefixes == nil && in.LoyaltyFields == nil
	if empty {
		return in, &usageError{"name a setting to change, such as --ticket-pattern 'CASE-[0-9]+'"}
	}
	return in, nil
}

// Run changes settings.
func (c *settingsSetCmd) Run(ctx context.Context, std Streams) error {
	in, err := c.change()
	if err != nil {
		return err
	}
	call := func(v *connection) (*api.SettingsSet, error) { return v.SetSettings(ctx, c.Brand, in, c.DryRun) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.SettingsSet) {
		printSettingChanges(w, out.Changes)
		switch {
		case out.Applied:
			fmt.Fprintf(w, "set; version %d\n", out.Version)
		case len(out.Changes) == 0:
			fmt.Fprintf(w, "nothing differs; version %d\n", out.Version)
		default:
			fmt.Fprintln(w, "nothing was changed")
		}
	})
}

func printSettingChanges(w io.Writer, list []api.SettingChange) {
	none := func(text string) string {
		if text == "" {
			return "none"
		}
		return text
	}
	for _, x := range list {
		fmt.Fprintf(w, "%s: %s -> %s", x.Name, none(x.Was), none(x.Is))
		if x.Weaker != "" {
			fmt.Fprintf(w, " (takes a second person: %s)", x.Weaker)
		}
		fmt.Fprintln(w)
	}
}

type settingsHistoryCmd struct {
	forBrand
	Before int `help:"Versions before this one." placeholder:"N"`
	Limit  int `help:"At most so many." default:"20" placeholder:"N"`
}

// Run shows versions of settings.
func (c *settingsHistoryCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (*api.SettingsHistory, error) {
		return v.SettingsHistory(ctx, c.Brand, c.Before, c.Limit)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, out *api.SettingsHistory) {
		if len(out.Versions) == 0 {
			fmt.Fprintln(w, "nobody has changed the settings of", c.Brand)
		}
		for _, x := range out.Versions {
			fmt.Fprintf(w, "version %d, %s, by %s\n", x.Version, x.At.Format(time.DateTime), x.By)
			if x.NotLogged {
				fmt.Fprintln(w, "  this version is not what was logged: somebody changed the database; see cloakroom doctor")
			}
			var b strings.Builder
			printSettingChanges(&b, x.Changes)
			for line := range strings.Lines(b.String()) {
				fmt.Fprint(w, "  ", line)
			}
		}
		if out.Next > 0 {
			fmt.Fprintf(w, "older ones: cloakroom settings history --brand %s --before %d\n", c.Brand, out.Next)
		}
	})
}
