package server

import (
	"encoding/json"
	"slices"
	"strings"
)

// fewMembers is up to how many members of an object each is compared with each.
const fewMembers = 16

// repeated returns where, in well-formed JSON, an object has a member a second time, or one
// that differs from another only in case: two readers of such a body do not read the same.
// It returns -1 where there is none.
func repeated(data []byte) int {
	type object struct {
		names []string
		many  map[string]bool
	}
	var stack []*object // nil for an array
	var last int        // where the newest string began
	var text string
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			stack = append(stack, &object{})
		case '[':
			stack = append(stack, nil)
		case '}', ']':
			stack = stack[:max(len(stack)-1, 0)]
		case '"':
			last = i
			escaped := false
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					escaped = true
					i++
				}
			}
			if len(stack) == 0 || stack[len(stack)-1] == nil || i >= len(data) {
				continue // no name
			}
			text = string(data[last+1 : i])
			if escaped && json.Unmarshal(data[last:i+1], &text) != nil {
				return last
			}
		case ':':
			o := stack[len(stack)-1]
			name := strings.ToLower(strings.ToUpper(text))
			if o.many == nil && slices.Contains(o.names, name) || o.many[name] {
				return last
			}
			if o.names = append(o.names, name); len(o.names) == fewMembers {
				o.many = map[string]bool{}
				for _, n := range o.names {
					o.many[n] = true
				}
			} else if o.many != nil {
				o.many[name] = true
			}
		}
	}
	return -1
}
