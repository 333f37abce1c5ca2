package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// maxOffset is how far the clocks of the vault and its database may be apart before somebody
// should look: the server stops releasing at 5 minutes.
const maxOffset = 5 * time.Second

// finder adds what was found to a report.
type finder func(check string, err error, well string)

// ready looks at what has to be in place before the night on which it is needed.
func (c *doctorCmd) ready(ctx context.Context, v *connection, add finder) error {
	list, err := v.Brands(ctx)
	if err != nil {
		return err
	}
	people, err := everybody(ctx, v)
	if err != nil {
		add("responders", err, "")
	}
	now := time.Now()
	for _, b := range list {
		if people != nil {
			names := responders(people, b.Name, now)
			err := error(nil)
			if len(names) < 2 {
				err = fmt.Errorf("%d with a key, and undoing takes two: cloakroom principal create NAME --role %s=%s, for each", len(names), b.Name, access.IncidentResponder)
			}
			add("responders of "+b.Name, err, strings.Join(names, ", "))
		}
		receivers, err := v.Receivers(ctx, b.Name)
		if err == nil && len(receivers) == 0 {
			err = fmt.Errorf("alarms reach nobody: cloakroom alarm receiver add NAME --brand %s", b.Name)
		}
		for i := range receivers {
			if what := notify.Untested(&receivers[i], now); what != "" {
				err = errors.Join(err, errors.New(what))
			}
		}
		add("receivers of "+b.Name, oneLine(err), fmt.Sprintf("%d, each tested, and the test was read", len(receivers)))
	}
	s, err := v.Separation(ctx)
	if err == nil && s.Alone {
		err = errors.New("one hand still acts alone: give an approving role to two people (docs/separation.md)")
	}
	add("two people", err, "acts that need two people take two")
	c.copies(ctx, v, now, add)
	metrics, err := v.Metrics(ctx)
	if err != nil {
		add("clock", err, "")
		return nil
	}
	offset, err := clockOffset(metrics)
	if err == nil && math.Abs(offset) > maxOffset.Seconds() {
		err = fmt.Errorf("the server's clock and the database's are %.1f seconds apart: let both follow NTP", math.Abs(offset))
	}
	add("clock", err, fmt.Sprintf("%.1f seconds from the database's", math.Abs(offset)))
	return nil
}

// oneLine is an error on one line of a report.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// responders are the people who can stop somebody at a brand, and have a key.
func responders(people []api.Principal, brand string, now time.Time) (names []string) {
	for i := range people {
		p := &people[i]
		role, at := p.Roles[brand]
		if !at {
			role = p.Roles["group"]
		}
		live := slices.ContainsFunc(p.Credentials, func(k api.Credential) bool {
			return k.Export == "" && k.Revoked.IsZero() && (k.Expires.IsZero() || k.Expires.After(now))
		})
		if p.Kind == "person" && p.Disabled.IsZero() && live && (role == access.IncidentResponder || role == access.DataProtectionOfficer) {
			names = append(names, p.Name)
		}
	}
	return names
}

// copies looks for a backup and for a copy of the root key.
func (c *doctorCmd) copies(ctx context.Context, v *connection, now time.Time, add finder) {
	last, rootKey, err := backups(ctx, v, c.RootKeyCopy == "")
	if err == nil {
		if last.IsZero() {
			err = errors.New("there is none: cloakroom backup --out DIR --recipient AGE-KEY")
		} else if age := now.Sub(last); age > c.BackupWithin {
			err = fmt.Errorf("the newest began %s ago, and --backup-within is %s", age.Round(time.Minute), c.BackupWithin)
		}
	}
	add("backup", err, "the newest began "+last.Format(time.RFC3339))
	if c.RootKeyCopy == "" {
		err = nil
		if !rootKey {
			err = errors.New("no backup has root.key in it: copy the file to a safe place, and name the copy with --root-key-copy")
		}
		add("copy of root.key", err, "a backup has it, encrypted")
		return
	}
	add("copy of root.key", c.sameKey(), "it is the same key")
}

// sameKey compares the root key with its copy.
func (c *doctorCmd) sameKey() error {
	key, err := os.ReadFile(c.rootKeyFile())
	if err != nil {
		return fmt.Errorf("reading the root key: %w", err)
	}
	kept, err := os.ReadFile(c.RootKeyCopy)
	if err != nil {
		return fmt.Errorf("reading the copy: %w", err)
	}
	if subtle.ConstantTimeCompare(bytes.TrimSpace(key), bytes.TrimSpace(kept)) != 1 {
		return errors.New("it is another key: copy the current root.key")
	}
	return nil
}

// backups returns when the newest backup began, and, if that is wanted, whether any of those
// that the log names has the root key in it.
func backups(ctx context.Context, v *connection, wanted bool) (last time.Time, rootKey bool, err error) {
	q := client.EntriesQuery{Kind: "administration", Limit: api.EntriesPage}
	for {
		page, err := v.Entries(ctx, "group", q)
		if err != nil {
			return last, rootKey, err
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			b, ok := entry.ReadTexts(entry.KindAdministration, e.Detail).(entry.BackedUp)
			if !ok {
				continue
			}
			if last.IsZero() {
				last = e.At
			}
			rootKey = rootKey || b.RootKey
		}
		if q.Before = page.Before; q.Before == 0 || rootKey || !wanted && !last.IsZero() {
			return last, rootKey, nil
		}
	}
}

// clockOffset reads how far the server's clock is from the database's out of its metrics.
func clockOffset(metrics []byte) (seconds float64, err error) {
	for line := range strings.Lines(string(metrics)) {
		if _, err := fmt.Sscanf(line, "cloakroom_clock_offset_seconds %g", &seconds); err == nil {
			return seconds, nil
		}
	}
	return 0, errors.New("the server does not say: look at its metrics")
}
