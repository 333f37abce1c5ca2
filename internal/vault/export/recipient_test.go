package export_test

import (
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

const (
	sqlTestRecipient = `SELECT recipient FROM exports WHERE id = $1`
	sqlTestInClear   = `UPDATE exports SET recipient = $2 WHERE id = $1`
)

// A stolen database does not say to whom a file goes. What an older release stored in clear
// is sealed once the export has ended, and before that its row is what the log says.
func TestRecipientsAreSealed(t *testing.T) {
	h := newHouse(t, 60)
	ctx := t.Context()
	stored := func(id string) (s string) {
		t.Helper()
		h.Must(h.DB.Row(ctx, sqlTestRecipient, id).Scan(&s))
		return s
	}
	want := h.key.Recipient().String()
	x := h.ask(api.ExportRequest{Filter: &api.ExportFilter{Countries: []string{"FR"}}})
	if got := stored(x.ID); strings.Contains(got, "age1") || x.Recipient != want {
		t.Errorf("stored as %q, shown as %q", got, x.Recipient)
	}
	_, err := h.Exports.Stop(ctx, h.analyst, "gucci", x.ID)
	h.Must(err)
	if _, err := h.DB.Exec(ctx, sqlTestInClear, x.ID, want); err != nil {
		t.Fatal(err)
	}
	h.Restart()
	if got := stored(x.ID); strings.Contains(got, "age1") {
		t.Errorf("after a start it is stored as %q", got)
	}
	list, err := h.Exports.List(ctx, h.analyst, "gucci")
	h.Must(err)
	if len(list.Exports) != 1 || list.Exports[0].Recipient != want {
		t.Errorf("%+v", list.Exports)
	}
}
