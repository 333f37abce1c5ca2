package detect

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Weaker says, line by line, in what one set of rules notices less than another, or later,
// or stops less: whatever differs and is not certainly stricter.
func Weaker(before, after *Rules) []string {
	var out []string
	for what := range after.Off {
		if !before.Off[what] {
			out = append(out, what+" is switched off")
		}
	}
	for rule, g := range before.Contain {
		if now, ok := after.Contain[rule]; !ok {
			out = append(out, string(rule)+" contains no more by itself")
		} else if now > g {
			out = append(out, fmt.Sprintf("%s contains by itself from %s on instead of %s", rule, now, g))
		}
	}
	a, b := before.values(), after.values()
	for name, from := range a {
		to := b[name]
		if from == to {
			continue
		}
		last := name[strings.LastIndex(name, ".")+1:]
		var low, high Grade
		low, ferr := ParseGrade(from)
		high, terr := ParseGrade(to)
		switch {
		case ferr == nil && terr == nil:
			if high < low {
				out = append(out, fmt.Sprintf("%s is %s instead of %s", name, to, from))
			}
		case slices.Contains([]string{"forget_days", "gap"}, last) && less(from, to), // a longer memory, a wider look
			!strings.HasPrefix(name, "refusals.") && slices.Contains([]string{"sigma", "member_sigma", "floor", "least", "no_baseline", "days", "active_hours"}, last) && less(to, from),
			strings.HasPrefix(name, "refusals.") && to != "0" && (from == "0" || less(to, from)):
		default:
			out = append(out, fmt.Sprintf("%s is %s instead of %s", name, to, from))
		}
	}
	slices.Sort(out)
	return out
}

func less(a, b string) bool {
	var x, y float64
	if _, err := fmt.Sscan(a, &x); err != nil {
		return false
	}
	if _, err := fmt.Sscan(b, &y); err != nil {
		return false
	}
	return x < y
}

// values returns every threshold and severity by its name in the file, those of the
// defaults where the file leaves them out.
func (r *Rules) values() map[string]string {
	out := map[string]string{}
	for _, text := range []string{defaultText, r.text} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
			continue
		}
		flatten(out, "", doc.Content[0])
	}
	return out
}

func flatten(out map[string]string, name string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if key == "grade" {
			key = "severity"
		}
		if name != "" {
			key = name + "." + key
		}
		switch v := n.Content[i+1]; {
		case key == "off" || key == "contain":
		case v.Kind == yaml.ScalarNode:
			out[key] = v.Value
		case v.Kind == yaml.AliasNode:
			flatten(out, key, v.Alias)
		default:
			flatten(out, key, v)
		}
	}
}
