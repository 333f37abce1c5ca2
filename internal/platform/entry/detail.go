package entry

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Detail is what an entry says beside its common members: one type for each kind of
// entry and each change that the kind records. Only the types of this package are
// details, so that those who write an entry and those who read it share one spelling.
//
// On the wire a detail is a list of names with texts. A name that the type does not
// have, as a newer release writes it, is kept and written again.
type Detail interface{ extra() *Extra }

// Extra holds the names of a detail that its type does not have. Every detail embeds it.
type Extra struct{ clear, sealed map[string]string }

func (x Extra) extra() *Extra { return &x }

// Other is a detail of a kind or change that this release does not know.
type Other struct{ Extra }

// member is a field of a detail's type.
type member struct {
	name   string // on the wire; of a list or a map what its names begin with
	index  []int
	clear  bool // it stays in the leaf for good: it names nobody
	always bool // it is written also when it is zero
}

// form is how one type of detail is written.
type form struct {
	kind    Kind
	change  string // the value under the kind's marker; empty where the kind has one type
	typ     reflect.Type
	members []member
}

type formKey struct {
	kind   Kind
	change string
}

// markers are the names under which kinds say which change it is.
var markers = [...]string{
	KindDisclosure:     "change",
	KindAdministration: "change",
	KindRotation:       "step",
	KindDetection:      "change",
	KindExport:         "change",
	KindContainment:    "change",
	KindCanary:         "change",
	KindIncident:       "change",
	KindHold:           "change",
	KindBudget:         "change",
	KindClaim:          "change",
}

func marker(k Kind) string {
	if int(k) < len(markers) {
		return markers[k]
	}
	return ""
}

var (
	forms  = map[formKey]*form{}
	byType = map[reflect.Type]*form{}
)

// register gives a type of detail its kind and change. The tags of its fields are the
// names on the wire: `log:"name"` is sealed beside the leaf and erased in time,
// `log:"name,clear"` stays in the leaf. A name that ends in ".*" is a list or a map.
func register(kind Kind, change string, d Detail) {
	f := &form{kind: kind, change: change, typ: reflect.TypeOf(d)}
	f.read(f.typ, nil)
	if forms[formKey{kind, change}] != nil || byType[f.typ] != nil {
		panic("entry: two types for one detail: " + f.typ.Name())
	}
	forms[formKey{kind, change}], byType[f.typ] = f, f
}

func (f *form) read(t reflect.Type, at []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(slices.Clone(at), i)
		if sf.Type == reflect.TypeFor[Extra]() {
			continue
		}
		if sf.Anonymous {
			f.read(sf.Type, index)
			continue
		}
		words := strings.Split(sf.Tag.Get("log"), ",")
		if words[0] == "" {
			panic("entry: a field without a name: " + t.Name() + "." + sf.Name)
		}
		f.members = append(f.members, member{
			name: strings.TrimSuffix(words[0], "*"), index: index,
			clear: slices.Contains(words, "clear"), always: slices.Contains(words, "always"),
		})
	}
}

// encodeDetail writes a detail: what stays in the leaf, and what is sealed beside it.
func encodeDetail(kind Kind, d Detail) (clear, sealed map[string]string, err error) {
	if d == nil {
		return nil, nil, nil
	}
	clear, sealed = map[string]string{}, map[string]string{}
	x := d.extra()
	maps.Copy(clear, x.clear)
	maps.Copy(sealed, x.sealed)
	f := byType[reflect.TypeOf(d)]
	switch {
	case f != nil && f.kind == kind:
		if f.change != "" {
			clear[marker(kind)] = f.change
		}
		v := reflect.ValueOf(d)
		for _, m := range f.members {
			to := sealed
			if m.clear {
				to = clear
			}
			m.put(to, v.FieldByIndex(m.index))
		}
	case f != nil:
		return nil, nil, fmt.Errorf("an entry of the kind %s has the detail %s of another kind", kind, f.typ.Name())
	case reflect.TypeOf(d) != reflect.TypeFor[Other]():
		return nil, nil, fmt.Errorf("the detail %T is not registered", d)
	}
	return none(clear), none(sealed), nil
}

func none(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func (m member) put(to map[string]string, v reflect.Value) {
	if v.IsZero() && !m.always {
		return
	}
	switch x := v.Interface().(type) {
	case string:
		to[m.name] = x
	case bool:
		to[m.name] = strconv.FormatBool(x)
	case time.Duration:
		to[m.name] = strconv.FormatInt(x.Milliseconds(), 10)
	case []string:
		for i, s := range x {
			to[m.name+strconv.Itoa(i+1)] = s
		}
	case map[string]string:
		for k, s := range x {
			to[m.name+k] = s
		}
	default:
		if v.CanInt() {
			to[m.name] = strconv.FormatInt(v.Int(), 10)
		} else {
			to[m.name] = strconv.FormatUint(v.Uint(), 10)
		}
	}
}

// get takes a field out of the texts. A text that is not of the field's type stays
// among those that the type does not have.
func (m member) get(from map[string]string, v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *[]string:
		for i := 1; ; i++ {
			name := m.name + strconv.Itoa(i)
			s, ok := from[name]
			if !ok {
				return
			}
			*to = append(*to, s)
			delete(from, name)
		}
	case *map[string]string:
		for name, s := range from {
			if key, ok := strings.CutPrefix(name, m.name); ok {
				if *to == nil {
					*to = map[string]string{}
				}
				(*to)[key] = s
				delete(from, name)
			}
		}
		return
	}
	s, ok := from[m.name]
	if ok && set(v, s) {
		delete(from, m.name)
	}
}

// set reads one text, in the one form that put writes.
func set(v reflect.Value, s string) bool {
	switch to := v.Addr().Interface().(type) {
	case *string:
		*to = s
		return true
	case *bool:
		*to = s == "true"
		return s == "true" || s == "false"
	case *time.Duration:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || n > int64(1<<62)/int64(time.Millisecond) || strconv.FormatInt(n, 10) != s {
			return false
		}
		*to = time.Duration(n) * time.Millisecond
		return true
	}
	if v.CanInt() {
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil || strconv.FormatInt(n, 10) != s {
			return false
		}
		v.SetInt(n)
		return true
	}
	n, err := strconv.ParseUint(s, 10, v.Type().Bits())
	if err != nil || strconv.FormatUint(n, 10) != s {
		return false
	}
	v.SetUint(n)
	return true
}

// decodeDetail reads what encodeDetail wrote. Version 1 of the leaf has all names in
// clear, and a name is found wherever it stands.
func decodeDetail(kind Kind, clear, sealed map[string]string) Detail {
	if len(clear)+len(sealed) == 0 {
		return nil
	}
	x := Extra{maps.Clone(clear), maps.Clone(sealed)}
	f := forms[formKey{kind, clear[marker(kind)]}]
	if f == nil {
		return Other{x}
	}
	if f.change != "" {
		delete(x.clear, marker(kind))
	}
	v := reflect.New(f.typ).Elem()
	for _, m := range f.members {
		to := v.FieldByIndex(m.index)
		if !m.clear {
			m.get(x.sealed, to)
		}
		if to.IsZero() {
			m.get(x.clear, to)
		}
	}
	v.FieldByName("Extra").Set(reflect.ValueOf(Extra{none(x.clear), none(x.sealed)}))
	return v.Interface().(Detail)
}

// Texts returns the detail as names and texts, to show it.
func (e *Entry) Texts() map[string]string {
	clear, sealed, err := encodeDetail(e.Kind, e.Detail)
	if err != nil || len(clear)+len(sealed) == 0 {
		return nil
	}
	out := map[string]string{}
	maps.Copy(out, sealed)
	maps.Copy(out, clear)
	return out
}

// ReadTexts returns what Texts returned, as the type of its kind.
func ReadTexts(kind Kind, texts map[string]string) Detail { return decodeDetail(kind, texts, nil) }

// Change returns which change of its kind the entry records, as it is written; empty
// where the kind has but one.
func (e *Entry) Change() string {
	if e.Detail == nil {
		return ""
	}
	if f := byType[reflect.TypeOf(e.Detail)]; f != nil {
		return f.change
	}
	return e.Detail.extra().clear[marker(e.Kind)]
}

// Form says how one type of detail is written: which names stay in the leaf, and which
// are among the values.
type Form struct {
	Kind          Kind
	Change        string
	Clear, Sealed []string
}

// Forms returns the forms of all details, for what describes or checks them.
func Forms() (out []Form) {
	for _, f := range forms {
		x := Form{Kind: f.kind, Change: f.change}
		for _, m := range f.members {
			if m.clear {
				x.Clear = append(x.Clear, m.name)
			} else {
				x.Sealed = append(x.Sealed, m.name)
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Form) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Change, b.Change)) })
	return out
}
