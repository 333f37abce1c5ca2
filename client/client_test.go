package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// described is what the tests read of the API's description.
type described struct {
	Paths map[string]map[string]operation // by method
}

type operation struct {
	OperationID string                      `yaml:"operationId"`
	Parameters  []struct{ Name, In string } `yaml:"parameters"`
	RequestBody *struct{}                   `yaml:"requestBody"`
}

// recorder answers every request with null, and keeps it.
type recorder struct{ got []*http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.got = append(r.got, req)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("null")), Request: req}, nil
}

// sent calls a method with made-up arguments and returns what it sent: no string, number
// or flag is empty, so that every parameter shows.
func sent(t *testing.T, method reflect.Method) *http.Request {
	r := &recorder{}
	c := New("http://vault", "", &http.Client{Transport: r})
	args := []reflect.Value{reflect.ValueOf(c)}
	for i := 1; i < method.Type.NumIn(); i++ {
		args = append(args, madeUp(t, method.Type.In(i)))
	}
	method.Func.Call(args)
	if len(r.got) != 1 {
		t.Fatalf("%s sent %d requests", method.Name, len(r.got))
	}
	return r.got[0]
}

func madeUp(t *testing.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return reflect.ValueOf(time.Unix(1, 0))
		}
		if typ.PkgPath() == reflect.TypeFor[Client]().PkgPath() { // a query
			for i := range typ.NumField() {
				v.Field(i).Set(madeUp(t, typ.Field(i).Type))
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(typ, 1, 1))
	case reflect.Interface:
		switch {
		case typ == reflect.TypeFor[context.Context]():
			v.Set(reflect.ValueOf(t.Context()))
		case typ == reflect.TypeFor[io.Writer]():
			v.Set(reflect.ValueOf(io.Discard))
		case typ == reflect.TypeFor[io.Reader]():
			v.Set(reflect.ValueOf(strings.NewReader("x")))
		default:
			t.Fatalf("no value of %s", typ)
		}
	default:
		t.Fatalf("no value of %s", typ)
	}
	return v
}

var placeholder = regexp.MustCompile(`\\\{[a-z]+\\\}`)

func readAPI(t *testing.T) described {
	text, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Paths) < 40 {
		t.Fatalf("the description has %d paths only", len(d.Paths))
	}
	return d
}

// Every operation of the API has a method, which sends its parameters and its body; and
// no method sends what the API does not describe.
func TestEveryOperationHasAMethod(t *testing.T) {
	if faults := compare(t, readAPI(t)); len(faults) > 0 {
		t.Error(strings.Join(faults, "\n"))
	}
}

// The comparison sees an operation without a method, and a parameter that is not sent.
func TestAMissingMethodIsSeen(t *testing.T) {
	d := readAPI(t)
	d.Paths["/v1/planted"] = map[string]operation{"get": {OperationID: "planted"}}
	delete(d.Paths, "/v1/check")
	got := strings.Join(compare(t, d), "\n")
	for _, want := range []string{"planted has no method", "Check sends POST /v1/check"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
}

func compare(t *testing.T, d described) (faults []string) {
	served := map[string]bool{}
	typ := reflect.TypeFor[*Client]()
	for i := range typ.NumMethod() {
		method := typ.Method(i)
		if method.Name == "Do" {
			continue
		}
		req := sent(t, method)
		found := false
		for path, ops := range d.Paths {
			op, ok := ops[strings.ToLower(req.Method)]
			pattern := "^" + placeholder.ReplaceAllString(regexp.QuoteMeta(path), "[x1]") + "$"
			if !ok || !regexp.MustCompile(pattern).MatchString(req.URL.Path) {
				continue
			}
			found = true
			served[op.OperationID] = true
			faults = append(faults, parameters(method.Name, req.URL.Query(), func(yield func(string) bool) {
				for _, p := range op.Parameters {
					if p.In == "query" && !yield(p.Name) {
						return
					}
				}
			})...)
			if (req.Body != nil) != (op.RequestBody != nil) {
				faults = append(faults, method.Name+" sends a body where none is described, or none where one is")
			}
		}
		if !found {
			faults = append(faults, method.Name+" sends "+req.Method+" "+req.URL.Path+", which the API does not describe")
		}
	}
	for _, ops := range d.Paths {
		for _, op := range ops {
			if !served[op.OperationID] {
				faults = append(faults, op.OperationID+" has no method")
			}
		}
	}
	return faults
}

// parameters compares the parameters that are sent with those that are described.
func parameters(method string, q url.Values, described func(yield func(string) bool)) (faults []string) {
	names := slices.Collect(described)
	for _, n := range names {
		if !q.Has(n) {
			faults = append(faults, method+" does not send the parameter "+n)
		}
	}
	for n := range q {
		if !slices.Contains(names, n) {
			faults = append(faults, method+" sends the parameter "+n+", which is not described")
		}
	}
	return faults
}
