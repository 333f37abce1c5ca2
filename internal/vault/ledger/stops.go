package ledger

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/codec"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/revision"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// A stop is an entry of the brand's own log, which the committer of every server obeys under
// the head's lock, as it obeys budgets. So it needs what a release needs and no more: where
// the log can be written the stop holds, and where it cannot, nothing is released. The rows
// of credentials, roles and containments say the same, and need more of the database.

// ErrStopped is returned for a request that an entry of the log stops.
var ErrStopped = fault.Typed(fault.Denied, "contained", "Access suspended by security, or revoked. Contact your security team")

// What a stop stops.
const (
	StopLineage    = "lineage"
	StopPrincipal  = "principal"
	StopCredential = "credential"
	StopRole       = "role"    // everybody of it
	StopRoleOf     = "role-of" // one principal in one role
	StopBrand      = "brand"   // everybody
	StopExports    = "exports" // files
)

const (
	keepsMasked = "masked" // masked views, tokens and writes go on
	keepsTokens = "tokens" // tokens and writes go on
	// stopsFile is beside the checkpoints.
	stopsFile = "owed-stops.json"
	// maxStops bounds the stops of a snapshot.
	maxStops = 1 << 20
)

// Stop is what a brand's log is to refuse from now on, or to allow again.
type Stop struct {
	Cause  string `json:"cause"`            // the same target may be stopped for several causes
	Kind   string `json:"kind"`             // such as StopLineage
	Target uint64 `json:"target,omitempty"` // of a lineage, principal or credential
	Role   string `json:"role,omitempty"`
	Keep   string `json:"keep,omitempty"` // what a stopped role or brand may still do
	Over   bool   `json:"over,omitempty"` // the stop ends
	// Until is when it ends by itself, in whole seconds of the database's clock; zero: never.
	Until time.Time `json:"until,omitzero"`
}

// stops is what a projection knows: by target, by cause, what may go on.
type stops map[stopTarget]map[stopCause]string

// stopCause is why a target is stopped, and until when. One target may be stopped until
// several times, each of which ends for itself.
type stopCause struct {
	cause string
	until int64 // in microseconds; 0: until it is ended
}

// over reports whether a stop has ended by itself.
func (c stopCause) over(at int64) bool { return c.until != 0 && at >= c.until }

// causeOf reads the cause of an entry. A stop whose end cannot be read has none.
func causeOf(cause string, until string) stopCause {
	c := stopCause{cause: cause}
	if end := entry.MomentTime(until); !end.IsZero() {
		c.until = end.UnixMicro()
	}
	return c
}

// stopTarget names a target without naming anybody: the tag is a code under a secret of the
// log.
type stopTarget struct{ kind, tag, role string }

func (t stopTarget) text() string { return t.kind + "." + t.tag + "." + t.role }

func parseStopTarget(text string) (t stopTarget, ok bool) {
	p := strings.SplitN(text, ".", 3)
	if len(p) != 3 {
		return t, false
	}
	return stopTarget{p[0], p[1], p[2]}, true
}

// any reports whether a target is stopped at a time.
func (s stops) any(t stopTarget, at int64) bool {
	for c := range s[t] {
		if !c.over(at) {
			return true
		}
	}
	return false
}

// note takes an entry that stops or lets go on, and forgets the stops of its target that
// have ended by themselves.
func (s stops) note(d entry.Detail, at time.Time) {
	defer s.forget(at.UnixMicro())
	switch d := d.(type) {
	case entry.Stopped:
		t, ok := parseStopTarget(d.What)
		if !ok {
			return
		}
		if s[t] == nil {
			s[t] = map[stopCause]string{}
		}
		s[t][causeOf(d.Cause, d.Until)] = d.Keep
	case entry.Resumed:
		if t, ok := parseStopTarget(d.What); ok {
			delete(s[t], causeOf(d.Cause, d.Until))
			if len(s[t]) == 0 {
				delete(s, t)
			}
		}
	}
}

// forget drops what has ended by itself. Entries that stop are few.
func (s stops) forget(at int64) {
	for t, causes := range s {
		maps.DeleteFunc(causes, func(c stopCause, _ string) bool { return c.over(at) })
		if len(causes) == 0 {
			delete(s, t)
		}
	}
}

func (s stops) encode(w *bufio.Writer) {
	codec.Put(w, uint64(len(s)))
	for _, t := range slices.SortedFunc(maps.Keys(s), func(a, b stopTarget) int { return strings.Compare(a.text(), b.text()) }) {
		codec.PutText(w, t.text())
		codec.Put(w, uint64(len(s[t])))
		for _, c := range slices.SortedFunc(maps.Keys(s[t]), func(a, b stopCause) int {
			return cmp.Or(strings.Compare(a.cause, b.cause), cmp.Compare(a.until, b.until))
		}) {
			codec.PutText(w, c.cause)
			codec.Put(w, uint64(c.until))
			codec.PutText(w, s[t][c])
		}
	}
}

// decodeStops reads what encode wrote, or with endless, what it wrote before stops had ends.
func decodeStops(r *bufio.Reader, endless bool) (stops, error) {
	in := codec.NewReader(r, errSnapshot)
	text := func() string { return string(in.Text(1 << 10)) }
	s := stops{}
	for range in.Number(maxStops) {
		t, ok := parseStopTarget(text())
		if !ok {
			in.Fail(errSnapshot)
		}
		causes := map[stopCause]string{}
		for range in.Number(maxStops) {
			c := stopCause{cause: text()}
			if !endless {
				c.until = int64(in.Number(1 << 62))
			}
			causes[c] = text()
			if in.Err() != nil {
				break
			}
		}
		if err := in.Err(); err != nil {
			return nil, err
		}
		s[t] = causes
	}
	return s, in.Err()
}

// tags remembers the tags of numbers, which cost more to make than to look up. The committer
// and those who stop share it.
type tags struct {
	secret []byte
	mu     sync.Mutex
	known  map[tagged]string
}

type tagged struct {
	kind string
	n    uint64
}

const maxTags = 1 << 14

func (t *tags) of(kind string, n uint64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tag, ok := t.known[tagged{kind, n}]; ok {
		return tag
	}
	if len(t.known) >= maxTags || t.known == nil {
		t.known = map[tagged]string{}
	}
	tag := rights.Tag(t.secret, "stop "+kind+" "+strconv.FormatUint(n, 10))
	t.known[tagged{kind, n}] = tag
	return tag
}

func (c *chain) target(s Stop) stopTarget {
	t := stopTarget{kind: s.Kind, role: s.Role}
	if s.Target != 0 {
		t.tag = c.tags.of(s.Kind, s.Target)
	}
	return t
}

func (c *chain) detail(s Stop) entry.Detail {
	if s.Over {
		return entry.Resumed{What: c.target(s).text(), Cause: s.Cause, Until: entry.Moment(s.Until)}
	}
	return entry.Stopped{What: c.target(s).text(), Cause: s.Cause, Keep: s.Keep, Until: entry.Moment(s.Until)}
}

// stopKinds are the entries that a stop refuses: whatever releases or changes customers.
// Who administers, contains or asks for a file is refused at the door, by the rows.
var stopKinds = [...]bool{
	entry.KindDisclosure: true, entry.KindSearch: true, entry.KindWrite: true, entry.KindImport: true,
	entry.KindErasure: true, entry.KindAudit: true,
}

// stops reports whether an entry is stopped.
func (d *draft) stops(e *entry.Entry) bool {
	if len(d.p.stops) == 0 && len(d.stopped) == 0 || int(e.Kind) >= len(stopKinds) || !stopKinds[e.Kind] {
		return false
	}
	c := d.c
	files := e.Class == "export"
	writes := e.Kind == entry.KindWrite || e.Kind == entry.KindImport || e.Kind == entry.KindErasure
	masked := released(e.Kind) && e.Class == keepsMasked
	notices := released(e.Kind) && entry.ApprovalOf(e.Detail) != 0 // two people approved whom they go to
	for _, s := range [...]stops{d.p.stops, d.stopped} {
		for _, t := range [...]stopTarget{
			{kind: StopLineage, tag: c.tags.of(StopLineage, e.Lineage)},
			{kind: StopPrincipal, tag: c.tags.of(StopPrincipal, e.Principal)},
			{kind: StopCredential, tag: c.tags.of(StopCredential, e.Credential)},
			{kind: StopRoleOf, tag: c.tags.of(StopRoleOf, e.Principal), role: e.Role},
		} {
			if len(s) > 0 && s.any(t, d.at.UnixMicro()) {
				return true
			}
		}
		for _, t := range [...]stopTarget{{kind: StopRole, role: e.Role}, {kind: StopBrand}} {
			for cause, keep := range s[t] {
				switch {
				case notices, cause.over(d.at.UnixMicro()):
				case writes && (keep == keepsMasked || keep == keepsTokens):
				case masked && keep == keepsMasked, e.Kind == entry.KindAudit:
				case e.Level == entry.Counted: // shown to nobody: the response to what is contained
				default:
					return true
				}
			}
		}
		if files && s.any(stopTarget{kind: StopExports}, d.at.UnixMicro()) {
			return true
		}
	}
	return false
}

// Stop logs a stop, or its end, in the logs of brands, beside each other, and returns those
// whose logs did not take it within a time. It is owed to these: this server writes it
// there before it writes anything else, also after a restart.
func (l *Ledger) Stop(ctx context.Context, who identity.Who, ticket string, brands []record.BrandID, s Stop, within time.Duration) (owed []record.BrandID) {
	ctx, cancel := context.WithTimeout(revision.Unbound(ctx), within)
	defer cancel()
	errs := make([]error, len(brands))
	var wg sync.WaitGroup
	for i, brand := range brands {
		wg.Go(func() { errs[i] = l.stop(ctx, who, ticket, brand, s) })
	}
	wg.Wait()
	for i, brand := range brands {
		if errs[i] != nil && !errors.Is(errs[i], ErrNoLog) {
			l.owe(owedStop{Brand: brand, Stop: s, Principal: who.Principal, Credential: who.Credential, Lineage: who.Lineage, Role: who.Role, Ticket: ticket})
			owed = append(owed, brand)
		}
	}
	return owed
}

func (l *Ledger) stop(ctx context.Context, who identity.Who, ticket string, brand record.BrandID, s Stop) error {
	c, err := l.chain(ctx, brand)
	if err != nil {
		return err
	}
	if c.stands(s) {
		return nil
	}
	who.Brand = brand
	ev := Event{Kind: entry.KindContainment, Who: who, Ticket: ticket, Detail: c.detail(s)}
	done := make(chan error, 1)
	go func() { // a group that was taken is waited for no longer than the stop may take
		_, err := l.Record(ctx, ev)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stands reports whether what this server has read of the log says the same already.
func (c *chain) stands(s Stop) bool {
	c.proj.mu.RLock()
	defer c.proj.mu.RUnlock()
	keep, there := c.proj.stops[c.target(s)][causeOf(s.Cause, entry.Moment(s.Until))]
	return there == !s.Over && (s.Over || keep == s.Keep)
}

// owedStop is a stop that a log did not take.
type owedStop struct {
	Brand record.BrandID `json:"brand"`
	Stop
	Principal  uint64 `json:"principal"`
	Credential uint64 `json:"credential"`
	Lineage    uint64 `json:"lineage"`
	Role       string `json:"by_role"`
	Ticket     string `json:"ticket,omitempty"`
}

// owe keeps a stop for a log.
func (l *Ledger) owe(o owedStop) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed[o.Brand] = append(l.owed[o.Brand], o)
	l.keepOwed()
}

// Owed returns how many stops logs have not taken yet.
func (l *Ledger) Owed() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.owed {
		n += len(list)
	}
	return n
}

// owes reports whether a log is owed a stop.
func (l *Ledger) owes(brand record.BrandID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.owed[brand]) > 0
}

// keepOwed writes what is owed beside the checkpoints. An error leaves it in memory alone.
// The caller holds l.mu.
func (l *Ledger) keepOwed() {
	if l.opts.Seen == nil {
		return
	}
	var all []owedStop
	for _, brand := range slices.Sorted(maps.Keys(l.owed)) {
		all = append(all, l.owed[brand]...)
	}
	l.opts.Seen.keepFile(stopsFile, all)
}

// readOwed reads what an earlier process was owing.
func (l *Ledger) readOwed() {
	var all []owedStop
	if l.opts.Seen.readFile(stopsFile, &all) != nil {
		return
	}
	for _, o := range all {
		l.owed[o.Brand] = append(l.owed[o.Brand], o)
	}
}

// owedRequests returns the entries that a log is owed.
func (c *chain) owedRequests() []*request {
	c.l.mu.Lock()
	list := slices.Clone(c.l.owed[c.brand])
	c.l.mu.Unlock()
	var out []*request
	for _, o := range list {
		who := identity.Who{Caller: identity.Caller{Principal: o.Principal, Credential: o.Credential, Lineage: o.Lineage}, Role: o.Role, Brand: c.brand}
		e := entryOf(who, entry.KindContainment)
		e.Ticket, e.Detail = o.Ticket, c.detail(o.Stop)
		r := c.request(e, nil, nil)
		r.state.Store(taken)
		out = append(out, r)
	}
	return out
}

// settled forgets the first n stops that a log was owed.
func (c *chain) settled(n int) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.l.owed[c.brand] = c.l.owed[c.brand][n:]; len(c.l.owed[c.brand]) == 0 {
		delete(c.l.owed, c.brand)
	}
	c.l.keepOwed()
}

// settle writes what the log is owed, before anything else. Until that succeeds nothing else
// is written.
func (c *chain) settle() error {
	rs := c.owedRequests()
	if len(rs) == 0 {
		return nil
	}
	c.group(rs)
	for i, r := range rs {
		<-r.done
		if r.failed != nil {
			c.settled(i)
			return r.failed
		}
	}
	c.settled(len(rs))
	return nil
}

// keepFile writes a small file into the directory, whole or not at all.
func (s *Seen) keepFile(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, name+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keeping stops: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, filepath.Join(s.dir, name))
	}
	return err
}

func (s *Seen) readFile(name string, v any) error {
	if s == nil {
		return fs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
