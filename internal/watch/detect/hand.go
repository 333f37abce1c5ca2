package detect

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// sources are where an alarm by hand comes from, each with what the alarm says.
var sources = map[string]string{
	"call": "somebody called", "mail": "somebody wrote", "staff": "a colleague reported it", "partner": "a partner reported it",
	"authority": "an authority asked", "press": "the press asked", "claim": "somebody claims to have data", "other": "reported by hand",
}

// Sources returns the words for where an alarm by hand comes from.
func Sources() []string { return slices.Sorted(maps.Keys(sources)) }

// Raised is the alarm of an entry by which a person raised it.
func Raised(brand record.BrandID, index uint64, at time.Time, d entry.AlarmRaised) Alarm {
	g, err := ParseGrade(d.Severity)
	if err != nil { // a newer release's word
		g = High
	}
	seen := sources[d.Source]
	if seen == "" {
		seen = sources["other"]
	}
	return Alarm{
		Brand: brand, Entry: index, At: at.UTC(), Rule: ByHand, Grade: g, Principal: d.Suspect, Usual: "raised by a person", Seen: seen,
		Key: fmt.Sprintf("%d/%s/%d/%s/%s", brand, ByHand, index, g, at.UTC().Format(time.DateOnly)),
	}
}
