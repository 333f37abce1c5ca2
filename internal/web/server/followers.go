package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// followerRoutes serve how far the followers of the logs are behind.
func (s *Server) followerRoutes() {
	route(s, "GET", "/v1/followers", "follower-list", "Show the lag of alarms and the other followers of the logs", s.followers)
}

// followers tells whoever may watch the group's log.
func (s *Server) followers(ctx context.Context, c identity.Caller, _ *none) ([]api.Follower, error) {
	if _, err := s.vault.Admin.Watch(ctx, c, brands.GroupName); err != nil {
		return nil, err
	}
	lags, err := s.vault.Followers.Lags(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.vault.Admin.Door.Brands.List(ctx)
	if err != nil {
		return nil, err
	}
	names := map[record.BrandID]string{record.Group: brands.GroupName}
	for _, b := range list {
		names[b.ID] = b.Name
	}
	out := []api.Follower{}
	for _, l := range lags {
		out = append(out, api.Follower{Follower: l.Follower, Brand: cmp.Or(names[l.Brand], fmt.Sprint(uint16(l.Brand))), Entries: l.Entries, Seconds: l.Behind.Seconds(), Starting: l.Starting})
	}
	return out, nil
}

// lagText is how far each follower is behind in the log where it is furthest behind.
func lagText(lags []follow.Lag) []byte {
	worst := map[string]follow.Lag{}
	for _, l := range lags {
		w := worst[l.Follower]
		worst[l.Follower] = follow.Lag{Entries: max(w.Entries, l.Entries), Behind: max(w.Behind, l.Behind), Starting: w.Starting || l.Starting}
	}
	var b bytes.Buffer
	gauge := func(name, help string, value func(follow.Lag) float64) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		for _, f := range slices.Sorted(maps.Keys(worst)) {
			fmt.Fprintf(&b, "%s{follower=%q} %g\n", name, f, value(worst[f]))
		}
	}
	gauge("cloakroom_follower_lag_entries", "Entries that a follower of the logs has not followed yet, in the log where it is furthest behind.", func(l follow.Lag) float64 { return float64(l.Entries) })
	gauge("cloakroom_follower_lag_seconds", "Since the oldest of these entries was logged.", func(l follow.Lag) float64 { return l.Behind.Seconds() })
	gauge("cloakroom_follower_starting", "Whether this server still reads what its snapshot lacks.", func(l follow.Lag) float64 {
		if l.Starting {
			return 1
		}
		return 0
	})
	return b.Bytes()
}
