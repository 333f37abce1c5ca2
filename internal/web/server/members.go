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
	var last, end int   // where the newest string began and ended
	var escaped bool
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			stack = append(stack, &object{})
		case '[':
			stack = append(stack, nil)
		case '}', ']':
			stack = stack[:max(len(stack)-1, 0)]
		case '"':
			last, escaped = i, false
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					escaped = true
					i++
				}
			}
			end = i
		case ':': // the string before it was a name
			text := string(data[last+1 : end])
			if escaped && json.Unmarshal(data[last:end+1], &text) != nil {
				return last
			}
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
