package intake

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

// profiles are the mappings of the exports of shops, as users may copy and change them.
//
//go:embed profiles/*.yaml
var profiles embed.FS

// Profiles returns the names of the mappings that are built in.
func Profiles() (names []string) {
	files, err := profiles.ReadDir("profiles")
	if err != nil {
		return nil // it is embedded: a test reads each
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return names
}

// Profile returns a mapping that is built in.
func Profile(name string) (*Mapping, error) {
	if !slices.Contains(Profiles(), name) {
		return nil, fmt.Errorf("%w: no such profile; there are %s", ErrMapping, strings.Join(Profiles(), ", "))
	}
	text, err := profiles.ReadFile(path.Join("profiles", name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("%w: reading a profile: %w", ErrMapping, err)
	}
	return ParseMapping(text)
}

// Clears reports whether an empty value of some column takes away one that is kept.
func (m *Mapping) Clears() bool {
	return m.described() && (m.values.empty == EmptyClear || slices.ContainsFunc(m.sections[kindCustomers], func(s *spec) bool { return s.values.empty == EmptyClear }))
}
