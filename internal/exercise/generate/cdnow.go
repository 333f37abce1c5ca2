package generate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// ErrPurchases is returned for a file that is not in the CDNOW format.
var ErrPurchases = errors.New("not a CDNOW purchase: customer id, date as 19970131, number of CDs, dollars")

// FromPurchases reads purchases in the CDNOW format (customer id, date, number of
// CDs, dollars, by white space, with or without a line of headings) and yields their
// customers, of the first brand, with invented names and US addresses. Date,
// number, amount and order of the purchases stay as they are; the format has no
// purchase number, so they are numbered per customer, and two equal lines stay two
// purchases. A customer's lines must stand together. After an error nothing more
// is yielded; the yielded customer is overwritten by the next one.
func FromPurchases(r io.Reader, cfg Config) iter.Seq2[*Customer, error] {
	return func(yield func(*Customer, error) bool) {
		if err := cfg.Check(); err != nil {
			yield(nil, err)
			return
		}
		m := newMaker(cfg.Seed)
		var current string
		seen := map[string]bool{} // a word per customer: the format is for files of thousands
		give := func() bool {
			i := uint64(len(seen) - 1)
			m.profile(i, i, &m.out.Purchases[0].At)
			m.out.Set(record.ExternalID, current)
			return yield(&m.out, nil)
		}
		lines := bufio.NewScanner(r)
		for n := 1; lines.Scan(); n++ {
			f := strings.Fields(lines.Text())
			if len(f) == 0 || n == 1 && f[0] == "customer_id" {
				continue
			}
			p, err := parsePurchase(f)
			if err == nil && f[0] != current && seen[f[0]] {
				err = errors.New("the customer's purchases do not stand together: sort the file by customer id")
			}
			if err != nil {
				yield(nil, fmt.Errorf("reading purchases, line %d: %w", n, err))
				return
			}
			if f[0] != current {
				if current != "" && !give() {
					return
				}
				current = f[0]
				seen[current] = true
				m.out.Purchases = m.out.Purchases[:0]
			}
			p.ID = current + "-" + strconv.Itoa(len(m.out.Purchases)+1)
			m.out.Purchases = append(m.out.Purchases, p)
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("reading purchases: %w", err))
			return
		}
		if current != "" {
			give()
		}
	}
}

func parsePurchase(f []string) (record.Purchase, error) {
	if len(f) != 4 {
		return record.Purchase{}, ErrPurchases
	}
	at, errDate := time.Parse("20060102", f[1])
	quantity, errCount := strconv.ParseInt(f[2], 10, 64)
	amount, errAmount := record.ParseAmount(f[3])
	if errDate != nil || errCount != nil || errAmount != nil || quantity < 0 {
		return record.Purchase{}, ErrPurchases
	}
	return record.Purchase{At: at, SKU: "CD", Description: "Compact disc", Quantity: quantity,
		Amount: amount, Currency: "USD", Channel: "online"}, nil
}
