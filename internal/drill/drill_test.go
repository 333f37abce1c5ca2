package drill

import (
	"encoding/json"
	"testing"
	"time"
)

func small(t *testing.T) Config {
	return Config{Dir: t.TempDir(), Customers: 3000, Days: 3, Horizon: 3, Seed: 1}
}

func TestASmallDrill(t *testing.T) {
	c := small(t)
	begun := time.Now()
	c.Progress = func(what string, done, all int64) {
		if done == 0 || done == all {
			t.Log(time.Since(begun).Round(time.Millisecond), what, done, all)
		}
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Variants {
		for j := range r.Variants[i].Runs {
			r.Variants[i].Runs[j].Series = nil
		}
	}
	b, _ := json.MarshalIndent(r, "", " ")
	t.Logf("%s", b)
}
