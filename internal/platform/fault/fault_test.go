package fault

import (
	"errors"
	"fmt"
	"testing"
)

var (
	errGone   = New(NotFound, "gone")
	errBusy   = Newf(Conflict, "%d are running", 3)
	errTaken  = Typed(Conflict, "taken", "taken")
	errInside = New(Internal, "inside")
)

func TestAnErrorSaysItsKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{nil, nil},
		{errors.New("plain"), nil},
		{errInside, nil},
		{errGone, errGone},
		{fmt.Errorf("at 3: %w", errGone), errGone},
		{fmt.Errorf("%w: %w", errBusy, errGone), errBusy},
		{fmt.Errorf("%w: %w", errInside, errGone), errGone},
		{errors.Join(errors.New("plain"), fmt.Errorf("x: %w", errTaken), errGone), errTaken},
		{fmt.Errorf("x: %w", errors.Join(errors.New("a"), errInside)), nil},
	} {
		s := Of(c.err)
		if c.want == nil && s != nil || c.want != nil && (s == nil || error(s) != c.want) {
			t.Errorf("Of(%v) = %v, want %v", c.err, s, c.want)
		}
	}
}

func TestErrorsOfOneTextStayApart(t *testing.T) {
	if a, b := New(NotFound, "gone"), New(NotFound, "gone"); errors.Is(a, b) || !errors.Is(fmt.Errorf("x: %w", a), a) {
		t.Fatal("errors are told apart by their text")
	}
	if s := Of(errTaken); s.Type() != "taken" || s.Kind() != Conflict || s.Error() != "taken" {
		t.Fatalf("got %+v", s)
	}
	if s := Of(errBusy); s.Type() != "" || s.Error() != "3 are running" {
		t.Fatalf("got %+v", s)
	}
}
