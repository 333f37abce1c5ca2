package fault

import (
	"regexp"
	"strings"
)

var (
	unknownField = regexp.MustCompile(`^(?:(line \d+): )?field (.*) not found in type .*$`)
	otherKind    = regexp.MustCompile(`^(?:(line \d+): )?cannot unmarshal .*$`)
	keyTwice     = regexp.MustCompile(`^(?:(line \d+): )?mapping key .* already defined at (line \d+)$`)
	plainName    = regexp.MustCompile(`^[a-z][a-z_-]{0,39}$`)
)

// YAML returns what a decoder of YAML found wrong, without what it quotes of the text: that
// may be anything that somebody pasted. Faults are parted by semicolons.
func YAML(err error) string {
	var out []string
	for line := range strings.Lines(strings.TrimPrefix(err.Error(), "yaml: ")) {
		line = strings.TrimSpace(line)
		if line == "" || line == "unmarshal errors:" {
			continue
		}
		out = append(out, yamlLine(line))
	}
	return strings.Join(out, "; ")
}

func yamlLine(line string) string {
	at := func(place, says string) string {
		if place == "" {
			return says
		}
		return place + ": " + says
	}
	if m := unknownField.FindStringSubmatch(line); m != nil {
		if plainName.MatchString(m[2]) {
			return at(m[1], "field "+m[2]+" is not known")
		}
		return at(m[1], "this name is not known")
	}
	if m := otherKind.FindStringSubmatch(line); m != nil {
		return at(m[1], "another kind of value belongs here")
	}
	if m := keyTwice.FindStringSubmatch(line); m != nil {
		return at(m[1], "this name stands on "+m[2]+" already")
	}
	if i := strings.IndexAny(line, "`'\""); i >= 0 {
		place, _, ok := strings.Cut(line, ": ")
		if ok && strings.HasPrefix(place, "line ") {
			return place + ": this is not YAML"
		}
		return "this is not YAML"
	}
	return line
}
