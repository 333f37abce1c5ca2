package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// A page names the alarm before it, as that stood when the new one was logged.
func TestAPageNamesTheAlarmBeforeIt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)
	made := func(entry uint64) *alarm.Stored {
		return &alarm.Stored{Alarm: detect.Alarm{Entry: entry, At: at, Rule: detect.Canary, Grade: detect.Critical, Principal: 7}}
	}
	a, before := made(20), made(12)
	a.Earlier, before.ClosedBy, before.ClosedAt, before.Reason, before.CloseTicket = 12, 9, at, "mistaken", "CASE-9"
	n := notice{Notice: alarm.Notice{Place: alarm.Place{Entry: 20, Rule: detect.Canary}, Alarm: a, Earlier: before}, brand: "gucci"}
	for _, c := range []struct {
		closed        uint64
		subject, text string
	}{
		{0, "[gucci] critical alarm: canary, principal 7 (20-canary)", "gucci/12-canary of 2026-05-04T09:30:00Z, not closed\n"},
		{15, "[gucci] critical alarm came again: canary, principal 7 (20-canary)",
			"gucci/12-canary of 2026-05-04T09:30:00Z, closed 2026-05-04T09:30:00Z by principal 9: mistaken CASE-9\n"},
		{25, "[gucci] critical alarm: canary, principal 7 (20-canary)", "gucci/12-canary of 2026-05-04T09:30:00Z, not closed\n"}, // closed after it
	} {
		before.CloseEntry = c.closed
		if got := n.subject(); got != c.subject {
			t.Errorf("%q, want %q", got, c.subject)
		}
		if got := n.text(); !strings.Contains(got, "earlier     "+c.text) {
			t.Errorf("%q, want %q", got, c.text)
		}
	}
}
