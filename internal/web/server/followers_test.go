package server_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

// Who watches learns how far alarms are behind each log, nobody else does, and health
// says that they are late without a figure.
func TestWhatFollowsTheLogsSaysHowFarBehindItIs(t *testing.T) {
	h := newHouse(t, "")
	ctx := t.Context()
	lag := func() map[string]api.Follower {
		t.Helper()
		var list []api.Follower
		h.must(h.Do(ctx, "GET", "/v1/followers", nil, &list))
		out := map[string]api.Follower{}
		for _, f := range list {
			if f.Follower == "alarms" {
				out[f.Brand] = f
			}
		}
		if len(out) < 2 {
			t.Fatalf("%+v", list)
		}
		return out
	}
	if f := lag()["gucci"]; f.Entries == 0 || f.Seconds <= 0 {
		t.Errorf("nobody follows and the lag is %+v", f)
	}
	for _, role := range []string{"support-agent", "application", "marketing"} {
		var list []api.Follower
		if err := h.as[role].Do(ctx, "GET", "/v1/followers", nil, &list); !isType(err, api.TypeUnknownBrand) || len(list) > 0 {
			t.Errorf("%s was told %+v, %v", role, list, err)
		}
	}
	watching, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.vault.Watch(watching, slog.New(slog.NewTextHandler(io.Discard, nil)), "") }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	sizes, err := h.vault.Ledger.Sizes(ctx)
	h.must(err)
	for brand := range sizes {
		h.must(h.vault.Followers.Settle(ctx, brand))
	}
	for brand, f := range lag() {
		if f.Entries != 0 || f.Seconds != 0 || f.Starting {
			t.Errorf("%s: %+v", brand, f)
		}
	}
	eventually(t, "health says that nothing is late", func() bool {
		var health api.Health
		h.must(h.Do(ctx, "GET", "/v1/health", nil, &health))
		return health.Status == "ok" && !health.Late
	})
}
