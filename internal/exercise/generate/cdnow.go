// Package generate writes invented customers and purchases as the files that an import
// reads, and gives the customers of a real file of purchases invented names. What the
// customers look like is invent's work; package work says who works with them and when.
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

	"github.com/cloakroom/cloakroom/internal/platform/invent"
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
func FromPurchases(r io.Reader, cfg invent.Config) iter.Seq2[*invent.Customer, error] {
	return func(yield func(*invent.Customer, error) bool) {
		if err := cfg.Check(); err != nil {
			yield(nil, err)
			return
		}
		buyers := invent.NewBuyers(cfg.Seed)
		var current string
		var purchases []record.Purchase // of the current customer
		seen := map[string]bool{}       // a word per customer: the format is for files of thousands
		give := func() bool {
			c := buyers.Customer(uint64(len(seen)-1), purchases[0].At)
			c.Set(record.ExternalID, current)
			c.Purchases = purchases
			return yield(c, nil)
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
				purchases = purchases[:0]
			}
			p.ID = current + "-" + strconv.Itoa(len(purchases)+1)
			purchases = append(purchases, p)
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
