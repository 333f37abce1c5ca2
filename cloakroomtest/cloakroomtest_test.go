package cloakroomtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

// Eight clients as busy as eight processes: every kind of request at once, and none
// is answered that the database is locked, or by any error at all but a budget.
func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	Each(t, manyClients)
}

func manyClients(t *testing.T, v *Vault) {
	ctx := t.Context()
	v.Brand("gucci")
	v.Brand("mcqueen")
	var wg sync.WaitGroup
	for i := range 8 {
		brand := []string{"gucci", "mcqueen"}[i%2]
		shop := v.Principal(fmt.Sprint("shop-", i), map[string]string{brand: "application"})
		officer := v.Principal(fmt.Sprint("officer-", i), map[string]string{brand: "data-protection-officer"})
		wg.Go(func() {
			check := func(what string, err error) {
				var e *api.Error
				if err != nil && !(errors.As(err, &e) && e.Type == api.TypeBudgetExhausted) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for n := range 12 {
				id := fmt.Sprintf("C-%d-%d", i, n)
				w, err := shop.Put(ctx, brand, api.PutRequest{Customers: []api.Fields{
					{"external_id": id, "email": id + "@example.com"}, {"external_id": "shared-" + brand, "city": id},
				}})
				if err != nil {
					check("put", err)
					continue
				}
				_, err = shop.AddPurchases(ctx, brand, api.PurchasesRequest{Customers: []api.CustomerPurchases{{ExternalID: id, Purchases: []api.Purchase{{ID: "1", At: "2025-01-01T00:00:00Z", Amount: "1.00", Currency: "EUR"}}}}})
				check("purchases", err)
				_, err = shop.Reveal(ctx, brand, api.RevealRequest{Tokens: []string{w.Results[0].Token}, Fields: []string{"email", "purchases"}, Purpose: "order-fulfilment"})
				check("reveal", err)
				_, err = shop.Search(ctx, brand, api.SearchRequest{By: "email", Value: strings.ToUpper(id) + "@EXAMPLE.com", Purpose: "order-fulfilment"})
				check("search", err)
				d, err := officer.WhoRead(ctx, brand, w.Results[0].Token)
				check("who-read", err)
				if err == nil && len(d.Disclosures) == 0 {
					t.Error("a customer who was revealed was read by nobody")
				}
				if n%4 == 3 {
					_, err = officer.Erase(ctx, brand, w.Results[0].Token)
					check("erase", err)
				}
			}
		})
	}
	wg.Wait()
	for _, brand := range []string{"gucci", "mcqueen", "group"} {
		var out api.Verified
		if err := v.Admin.Do(ctx, "POST", "/v1/brands/"+brand+"/log/verify", struct{}{}, &out); err != nil || !out.OK {
			t.Errorf("the log of %s: %+v, %v", brand, out, err)
		}
	}
}
