package canary

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	sealed "github.com/cloakroom/cloakroom/internal/vault/seal"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// ErrMail is returned for a report that does not say what one says.
var ErrMail = fault.New(fault.Invalid, "invalid mail report")

const (
	// window is for how long the mails to one canary are counted in one entry.
	window = time.Hour
	// MaxRecipients bounds one report.
	MaxRecipients = 50
	// maxOpen bounds the canaries whose mails are counted at one time. Those beyond it are
	// counted together.
	maxOpen = 4096
	// floor is how long every report takes at least: longer than an entry takes, so that
	// how long it took says nothing of the address.
	floor = 250 * time.Millisecond
	// tend is how often it is looked which hours have ended.
	tend = 30 * time.Second
	// farewell bounds the logging of what was counted when the server stops.
	farewell = 5 * time.Second
	// shownMost bounds the entries that are named of a canary, and canariesMost the canaries
	// that they are looked for: each takes a reading of the log.
	shownMost    = 20
	canariesMost = 20
	// listMost bounds one list.
	listMost = 200
)

// MailDesk takes reports of mail, and tells those who may know of canaries.
type MailDesk struct {
	Door     *door.Door
	Ledger   *ledger.Ledger
	DB       *db.DB
	Ring     *keys.Ring
	Seal     *sealed.Store
	Canaries *Store
	Alarms   *alarm.Store

	mu   sync.Mutex
	open map[counted]*count
}

type counted struct {
	brand record.BrandID
	ord   record.Ordinal // 0: many canaries together
}

// count is the mail to one canary since it was logged.
type count struct {
	who    identity.Who
	canary Canary
	last   api.CanaryMailRequest
	times  int
	until  time.Time
}

// Receive takes one report. When it returns without an error, what is new about a canary
// is in the log.
func (d *MailDesk) Receive(ctx context.Context, c identity.Caller, brand string, req api.CanaryMailRequest) (*api.CanaryMailAccepted, error) {
	timer := time.NewTimer(floor)
	defer timer.Stop()
	v, err := d.Door.Admit(ctx, c, brand, access.ActCanaryMail)
	if err != nil {
		return nil, err
	}
	if n := len(req.Recipients); n < 1 || n > MaxRecipients {
		return nil, fmt.Errorf("%w: it has 1 to %d recipients", ErrMail, MaxRecipients)
	}
	if req.Network != "" {
		if p, err := netip.ParsePrefix(req.Network); err != nil || p != p.Masked() || p.Bits() > 48 || p.Addr().Is4() && p.Bits() > 24 {
			return nil, fmt.Errorf("%w: a network is at most 24 bits of an IPv4 address, or 48 of another", ErrMail)
		}
	}
	req.SenderDomain = strings.ToLower(req.SenderDomain)
	if !domain(req.SenderDomain) {
		return nil, fmt.Errorf("%w: the sender's domain is none", ErrMail)
	}
	if ledger.CheckText("sender", req.SenderDomain) != nil {
		req.SenderDomain = "" // the sender chose it: the mail is logged all the same
	}
	err = d.take(ctx, v, req)
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	if err != nil {
		return nil, err
	}
	return &api.CanaryMailAccepted{Status: "accepted"}, nil
}

// domain reports whether text is a domain name or nothing, and so no free text.
func domain(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return len(text) <= 253
}

func (d *MailDesk) take(ctx context.Context, v *door.Visit, req api.CanaryMailRequest) error {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	for _, to := range req.Recipients {
		normal, err := record.NormalEmail(to)
		if err != nil {
			continue // nobody's
		}
		canary, there, err := d.Canaries.ByAddress(ctx, v.Brand.ID, normal)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		n, first := d.count(v.Who, canary, req, now)
		if !first {
			continue
		}
		if err := d.log(ctx, *n); err != nil {
			d.mu.Lock()
			delete(d.open, counted{v.Who.Brand, canary.Ord}) // whoever reports it again is heard
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

// count counts a mail, and reports whether it is to be logged now.
func (d *MailDesk) count(who identity.Who, canary Canary, req api.CanaryMailRequest, now time.Time) (n *count, first bool) {
	key := counted{who.Brand, canary.Ord}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = map[counted]*count{}
	}
	if d.open[key] == nil && len(d.open) >= maxOpen {
		key, canary = counted{who.Brand, 0}, Canary{}
	}
	if n := d.open[key]; n != nil {
		n.times++
		n.last = req
		return n, false
	}
	d.open[key] = &count{who: who, canary: canary, last: req, until: now.Add(window)}
	return &count{who: who, canary: canary, last: req, times: 1}, true
}

// log writes an entry.
func (d *MailDesk) log(ctx context.Context, n count) error {
	detail := entry.CanaryMail{Times: n.times, Export: n.canary.Export, Network: n.last.Network, Sender: n.last.SenderDomain, Message: n.last.MessageHash}
	if n.canary.Ord != 0 {
		k, err := d.Ring.Current(ctx, n.who.Brand, keys.Canary)
		if err != nil {
			return err
		}
		aead, err := keys.GCM(k.Bytes())
		if err != nil {
			return err
		}
		plain := binary.BigEndian.AppendUint64(nil, uint64(n.canary.Ord))
		detail.Canary, detail.Key = base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, plain, mailPlace(n.who.Brand))), k.Version
	}
	_, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindCanary, Who: n.who, Detail: detail})
	return err
}

// place binds a sealed canary to its brand and this use.
func mailPlace(brand record.BrandID) []byte {
	return binary.BigEndian.AppendUint16([]byte("cloakroom canary mail 1\x00"), uint16(brand))
}

// who opens the canary of an entry.
func (d *MailDesk) who(ctx context.Context, brand record.BrandID, mail *entry.CanaryMail) (record.Ordinal, error) {
	if mail.Key == 0 {
		return 0, fmt.Errorf("the entry of a mail names no key: %w", ledger.ErrTampered)
	}
	k, err := d.Ring.Version(ctx, brand, keys.Canary, mail.Key)
	if err != nil {
		return 0, err
	}
	aead, err := keys.GCM(k.Bytes())
	if err != nil {
		return 0, err
	}
	sealed, err := base64.StdEncoding.DecodeString(mail.Canary)
	if err == nil {
		sealed, err = aead.Open(nil, nil, sealed, mailPlace(brand))
	}
	if err != nil || len(sealed) != 8 {
		return 0, fmt.Errorf("the decoy of a mail does not open: %w", ledger.ErrTampered)
	}
	return record.Ordinal(binary.BigEndian.Uint64(sealed)), nil
}

// Run logs what was counted when its hour ends, and all of it when the context does.
func (d *MailDesk) Run(ctx context.Context, log *slog.Logger) error {
	work := func(ctx context.Context) error { return d.flush(ctx, false) }
	if err := follow.NewLoop(tend).Run(ctx, log, "how many more mails came to canaries is not logged yet", work); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := d.Flush(ctx); err != nil {
		log.Warn("how many more mails came to canaries is not logged", "cause", err)
	}
	return nil
}

// Flush logs what was counted so far.
func (d *MailDesk) Flush(ctx context.Context) error { return d.flush(ctx, true) }

// flush logs the counts whose hour has ended, or all. What cannot be logged stays counted.
func (d *MailDesk) flush(ctx context.Context, all bool) error {
	d.mu.Lock()
	none := len(d.open) == 0
	d.mu.Unlock()
	if none {
		return nil
	}
	now, err := d.DB.Now(ctx)
	if err != nil {
		return err
	}
	due := map[counted]*count{}
	d.mu.Lock()
	for key, n := range d.open {
		if all || !now.Before(n.until) {
			delete(d.open, key)
			if n.times > 0 {
				due[key] = n
			}
		}
	}
	d.mu.Unlock()
	var errs []error
	for key, n := range due {
		err := d.log(ctx, *n)
		if err == nil {
			continue
		}
		errs = append(errs, err)
		d.mu.Lock()
		if o := d.open[key]; o != nil {
			o.times += n.times
		} else {
			d.open[key] = n
		}
		d.mu.Unlock()
	}
	return errors.Join(errs...)
}

// List tells whoever may know of canaries what mail came to which, newest first.
func (d *MailDesk) List(ctx context.Context, c identity.Caller, brand string) ([]api.CanaryMail, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActCanaries)
	if err != nil {
		return nil, err
	}
	alarms, err := d.Alarms.ByRule(ctx, v.Brand.ID, detect.CanaryMail, listMost)
	if err != nil {
		return nil, err
	}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindCanary, Who: v.Who, Detail: entry.CanaryMailListed{CanaryCount: entry.CanaryCount{Count: len(alarms)}}}); err != nil {
		return nil, err
	}
	out := make([]api.CanaryMail, len(alarms))
	shown := map[record.Ordinal][]uint64{}
	for i := range alarms {
		e, _, err := d.Ledger.Entry(ctx, v.Brand.ID, alarms[i].Entry)
		if err != nil {
			return nil, err
		}
		mail, _ := e.Detail.(entry.CanaryMail)
		m := &out[i]
		*m = api.CanaryMail{Alarm: alarms[i].ID(), At: e.At, Times: mail.Times, Export: mail.Export, Network: mail.Network,
			SenderDomain: mail.Sender, MessageHash: mail.Message}
		if mail.Canary == "" {
			continue
		}
		ord, err := d.who(ctx, v.Brand.ID, &mail)
		if err != nil {
			return nil, err
		}
		if m.Token, err = d.Seal.Token(ctx, v.Brand.ID, ord); err != nil {
			return nil, err
		}
		if _, known := shown[ord]; !known && len(shown) < canariesMost {
			if shown[ord], err = d.shown(ctx, v.Brand.ID, ord); err != nil {
				return nil, err
			}
		}
		m.Shown = shown[ord]
	}
	return out, nil
}

// shown returns the first entries that released a canary.
func (d *MailDesk) shown(ctx context.Context, brand record.BrandID, ord record.Ordinal) ([]uint64, error) {
	out := []uint64{}
	err := d.Ledger.Concerning(ctx, brand, ord, 0, func(x ledger.Disclosure) error {
		if x.Released() && len(out) < shownMost {
			out = append(out, x.Index)
		}
		return nil
	})
	return out, err
}
