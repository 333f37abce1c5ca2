package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

// What containing is answered with when it did not end well.
func TestOutcomesAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err       containment.OutcomeError
		typ, text string
		not       string
	}{
		{containment.OutcomeError{ID: 7, Logs: []string{"gucci", "group"}, Err: db.ErrOutcomeUnknown}, api.TypePartlyDone, "containment 7: the target is stopped; requests in flight may not have ended yet", "nothing"},
		{containment.OutcomeError{ID: 7, Logs: []string{"gucci", "group"}, Err: db.ErrUnavailable}, api.TypePartlyDone, "because the log of gucci, group did not answer; send the request again", "nothing"},
		{containment.OutcomeError{ID: 7, Err: db.ErrUnavailable}, api.TypePartlyDone, "the target is stopped on every server", "nothing"},
		{containment.OutcomeError{Err: fmt.Errorf("committing: %w", db.ErrOutcomeUnknown)}, api.TypeOutcomeUnknown, "contain list", "nothing"},
		{containment.OutcomeError{Err: db.ErrUnavailable}, api.TypeLogUnavailable, "nothing was stopped", "is stopped"},
		{containment.OutcomeError{Undone: true, Err: db.ErrUnavailable}, api.TypeLogUnavailable, "nothing was undone", "stopped"},
	} {
		got := server.Problem(fmt.Errorf("containing: %w", &c.err))
		if got.Type != c.typ || got.Status != http.StatusServiceUnavailable || !strings.Contains(got.Detail, c.text) || strings.Contains(got.Detail, c.not) {
			t.Errorf("%+v: %+v", c.err, got)
		}
	}
}

// blocked waits until so many sessions of the database wait for a lock.
func blocked(t *testing.T, c *pgx.Conn, want int) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var n int
		if err := c.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions wait for a lock, not %d", n, want)
		}
	}
}

// While the database is slow, here because somebody holds the head of a log, it is
// contained, what is under way is refused, and the answer says what is true.
func TestContainWhileTheDatabaseIsSlow(t *testing.T) {
	t.Parallel()
	if dbtest.Cluster() {
		t.Skip("who waits for a lock waits on a worker of the cluster, where this test does not look")
	}
	ctx := t.Context()
	dsn := dbtest.VaultDSN(t)
	h := newHouse(t, dsn)
	h.vault.Contain.PassWait = 100 * time.Millisecond
	within := func(key string) *client.Client {
		return client.New("http://vault", key, &http.Client{Transport: h.server.Local()})
	}
	_, key := h.person(t, "hq", "person", map[string]string{"group": "incident-responder"})
	hq := within(key.Key)
	_, key = h.person(t, "both", "person", map[string]string{"balenciaga": "support-agent", "gucci": "support-agent"})
	both := within(key.Key)
	tokens := map[string]string{}
	for _, b := range []string{"gucci", "balenciaga"} {
		w, err := h.Put(ctx, b, api.PutRequest{Customers: []api.Fields{zoe()}})
		h.must(err)
		tokens[b] = w.Results[0].Token
	}
	reveal := func(c *client.Client, brand string) error {
		_, err := c.Reveal(ctx, brand, api.RevealRequest{Tokens: []string{tokens[brand]}, Fields: []string{"email"}, Purpose: "customer-support"})
		return err
	}
	holder, err := pgx.Connect(ctx, dsn)
	h.must(err)
	defer holder.Close(context.WithoutCancel(ctx))
	watcher, err := pgx.Connect(ctx, dsn)
	h.must(err)
	defer watcher.Close(context.WithoutCancel(ctx))
	hold := func(brand int) (release func()) {
		tx, err := holder.Begin(ctx)
		h.must(err)
		_, err = tx.Exec(ctx, `SELECT size FROM log_heads WHERE brand = $1 FOR UPDATE`, brand)
		h.must(err)
		return func() { h.must(tx.Rollback(ctx)) }
	}
	underWay := func(c *client.Client, brand string) (answers chan error) {
		answers = make(chan error, 6)
		for range cap(answers) {
			go func() { answers <- reveal(c, brand) }()
		}
		blocked(t, watcher, 1)
		return answers
	}

	// Another brand's log: it is stopped there too, and that is not sure yet.
	h.must(reveal(both, "balenciaga"))
	release := hold(2)
	answers := underWay(both, "balenciaga")
	err = hq.Do(ctx, "POST", "/v1/brands/group/containments", api.ContainRequest{Principal: "both"}, nil)
	if !isType(err, api.TypePartlyDone) || !strings.Contains(err.Error(), "the target is stopped; requests in flight may not have ended yet") || !strings.Contains(err.Error(), "balenciaga") {
		t.Errorf("with the log of balenciaga held: %v", err)
	}
	if err := reveal(both, "gucci"); !isType(err, api.TypeContained) {
		t.Errorf("at gucci: %v", err)
	}
	release()
	for range cap(answers) {
		if err := <-answers; !isType(err, api.TypeContained) {
			t.Errorf("what was under way: %v", err)
		}
	}
	if n := len(h.entriesAt(2, entry.KindDisclosure)); n != 1 {
		t.Errorf("%d disclosures, one was before it was contained", n)
	}
	var c api.Containment
	h.must(hq.Do(ctx, "POST", "/v1/brands/group/containments", api.ContainRequest{Principal: "both"}, &c))
	if c.ID != 1 || c.TookMillis != 0 {
		t.Errorf("sent again, to be sure: %+v", c)
	}

	// Its own log: it waits its turn, and nothing comes after it.
	release = hold(1)
	answers = underWay(h.as["support-agent"], "gucci")
	done := make(chan error, 1)
	go func() {
		done <- h.as["incident-responder"].Do(ctx, "POST", "/v1/brands/gucci/containments", api.ContainRequest{Principal: "support-agent"}, &c)
	}()
	release()
	h.must(<-done)
	logged := len(h.entriesOf(entry.KindDisclosure))
	given := 0
	for range cap(answers) {
		if err := <-answers; err == nil {
			given++
		} else if !isType(err, api.TypeContained) {
			t.Errorf("what was under way: %v", err)
		}
	}
	if n := len(h.entriesOf(entry.KindDisclosure)); n != logged || given != logged {
		t.Errorf("%d disclosures when it was contained, %d in the end, %d answered", logged, n, given)
	}
}

// The connection is cut after COMMIT was sent and before its answer, at each commit of a
// containment in turn. Whoever asked is told what is true, or that it is not known; the
// list then says what holds, and so does who was to be stopped.
func TestAContainmentWhoseCommitIsNotAnswered(t *testing.T) {
	t.Parallel()
	var left atomic.Int32 // commits until the one that is cut; 0: none is
	h := newHouse(t, dbtest.CutCommits(t, dbtest.VaultDSN(t), func() bool {
		for n := left.Load(); n > 0; n = left.Load() {
			if left.CompareAndSwap(n, n-1) {
				return n == 1
			}
		}
		return false
	}))
	ctx := t.Context()
	const path = "/v1/brands/gucci/containments"
	responder := h.as["incident-responder"]
	told := map[string]int{}
	for cut := 1; ; cut++ {
		thief, key := h.person(t, fmt.Sprint("thief-", cut), "person", map[string]string{"gucci": "support-agent"})
		left.Store(int32(cut))
		err := responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: key.ID}, nil)
		unused := left.Swap(0)
		var list []api.Containment
		eventually(t, "the list is read", func() bool { return responder.Do(ctx, "GET", path, nil, &list) == nil })
		i := slices.IndexFunc(list, func(c api.Containment) bool { return c.Target == key.Lineage })
		stopped := isType(thief.Do(ctx, "GET", "/v1/brands/gucci/purposes", nil, nil), api.TypeContained)
		if stopped != (i >= 0) {
			t.Errorf("commit %d cut: listed %v, stopped %v", cut, i >= 0, stopped)
		}
		if unused > 0 { // it takes fewer commits
			h.must(err)
			if !stopped {
				t.Error("contained, and not stopped")
			}
			break
		}
		if err == nil { // the log that did not answer is owed the stop, and gets it before it releases
			if !stopped {
				t.Errorf("commit %d cut: contained, and not stopped", cut)
			}
			continue
		}
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
			t.Fatalf("commit %d cut: %v", cut, err)
		}
		told[e.Type]++
		switch {
		case e.Type == api.TypeOutcomeUnknown && strings.Contains(e.Detail, "contain list"): // the commit took effect
			if !stopped {
				t.Errorf("commit %d cut: %v; it was lost", cut, err)
			}
		case e.Type == api.TypeLogUnavailable:
			if stopped {
				t.Errorf("commit %d cut: told that nothing was stopped, and it was", cut)
			}
		case e.Type == api.TypePartlyDone:
			if !stopped || !strings.Contains(e.Detail, fmt.Sprint("containment ", list[i].ID)) {
				t.Errorf("commit %d cut: told that it holds: %v; %v", cut, err, stopped)
			}
		default:
			t.Errorf("commit %d cut: %v", cut, err)
		}
		if i >= 0 {
			var shown api.Containment
			h.must(responder.Do(ctx, "GET", fmt.Sprint(path, "/", list[i].ID), nil, &shown))
			if shown.Target != key.Lineage || !shown.Ended.IsZero() || shown.Credentials != 1 {
				t.Errorf("commit %d cut: shown %+v", cut, shown)
			}
		}
		var again api.Containment // as the answer says
		h.must(responder.Do(ctx, "POST", path, api.ContainRequest{Lineage: key.ID}, &again))
		if again.ID == 0 || i >= 0 && again.ID != list[i].ID {
			t.Errorf("commit %d cut, sent again: %+v", cut, again)
		}
	}
	// The stop comes before all the rest, so that nothing that fails later is as if nothing held.
	if told[api.TypePartlyDone] == 0 || told[api.TypeLogUnavailable] != 0 {
		t.Errorf("what was told: %v", told)
	}
}

func TestARuleContains(t *testing.T) {
	t.Parallel()
	onEach(t, testARuleContains)
}

// A canary that is looked at contains whoever looked, where the brand's rules say so:
// once, until two people undo it, and never so that nobody could.
func testARuleContains(t *testing.T, h *house) {
	ctx := t.Context()
	const path = "/v1/brands/gucci/containments"
	watching, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	defer func() {
		stop()
		h.must(<-done)
	}()
	responder, officer, agent := h.as["incident-responder"], h.as["data-protection-officer"], h.as["support-agent"]
	w, err := h.Put(ctx, "gucci", api.PutRequest{Customers: []api.Fields{zoe()}})
	h.must(err)
	h.must(responder.Do(ctx, "POST", "/v1/brands/gucci/canaries", api.CanaryRequest{Count: 2, Domain: "decoys.example", Now: true}, nil))
	var decoys []api.Canary
	h.must(responder.Do(ctx, "GET", "/v1/brands/gucci/canaries", nil, &decoys))
	view := func(c *client.Client, token, purpose string) error {
		return c.Do(ctx, "GET", client.Path("brands", "gucci", "customers", token)+"?purpose="+purpose, nil, nil)
	}
	// Off, unless the rules say so.
	h.must(view(agent, decoys[0].Token, "customer-support"))
	var alarms api.Alarms
	eventually(t, "the canary is an alarm", func() bool {
		h.must(responder.Do(ctx, "GET", "/v1/brands/gucci/alarms", nil, &alarms))
		return slices.ContainsFunc(alarms.Alarms, func(a api.Alarm) bool { return a.Rule == "canary" })
	})
	h.must(h.Do(ctx, "PUT", "/v1/brands/gucci/detection", api.DetectionRules{Rules: "contain: {canary: critical}"}, nil))
	h.must(view(agent, w.Results[0].Token, "customer-support"))

	h.must(view(agent, decoys[0].Token, "customer-support"))
	eventually(t, "the agent is contained", func() bool { return isType(view(agent, w.Results[0].Token, "customer-support"), api.TypeContained) })
	var list []api.Containment
	eventually(t, "the containment is listed", func() bool { // the log stops them first
		h.must(responder.Do(ctx, "GET", path, nil, &list))
		return len(list) > 0
	})
	if len(list) != 1 || list[0].By != "rule canary" || list[0].Kind != "lineage" || !strings.HasSuffix(list[0].Alarm, "-canary") {
		t.Fatalf("%+v", list)
	}
	steps := func() (out []string) {
		for _, e := range h.entriesOf(entry.KindContainment) {
			out = append(out, strings.TrimSpace(e.Change()+" "+e.Texts()["reason"]))
		}
		return out
	}
	eventually(t, "the log says so", func() bool { return slices.Equal(steps(), []string{"contain", "contained"}) })
	if e := h.entriesOf(entry.KindContainment)[0]; e.Principal != 0 || e.Texts()["by"] != "rule" || e.Texts()["alarm"] != list[0].Alarm {
		t.Errorf("%+v", e)
	}

	// It is undone as any, and not made again: not by a server that died before it noted
	// that it was done, and not by several.
	undo := fmt.Sprint(path, "/", list[0].ID, "/undo")
	h.must(responder.Do(ctx, "POST", undo, nil, nil))
	h.must(officer.Do(ctx, "POST", undo+"/confirm", nil, nil))
	d := h.vault.DB
	answered := func() bool {
		var n int
		h.must(d.Row(ctx, `SELECT count(*) FROM alarms WHERE contain = 1`).Scan(&n))
		return n == 0
	}
	eventually(t, "it was answered", answered)
	_, err = d.Exec(ctx, `UPDATE alarms SET contain = 1 WHERE contain <> 0`)
	h.must(err)
	h.vault.Reflex.Wake()
	eventually(t, "it was answered again", answered)
	h.must(view(agent, w.Results[0].Token, "customer-support"))

	// Somebody is left to undo, and whoever owns the machine is not contained.
	h.must(view(officer, decoys[1].Token, "data-subject-request"))
	eventually(t, "the officer is contained", func() bool { return isType(officer.Do(ctx, "GET", path, nil, nil), api.TypeContained) })
	h.must(view(responder, decoys[1].Token, "incident-response"))
	eventually(t, "the responder is not contained, and why is logged", func() bool { return slices.Contains(steps(), "not-contained nobody-left-to-undo") })
	h.must(responder.Do(ctx, "GET", path, nil, &list))
	if len(list) != 2 {
		t.Errorf("%+v", list)
	}
}
