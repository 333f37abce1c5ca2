package alarm

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	acts "github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// rulesGiven are rules in the place of others.
type rulesGiven struct {
	Brand record.BrandID `json:"brand"`
	Rules string         `json:"rules"`
	Was   string         `json:"was"`
}

// Register registers that weaker rules take a second person.
func (d *Desk) Register(c *acts.Desk) {
	d.rules = acts.Register(c, acts.Act[rulesGiven, *api.DetectionRules]{
		Name: "detection-rules", Action: access.ActAdminister,
		Need: func(_ context.Context, _ acts.Order, p rulesGiven) (acts.Need, error) {
			lines, err := p.weaker()
			return acts.Need{Two: len(lines) > 0}, err
		},
		Text: func(_ context.Context, _ acts.Order, p rulesGiven) (acts.Text, error) {
			lines, err := p.weaker()
			return acts.Text{Title: "Set detection rules that notice less", Lines: lines}, err
		},
		Check: func(ctx context.Context, _ acts.Order, p rulesGiven) error {
			now, err := d.inForce(ctx, p.Brand)
			if err == nil && now != p.Was {
				err = fmt.Errorf("%w: other detection rules are in force by now", acts.ErrChanged)
			}
			return err
		},
		Apply: func(ctx context.Context, o acts.Order, p rulesGiven) (*api.DetectionRules, error) {
			r, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindDetection, Who: o.Who, Detail: entry.DetectionRules{Rules: p.Rules}})
			if err != nil {
				return nil, err
			}
			return &api.DetectionRules{Rules: p.Rules}, d.Store.noteRules(ctx, p.Brand, r.Entry())
		},
	})
}

func (p rulesGiven) weaker() ([]string, error) {
	after, err := detect.ParseRules(p.Rules)
	if err != nil {
		return nil, err
	}
	before, err := detect.ParseRules(p.Was)
	if err != nil { // an older release wrote them: nobody knows what they noticed
		return []string{"the rules in force cannot be read by this release"}, nil
	}
	return detect.Weaker(before, after), nil
}
