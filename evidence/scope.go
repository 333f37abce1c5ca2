package evidence

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrFilter is joined to the errors of filters that cannot be held against entries.
var ErrFilter = errors.New("invalid filter")

// responder is the role of investigators. Their own entries are left out of a scope unless
// the filters name people.
const responder = "incident-responder"

// Verdict says whether an entry matches.
type Verdict uint8

// The verdicts.
const (
	No      Verdict = iota
	LeftOut         // it matches, and is an investigator's own
	Unknown         // its values were erased, so nobody can say
	Yes
)

// Filter is a scope's request, ready to be held against entries.
type Filter struct {
	any, except   []filter
	investigators bool
	names         map[string]uint64 // principals as the request names them
}

// filter is one api.ScopeFilter.
type filter struct {
	principals, credentials, lineages            []uint64
	roles, exports, recipients, purposes, levels []string
	fields                                       record.FieldSet
	kinds                                        []entry.Kind
	from, to                                     time.Time
}

// NewFilter reads a request whose principals are numbers.
func NewFilter(req *api.ScopeRequest) (*Filter, error) {
	f := &Filter{investigators: req.Investigators, names: map[string]uint64{}}
	if len(req.Any) == 0 {
		return nil, fmt.Errorf("%w: give at least one filter", ErrFilter)
	}
	for i := range req.Any {
		x, err := f.read(&req.Any[i])
		if err != nil {
			return nil, err
		}
		f.any = append(f.any, x)
		named := len(x.principals) + len(x.credentials) + len(x.lineages) + len(x.roles)
		f.investigators = f.investigators || named > 0
	}
	for i := range req.Except {
		x, err := f.read(&req.Except[i])
		if err != nil {
			return nil, err
		}
		f.except = append(f.except, x)
	}
	return f, nil
}

func (f *Filter) read(in *api.ScopeFilter) (x filter, err error) {
	x = filter{credentials: in.Credentials, lineages: in.Lineages, roles: in.Roles, exports: in.Exports,
		recipients: in.Recipients, purposes: in.Purposes, levels: in.Levels, from: in.From, to: in.To}
	for _, p := range in.Principals {
		n, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return x, fmt.Errorf("%w: a principal is a number here", ErrFilter)
		}
		f.names[p] = n
		x.principals = append(x.principals, n)
	}
	if x.fields, err = record.ParseFields(in.Fields); err != nil {
		return x, fmt.Errorf("%w: %w", ErrFilter, err)
	}
	for _, l := range in.Levels {
		if !slices.Contains([]string{"clear", "masked", "extract"}, l) {
			return x, fmt.Errorf("%w: a level is clear, masked or extract", ErrFilter)
		}
	}
	for _, k := range in.Kinds {
		kind, err := entry.ParseKind(k)
		if err != nil {
			return x, fmt.Errorf("%w: unknown kind of entry: `cloakroom help log list` names them", ErrFilter)
		}
		x.kinds = append(x.kinds, kind)
	}
	if !x.from.IsZero() && !x.to.IsZero() && !x.from.Before(x.to) {
		return x, fmt.Errorf("%w: from is not before to", ErrFilter)
	}
	return x, nil
}

// Match holds an entry against the filter. An exception that cannot be held against the
// entry leaves it in: a scope that is too large warns people needlessly, one that is too
// small leaves victims without warning.
func (f *Filter) Match(e *entry.Entry) Verdict {
	out := No
	for i := range f.any {
		out = max(out, f.any[i].match(e))
	}
	if out == No {
		return No
	}
	for i := range f.except {
		if f.except[i].match(e) == Yes {
			return No
		}
	}
	if out == Yes && !f.investigators && e.Role == responder {
		return LeftOut
	}
	return out
}

// match holds an entry against one filter. What the leaf says decides first.
func (x *filter) match(e *entry.Entry) Verdict {
	has := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	switch {
	case !has(x.roles, e.Role), !has(x.purposes, e.Purpose), !has(x.levels, e.Level):
		return No
	case x.fields != 0 && x.fields&e.Fields == 0:
		return No
	case len(x.kinds) > 0 && !slices.Contains(x.kinds, e.Kind):
		return No
	}
	if len(x.exports) > 0 {
		part, ok := e.Detail.(entry.ExportPart)
		if !ok || !slices.Contains(x.exports, part.Export) {
			return No
		}
	}
	if e.Bare() {
		return x.matchBare(e)
	}
	number := func(list []uint64, n uint64) bool { return len(list) == 0 || slices.Contains(list, n) }
	switch {
	case !number(x.principals, e.Principal), !number(x.credentials, e.Credential), !number(x.lineages, e.Lineage):
		return No
	case !has(x.recipients, e.Recipient):
		return No
	case !x.from.IsZero() && e.At.Before(x.from), !x.to.IsZero() && !e.At.Before(x.to):
		return No
	}
	return Yes
}

// matchBare is match for an entry whose values were erased: of its time the day is left.
func (x *filter) matchBare(e *entry.Entry) Verdict {
	end := e.At.Add(24 * time.Hour)
	switch {
	case !x.from.IsZero() && !end.After(x.from), !x.to.IsZero() && !e.At.Before(x.to):
		return No
	case len(x.principals)+len(x.credentials)+len(x.lineages)+len(x.recipients) > 0:
		return Unknown
	case !x.from.IsZero() && e.At.Before(x.from), !x.to.IsZero() && end.After(x.to):
		return Unknown
	}
	return Yes
}
