package incident

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/respond/severity"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
)

// Severity returns what is proposed for each controller, and every version that was signed.
func (d *Desk) Severity(ctx context.Context, c identity.Caller, brand, id string, req api.SeverityRequest) (*api.Severities, error) {
	f, err := d.find(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	names := f.controllers()
	if req.Brand != "" {
		if !slices.Contains(names, req.Brand) {
			return nil, fmt.Errorf("%w: the brand is one of the incident's", ErrRequest)
		}
		names = []string{req.Brand}
	}
	out := &api.Severities{Incident: f.id(), Proposed: []api.Severity{}}
	for _, name := range names {
		p, err := d.propose(ctx, f, name, req)
		if err != nil {
			return nil, err
		}
		out.Proposed = append(out.Proposed, *p)
	}
	out.Signed, err = d.scores(ctx, f)
	return out, err
}

// propose scores one controller's part by what was disclosed.
func (d *Desk) propose(ctx context.Context, f *found, brand string, req api.SeverityRequest) (*api.Severity, error) {
	now, err := d.DB.Now(ctx)
	if err != nil {
		return nil, err
	}
	s, err := d.situation(ctx, f, brand, now)
	if err != nil {
		return nil, err
	}
	in := api.SeverityInputs{Classes: []string{}, Persons: s.Persons(), Years: req.Years, Wealth: req.Wealth, Recipients: req.Recipients, Integrity: req.Integrity, Availability: req.Availability}
	for class := range s.Classes {
		in.Classes = append(in.Classes, class)
	}
	slices.Sort(in.Classes)
	in.Malicious = s.Answer("malicious")
	p, err := severity.Propose(in)
	if err != nil {
		return nil, err
	}
	p.Incident, p.Brand = f.id(), brand
	if s.figures != nil {
		p.Fields = s.figures.Fields
	}
	return &p, nil
}

// SignSeverity keeps a person's score as the next version.
func (d *Desk) SignSeverity(ctx context.Context, c identity.Caller, brand, id string, req api.SeveritySign) (*api.Severities, error) {
	f, err := d.changeable(ctx, c, brand, id, access.ActAudit)
	if err != nil {
		return nil, err
	}
	if err := door.Ticket(req.Ticket); err != nil {
		return nil, err
	}
	if err := ledger.CheckText("reason", req.Reason); err != nil {
		return nil, err
	}
	who, err := d.Door.Identity.Get(ctx, c.Principal)
	if err != nil {
		return nil, err
	}
	names := f.controllers()
	switch {
	case who.Kind != identity.Person:
		return nil, ErrPerson
	case req.Brand == "" && len(names) > 1:
		return nil, fmt.Errorf("%w: say for which brand: each is a controller of its own", ErrRequest)
	case req.Brand != "" && !slices.Contains(names, req.Brand):
		return nil, fmt.Errorf("%w: the brand is one of the incident's", ErrRequest)
	case req.Brand == "":
		req.Brand = names[0]
	}
	p, err := d.propose(ctx, f, req.Brand, req.SeverityRequest)
	if err != nil {
		return nil, err
	}
	signed, err := severity.Sign(*p, req)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(signed)
	if err != nil {
		return nil, fmt.Errorf("writing a version of the severity: %w", err)
	}
	detail := entry.IncidentScored{Incident: f.n, Brand: req.Brand, Score: strconv.FormatFloat(signed.Score, 'f', 2, 64), Band: signed.Band, Values: string(text), Reason: req.Reason}
	if _, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindIncident, Who: f.visit.Who, Ticket: req.Ticket, Detail: detail}); err != nil {
		return nil, err
	}
	return d.Severity(ctx, c, brand, id, req.SeverityRequest)
}

// scores returns the versions that the caller may see, the oldest first.
func (d *Desk) scores(ctx context.Context, f *found) ([]api.Severity, error) {
	if err := d.tell(ctx, f); err != nil {
		return nil, err
	}
	out := []api.Severity{}
	versions := map[string]int{}
	for i := range f.told {
		e := &f.told[i]
		x, ok := e.Detail.(entry.IncidentScored)
		if !ok || f.part != "" && x.Brand != f.part {
			continue
		}
		var s api.Severity
		if err := json.Unmarshal([]byte(x.Values), &s); err != nil {
			return nil, fmt.Errorf("reading entry %d: %w", e.at, err)
		}
		versions[x.Brand]++
		s.Incident, s.Brand, s.Version, s.Entry, s.At, s.By = f.id(), x.Brand, versions[x.Brand], e.at, e.At, d.name(ctx, e.Principal)
		out = append(out, s)
	}
	return out, nil
}
