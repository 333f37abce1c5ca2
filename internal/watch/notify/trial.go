package notify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// That a receiver answered says that a machine took the message. Whether somebody reads it
// says only the code in it, which that person confirms. So each receiver is tested by hand,
// and by itself testEvery after the last test; a test that nobody confirmed within
// testAnswer is an alarm.

const (
	testEvery  = 30 * 24 * time.Hour
	testAnswer = 3 * 24 * time.Hour
	// tendEvery is between two looks at which tests are due.
	tendEvery = time.Minute
)

// ErrCode is returned for a code that is not that of the receiver's last test.
var ErrCode = fault.New(fault.Invalid, "this is not the code of the receiver's last test: read it in the newest message, or test the receiver again")

const (
	sqlTested    = `UPDATE receivers SET tested = $3, test_code = $4, test_status = 0, test_fault = '', confirmed = 0, confirmed_by = 0, silent = 0 WHERE brand = $1 AND name = $2 AND tested = $5`
	sqlTestSent  = `UPDATE receivers SET test_status = $4, test_fault = $5 WHERE brand = $1 AND name = $2 AND test_code = $3`
	sqlConfirmed = `UPDATE receivers SET confirmed = $4, confirmed_by = $5 WHERE brand = $1 AND name = $2 AND test_code = $3 AND test_code <> '' AND confirmed = 0`
	sqlTestCode  = `SELECT test_code FROM receivers WHERE brand = $1 AND name = $2`
	sqlSilent    = `UPDATE receivers SET silent = 1 WHERE brand = $1 AND name = $2 AND tested = $3 AND silent = 0 AND confirmed = 0`
	sqlTestsDue  = `SELECT brand, name, url, grade, key, created, entry, rule, since, tested, confirmed, silent FROM receivers
		WHERE stopped = 0 AND (tested < $1 AND (created < $1 OR tested > 0) OR tested > 0 AND tested < $2 AND confirmed = 0 AND silent = 0) ORDER BY brand, name`
)

// tested is the last test of a receiver.
type tested struct {
	at        int64 // microseconds; 0: there was none
	status    int
	fault     string
	confirmed int64 // microseconds; 0: nobody read it
	by        uint64
	silent    bool // an alarm said so
}

// trial is a message that tests a receiver.
type trial struct {
	receiver, code string
	at             time.Time
}

func (t *trial) id(brand string) string {
	return fmt.Sprintf("test_%s_%s_%d", brand, t.receiver, t.at.UnixMicro())
}

func (t *trial) confirm(brand string) string {
	return fmt.Sprintf("cloakroom alarm receiver confirm --brand %s %s %s", brand, t.receiver, t.code)
}

// data is what a webhook holds of it.
func (t *trial) data(brand string) any {
	return struct {
		Test     bool   `json:"test"`
		Brand    string `json:"brand"`
		Receiver string `json:"receiver"`
		Code     string `json:"code"`
		Text     string `json:"text"`
	}{true, brand, t.receiver, t.code, "TEST: nothing happened. Confirm that you read it: " + t.confirm(brand)}
}

func (t *trial) subject(brand string) string {
	return fmt.Sprintf("[%s] TEST of the receiver %s: nothing happened", brand, t.receiver)
}

func (t *trial) text(brand string) string {
	return fmt.Sprintf("TEST: alarms at %s reach the receiver %s. Nothing happened.\n\nConfirm within %d days that you read it:\n\n  %s\n",
		brand, t.receiver, int(testAnswer.Hours()/24), t.confirm(brand))
}

// codeLetters are those that nobody mistakes for another one.
const codeLetters = "23456789abcdefghjkmnpqrstuvwxyz"

func newCode() string {
	b := make([]byte, 8)
	rand.Read(b)
	for i := range b {
		b[i] = codeLetters[int(b[i])%len(codeLetters)]
	}
	return string(b)
}

// hashed is how a code is stored: who reads the table has read no message.
func hashed(code string) string {
	h := sha256.Sum256([]byte("cloakroom receiver test\x00" + code))
	return hex.EncodeToString(h[:])
}

// Test sends a receiver a message that is marked as a test, and returns what it answered.
// The one before it can no longer be confirmed.
func (d *Desk) Test(ctx context.Context, c identity.Caller, brand, name string) (*api.Receiver, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActRespond, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	r, err := d.one(ctx, v.Brand.ID, name)
	if err != nil {
		return nil, err
	}
	if err := d.test(ctx, v.Who, v.Brand.Name, r); err != nil {
		return nil, err
	}
	if r, err = d.one(ctx, v.Brand.ID, name); err != nil {
		return nil, err
	}
	return d.shown(ctx, r)
}

// errTested is returned where somebody else has just tested the receiver.
var errTested = fault.New(fault.Conflict, "this receiver has just been tested: look at `cloakroom alarm receiver list`")

// test logs a test of a receiver and sends it. That the receiver does not take it is no
// error: it is what the test found, and stored. A test that is due by itself is left to a
// server that can send it.
func (d *Desk) test(ctx context.Context, who identity.Who, brand string, r *receiver) error {
	to, cause := d.Sender.reach(ctx, r)
	if errors.Is(cause, errNoMail) && who.Principal == 0 {
		return errNoMail
	}
	if to != nil {
		defer to.close()
	}
	t := &trial{receiver: r.name, code: newCode()}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: who, Detail: entry.ReceiverTested{Receiver: r.name}}
	_, _, err := d.Ledger.Change(ctx, ev, func(q db.Queryer, now time.Time) error {
		t.at = now
		n, err := q.Exec(ctx, sqlTested, int64(r.brand), r.name, now.UnixMicro(), hashed(t.code), r.tested.at)
		if err == nil && n == 0 {
			err = errTested
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("testing a receiver: %w", err)
	}
	status := 0
	if cause == nil {
		status, cause = to.deliver(ctx, &notice{brand: brand, trial: t})
	}
	text := ""
	if cause != nil {
		text = cause.Error()
	}
	if _, err := d.DB.Exec(context.WithoutCancel(ctx), sqlTestSent, int64(r.brand), r.name, hashed(t.code), int64(status), text); err != nil {
		return fmt.Errorf("noting what a receiver answered: %w", err)
	}
	return nil
}

// reach returns the way to a receiver, beside that of what it is sent otherwise; errNoMail
// where this server has none.
func (s *Sender) reach(ctx context.Context, r *receiver) (carrier, error) {
	address, secret, err := open(ctx, s.Ring, r)
	if err != nil {
		return nil, err
	}
	to := s.way(address, secret)
	if to == nil {
		return nil, errNoMail
	}
	return to, nil
}

// Confirm notes that the caller read the last test of a receiver.
func (d *Desk) Confirm(ctx context.Context, c identity.Caller, brand, name, code string) (*api.Receiver, error) {
	v, err := d.Door.AdmitEither(ctx, c, brand, access.ActAlarms, access.ActAdminister)
	if err != nil {
		return nil, err
	}
	r, err := d.one(ctx, v.Brand.ID, name)
	if err != nil {
		return nil, err
	}
	code = hashed(strings.ToLower(strings.TrimSpace(code)))
	var last string
	if err := d.DB.Row(ctx, sqlTestCode, int64(r.brand), r.name).Scan(&last); err != nil {
		return nil, fmt.Errorf("reading the last test of a receiver: %w", err)
	}
	if last != code {
		return nil, ErrCode
	}
	if r.tested.confirmed != 0 { // by whoever was first
		return d.shown(ctx, r)
	}
	ev := ledger.Event{Kind: entry.KindAdministration, Who: v.Who, Detail: entry.ReceiverConfirmed{Receiver: name}}
	_, _, err = d.Ledger.Change(ctx, ev, func(q db.Queryer, now time.Time) error {
		n, err := q.Exec(ctx, sqlConfirmed, int64(r.brand), r.name, code, now.UnixMicro(), int64(v.Who.Principal))
		if err == nil && n == 0 {
			err = errTested
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("confirming a test: %w", err)
	}
	if r, err = d.one(ctx, v.Brand.ID, name); err != nil {
		return nil, err
	}
	return d.shown(ctx, r)
}

// Run tests receivers until the context ends.
func (d *Desk) Run(ctx context.Context, log *slog.Logger) error {
	return follow.NewLoop(tendEvery).Run(ctx, log, "receivers are not tested", func(ctx context.Context) error { return d.Tend(ctx, log) })
}

// Tend tests the receivers whose last test is long ago, and says of those that nobody
// confirmed. Of several servers one does each.
func (d *Desk) Tend(ctx context.Context, log *slog.Logger) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	var due []receiver
	err = d.DB.Rows(ctx, func(row db.Row) error {
		var t tested
		var silent int64
		r, err := scanReceiver(db.Around(row, nil, []any{&t.at, &t.confirmed, &silent}))
		t.silent, r.tested = silent != 0, t
		due = append(due, r)
		return err
	}, sqlTestsDue, now.Add(-testEvery).UnixMicro(), now.Add(-testAnswer).UnixMicro())
	if err != nil {
		return fmt.Errorf("reading which receivers are to be tested: %w", err)
	}
	for i := range due {
		r := &due[i]
		b, err := d.Sender.Brands.Get(ctx, r.brand)
		if err != nil {
			return err
		}
		if at := r.tested.at; at != 0 && r.tested.confirmed == 0 && !r.tested.silent && at < now.Add(-testAnswer).UnixMicro() {
			err = d.silent(ctx, r, now)
		} else {
			err = d.test(ctx, identity.Who{Brand: r.brand}, b.Name, r)
		}
		if err != nil && !errors.Is(err, errTested) && !errors.Is(err, errNoMail) {
			log.Warn("a receiver was not tested", "receiver", r.name, "cause", err)
		}
	}
	return nil
}

// silent logs that nobody confirmed a test: detection makes an alarm of the entry, which
// the brand's other receivers are sent.
func (d *Desk) silent(ctx context.Context, r *receiver, now time.Time) error {
	days := int(now.Sub(time.UnixMicro(r.tested.at)).Hours() / 24)
	ev := ledger.Event{Kind: entry.KindAdministration, Who: identity.Who{Brand: r.brand}, Detail: entry.ReceiverSilent{Receiver: r.name, Days: days}}
	_, _, err := d.Ledger.Change(ctx, ev, func(q db.Queryer, _ time.Time) error {
		n, err := q.Exec(ctx, sqlSilent, int64(r.brand), r.name, r.tested.at)
		if err == nil && n == 0 {
			err = errTested
		}
		return err
	})
	return err
}

// Untested says of a receiver what has to be done before it can be relied on, empty if
// nothing.
func Untested(r *api.Receiver, now time.Time) string {
	name := "receiver " + r.Name + ": "
	switch {
	case !r.Stopped.IsZero():
		return name + "given up; fix it, then cloakroom alarm receiver resume"
	case r.Failures > 0:
		return name + "it fails: " + r.Fault
	case r.Tested.IsZero():
		return name + "never tested: cloakroom alarm receiver test"
	case r.TestFault != "":
		return name + "it did not take the last test: " + r.TestFault
	case r.Confirmed.IsZero():
		return name + "nobody confirmed the last test"
	case now.Sub(r.Tested) > testEvery+testAnswer:
		return name + "the last test is long ago: cloakroom alarm receiver test"
	}
	return ""
}
