package entry

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fill draws a value for every field of a detail.
func fill(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		name := v.Type().Field(i).Name
		text := rapid.StringN(1, 40, 120)
		switch f.Interface().(type) {
		case Extra:
			names := rapid.MapOfN(rapid.StringMatching(`newer-[a-z]{1,9}`), rapid.String(), 0, 3)
			f.Set(reflect.ValueOf(Extra{none(names.Draw(t, "clear")), none(names.Draw(t, "sealed"))}))
		case string:
			f.SetString(rapid.String().Draw(t, name))
		case bool:
			f.SetBool(rapid.Bool().Draw(t, name))
		case time.Duration:
			f.SetInt(rapid.Int64Range(0, 1<<40).Draw(t, name) * int64(time.Millisecond))
		case []string:
			if list := rapid.SliceOfN(text, 0, 4).Draw(t, name); len(list) > 0 {
				f.Set(reflect.ValueOf(list))
			}
		case map[string]string:
			if m := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,9}`), text, 0, 4).Draw(t, name); len(m) > 0 {
				f.Set(reflect.ValueOf(m))
			}
		default:
			switch {
			case f.Kind() == reflect.Struct:
				fill(t, f)
			case f.CanInt():
				f.SetInt(rapid.Int64().Draw(t, name))
			default:
				f.SetUint(rapid.Uint64().Draw(t, name))
			}
		}
	}
}

// Every type of detail comes back as it was written, with the names that it does not
// have.
func TestEveryDetailComesBack(t *testing.T) {
	if len(forms) < 40 {
		t.Fatalf("%d details are registered", len(forms))
	}
	for key, f := range forms {
		t.Run(key.kind.String()+" "+key.change, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := reflect.New(f.typ).Elem()
				fill(t, v)
				want := v.Interface().(Detail)
				clear, sealed, err := encodeDetail(key.kind, want)
				if err != nil {
					t.Fatal(err)
				}
				got := decodeDetail(key.kind, clear, sealed)
				if got == nil { // nothing was set
					got = reflect.Zero(f.typ).Interface().(Detail)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("%#v came back as %#v", want, got)
				}
			})
		})
	}
}

func TestADetailOfAnotherKindIsRefused(t *testing.T) {
	if _, _, err := Marshal(&Entry{Kind: KindBudget, At: time.UnixMicro(1), Detail: Contained{ID: 1}}, Secret{}); err == nil {
		t.Error("a budget entry took the detail of a containment")
	}
}

// What a newer release says in a change that this one does not know is kept.
func TestAnUnknownChangeIsKept(t *testing.T) {
	clear := map[string]string{"change": "of-a-newer-release", "thing": "x"}
	sealed := map[string]string{"who": "y"}
	d := decodeDetail(KindContainment, clear, sealed)
	if _, ok := d.(Other); !ok {
		t.Fatalf("%#v", d)
	}
	c, s, err := encodeDetail(KindContainment, d)
	if err != nil || !maps.Equal(c, clear) || !maps.Equal(s, sealed) {
		t.Errorf("%v %v %v", c, s, err)
	}
}

// v1Leaf is a row of testdata/leaf-v1.json: leaves as the first release wrote them.
type v1Leaf struct {
	Kind   string            `json:"kind"`
	Change string            `json:"change"`
	Detail map[string]string `json:"detail"`
	Leaf   string            `json:"leaf"`
}

func v1Leaves(t testing.TB) (out []v1Leaf) {
	t.Helper()
	b, err := os.ReadFile("testdata/leaf-v1.json")
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil || len(out) < 50 {
		t.Fatal(len(out), err)
	}
	return out
}

// Leaves of the first release read as they did, every name of theirs as a field.
func TestLeavesOfVersion1StillRead(t *testing.T) {
	for _, row := range v1Leaves(t) {
		leaf, err := hex.DecodeString(row.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Unmarshal(leaf)
		if err != nil {
			t.Errorf("%s %s: %v", row.Kind, row.Change, err)
			continue
		}
		if e.Kind.String() != row.Kind || e.Change() != row.Change || !maps.Equal(e.Texts(), row.Detail) || e.Principal != 7 || e.Lineage != 29 || e.At.Year() != 2026 {
			t.Errorf("%s %s: read as %+v", row.Kind, row.Change, e)
		}
		switch _, other := e.Detail.(Other); {
		case row.Change == "of-a-newer-release":
		case other:
			t.Errorf("%s %s has no type", row.Kind, row.Change)
		case e.Detail != nil && row.Detail["newer"] == "":
			if x := e.Detail.extra(); len(x.clear)+len(x.sealed) > 0 {
				t.Errorf("%s %s: the type lacks %v", row.Kind, row.Change, slices.Collect(maps.Keys(x.clear)))
			}
		}
	}
}
