package claim

import (
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

// dated are the bounds of one row: its values were in force after one time and before
// another, as far as changes are kept.
type dated struct{ after, before int64 }

// when finds the time at which all rows can have been taken: the one that the fewest rows
// contradict. It returns nil where no row is dated.
func when(rows []dated) *api.ClaimWhen {
	var times []int64
	n := 0
	for _, r := range rows {
		if r.after > 0 || r.before > 0 {
			n++
		}
		if r.after > 0 {
			times = append(times, r.after)
		}
		if r.before > 0 {
			times = append(times, r.before)
		}
	}
	if n == 0 {
		return nil
	}
	slices.Sort(times)
	times = slices.Compact(times)
	var after, before []int64
	for _, r := range rows {
		if r.after > 0 {
			after = append(after, r.after)
		}
		if r.before > 0 {
			before = append(before, r.before)
		}
	}
	slices.Sort(after)
	slices.Sort(before)
	// Between two bounds nothing changes: gap i is from times[i-1] up to times[i].
	against := func(i int) int {
		later, earlier := len(after), 0
		if i > 0 {
			t := times[i-1]
			at, _ := slices.BinarySearch(after, t+1)
			later = len(after) - at
			earlier, _ = slices.BinarySearch(before, t+1)
		}
		return later + earlier
	}
	best, least := 0, against(0)
	end := 0
	for i := 1; i <= len(times); i++ {
		switch a := against(i); {
		case a < least:
			best, end, least = i, i, a
		case a == least && end == i-1:
			end = i
		}
	}
	out := &api.ClaimWhen{Dated: n, Against: least}
	if best > 0 {
		out.From = time.UnixMicro(times[best-1]).UTC()
		out.Since = onDay(after, out.From)
	}
	if end < len(times) {
		out.To = time.UnixMicro(times[end]).UTC()
		out.Until = onDay(before, out.To)
	}
	return out
}

// onDay counts the times on the UTC day of one.
func onDay(times []int64, day time.Time) int {
	from := day.Truncate(24 * time.Hour)
	a, _ := slices.BinarySearch(times, from.UnixMicro())
	b, _ := slices.BinarySearch(times, from.Add(24*time.Hour).UnixMicro())
	return b - a
}
