package server_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

var freeze = flag.Bool("freeze", false, "make today's description the frozen one; refused once a release is named")

const (
	described = "../../../api/openapi.yaml"
	frozen    = "testdata/v1.yaml"
	changes   = "../../../CHANGELOG.md"
)

// Whoever wrote a program against v1 keeps it: the description grows and nothing else. The
// test before this one holds the description to the server.
func TestOpenAPIOnlyGrows(t *testing.T) {
	t.Parallel()
	now := readDescription(t, described)
	if *freeze {
		log, err := os.ReadFile(changes)
		if err != nil {
			t.Fatal(err)
		}
		if released.Match(log) {
			t.Fatal("a release is named: what v1 promises is promised")
		}
		out, err := yaml.Marshal(bare(now, false))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(frozen, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range breaks(readDescription(t, frozen), now) {
		t.Errorf("v1 broke: %s", f)
	}
}

var released = regexp.MustCompile(`(?m)^## v(\d+\.\d+\.\d+), \d{4}-\d{2}-\d{2}, commit ([0-9a-f]{40})$`)

// The changelog names the commit of each release: what promises to serve beside it builds it
// from there (`.ci/long beside`), and its vault is kept (internal/app/testdata).
func TestTheChangelogNamesTheCommitOfARelease(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile(changes)
	if err != nil {
		t.Fatal(err)
	}
	names := released.FindAllStringSubmatch(string(log), -1)
	if len(names) == 0 || names[len(names)-1][1] != "0.1.0" || strings.Count(string(log), "\n## v") != len(names) {
		t.Errorf("releases with a day and a commit: %q", names)
	}
}

// What breaks a program is found, and what does not is let through.
func TestOpenAPIBreaksAreFound(t *testing.T) {
	t.Parallel()
	const first = `
paths:
  /v1/a:
    post:
      operationId: a
      parameters: [{in: query, name: limit, schema: {type: integer, maximum: 500}}]
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/In'}}}}
      responses: {'200': {content: {application/json: {schema: {$ref: '#/components/schemas/Out'}}}}}
components:
  schemas:
    In: {type: object, required: [name], properties: {name: {type: string, maxLength: 40}, kind: {type: string, enum: [x, y]}}}
    Out: {type: object, required: [id], properties: {id: {type: string}, list: {type: array, items: {$ref: '#/components/schemas/Out'}}}}
`
	for _, c := range []struct{ what, old, new, want string }{
		{"nothing", "operationId: a", "operationId: a", ""},
		{"a path goes", "/v1/a:", "/v1/b:", "no path"},
		{"a method goes", "post:", "put:", "no post"},
		{"a name changes", "operationId: a", "operationId: b", "operationId"},
		{"a parameter goes", "name: limit", "name: most", "limit"},
		{"a parameter must be given", "name: limit,", "name: limit, required: true,", "must be given"},
		{"less fits", "maximum: 500", "maximum: 50", "maximum"},
		{"more fits", "maximum: 500", "maximum: 5000", ""},
		{"shorter texts", "maxLength: 40", "maxLength: 4", "maxLength"},
		{"a new limit", "kind: {type: string,", "kind: {type: string, maxLength: 3,", "maxLength"},
		{"a value is refused", "enum: [x, y]", "enum: [x]", "y"},
		{"a value is added", "enum: [x, y]", "enum: [x, y, z]", ""},
		{"a member must be given", "required: [name]", "required: [name, kind]", "must be given"},
		{"a member need not be given", "required: [name]", "required: []", ""},
		{"a member of a request is added", "kind: {", "more: {type: string}, kind: {", ""},
		{"a member of a request goes", "kind: {type: string, enum: [x, y]}", "", "kind"},
		{"a member is of another type", "id: {type: string}", "id: {type: integer}", "type"},
		{"a member of an answer goes", "list: {type: array, items: {$ref: '#/components/schemas/Out'}}", "", "list"},
		{"a member of an answer is added", "id: {type: string}", "id: {type: string}, new: {type: string}", ""},
		{"a member is answered no longer each time", "required: [id]", "required: []", "id"},
		{"the status changes", "'200'", "'201'", "200"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var old, now description
			if err := yaml.Unmarshal([]byte(first), &old); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(strings.Replace(first, c.old, c.new, 1)), &now); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(breaks(old, now), "; ")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

type description = map[string]any

func readDescription(t *testing.T, path string) (d description) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// bare leaves out what only people read. A property may be named as those members are.
func bare(v any, names bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, m := range v {
			if names || !slices.Contains([]string{"description", "summary", "examples", "explode"}, k) {
				out[k] = bare(m, k == "properties")
			}
		}
		return out
	case []any:
		out := []any{}
		for _, m := range v {
			out = append(out, bare(m, false))
		}
		return out
	}
	return v
}

func in(v any, path ...string) any {
	for _, p := range path {
		v = members(v)[p]
	}
	return v
}

func members(v any) map[string]any { m, _ := v.(map[string]any); return m }

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, m := range list {
		out = append(out, fmt.Sprint(m))
	}
	return out
}

// comparison compares two descriptions. Each schema is compared once for requests and once
// for answers, since what breaks the one may serve the other.
type comparison struct {
	old, now description
	done     map[string]bool
	faults   []string
}

func breaks(old, now description) []string {
	c := &comparison{old: old, now: now, done: map[string]bool{}}
	paths := members(in(old, "paths"))
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if in(now, "paths", path) == nil {
			c.fault("no path %s", path)
			continue
		}
		ways := members(paths[path])
		for _, method := range slices.Sorted(maps.Keys(ways)) {
			if op := in(now, "paths", path, method); op == nil {
				c.fault("no %s %s", method, path)
			} else {
				c.operation(method+" "+path, ways[method], op)
			}
		}
	}
	return c.faults
}

func (c *comparison) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *comparison) operation(at string, old, now any) {
	if a, b := in(old, "operationId"), in(now, "operationId"); a != b {
		c.fault("%s: its operationId was %v, and is %v", at, a, b)
	}
	before, after := parameters(old), parameters(now)
	for name, p := range before {
		if after[name] == nil {
			c.fault("%s: no parameter %s", at, name)
			continue
		}
		c.schema(at+" "+name, in(p, "schema"), in(after[name], "schema"), true)
	}
	for name, p := range after {
		if in(p, "required") == true && (before[name] == nil || in(before[name], "required") != true) {
			c.fault("%s: the parameter %s must be given", at, name)
		}
	}
	if body := in(now, "requestBody"); in(body, "required") == true && in(old, "requestBody", "required") != true {
		c.fault("%s: a body must be given", at)
	}
	c.contents(at+" request", in(old, "requestBody"), in(now, "requestBody"), true)
	for status, answer := range members(in(old, "responses")) {
		if in(now, "responses", status) == nil {
			c.fault("%s: it no longer answers %s", at, status)
			continue
		}
		c.contents(at+" "+status, answer, in(now, "responses", status), false)
	}
}

func parameters(op any) map[string]any {
	out := map[string]any{}
	list, _ := in(op, "parameters").([]any)
	for _, p := range list {
		out[fmt.Sprint(in(p, "in"), " ", in(p, "name"))] = p
	}
	return out
}

func (c *comparison) contents(at string, old, now any, request bool) {
	for kind, m := range members(in(old, "content")) {
		if in(now, "content", kind) == nil {
			c.fault("%s: no %s", at, kind)
			continue
		}
		c.schema(at, in(m, "schema"), in(now, "content", kind, "schema"), request)
	}
}

func (c *comparison) schema(at string, old, now any, request bool) {
	if ref, ok := in(old, "$ref").(string); ok {
		key := fmt.Sprint(ref, request)
		if c.done[key] {
			return
		}
		c.done[key] = true
		at = ref[strings.LastIndex(ref, "/")+1:]
	}
	old, now = resolve(c.old, old), resolve(c.now, now)
	if a, b := fmt.Sprint(in(old, "type"), in(old, "format")), fmt.Sprint(in(now, "type"), in(now, "format")); a != b {
		c.fault("%s: its type was %s, and is %s", at, a, b)
		return
	}
	if request {
		c.limits(at, old, now)
		for _, name := range texts(in(now, "required")) {
			if !slices.Contains(texts(in(old, "required")), name) {
				c.fault("%s: %s must be given", at, name)
			}
		}
	} else {
		for _, name := range texts(in(old, "required")) {
			if !slices.Contains(texts(in(now, "required")), name) {
				c.fault("%s: %s is no longer in every answer", at, name)
			}
		}
	}
	properties := members(in(old, "properties"))
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if in(now, "properties", name) == nil {
			c.fault("%s: no member %s", at, name)
			continue
		}
		c.schema(at+"."+name, properties[name], in(now, "properties", name), request)
	}
	if items := in(old, "items"); items != nil {
		c.schema(at+"[]", items, in(now, "items"), request)
	}
	if more := members(in(old, "additionalProperties")); more != nil {
		c.schema(at+".*", more, in(now, "additionalProperties"), request)
	}
}

// limits holds what a request may say: no limit is new or narrower, and no value is gone.
func (c *comparison) limits(at string, old, now any) {
	for name, sign := range map[string]float64{"maximum": 1, "maxLength": 1, "maxItems": 1, "minimum": -1, "minLength": -1, "minItems": -1} {
		is, limited := figure(in(now, name))
		was, before := figure(in(old, name))
		if limited && (!before || sign*is < sign*was) {
			c.fault("%s: its %s is narrower", at, name)
		}
	}
	if p := in(now, "pattern"); p != nil && p != in(old, "pattern") {
		c.fault("%s: its pattern is another", at)
	}
	values := texts(in(now, "enum"))
	for _, v := range texts(in(old, "enum")) {
		if values != nil && !slices.Contains(values, v) {
			c.fault("%s: %s is refused", at, v)
		}
	}
	if values != nil && in(old, "enum") == nil {
		c.fault("%s: only some values are let in", at)
	}
}

func figure(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func resolve(d description, v any) any {
	for ref, ok := in(v, "$ref").(string); ok; ref, ok = in(v, "$ref").(string) {
		v = in(d, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return v
}
