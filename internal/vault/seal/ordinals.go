package seal

import (
	"context"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrNoOrdinals is returned for new customers when the deployment's counter of ordinals
// stands at its end: reached, or put there by an earlier release.
var ErrNoOrdinals = fault.New(fault.Full, "no ordinal is left for a new customer: an administrator runs `cloakroom doctor`, and `cloakroom db mend` if doctor says so")

const (
	// fewOrdinals is how many ordinals left are few: an administrator should hear of it
	// years before the last is given.
	fewOrdinals = 1 << 24
	// oddGap is how far the counter may stand above the last customer. Only writes that
	// failed leave a gap, of at most one write each.
	oddGap = 1 << 28
)

const (
	sqlSetOrdinal = `UPDATE ordinals SET next = $1 WHERE one = 1 AND next = $2`
)

// Ordinals is the state of the counter from which new customers get their ordinals.
type Ordinals struct {
	Next int64 // the next ordinal to be given
	Last int64 // the greatest that any table of customers holds
}

// Ordinals reads the counter and the greatest ordinal in use.
func (s *Store) Ordinals(ctx context.Context) (o Ordinals, err error) {
	if o.Last, err = s.Last(ctx); err != nil { // first: a customer's ordinal is reserved before it is used
		return o, err
	}
	if err := s.db.Row(ctx, sqlNextOrdinal).Scan(&o.Next); err != nil {
		return o, fmt.Errorf("reading the next ordinal: %w", err)
	}
	return o, nil
}

// Fault says what is wrong with the counter, and is empty where nothing is.
func (o Ordinals) Fault() string {
	switch left := int64(record.FirstNobody) - o.Next; {
	case o.Next <= o.Last:
		return fmt.Sprintf("the next ordinal is %d, and the last customer has %d: a new customer would get the ordinal of another", o.Next, o.Last)
	case left < 0:
		return fmt.Sprintf("the next ordinal is %d, which no customer can have: every new customer is refused", o.Next)
	case o.Next-o.Last > oddGap:
		return fmt.Sprintf("the next ordinal is %d, far above the last customer's, %d", o.Next, o.Last)
	case left < fewOrdinals:
		return fmt.Sprintf("%d ordinals are left for new customers", left)
	}
	return ""
}

// Mended returns the counter that a vault should have whose greatest ordinal, in its tables,
// in its logs and in its lists of canaries, is last: where it stands, unless that is at fault
// and the customers do not account for it.
func (o Ordinals) Mended(last record.Ordinal) int64 {
	should := max(o.Last, int64(last)) + 1
	if o.Next < should || o.Next > int64(record.FirstNobody) || o.Next-should > oddGap {
		return should
	}
	return o.Next
}

// SetNextOrdinal moves the counter. It is ErrConflict where the counter was moved since it
// was read.
func (s *Store) SetNextOrdinal(ctx context.Context, q db.Queryer, from, to int64) error {
	n, err := q.Exec(ctx, sqlSetOrdinal, to, from)
	if err != nil {
		return fmt.Errorf("setting the next ordinal: %w", err)
	}
	if n != 1 {
		return ErrConflict
	}
	return nil
}
