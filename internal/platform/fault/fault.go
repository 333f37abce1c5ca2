// Package fault declares errors with their kind, so that what a caller is answered
// stands beside the error and not in a list far away.
//
// A kind says who can mend the error and how, in no protocol's words: the API maps
// each kind to a status, once. An error that programs tell apart from others of its
// kind also has a stable problem type of the API.
//
// A package declares its exported errors with New; a structure test finds one without
// a kind.
package fault

import "fmt"

// Kind is what an error means for the caller of a request.
type Kind uint8

const (
	// Internal is for errors that no request is answered with: they stay inside the
	// vault, or go to the person at its terminal.
	Internal Kind = iota
	// Invalid is a request that has to be written differently.
	Invalid
	// Unauthenticated is a caller whom the vault does not know.
	Unauthenticated
	// Denied is a caller who may not do this.
	Denied
	// NotFound is a request for something that does not exist, or not for this caller.
	NotFound
	// Conflict is a request that does not fit the state of the vault now.
	Conflict
	// Changed is a conflict with another request that ran at the same time: the same
	// request, sent again, may succeed.
	Changed
	// Damaged is sealed data that does not open.
	Damaged
	// Full is a vault that has no room for what is new.
	Full
	// Unavailable is a vault that cannot serve now: nothing was disclosed.
	Unavailable
)

// Sentinel is an error with a kind. Sentinels are compared by identity.
type Sentinel struct {
	kind Kind
	typ  string
	text string
}

// New declares an error.
func New(kind Kind, text string) error { return &Sentinel{kind: kind, text: text} }

// Newf is New with figures in the text.
func Newf(kind Kind, format string, a ...any) error {
	return &Sentinel{kind: kind, text: fmt.Sprintf(format, a...)}
}

// Typed declares an error with its own problem type in place of its kind's.
func Typed(kind Kind, typ, text string) error { return &Sentinel{kind, typ, text} }

// Error returns the text.
func (s *Sentinel) Error() string { return s.text }

// Kind returns the kind.
func (s *Sentinel) Kind() Kind { return s.kind }

// Type returns the problem type, "" for the kind's.
func (s *Sentinel) Type() string { return s.typ }

// Of returns the outermost error in err's tree that a request may be answered with, or
// nil. Of errors joined side by side, the first counts.
func Of(err error) *Sentinel {
	for err != nil {
		if s, ok := err.(*Sentinel); ok && s.kind != Internal {
			return s
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if s := Of(e); s != nil {
					return s
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}
