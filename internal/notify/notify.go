// Package notify tells people and systems of alarms: by signed webhook, and as events
// in a file.
//
// # Webhooks
//
// A receiver gets every alarm of its grade or graver, one request each, in the order of
// the log, in the form of Standard Webhooks. The outbox is the table of alarms itself
// and the place in it up to which a receiver was served: nothing is copied, nothing can
// be lost, and what is not taken now is sent later. A receiver that fails is tried
// again, later and later, and never holds up another. Alarms about one thing on one day
// are sent once; all of them are stored.
//
// Delivery is at least once: a server that dies after a request and before it noted it
// leaves one to be sent again, under the same webhook-id.
//
// The secret of a receiver follows from the brand's alarm key and is shown once. Its
// address is stored sealed, because for many systems it is a credential too.
//
// # Events
//
// [Feed] appends every alarm to a file of JSON lines, as an OCSF Detection Finding.
//
// E-mail is not here.
package notify

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/access"
	"github.com/cloakroom/cloakroom/internal/admit"
	"github.com/cloakroom/cloakroom/internal/brands"
	"github.com/cloakroom/cloakroom/internal/db"
	"github.com/cloakroom/cloakroom/internal/detect"
	"github.com/cloakroom/cloakroom/internal/entry"
	"github.com/cloakroom/cloakroom/internal/identity"
	"github.com/cloakroom/cloakroom/internal/keys"
	"github.com/cloakroom/cloakroom/internal/ledger"
	"github.com/cloakroom/cloakroom/internal/record"
)

var (
	// ErrURL is returned for an address that alarms cannot be sent to.
	ErrURL = errors.New("a receiver's URL is https, or http on loopback, and has no user name in it")
	// ErrNoReceiver is returned for a receiver that there is not.
	ErrNoReceiver = errors.New("no such receiver: `cloakroom alarm receiver list` shows those there are")
	// ErrExists is returned for a receiver that is there already.
	ErrExists = errors.New("there is a receiver of this name: remove it first, or choose another name")
)

const (
	sqlInsertReceiver = `INSERT INTO receivers (brand, name, url, grade, key, created, entry, rule, delivered, failures, status, next, holder, until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, '', 0) ON CONFLICT DO NOTHING`
	sqlDeleteReceiver = `DELETE FROM receivers WHERE brand = $1 AND name = $2`
	sqlListReceivers  = `SELECT name, url, grade, key, created, delivered, failures, status, next FROM receivers WHERE brand = $1 ORDER BY name`
	sqlDueReceivers   = `SELECT brand, name, url, grade, key, created, entry, rule FROM receivers WHERE next <= $1 AND until <= $1 ORDER BY brand, name`
	sqlLeaseReceiver  = `UPDATE receivers SET holder = $3, until = $4 WHERE brand = $1 AND name = $2 AND next <= $5 AND until <= $5 RETURNING entry, rule, failures`
	sqlServed         = `UPDATE receivers SET entry = $4, rule = $5, delivered = delivered + $6, failures = $7, status = $8, next = $9, until = $10 WHERE brand = $1 AND name = $2 AND holder = $3`
)

// receiver is a row.
type receiver struct {
	brand     record.BrandID
	name      string
	url       string
	grade     detect.Grade
	key       int
	created   int64 // microseconds
	place     detect.Place
	delivered int64
	failures  int
	status    int
	next      int64
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
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, ErrURL
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && (ip != nil && ip.IsLoopback() || u.Hostname() == "localhost")) {
		return nil, ErrURL
	}
	return u, nil
}

// Desk registers receivers.
type Desk struct {
	Door   *admit.Door
	Ledger *ledger.Ledger
	Ring   *keys.Ring
	DB     *db.DB
	Alarms *detect.Store
}

func (d *Desk) visit(ctx context.Context, c identity.Caller, brand string) (*admit.Visit, error) {
	v, err := d.Door.Enter(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	_, err = v.Authorize(ctx, access.ActAdminister, "", 0)
	return v, err
}

// Add registers a receiver and returns its secret, once. It gets alarms from now on,
// and those there are already if asked so.
func (d *Desk) Add(ctx context.Context, c identity.Caller, brand string, req api.ReceiverRequest) (*api.Receiver, error) {
	v, err := d.visit(ctx, c, brand)
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
	if req.Grade == "" {
		req.Grade = detect.Medium.String()
	}
	grade, err := detect.ParseGrade(req.Grade)
	if err != nil {
		return nil, errors.Join(detect.ErrAsk, err)
	}
	r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who,
		Detail: map[string]string{"change": "receiver-create", "receiver": req.Name, "host": u.Host, "grade": grade.String()}})
	if err != nil {
		return nil, err
	}
	out := &api.Receiver{Name: req.Name, Host: u.Host, Grade: grade.String(), Created: r.At()}
	from := detect.Place{Entry: r.Entry()}
	if req.Past {
		from.Entry = 0
	}
	brandID := v.Brand.ID
	err = d.DB.Tx(ctx, func(q db.Queryer) error {
		k, err := d.Ring.Ensure(ctx, q, brandID, keys.Alarm, r.At())
		if err != nil {
			return err
		}
		at := r.At().UnixMicro()
		aead, err := keys.GCM(derive(k, "address", brandID, req.Name, at))
		if err != nil {
			return err
		}
		sealed := base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, []byte(req.URL), nil))
		n, err := q.Exec(ctx, sqlInsertReceiver, int64(brandID), req.Name, sealed, int64(grade), k.Version, at, int64(from.Entry), string(from.Rule))
		if err != nil {
			return fmt.Errorf("registering a receiver: %w", err)
		}
		if n == 0 {
			return ErrExists
		}
		out.Secret = SecretPrefix + base64.StdEncoding.EncodeToString(derive(k, "signature", brandID, req.Name, at))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Remove ends a receiver.
func (d *Desk) Remove(ctx context.Context, c identity.Caller, brand, name string) error {
	v, err := d.visit(ctx, c, brand)
	if err != nil {
		return err
	}
	list, err := d.List(ctx, c, brand)
	if err != nil {
		return err
	}
	there := false
	for _, r := range list {
		there = there || r.Name == name
	}
	if !there {
		return ErrNoReceiver
	}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAdministration, Who: v.Who,
		Detail: map[string]string{"change": "receiver-remove", "receiver": name}}); err != nil {
		return err
	}
	if _, err := d.DB.Exec(ctx, sqlDeleteReceiver, int64(v.Brand.ID), name); err != nil {
		return fmt.Errorf("removing a receiver: %w", err)
	}
	return nil
}

// List returns a brand's receivers, without secrets and addresses.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.Receiver, error) {
	v, err := d.visit(ctx, c, brand)
	if err != nil {
		return nil, err
	}
	var rows []receiver
	err = d.DB.Rows(ctx, func(row db.Row) error {
		r := receiver{brand: v.Brand.ID}
		var grade int64
		err := row.Scan(&r.name, &r.url, &grade, &r.key, &r.created, &r.delivered, &r.failures, &r.status, &r.next)
		r.grade = detect.Grade(grade)
		rows = append(rows, r)
		return err
	}, sqlListReceivers, int64(v.Brand.ID))
	if err != nil {
		return nil, fmt.Errorf("reading the receivers: %w", err)
	}
	out := []api.Receiver{}
	for _, r := range rows {
		host := "unreadable"
		if address, _, err := open(ctx, d.Ring, &r); err == nil {
			if u, err := url.Parse(address); err == nil {
				host = u.Host
			}
		}
		a := api.Receiver{Name: r.name, Host: host, Grade: r.grade.String(), Created: time.UnixMicro(r.created).UTC(),
			Delivered: uint64(r.delivered), Failures: r.failures, Status: r.status}
		if r.failures > 0 {
			a.NextTry = time.UnixMicro(r.next).UTC()
		}
		out = append(out, a)
	}
	return out, nil
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
		return "", nil, errors.New("the address of a receiver does not open: it was changed, or its key was")
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

// newHolder names a server for leases.
func newHolder() string { return strings.ToLower(rand.Text()) }
