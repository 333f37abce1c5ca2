package server

import (
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cloakroom/cloakroom/api"
)

// unknownProperty says where a property is that the request does not have. A name that is
// close to one that it has is a slip, and is shown with what was meant; any other name is the
// caller's own text, and is not.
func (s *Server) unknownProperty(iv *api.InvalidValue, op *huma.Operation, location string) {
	iv.Message, iv.Location = "Unknown property", s.known(location)
	parent, name := "", location
	if i := strings.LastIndexByte(location, '.'); i >= 0 {
		parent, name = location[:i], location[i+1:]
	}
	iv.Pointer = pointer(s.known(parent))
	if iv.Location == location {
		iv.Pointer = pointer(location)
	}
	if near := nearest(name, s.properties(op, parent)); near != "" {
		iv.Message += "; did you mean `" + near + "`?"
		if s.known(parent) == parent {
			iv.Location, iv.Pointer = location, pointer(location)
		}
	}
}

// pointer writes a location of a body as a JSON pointer. That of the whole body is empty.
func pointer(location string) string {
	rest, ok := strings.CutPrefix(location, "body")
	if !ok || rest != "" && rest[0] != '.' && rest[0] != '[' {
		return ""
	}
	return strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "[", "/", "]", "").Replace(rest)
}

// properties returns what an object of an operation's body may have, by its location.
func (s *Server) properties(op *huma.Operation, location string) []string {
	if op == nil || op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	registry := s.api.OpenAPI().Components.Schemas
	at := op.RequestBody.Content["application/json"].Schema
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer(location), "/"), "/") {
		for at != nil && at.Ref != "" {
			at = registry.SchemaFromRef(at.Ref)
		}
		switch _, err := strconv.Atoi(step); {
		case at == nil:
			return nil
		case step == "":
		case err == nil:
			at = at.Items
		default:
			at = at.Properties[step]
		}
	}
	for at != nil && at.Ref != "" {
		at = registry.SchemaFromRef(at.Ref)
	}
	if at == nil {
		return nil
	}
	var out []string
	for name := range at.Properties {
		out = append(out, name)
	}
	return out
}

// nearest returns the name that somebody who wrote a word most likely meant; empty if none
// is close.
func nearest(word string, names []string) string {
	best, at := "", min(2, len(word)/3)+1
	for _, name := range names {
		if d := distance(word, name); d < at || d == at && best != "" && name < best {
			best, at = name, d
		}
	}
	return best
}

// distance is how many letters were left out, added or changed from one word to another.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			now := min(row[j+1], row[j]) + 1
			if a[i] == b[j] {
				now = min(now, before)
			} else {
				now = min(now, before+1)
			}
			before, row[j+1] = row[j+1], now
		}
	}
	return row[len(b)]
}
