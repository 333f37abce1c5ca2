package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// nameWithin bounds how long the name of a brand is looked for while a log is not well.
const nameWithin = 2 * time.Second

// logs returns the brands that have a log, and the group.
func (v *Vault) logs(ctx context.Context) ([]record.BrandID, error) {
	list, err := v.brands.List(ctx)
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
