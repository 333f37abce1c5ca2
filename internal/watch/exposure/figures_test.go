package exposure

import (
	"bufio"
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/budget"
)

// Figures that were written down and read are the same; while the log is ahead of them
// they say up to when they are, and never more than was used by then.
func TestFiguresSayUpToWhenTheyAre(t *testing.T) {
	at := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	f := &figures{history: budget.NewHistory()}
	for i := range uint64(50) {
		e := entry.Entry{Kind: entry.KindDisclosure, At: at.Add(time.Duration(i) * time.Minute), Principal: 1 + i%3, Lineage: 1 + i%4, Role: "support-agent", Class: "clear"}
		if i%10 == 9 {
			e.Kind, e.Class = entry.KindWrite, ""
		}
		f.Observe(follow.Entry{Index: i, Entry: &e, Ords: []record.Ordinal{record.Ordinal(i%20 + 1)}})
		if i%7 != 0 {
			continue
		}
		var b bytes.Buffer
		if err := f.Encode(bufio.NewWriter(&b)); err != nil {
			t.Fatal(err)
		}
		again := &figures{history: budget.NewHistory()}
		if err := again.Decode(bufio.NewReader(&b)); err != nil || b.Len() > 0 {
			t.Fatal(err, b.Len())
		}
		now := at.Add(5 * time.Hour)
		if want, got := f.measure(now, i+1), again.measure(now, i+1); !reflect.DeepEqual(got, want) || !got.at.Equal(now) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		f = again
	}
	brand := budget.Holder{Kind: budget.Brand}
	behind := f.measure(at.Add(24*time.Hour), 51)
	if !behind.at.Equal(at.Add(49*time.Minute)) || behind.uses[brand].Together.Now[budget.Hour] != 18 {
		t.Errorf("as of %s: %+v", behind.at, behind.uses[brand])
	}
	current := f.measure(at.Add(24*time.Hour), 50)
	if !current.at.Equal(at.Add(24*time.Hour)) || current.uses[brand].Together.Now[budget.Hour] != 0 || current.uses[brand].Together.Most[budget.Hour] != 18 {
		t.Errorf("as of %s: %+v", current.at, current.uses[brand])
	}
}
