package page

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// MaxForm bounds the body of a form, in bytes.
const MaxForm = 64 << 10

// Fault is what is wrong with one field, whose input has the id Field. Without one it
// concerns the form.
type Fault struct{ Field, Text string }

// Form is what somebody sent, and what was wrong with it. It is shown again with its
// values, so that nothing is typed twice.
type Form struct {
	values url.Values
	Faults []Fault
}

// ErrForm is returned for a body that is no form, or is too large.
var ErrForm = errors.New("the form is malformed or too large")

// Read reads the form of a request from its body. What stands in the address is no part
// of it.
func Read(w http.ResponseWriter, r *http.Request) (*Form, error) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
	if err := r.ParseForm(); err != nil {
		return nil, ErrForm
	}
	return &Form{values: r.PostForm}, nil
}

// NewForm returns a form that nobody has sent, with values to begin with.
func NewForm(pairs ...string) *Form {
	f := &Form{values: url.Values{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.values.Set(pairs[i], pairs[i+1])
	}
	return f
}

// Get returns the value of a field without blanks around it.
func (f *Form) Get(name string) string { return strings.TrimSpace(f.values.Get(name)) }

// All returns the values of a field that may have several.
func (f *Form) All(name string) []string { return f.values[name] }

// Has reports whether a field has a value among others.
func (f *Form) Has(name, value string) bool { return slices.Contains(f.values[name], value) }

// Need returns the value of a field, and notes a fault where it is empty.
func (f *Form) Need(name, text string) string {
	v := f.Get(name)
	if v == "" {
		f.Wrong(name, text)
	}
	return v
}

// Wrong notes a fault of a field; of the form, where the field has no name.
func (f *Form) Wrong(field, text string) { f.Faults = append(f.Faults, Fault{field, text}) }

// Fault returns what is wrong with a field.
func (f *Form) Fault(field string) string {
	for _, x := range f.Faults {
		if x.Field == field {
			return x.Text
		}
	}
	return ""
}

// OK reports whether nothing is wrong.
func (f *Form) OK() bool { return len(f.Faults) == 0 }

// Pairs are the fields as they were sent, to be sent once more, in the order of their
// names.
func (f *Form) Pairs() (out [][2]string) {
	names := make([]string, 0, len(f.values))
	for n := range f.values {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		for _, v := range f.values[n] {
			out = append(out, [2]string{n, v})
		}
	}
	return out
}
