package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/app"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

type doctorCmd struct {
	remote
	Ready        bool          `help:"Check what has to be in place before an alarm: responders, receivers, backups."`
	RootKeyCopy  string        `name:"root-key-copy" help:"With --ready: the copy of root.key that you keep, to compare." type:"existingfile" placeholder:"FILE"`
	BackupWithin time.Duration `name:"backup-within" help:"With --ready: how old the newest backup may be." default:"24h" placeholder:"TIME"`
}

// finding is one thing that doctor looked at.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
}

// Help is the long help text.
func (doctorCmd) Help() string {
	return `Checks the files of the data directory and their permissions, whether the vault can serve
and has ordinals left for new customers, and the log of every brand, also against the
checkpoints that this machine's servers kept. It asks the running server. With --database it
also checks the PostgreSQL settings that the vault depends on. Changes nothing.

With --ready it checks instead what docs/runbook.md needs: two responders with a key at each
brand, receivers whose test somebody read, two people for the acts that need them, the age of
the newest backup, a copy of root.key, the clock.

EXIT STATUS: 0 all checks passed, 1 a check failed.`
}

// Run looks at a vault.
func (c *doctorCmd) Run(ctx context.Context, std Streams) error {
	var found []finding
	add := func(check string, err error, well string) {
		f := finding{check, err == nil, well}
		if err != nil {
			f.Found = err.Error()
		}
		found = append(found, f)
	}
	if c.Server == "" && !c.Ready {
		files := []string{c.rootKeyFile()}
		if _, err := os.Stat(filepath.Join(c.Data, app.DatabaseFile)); c.Database == "" && err == nil {
			files = append(files, filepath.Join(c.Data, app.DatabaseFile))
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				err = fmt.Errorf("other users may read it (mode %o): run chmod 600 %s", info.Mode().Perm(), f)
			}
			add("file "+filepath.Base(f), err, "there, and only its owner may read it")
		}
		two, err := keys.Interrupted(files[0])
		if two {
			err = errors.New("its rotation is unfinished and the old key is still in the file: run cloakroom key rotate-root")
		}
		add("root key", err, "root.key matches this vault")
	}
	err := c.with(ctx, std, func(v *connection) error {
		if c.Ready {
			return c.ready(ctx, v, add)
		}
		if v.vault != nil {
			settings, err := v.vault.DB.Settings(ctx)
			if err != nil {
				add("database", err, "")
			}
			for _, s := range settings {
				add("database: "+s.Name, s.Fault, s.Found)
			}
		}
		logs, lerr := v.Logs(ctx) // before health, which says what was found
		health, err := v.Health(ctx)
		add("health", err, "the vault can serve")
		addOwed(health, "stops", add)
		if c.Server == "" && c.Database != "" {
			c.running(ctx, std, add)
		}
		well, err := ordinals(ctx, v)
		add("ordinals", err, well)
		well, err = adoption(ctx, v)
		add("adoption", err, well)
		addFollowers(ctx, v, add)
		well, err = separation(ctx, v)
		add("two people", err, well)
		well, err = unread(ctx, v)
		add("rules of duties", err, well)
		list, err := v.Brands(ctx)
		if err != nil {
			return err
		}
		states := map[string]api.LogState{}
		if lerr == nil { // else each log is looked at alone
			for _, l := range logs {
				states[l.Brand] = l
			}
		}
		for _, b := range append(list, api.Brand{Name: "group"}) {
			addBrand(ctx, v, b.Name, states[b.Name], add)
		}
		return nil
	})
	if err != nil {
		add("vault", err, "")
	}
	bad := 0
	for _, f := range found {
		if !f.OK {
			bad++
		}
	}
	if err := c.print(std, found, func(w io.Writer) {
		for _, f := range found {
			mark := "ok  "
			if !f.OK {
				mark = "BAD "
			}
			fmt.Fprintf(w, "%s %-28s %s\n", mark, f.Check, f.Found)
		}
	}); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(found))
	}
	return nil
}

// addBrand looks at a brand: its log, its keys, its erasures.
func addBrand(ctx context.Context, v *connection, brand string, state api.LogState, add finder) {
	out, err := v.VerifyLog(ctx, brand, api.VerifyRequest{})
	if unseen(err) {
		add("log of "+brand, nil, "not looked at: this key may not read it")
		return
	}
	if err == nil && !out.OK {
		err = errors.New(out.Fault)
	}
	size := uint64(0)
	if out != nil {
		size = out.Size
	}
	if err == nil {
		err = shorter(state, size)
	}
	add("log of "+brand, err, fmt.Sprintf("%d entries, all as they were signed", size))
	rotations, err := v.Rotations(ctx, brand)
	for i := range rotations {
		if rotations[i].Stalled {
			err = errors.New(rotationLine(&rotations[i]))
		}
	}
	add("keys of "+brand, err, fmt.Sprintf("%d rotations; no rotation is stuck", len(rotations)))
	if brand == "group" {
		return
	}
	well, err := languages(ctx, v, brand)
	add("notice texts of "+brand, err, well)
	erasures, err := v.ErasureState(ctx, brand)
	if unseen(err) {
		return
	}
	add("erasures of "+brand, err, erasureLine(erasures, time.Now()))
	if erasures != nil && erasures.Holds > 0 {
		add("legal holds of "+brand, overdueHolds(erasures), fmt.Sprintf("%d in force, none past its review; they keep the keys of %d erased customers", erasures.Holds, erasures.Held))
	}
}

// running asks the server of the data directory, if one runs, what it sees: it may have seen
// more of the logs than the database holds.
func (c *doctorCmd) running(ctx context.Context, std Streams, add finder) {
	r := c.remote
	r.Database = ""
	v := r.socket(std.getenv("CLOAKROOM_KEY"))
	if v == nil {
		return
	}
	health, err := v.Health(ctx)
	add("running server", errors.Join(err, v.close()), "the server of this data directory can serve")
	addOwed(health, "stops of the running server", add)
}

// addOwed says whether a server could not write stops into the logs that they are for. A log
// that does not answer releases nothing meanwhile through this server; another server that
// reaches it does not know of them.
func addOwed(h *api.Health, check string, add finder) {
	if h == nil {
		return
	}
	var err error
	if h.Owed > 0 {
		err = errors.New(owedLine(h.Owed))
	}
	add(check, err, "every containment and revocation is in the logs")
}

func owedLine(n int) string {
	return fmt.Sprintf("%s not in the log of a brand yet, because the database did not take it: the server that was asked writes it first; repeat the stop at another server if that one is lost", counted(int64(n), "stop"))
}

// shorter is what is wrong with a log of which the server has seen more than is there.
func shorter(l api.LogState, size uint64) error {
	switch {
	case l.What != "":
		return errors.New(l.What)
	case l.Seen > size:
		f := ledger.Fault{Trouble: ledger.Shorter, Size: size, Seen: l.Seen}
		return errors.New(f.What())
	}
	return nil
}

// erasureLine says what is left of erasures.
func erasureLine(s *api.ErasureState, now time.Time) string {
	if s == nil {
		return ""
	}
	line := fmt.Sprintf("%d can still be taken back; no destroyed key opens in an older copy", s.Cooling)
	if s.Unrotated > 0 {
		line = fmt.Sprintf("%d can still be taken back; %d destroyed keys open in older full copies, the oldest destroyed %d days ago: run cloakroom key rotate, then key rotate-root",
			s.Cooling, s.Unrotated, int(now.Sub(s.Oldest)/(24*time.Hour)))
	}
	return line
}

// overdueHolds says which legal holds nobody has looked at again in time.
func overdueHolds(s *api.ErasureState) error {
	if len(s.Overdue) == 0 {
		return nil
	}
	return fmt.Errorf("past the day of their review: %s; release them (cloakroom hold release), or place them again with a later day", strings.Join(s.Overdue, ", "))
}

// unseen reports whether an error says that the caller may not see something.
func unseen(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && (e.Type == api.TypeUnknownBrand || e.Type == api.TypePolicyDenied)
}

// ordinals asks whether new customers can be given ordinals, and says what to do if not.
func ordinals(ctx context.Context, v *connection) (well string, err error) {
	out, err := v.Mend(ctx, api.MendRequest{DryRun: true})
	if unseen(err) {
		return "not looked at: this key may not administer the group", nil
	}
	if err != nil {
		return "", err
	}
	for _, f := range out.Faults {
		err = errors.Join(err, errors.New(f.What))
	}
	if err != nil && len(out.Repairs) > 0 {
		err = fmt.Errorf("%w: cloakroom db mend", err)
	}
	return "enough are left for new customers", err
}

// lateSeconds is from when on a follower of the logs is late. In a vault that no server
// runs, nothing follows.
const lateSeconds = 60

// addFollowers says how far behind is what follows from the logs: one line for each
// follower, about the log where it is furthest behind.
func addFollowers(ctx context.Context, v *connection, add finder) {
	list, err := v.Followers(ctx)
	if unseen(err) {
		add("followers", nil, "not looked at: this key may not watch the group's log")
		return
	}
	if err != nil {
		add("followers", err, "")
		return
	}
	worst, logs := map[string]api.Follower{}, map[string]int{}
	for _, f := range list {
		if w := worst[f.Follower]; logs[f.Follower] == 0 || f.Seconds > w.Seconds || f.Seconds == w.Seconds && f.Entries > w.Entries {
			worst[f.Follower] = f
		}
		logs[f.Follower]++
	}
	for _, name := range slices.Sorted(maps.Keys(worst)) {
		f := worst[name]
		behind := fmt.Sprintf("%d entries behind the log of %s, the oldest logged %.0f seconds ago", f.Entries, f.Brand, f.Seconds)
		switch {
		case f.Starting:
			add("follower "+name, fmt.Errorf("starting, %s: it catches up by itself", behind), "")
		case v.vault == nil && f.Seconds > lateSeconds:
			add("follower "+name, fmt.Errorf("late, %s: look into the server's log for the cause", behind), "")
		case f.Entries > 0:
			add("follower "+name, nil, behind)
		default:
			add("follower "+name, nil, fmt.Sprintf("current in %d logs", logs[name]))
		}
	}
}

// separation says whether acts that need two people take two, and who is told of them.
// Neither is a fault of the vault.
func separation(ctx context.Context, v *connection) (string, error) {
	s, err := v.Separation(ctx)
	if err != nil {
		return "", err
	}
	well := "acts that need two people take two"
	if s.Alone {
		well = "one hand still acts alone: give an approving role to two people, and it ends a day later (docs/separation.md)"
	}
	if len(s.Receivers) == 0 {
		well += "; nobody receives alarms, so such acts take effect untold: cloakroom alarm receiver add"
	}
	return well, nil
}

// unread counts the rules of duties that no named person has read. That is no fault of the
// vault.
func unread(ctx context.Context, v *connection) (string, error) {
	rules, err := v.DutyRules(ctx, "group")
	if unseen(err) {
		return "not looked at: this key may not audit the group", nil
	}
	if err != nil {
		return "", err
	}
	b := &rules.Book
	return fmt.Sprintf("version %s: %d of %d rules were read by no named person: ask counsel", b.Version, b.Unread, b.Rules), nil
}

// languages lists the languages that a brand's customers need, and in which it has no text
// of letters that a named person has read.
func languages(ctx context.Context, v *connection, brand string) (string, error) {
	x, err := v.NoticeTexts(ctx, brand)
	if unseen(err) {
		return "not looked at: this key may not audit the brand", nil
	}
	if err != nil {
		return "", err
	}
	var lack, have []string
	for _, w := range x.Wanted {
		if w.Reviewed {
			have = append(have, w.Language)
		} else {
			lack = append(lack, w.Language)
		}
	}
	switch {
	case len(x.Wanted) == 0:
		return "nobody knows which languages are needed: cloakroom settings set --country, --languages", nil
	case len(lack) == 0:
		return "reviewed in " + strings.Join(have, ", "), nil
	}
	return "no reviewed text in " + strings.Join(lack, ", ") + ": cloakroom notice text review", nil
}
