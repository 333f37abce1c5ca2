package app

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
	"github.com/cloakroom/cloakroom/internal/watch/witness"
)

// nameWithin bounds how long the name of a brand is looked for while a log is not well.
const nameWithin = 2 * time.Second

// logs returns the brands that have a log, and the group.
func (v *Vault) logs(ctx context.Context) ([]record.BrandID, error) {
	list, err := v.brands.Registered(ctx)
	if err != nil {
		return nil, err
	}
	v.names.Store(record.Group, brands.GroupName)
	out := []record.BrandID{record.Group}
	for _, b := range list {
		v.names.Store(b.ID, b.Name)
		out = append(out, b.ID)
	}
	return out, nil
}

// LogName names a log for people, also where the database does not answer.
func (v *Vault) LogName(ctx context.Context, brand record.BrandID) string {
	if name, ok := v.names.Load(brand); ok {
		return name.(string)
	}
	if brand == record.Group {
		return brands.GroupName
	}
	ctx, cancel := context.WithTimeout(ctx, nameWithin)
	defer cancel()
	b, err := v.brands.Get(ctx, brand)
	if err != nil {
		return fmt.Sprintf("brand-%d", brand)
	}
	return b.Name
}

// urgent alarms of a log that is not well, from memory: the log cannot be asked to.
func (v *Vault) urgent(ctx context.Context, log *slog.Logger, f ledger.Fault) {
	name := v.LogName(ctx, f.Brand)
	log.Error("a log is not well", "brand", name, "trouble", string(f.Trouble), "entries", f.Size, "seen", f.Seen, "cause", f.Err)
	u := notify.Urgent{Brand: f.Brand, Name: name, Rule: detect.Rule("log-" + string(f.Trouble)), Entry: f.Seen, At: f.Since.UTC(),
		Usual: "a log that continues what this server has seen", Seen: f.What()}
	v.Sender.Urgent(u)
	if v.feed != nil {
		if err := v.feed.Urgent(u); err != nil {
			log.Error("an urgent alarm is not in the file of events", "cause", err)
		}
	}
}

// unwitnessed alarms, from memory, of a witness that does not sign a log.
func (v *Vault) unwitnessed(ctx context.Context, log *slog.Logger, x witness.State) {
	name := v.LogName(ctx, x.Brand)
	log.Error("a witness does not sign a log", "brand", name, "witness", x.Witness, "signed", x.Size, "cause", x.Err)
	u := notify.Urgent{Brand: x.Brand, Name: name, Rule: "witness", Entry: x.Size, At: time.Now().UTC(),
		Usual: "each witness signs the newest state of the log within a minute", Seen: fmt.Sprintf("%s signed %d entries last, and signs no more: %v", x.Witness, x.Size, x.Err)}
	v.Sender.Urgent(u)
	if v.feed != nil {
		if err := v.feed.Urgent(u); err != nil {
			log.Error("an urgent alarm is not in the file of events", "cause", err)
		}
	}
}

// voidAgain is how long a row that is not what its log says raises no second alarm.
const voidAgain = time.Hour

// void alarms, from memory, of rows of rights that are not what their log says.
func (v *Vault) void(list []rights.Void) {
	for _, x := range list {
		now := time.Now()
		if last, ok := v.voided.Load(x); ok && now.Sub(last.(time.Time)) < voidAgain {
			continue
		}
		v.voided.Store(x, now)
		name := fmt.Sprintf("brand %d", x.Brand)
		if x.Brand == record.Group {
			name = brands.GroupName
		} else if known, ok := v.names.Load(x.Brand); ok {
			name, _ = known.(string)
		}
		h := fnv.New32a()
		h.Write([]byte(x.Table + "/" + x.Key))
		v.Sender.Urgent(notify.Urgent{Brand: x.Brand, Name: name, Rule: "void-right", Entry: uint64(h.Sum32()), At: now.UTC(),
			Usual: "rights are what the log says",
			Seen:  fmt.Sprintf("Row %s of %s %s. It grants nothing. Somebody changed the database outside the vault: run cloakroom doctor", x.Key, x.Table, x.What)})
	}
}
