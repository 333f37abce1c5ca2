package intake

import (
	"context"
	"fmt"
)

// Rows makes a sink of a taker of rows: of each chunk it is handed the customers, and
// then their purchases.
func Rows(t Taker) Sink { return &apart{t} }

type apart struct{ to Taker }

// begin implements Sink: nothing can be done before the chunk's turn.
func (a *apart) begin(_ context.Context, c *joined) (landing, error) {
	if len(c.customers.rows)+len(c.purchases.rows) == 0 {
		return nil, nil
	}
	return &handover{a.to, c}, nil
}

type handover struct {
	to Taker
	c  *joined
}

// finish implements landing.
func (h *handover) finish(ctx context.Context) (customers, purchases []Result, err error) {
	if rows := h.c.customers.rows; len(rows) > 0 {
		if customers, err = h.to.Customers(ctx, rows); err == nil {
			err = answered(customers, len(rows))
		}
		if err != nil {
			return nil, nil, err
		}
	}
	var rows []PurchaseRow
	for i, g := range h.c.groups {
		for at := g.from; at < g.to; at++ {
			rows = append(rows, PurchaseRow{Line: h.c.lines[at], ExternalID: h.c.external(g), Purchase: h.c.purchases.rows[at]})
		}
		if len(rows) < callRows && i < len(h.c.groups)-1 {
			continue
		}
		some, err := h.to.Purchases(ctx, rows)
		if err == nil {
			err = answered(some, len(rows))
		}
		if err != nil {
			return customers, nil, err
		}
		purchases, rows = append(purchases, some...), nil
	}
	return customers, purchases, nil
}

func answered(results []Result, rows int) error {
	if len(results) != rows {
		return fmt.Errorf("the sink answered for %d of %d rows", len(results), rows)
	}
	return nil
}
