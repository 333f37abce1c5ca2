package incident

import (
	"slices"
	"testing"

	"github.com/cloakroom/cloakroom/api"
)

// A row of a scope's figures is a set of fields, whose classes are all disclosed.
func TestClassesOfAScope(t *testing.T) {
	rows := func(sets ...string) (out []api.ScopeRow) {
		for _, s := range sets {
			out = append(out, api.ScopeRow{Name: s, Records: 1})
		}
		return out
	}
	for name, c := range map[string]struct {
		figures api.ScopeFigures
		want    []string
	}{
		"one field":          {api.ScopeFigures{Records: 1, Fields: rows("email")}, []string{"email"}},
		"several in one row": {api.ScopeFigures{Records: 1, Fields: rows("given_name,family_name,email")}, []string{"email", "name"}},
		"several rows":       {api.ScopeFigures{Records: 2, Fields: rows("phone,birth_date", "purchases")}, []string{"dob", "phone", "purchase_history", "purchase_total"}},
		"masked alone":       {api.ScopeFigures{Records: 1, Fields: rows("email,phone"), Reached: map[string]int{"masked": 1}}, []string{"token_only"}},
		"nobody":             {api.ScopeFigures{Fields: rows("email")}, nil},
	} {
		if got := classesOf(&c.figures); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}
