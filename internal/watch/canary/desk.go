package canary

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/access"
	"github.com/cloakroom/cloakroom/internal/vault/change"
	"github.com/cloakroom/cloakroom/internal/vault/door"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
	"github.com/cloakroom/cloakroom/internal/vault/ledger"
	sealed "github.com/cloakroom/cloakroom/internal/vault/seal"
)

// ErrRequest is returned for a request that cannot be done as it is.
var ErrRequest = fault.New(fault.Invalid, "invalid canary request")

const (
	// atOnce bounds one request: more would outlast its deadline.
	atOnce = 2000
	// chunk is how many canaries are written at once.
	chunk = 500
	// retireFor is how long one request erases: far below a request's deadline.
	retireFor = 20 * time.Second
	// draws bounds how often numbers are drawn that are somebody's already.
	draws = 20
	// maxRate bounds the share of canaries.
	maxRate = 0.2
)

// Desk places, lists and retires canaries, for callers who may know which they are.
type Desk struct {
	Door   *door.Door
	Ledger *ledger.Ledger
	Seal   *sealed.Store
	Intake *intake.Desk
	Store  *Store
	// Erase is the ordinary erasure of customers, one after another. It begins none after
	// so long, and returns who is gone, also with an error.
	Erase func(ctx context.Context, v *door.Visit, ords []record.Ordinal, within time.Duration) ([]record.Ordinal, error)

	// Set by Register.
	list   *change.Handle[listed, []api.Canary]
	retire *change.Handle[listed, *api.CanariesRetired]
}

// log logs a step before it is done.
func (d *Desk) log(ctx context.Context, v *door.Visit, what entry.Detail) (ledger.Receipt, error) {
	return d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindCanary, Who: v.Who, Detail: what})
}

// live are the canaries that are not retired.
func live(list []Canary) (out []Canary) {
	for _, x := range list {
		if !x.Retired {
			out = append(out, x)
		}
	}
	return out
}

// Customers returns how many customers a brand has, without its canaries, to those who may
// audit it.
func (d *Desk) Customers(ctx context.Context, c identity.Caller, brand string) (*api.Count, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActAudit)
	if err != nil {
		return nil, err
	}
	_, there, err := d.present(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	all, err := d.Seal.Count(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	return &api.Count{Customers: max(0, all-int64(len(there)))}, nil
}

// present returns what is kept of a brand's canaries, and the live ones that are customers:
// of an import that was killed some are on the list and were never made.
func (d *Desk) present(ctx context.Context, brand record.BrandID) (*state, []Canary, error) {
	st, _, err := d.Store.read(ctx, d.Store.db, brand)
	if err != nil {
		return nil, nil, err
	}
	list := live(st.Canaries)
	ords := make([]record.Ordinal, len(list))
	for i := range list {
		ords[i] = list[i].Ord
	}
	there, err := d.Seal.Present(ctx, brand, ords)
	if err != nil {
		return nil, nil, err
	}
	out := list[:0]
	for i := range list {
		if len(out) < len(there) && there[len(out)] == list[i].Ord {
			out = append(out, list[i])
		}
	}
	return st, out, nil
}

// Place orders canaries to go in with the customers that applications bring in next, or
// makes some at once.
func (d *Desk) Place(ctx context.Context, c identity.Caller, brand string, req api.CanaryRequest) (*api.CanariesPlaced, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActCanaries)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(ledger.CheckText("domain", req.Domain), ledger.CheckText("prefix", req.Prefix)); err != nil {
		return nil, err
	}
	y, err := styleOf(req)
	if err != nil {
		return nil, err
	}
	st, there, err := d.present(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out := &api.CanariesPlaced{Total: len(there)}
	if st.Order != nil {
		out.Waiting = st.Order.Waiting
	}
	all, err := d.Seal.Count(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	out.Customers = max(0, all-int64(out.Total))
	n := req.Count
	if n == 0 {
		n = missing(all, out.Total, req.Rate)
	}
	if len(st.Canaries)+n > maxListed {
		return nil, fmt.Errorf("%w: a brand has at most %d, retired ones included", ErrRequest, maxListed)
	}
	if req.Now {
		return out, d.placeNow(ctx, v, req, y, n, out)
	}
	if out.Waiting = n; st.Order != nil && req.Count > 0 {
		out.Waiting += st.Order.Waiting
	}
	if req.DryRun {
		return out, nil
	}
	r, err := d.log(ctx, v, entry.CanariesOrdered{CanaryCount: entry.CanaryCount{Count: n}})
	if err != nil {
		return nil, err
	}
	out.Receipt = &api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}
	return out, d.Store.change(ctx, v.Brand.ID, r.At(), func(st *state) error {
		next := &order{style: y, Rate: req.Rate, Waiting: n, Share: share(out.Customers, out.Total+n)}
		if st.Order != nil && req.Count > 0 {
			next.Rate, next.Waiting = st.Order.Rate, n+st.Order.Waiting
		}
		st.Order = next
		return nil
	})
}

// placeNow makes canaries, up to a bound in one request.
func (d *Desk) placeNow(ctx context.Context, v *door.Visit, req api.CanaryRequest, y style, n int, out *api.CanariesPlaced) error {
	todo := min(n, atOnce)
	out.Placed, out.Left = todo, n-todo
	if req.DryRun || todo == 0 {
		return nil
	}
	r, err := d.log(ctx, v, entry.CanariesPlaced{CanaryCount: entry.CanaryCount{Count: todo}})
	if err != nil {
		return err
	}
	out.Receipt = &api.Receipt{Brand: v.Brand.Name, Entry: r.Entry(), CheckpointSize: r.CheckpointSize()}
	like := invent.NewLikeness()
	if err := d.Seal.Learn(ctx, r, like); err != nil {
		return err
	}
	if like.Seen() < learnedLeast {
		like = general(v.Brand.Name)
	}
	for left := todo; left > 0; left -= min(left, chunk) {
		if err := d.place(ctx, v, y, like, r, min(left, chunk)); err != nil {
			return err
		}
	}
	out.Total += todo
	// They live on among the others, and a share that was asked for is kept.
	return d.Store.change(ctx, v.Brand.ID, r.At(), func(st *state) error {
		if st.Order == nil {
			st.Order = &order{style: y}
		}
		st.Order.Share = share(out.Customers, out.Total)
		if req.Rate > 0 {
			st.Order.style, st.Order.Rate, st.Order.Waiting = y, req.Rate, 0
		}
		return nil
	})
}

// share is which part of all customers canaries are.
func share(customers int64, canaries int) float64 {
	return min(maxRate, float64(canaries)/float64(max(1, customers+int64(canaries))))
}

// missing is how many canaries are to be made so that a share of all customers are.
func missing(customers int64, have int, rate float64) int {
	others := float64(customers) - float64(have)
	return max(0, int(math.Ceil(rate*others/(1-rate)-1e-9))-have)
}

func styleOf(req api.CanaryRequest) (style, error) {
	y := style{req.Domain, req.Prefix, req.Digits}
	if (req.Count > 0) == (req.Rate > 0) || req.Count < 0 || req.Rate < 0 || req.Rate > maxRate || req.Count > atOnce {
		return y, fmt.Errorf("%w: ask for a count up to %d, or for a rate up to %g", ErrRequest, atOnce, maxRate)
	}
	if y.Domain != "" {
		if _, err := record.NormalEmail("a@" + y.Domain); err != nil {
			return y, fmt.Errorf("%w: the domain is none of e-mail addresses", ErrRequest)
		}
	}
	if y.Digits == 0 && y.Prefix != "" {
		y.Digits = 9
	}
	if y.Digits != 0 && (y.Digits < 4 || y.Digits > 18) {
		return y, fmt.Errorf("%w: an external id has 4 to 18 digits", ErrRequest)
	}
	if _, err := record.NormalExternalID(y.Prefix + "1"); err != nil {
		return y, fmt.Errorf("%w: the prefix is none of external ids", ErrRequest)
	}
	return y, nil
}

func canaryOf(ord record.Ordinal, p *sealed.Put) Canary {
	return Canary{Ord: ord, ExternalID: p.Customer.Get(record.ExternalID), Email: p.Customer.Get(record.Email),
		Country: p.Customer.Get(record.Country), Had: len(p.Purchases)}
}

// place writes n canaries. Numbers that are somebody's are drawn again: no customer is
// ever overwritten.
func (d *Desk) place(ctx context.Context, v *door.Visit, y style, like *invent.Likeness, r ledger.Receipt, n int) error {
	st, _, err := d.Store.read(ctx, d.Store.db, v.Brand.ID)
	if err != nil {
		return err
	}
	names := used(st.Canaries)
	puts, err := y.invent(like, n, names, random)
	if err != nil {
		return err
	}
	for range draws {
		var told []record.Ordinal
		_, err = d.Intake.Fresh(ctx, v, puts, func(ctx context.Context, ords []record.Ordinal) error {
			before := told
			told = ords
			return d.Store.change(ctx, v.Brand.ID, r.At(), func(st *state) error {
				retire(st.Canaries, before)
				for i, ord := range ords {
					st.Canaries = append(st.Canaries, canaryOf(ord, &puts[i]))
				}
				return nil
			})
		})
		if err == nil {
			return nil
		}
		taken, ok := errors.AsType[*intake.TakenError](err)
		if !ok {
			// Whether they were written may be unknown: they stay known, and retiring takes
			// those that are not there for retired.
			return err
		}
		if told != nil {
			if err := d.retired(ctx, v.Brand.ID, r, told); err != nil {
				return err
			}
		}
		others, err := y.invent(like, len(taken.At), names, random)
		if err != nil {
			return err
		}
		for i, at := range taken.At {
			puts[at] = others[i]
		}
	}
	return errNumbers
}

// retire marks canaries.
func retire(list []Canary, ords []record.Ordinal) {
	gone := make(map[record.Ordinal]bool, len(ords))
	for _, ord := range ords {
		gone[ord] = true
	}
	for i := range list {
		list[i].Retired = list[i].Retired || gone[list[i].Ord]
	}
}

func (d *Desk) retired(ctx context.Context, brand record.BrandID, r ledger.Receipt, ords []record.Ordinal) error {
	return d.Store.change(ctx, brand, r.At(), func(st *state) error {
		retire(st.Canaries, ords)
		return nil
	})
}

// List returns the canaries, without opening a customer. That somebody asked is logged. It
// takes a second person; the list is shown to the requester, who asks once more then.
func (d *Desk) List(ctx context.Context, c identity.Caller, brand string) ([]api.Canary, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActCanaries)
	if err != nil {
		return nil, err
	}
	list, err := d.list.Do(ctx, v, "", listed{Brand: v.Brand.ID})
	if list == nil && err == nil {
		list = []api.Canary{}
	}
	return list, err
}

// show lists the canaries to a visitor.
func (d *Desk) show(ctx context.Context, v *door.Visit) ([]api.Canary, error) {
	_, list, err := d.present(ctx, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	if _, err := d.log(ctx, v, entry.CanariesListed{CanaryCount: entry.CanaryCount{Count: len(list)}}); err != nil {
		return nil, err
	}
	out := make([]api.Canary, len(list))
	for i, x := range list {
		token, err := d.Seal.Token(ctx, v.Brand.ID, x.Ord)
		if err != nil {
			return nil, err
		}
		out[i] = api.Canary{Token: token, ExternalID: x.ExternalID, Email: x.Email}
	}
	return out, nil
}

// Retire ends what was ordered and erases canaries, each as any customer is erased. Who they
// were stays known, so that the log's past stays explained. One request takes a bounded
// number.
func (d *Desk) Retire(ctx context.Context, c identity.Caller, brand string) (*api.CanariesRetired, error) {
	v, err := d.Door.Admit(ctx, c, brand, access.ActCanaries)
	if err != nil {
		return nil, err
	}
	return d.retire.Do(ctx, v, "", listed{Brand: v.Brand.ID})
}

func (d *Desk) retireSome(ctx context.Context, v *door.Visit) (*api.CanariesRetired, error) {
	st, _, err := d.Store.read(ctx, d.Store.db, v.Brand.ID)
	if err != nil {
		return nil, err
	}
	list := live(st.Canaries)
	if len(list) == 0 && st.Order == nil {
		return &api.CanariesRetired{}, nil
	}
	out := &api.CanariesRetired{Left: max(0, len(list)-chunk)}
	list = list[:min(len(list), chunk)]
	r, err := d.log(ctx, v, entry.CanariesRetired{CanaryCount: entry.CanaryCount{Count: len(list)}})
	if err != nil {
		return nil, err
	}
	if st.Order != nil { // first, so that no more come
		err := d.Store.change(ctx, v.Brand.ID, r.At(), func(st *state) error {
			st.Order = nil
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	ords := make([]record.Ordinal, len(list))
	for i := range list {
		ords[i] = list[i].Ord
	}
	gone, err := d.Erase(ctx, v, ords, retireFor)
	out.Retired = len(gone)
	out.Left += len(list) - len(gone)
	return out, errors.Join(err, d.retired(context.WithoutCancel(ctx), v.Brand.ID, r, gone))
}

// ForExport gives up to n of a brand's canaries, drawn at random, to an export: those that
// no other export has, so that a file that turns up is known by them. Asked again for one
// export, it returns those it gave. They are ascending. The export's right is the caller's
// to check, and what is returned is for no answer.
func (d *Desk) ForExport(ctx context.Context, brand record.BrandID, export string, n int) (out []record.Ordinal, err error) {
	_, there, err := d.present(ctx, brand)
	if err != nil {
		return nil, fmt.Errorf("drawing canaries for the export %s: %w", export, err)
	}
	if len(there) == 0 {
		return nil, nil
	}
	is := make(map[record.Ordinal]bool, len(there))
	for _, x := range there {
		is[x.Ord] = true
	}
	// A list has a key already: nothing is made at this time.
	err = d.Store.change(ctx, brand, time.Time{}, func(st *state) error {
		out = out[:0]
		var free []int
		for i, x := range st.Canaries {
			switch {
			case x.Retired || !is[x.Ord]:
			case x.Export == export:
				out = append(out, x.Ord)
			case x.Export == "":
				free = append(free, i)
			}
		}
		if len(out) > 0 {
			return nil
		}
		for range min(n, len(free)) {
			j, err := rand.Int(rand.Reader, big.NewInt(int64(len(free))))
			if err != nil {
				return fmt.Errorf("drawing canaries: %w", err)
			}
			k := int(j.Int64())
			x := &st.Canaries[free[k]]
			x.Export = export
			out = append(out, x.Ord)
			free = slices.Delete(free, k, k+1)
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}
