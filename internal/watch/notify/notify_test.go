package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/db/dbtest"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

type place struct {
	db    *db.DB
	ring  *keys.Ring
	brand record.BrandID
	ahead *atomic.Int64 // of the clock, in seconds
}

func each(t *testing.T, test func(t *testing.T, p place)) {
	ahead := &atomic.Int64{}
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Second) }
	dbtest.Each(t, db.Options{Clock: clock}, func(t *testing.T, d *db.DB) {
		root, err := keys.OpenFile(filepath.Join(t.TempDir(), "root.key"), true)
		if err != nil {
			t.Fatal(err)
		}
		p := place{d, keys.NewRing(d, root), 1, ahead}
		err = d.Tx(t.Context(), func(q db.Queryer) error {
			b, err := brands.New(d).Create(t.Context(), q, "gucci", "", time.Now())
			p.brand = b.ID
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		test(t, p)
	})
}

// alarms puts alarms into the table, as the watcher would.
func (p place) alarms(t *testing.T, from, n int, key func(i int) string) {
	t.Helper()
	err := p.db.Tx(t.Context(), func(q db.Queryer) error {
		var stmts []db.Stmt
		known := map[string]bool{}
		if err := q.Rows(t.Context(), func(r db.Row) error {
			var k string
			err := r.Scan(&k)
			known[k] = true
			return err
		}, `SELECT DISTINCT dedup FROM alarms WHERE brand = $1`, int64(p.brand)); err != nil {
			return err
		}
		for i := from; i < from+n; i++ {
			again := 0
			if known[key(i)] {
				again = 1
			}
			known[key(i)] = true
			stmts = append(stmts, db.Stmt{SQL: `INSERT INTO alarms (brand, entry, rule, at, grade, principal, lineage, role, customers, usual, seen, dedup, again, ack_entry, acked_by, acked_at, close_entry, closed_by, closed_at, reason, ticket, contain)
				VALUES ($1, $2, 'canary', $3, 4, 7, 7, 'support-agent', 1, 'never', 'once', $4, $5, 0, 0, 0, 0, 0, 0, '', '', 0)`,
				Args: []any{int64(p.brand), i, time.Now().UnixMicro(), key(i), again}})
		}
		stmts = append(stmts, db.Stmt{SQL: `INSERT INTO followers (follower, brand, next, holder, until) VALUES ('alarms', $1, 0, '', 0) ON CONFLICT DO NOTHING`, Args: []any{int64(p.brand)}},
			db.Stmt{SQL: `UPDATE followers SET next = $2 WHERE follower = 'alarms' AND brand = $1`, Args: []any{int64(p.brand), from + n}})
		return q.Batch(t.Context(), stmts)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func own(i int) string { return strconv.Itoa(i) }

// add registers a receiver and returns its secret.
func (p place) add(t *testing.T, name, url string) []byte {
	t.Helper()
	var secret []byte
	err := p.db.Tx(t.Context(), func(q db.Queryer) error {
		k, err := p.ring.Ensure(t.Context(), q, p.brand, keys.Alarm, time.Now())
		if err != nil {
			return err
		}
		aead, err := keys.GCM(derive(k, "address", p.brand, name, 5))
		if err != nil {
			return err
		}
		sealed := base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, []byte(url), nil))
		secret = derive(k, "signature", p.brand, name, 5)
		_, err = q.Exec(t.Context(), sqlInsertReceiver, int64(p.brand), name, sealed, int64(detect.Low), k.Version, 5, 0, "", 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (p place) sender(t *testing.T) *Sender { return p.senderBy(t, nil) }

// senderBy is a sender with a mail server.
func (p place) senderBy(t *testing.T, m *MailServer) *Sender {
	s := NewSender(p.db, p.ring, brands.New(p.db), alarm.NewStore(p.db))
	s.Use(m)
	s.Allow = testNets
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// inbox is a real receiver.
type inbox struct {
	*httptest.Server
	mu       sync.Mutex
	down     bool
	attempts int
	got      []uint64 // entries, as they came
	fault    string
	secret   []byte
}

func newInbox(t *testing.T) *inbox {
	in := &inbox{}
	in.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in.mu.Lock()
		defer in.mu.Unlock()
		in.attempts++
		if in.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var a api.Alarm
		m := message{Data: &a}
		sec, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
		if err == nil {
			err = json.Unmarshal(body, &m)
		}
		switch {
		case err != nil:
			in.fault = err.Error()
		case r.Header.Get("webhook-signature") != Sign(in.secret, r.Header.Get("webhook-id"), time.Unix(sec, 0), body):
			in.fault = "a signature that does not hold"
		case r.Header.Get("webhook-id") != "alarm_gucci_"+a.ID || m.Type != TypeRaised || a.Severity != "critical":
			in.fault = string(body)
		}
		in.got = append(in.got, a.Entry)
	}))
	t.Cleanup(in.Close)
	return in
}

func (in *inbox) set(down bool) {
	in.mu.Lock()
	in.down = down
	in.mu.Unlock()
}

func (in *inbox) state() (got []uint64, attempts int, fault string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]uint64(nil), in.got...), in.attempts, in.fault
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for !cond() {
		select {
		case <-late:
			t.Fatalf("it never came that %s", what)
		case <-tick.C:
		}
	}
}

func inOrder(t *testing.T, got []uint64, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d alarms came, of %d", len(got), n)
	}
	for i, e := range got {
		if e != uint64(i+1) {
			t.Fatalf("the alarm of entry %d came at place %d", e, i+1)
		}
	}
}

func TestAReceiverThatIsDownForAnHourLosesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		in := newInbox(t)
		in.secret = p.add(t, "pager", in.URL+"/hook")
		p.alarms(t, 1, 60, own)
		in.set(true)
		s := p.sender(t)
		tried := func() int { _, n, _ := in.state(); return n }
		eventually(t, "it is tried", func() bool { return tried() > 0 })
		// An hour of the database's clock, half a minute at a time. A try that is due
		// comes, and none that is not.
		for range 120 {
			var failures, next int64
			eventually(t, "the try is noted", func() bool {
				err := p.db.Row(t.Context(), `SELECT failures, next FROM receivers WHERE until = 0`).Scan(&failures, &next)
				return err == nil && failures == int64(tried())
			})
			p.ahead.Add(30)
			now, err := p.db.Now(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Wake()
			if next <= now.UnixMicro() {
				eventually(t, "a try that is due comes", func() bool { return int64(tried()) > failures })
			}
			if len(func() []uint64 { g, _, _ := in.state(); return g }()) > 0 {
				t.Fatal("something was taken while it was down")
			}
		}
		if n := tried(); n > 40 {
			t.Errorf("an hour of failures took %d tries", n)
		}
		p.alarms(t, 61, 20, own)
		in.set(false)
		p.ahead.Add(int64(backoffMost / time.Second))
		s.Wake()
		eventually(t, "all came", func() bool { got, _, _ := in.state(); return len(got) >= 80 })
		got, _, fault := in.state()
		inOrder(t, got, 80)
		if fault != "" {
			t.Error(fault)
		}
	})
}

func TestAFloodIsStoredWholeAndPagedOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		const flood, keys = 10_000, 10
		in := newInbox(t)
		in.secret = p.add(t, "pager", in.URL)
		p.alarms(t, 1, flood, func(i int) string { return strconv.Itoa(min(i, keys)) })
		p.sender(t)
		p.sender(t) // two servers
		eventually(t, "the pages came", func() bool { got, _, _ := in.state(); return len(got) >= keys })
		file := filepath.Join(t.TempDir(), "events.jsonl")
		f, err := OpenFeed(file, brands.New(p.db), alarm.NewStore(p.db))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n != flood {
			t.Errorf("%d events of %d alarms", n, flood)
		}
		var delivered int64
		eventually(t, "the deliveries are noted", func() bool {
			err := p.db.Row(t.Context(), `SELECT delivered FROM receivers WHERE until = 0`).Scan(&delivered)
			return err == nil && delivered == keys
		})
		got, _, fault := in.state()
		inOrder(t, got, keys)
		if fault != "" {
			t.Error(fault)
		}
	})
}

func TestOneReceiverNeverHoldsUpAnother(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		release := make(chan struct{})
		slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}))
		defer slow.Close()
		defer close(release)
		in := newInbox(t)
		p.add(t, "a-slow-one", slow.URL)
		in.secret = p.add(t, "pager", in.URL)
		p.alarms(t, 1, 30, own)
		p.sender(t)
		eventually(t, "the other has all", func() bool { got, _, _ := in.state(); return len(got) == 30 })
	})
}

func TestErrorsKeepAddressesToThemselves(t *testing.T) {
	t.Parallel()
	client := newWebhookClient(func() []netip.Prefix { return testNets })
	for _, address := range []string{"http://127.0.0.1:1/secret-token", "http://127.0.0.1:x/secret-token"} {
		to := &webhook{client, address, nil}
		_, err := to.deliver(t.Context(), &notice{brand: "gucci", Notice: alarm.Notice{Alarm: &alarm.Stored{}}})
		if err == nil || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%v", err)
		}
	}
	for text, ok := range map[string]bool{
		"https://pager.example/hook?x=1": true, "http://localhost:80/": true, "http://127.0.0.1:8080/x": true, "http://[::1]/": true,
		"http://pager.example/": false, "https://u:p@pager.example/": false, "ftp://pager.example": false, "pager.example": false, "": false,
		"http://127.0.0.1.example/": false, "https://": false,
		"mailto:soc@brand.example": true, "mailto:a@b.example,c@d.example": false, "mailto:a@b.example?cc=c@d.example": false,
		"mailto:": false, "mailto://soc@brand.example": false, "mailto:A%20%3Ca@b.example%3E": false, "mailto:soc": false,
	} {
		if _, err := checkURL(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The vector is the one that the Standard Webhooks project publishes with its libraries.
func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	t.Parallel()
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretPrefix))
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheFeedGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		file := filepath.Join(t.TempDir(), "events.jsonl")
		lines := func() []string {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Split(strings.TrimSpace(string(text)), "\n")
		}
		round := func() {
			t.Helper()
			f, err := OpenFeed(file, brands.New(p.db), alarm.NewStore(p.db))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := OpenFeed(file, nil, nil); !errors.Is(err, ErrFeedInUse) {
				t.Fatalf("two servers append to one file: %v", err)
			}
			if err := f.round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p.alarms(t, 0, 3, own)
		round()
		round()
		if got := lines(); len(got) != 3 {
			t.Fatalf("%d events of 3", len(got))
		}
		if err := os.Rename(file, file+".1"); err != nil { // rotation
			t.Fatal(err)
		}
		p.alarms(t, 3, 2, own)
		round()
		got := lines()
		if len(got) != 2 {
			t.Fatalf("%d events of 2 after a rotation", len(got))
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(got[0]), &e); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{"class_uid": 2004.0, "category_uid": 2.0, "type_uid": 200401.0, "activity_id": 1.0, "severity_id": 5.0, "severity": "Critical", "status_id": 1.0} {
			if e[name] != want {
				t.Errorf("%s is %v, want %v", name, e[name], want)
			}
		}
		info, _ := e["finding_info"].(map[string]any)
		meta, _ := e["metadata"].(map[string]any)
		if info["uid"] != "gucci/3-canary" || info["title"] == "" || meta["version"] == "" || e["time"] == nil {
			t.Errorf("%v", fmt.Sprint(info, meta))
		}
	})
}
