// Package notify sends alarms to people and systems: by signed webhook, by e-mail, and
// as events in a file.
//
// # Receivers
//
// A receiver belongs to a brand and gets every alarm of its grade or graver, one request
// or mail each, in the order of the log. The outbox is the table of alarms itself
// and the place in it up to which a receiver was served: nothing is copied, nothing can
// be lost, and what is not taken now is sent later. A receiver that fails is tried
// again, later and later, and never holds up another. While an alarm is open, others about
// the same thing on the same day are stored and counted, and sent only to receivers that
// were added since. The next one after somebody closed it is sent to all.
//
// Delivery is at least once: a server that dies after a request and before it noted it
// leaves one to be sent again, under the same webhook-id or Message-ID.
//
// Webhooks are those of Standard Webhooks. Their secret follows from the brand's alarm
// key and is shown once. A receiver's address is stored sealed, because for many systems
// it is a credential too.
//
// Mail goes through the mail server that this server was given, under TLS, and says of
// people no more than webhooks do: their number. A mail server that refuses for good is
// asked once an hour, and after a day no longer, until [Desk.Resume]; what it did not
// take is kept.
//
// # Events
//
// [Feed] appends every alarm to a file of JSON lines, as an OCSF Detection Finding.
package notify

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

var (
	// ErrURL is returned for an address that alarms cannot be sent to.
	ErrURL = fault.New(fault.Invalid, "a receiver's URL is https (or http on loopback) without a user name, or mailto: with one address")
	// ErrNoReceiver is returned for a receiver that there is not.
	ErrNoReceiver = fault.New(fault.NotFound, "no such receiver: `cloakroom alarm receiver list` shows all")
	// ErrExists is returned for a receiver that is there already.
	ErrExists = fault.New(fault.Conflict, "a receiver of this name already exists: remove it first, or choose another name")
)

const (
	sqlInsertReceiver = `INSERT INTO receivers (brand, name, url, grade, key, created, entry, rule, delivered, failures, status, next, holder, until, since)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, '', 0, $9) ON CONFLICT DO NOTHING`
	sqlDeleteReceiver = `DELETE FROM receivers WHERE brand = $1 AND name = $2`
	sqlListReceivers  = `SELECT name, url, grade, key, created, delivered, failures, status, next, fault, stopped, tested, test_status, test_fault, confirmed, confirmed_by
		FROM receivers WHERE brand = $1 ORDER BY name`
	sqlFailing       = `SELECT count(*) FROM receivers WHERE failures > 0 OR stopped <> 0`
	sqlAllReceivers  = `SELECT brand, name, url, grade, key, created, entry, rule, since FROM receivers ORDER BY brand, name`
	sqlDueReceivers  = `SELECT brand, name, url, grade, key, created, entry, rule, since FROM receivers WHERE next <= $1 AND stopped = 0 ORDER BY brand, name`
	sqlTakenReceiver = `SELECT entry, rule, failures, refused FROM receivers WHERE brand = $1 AND name = $2 AND next <= $3 AND stopped = 0`
	sqlServed        = `UPDATE receivers SET entry = $3, rule = $4, delivered = delivered + $5, failures = $6, status = $7, next = $8, fault = $9, refused = $10, stopped = $11
		WHERE brand = $1 AND name = $2`
	sqlNoteFault      = `UPDATE receivers SET fault = $3 WHERE brand = $1 AND name = $2 AND fault <> $3`
	sqlResumeReceiver = `UPDATE receivers SET next = 0, failures = 0, refused = 0, stopped = 0, fault = '' WHERE brand = $1 AND name = $2`
)

// receiver is a row.
type receiver struct {
	brand     record.BrandID
	name      string
	url       string
	grade     detect.Grade
	key       int
	created   int64 // microseconds
	place     alarm.Place
	since     uint64 // the entry that registered it: repeats of older alarms are news to it; 0 for none
	delivered int64
	failures  int
	status    int
	next      int64
	fault     string // why the last try failed
	refused   int64  // microseconds: since when it has refused for good, and nothing else
	stopped   int64  // microseconds: when it was given up, 0 if it was not
	tested    tested
}

// tableReceivers is the table of which a brand's log has the rows: who is alarmed, not how
// far they were.
const tableReceivers = "receivers"

func (r *receiver) row() rights.Row {
	return rights.Row{Table: tableReceivers, Key: r.name, Hidden: true, Cells: []any{
		int64(r.brand), r.name, r.url, int64(r.grade), int64(r.key), r.created, int64(r.since)}}
}

// Granted hands fn every receiver, with the brand whose log has it.
func Granted(ctx context.Context, q db.Queryer, fn func(brand record.BrandID, r rights.Row)) error {
	err := q.Rows(ctx, func(row db.Row) error {
		r, err := scanReceiver(row)
		granted := r.row()
		granted.Says = fmt.Sprintf("receiver %s of alarms, from severity %s", r.name, r.grade)
		fn(r.brand, granted)
		return err
	}, sqlAllReceivers)
	if err != nil {
		return fmt.Errorf("reading the receivers: %w", err)
	}
	return nil
}

func scanReceiver(row db.Row) (r receiver, err error) {
	var brand, grade, at, since int64
	var rule string
	err = row.Scan(&brand, &r.name, &r.url, &grade, &r.key, &r.created, &at, &rule, &since)
	r.brand, r.grade, r.place = record.BrandID(brand), detect.Grade(grade), alarm.Place{Entry: uint64(at), Rule: detect.Rule(rule)}
	r.since = uint64(since)
	return r, err
}

// SecretPrefix begins a secret of Standard Webhooks.
const SecretPrefix = "whsec_"

// derive makes a key of 32 bytes for one use by one receiver.
func derive(k keys.Key, use string, brand record.BrandID, name string, created int64) []byte {
	m := hmac.New(sha256.New, k.Bytes())
	m.Write([]byte("cloakroom receiver 1 " + use + "\x00"))
	m.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint16(nil, uint16(brand)), uint64(created)))
	m.Write([]byte(name))
	return m.Sum(nil)
}

// checkURL says whether alarms may be sent to an address: over TLS, except on this
// machine itself.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err == nil && u.Scheme == mailScheme {
		return u, checkMail(u)
	}
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, ErrURL
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && (ip != nil && ip.IsLoopback() || u.Hostname() == "localhost")) {
		return nil, ErrURL
	}
	return u, nil
}

// hostOf is what may be told of a receiver's address: not what stands before the host,
// which may be somebody's name.
func hostOf(u *url.URL) string {
	if u.Scheme == mailScheme {
		_, domain, _ := strings.Cut(u.Opaque, "@")
		return domain
	}
	return u.Host
}

func kindOf(u *url.URL) string {
	if u.Scheme == mailScheme {
		return api.ReceiverMail
	}
	return api.ReceiverWebhook
}

// Desk registers receivers.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
	Ring   *keys.Ring
	DB     *db.DB
	Alarms *alarm.Store
	Sender *Sender

	remove *change.Handle[receiverRemoved, bool] // set by Register
}

// Add registers a receiver and returns its secret, once. It gets alarms from now on,
// and those there are already if asked so.
func (d *Desk) Add(ctx context.Context, c identity.Caller, brand string, req api.ReceiverRequest) (*api.Receiver, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	if !brands.ValidName(req.Name) {
		return nil, brands.ErrName
	}
	u, err := checkURL(req.URL)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(ledger.CheckText("host", hostOf(u)), ledger.CheckText("url", req.URL)); err != nil {
		return nil, err
	}
	if req.Severity == "" {
		req.Severity = detect.Medium.String()
	}
	grade, err := detect.ParseGrade(req.Severity)
	if err != nil {
		return nil, errors.Join(alarm.ErrAsk, err)
	}
	out := &api.Receiver{Name: req.Name, Kind: kindOf(u), Host: hostOf(u), Severity: grade.String()}
	brandID := v.Brand.ID
	ev := ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: entry.ReceiverCreated{Receiver: req.Name, Host: hostOf(u), Grade: grade.String()}}
	_, _, err = d.Ledger.Change(ctx, ev, func(q db.Queryer, now time.Time) error {
		k, err := d.Ring.Ensure(ctx, q, brandID, keys.Alarm, now)
		if err != nil {
			return err
		}
		out.Created = now
		at := now.UnixMicro()
		var from alarm.Place
		if !req.Past { // the entry of this act is the next one of the log, which is locked
			if from.Entry, err = d.Ledger.SizeIn(ctx, q, brandID); err != nil {
				return err
			}
		}
		aead, err := keys.GCM(derive(k, "address", brandID, req.Name, at))
		if err != nil {
			return err
		}
		sealed := base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, []byte(req.URL), nil))
		n, err := q.Exec(ctx, sqlInsertReceiver, int64(brandID), req.Name, sealed, int64(grade), k.Version, at, int64(from.Entry), string(from.Rule), int64(from.Entry))
		if err != nil {
			return fmt.Errorf("registering a receiver: %w", err)
		}
		if n == 0 {
			return ErrExists
		}
		r := receiver{brand: brandID, name: req.Name, url: sealed, grade: grade, key: k.Version, created: at, since: from.Entry}
		rights.Changed(q, r.row())
		if u.Scheme != mailScheme {
			out.Secret = SecretPrefix + base64.StdEncoding.EncodeToString(derive(k, "signature", brandID, req.Name, at))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Remove ends a receiver. It takes a second person, and the receiver is told before.
func (d *Desk) Remove(ctx context.Context, c identity.Caller, brand, name string) error {
	v, err := d.known(ctx, c, brand, name)
	if err != nil {
		return err
	}
	_, err = d.remove.Do(ctx, v, "", receiverRemoved{Brand: v.Brand.ID, Name: name})
	return err
}

// Resume sends a receiver again what it was not sent, from now on, whatever it answered
// before.
func (d *Desk) Resume(ctx context.Context, c identity.Caller, brand, name string) error {
	return d.change(ctx, c, brand, name, entry.ReceiverResumed{Receiver: name}, sqlResumeReceiver)
}

// change logs a change of a receiver that there is, and makes it.
func (d *Desk) change(ctx context.Context, c identity.Caller, brand, name string, what entry.Detail, sql string) error {
	v, err := d.known(ctx, c, brand, name)
	if err != nil {
		return err
	}
	_, _, err = d.Ledger.Change(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: what}, func(q db.Queryer, _ time.Time) error {
		if _, err := q.Exec(ctx, sql, int64(v.Brand.ID), name); err != nil {
			return fmt.Errorf("changing a receiver: %w", err)
		}
		return nil
	})
	return err
}

// known returns the visit of an administrator, where a receiver has the name.
func (d *Desk) known(ctx context.Context, c identity.Caller, brand, name string) (*door.Visit, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	_, err = d.one(ctx, v.Brand.ID, name)
	return v, err
}

// one returns a receiver.
func (d *Desk) one(ctx context.Context, brand record.BrandID, name string) (*receiver, error) {
	rows, err := d.rows(ctx, brand)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rows, func(r receiver) bool { return r.name == name })
	if i < 0 {
		return nil, ErrNoReceiver
	}
	return &rows[i], nil
}

func (d *Desk) rows(ctx context.Context, brand record.BrandID) ([]receiver, error) {
	var rows []receiver
	err := d.DB.Rows(ctx, func(row db.Row) error {
		r := receiver{brand: brand}
		t := &r.tested
		var grade, by int64
		err := row.Scan(&r.name, &r.url, &grade, &r.key, &r.created, &r.delivered, &r.failures, &r.status, &r.next, &r.fault, &r.stopped,
			&t.at, &t.status, &t.fault, &t.confirmed, &by)
		r.grade, t.by = detect.Grade(grade), uint64(by)
		rows = append(rows, r)
		return err
	}, sqlListReceivers, int64(brand))
	if err != nil {
		return nil, fmt.Errorf("reading the receivers: %w", err)
	}
	return rows, nil
}

// List returns a brand's receivers, without secrets and addresses, to who registers them and
// to who is alarmed by them.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.Receiver, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActAdminister, access.ActAlarms)
	if err != nil {
		return nil, err
	}
	rows, err := d.rows(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out := []api.Receiver{}
	for i := range rows {
		a, err := d.shown(ctx, &rows[i])
		if err != nil {
			return nil, err
		}
		out = append(out, *a)
	}
	return out, nil
}

func (d *Desk) shown(ctx context.Context, r *receiver) (*api.Receiver, error) {
	kind, host := api.ReceiverWebhook, "unreadable"
	if address, _, err := open(ctx, d.Ring, r); err == nil {
		if u, err := url.Parse(address); err == nil {
			kind, host = kindOf(u), hostOf(u)
		}
	}
	t := &r.tested
	a := &api.Receiver{Name: r.name, Kind: kind, Host: host, Severity: r.grade.String(), Created: time.UnixMicro(r.created).UTC(),
		Delivered: uint64(r.delivered), Failures: r.failures, Status: r.status, Fault: r.fault, Stopped: db.Time(r.stopped),
		Tested: db.Time(t.at), TestStatus: t.status, TestFault: t.fault, Confirmed: db.Time(t.confirmed)}
	if r.failures > 0 && r.stopped == 0 {
		a.NextTry = time.UnixMicro(r.next).UTC()
	}
	if t.by == 0 {
		return a, nil
	}
	p, err := d.Door.Identity.Get(ctx, t.by)
	if err != nil {
		return nil, err
	}
	a.ConfirmedBy = p.Name
	return a, nil
}

// open returns a receiver's address and the key that its requests are signed with.
func open(ctx context.Context, ring *keys.Ring, r *receiver) (address string, secret []byte, err error) {
	k, err := ring.Version(ctx, r.brand, keys.Alarm, r.key)
	if err != nil {
		return "", nil, err
	}
	aead, err := keys.GCM(derive(k, "address", r.brand, r.name, r.created))
	if err != nil {
		return "", nil, err
	}
	b, err := base64.StdEncoding.DecodeString(r.url)
	if err == nil {
		b, err = aead.Open(nil, nil, b, nil)
	}
	if err != nil {
		return "", nil, errors.New("the address of a receiver cannot be decrypted: the address or its key was changed")
	}
	return string(b), derive(k, "signature", r.brand, r.name, r.created), nil
}

// Sign returns the webhook-signature of Standard Webhooks for a message.
func Sign(secret []byte, id string, at time.Time, body []byte) string {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s.%d.", id, at.Unix())
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// Failing counts the receivers of all brands that did not take the last alarm.
func (d *Desk) Failing(ctx context.Context) (n int64, err error) {
	if err := d.DB.Row(ctx, sqlFailing).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting receivers that fail: %w", err)
	}
	return n, nil
}
