package main

import (
	"context"
	"fmt"
	"io"

	"github.com/cloakroom/cloakroom/internal/platform/build"
)

// versionCmd is `cloakroom version`.
type versionCmd struct {
	JSON bool `help:"Print one JSON object."`
}

// Run prints what was built.
func (c *versionCmd) Run(_ context.Context, std Streams) error {
	b := build.Info()
	r := remote{JSON: c.JSON}
	return r.print(std, b, func(w io.Writer) {
		fmt.Fprintf(w, "cloakroom %s\n", b.Version)
		commit := b.Commit
		if b.Modified {
			commit += " with changes"
		}
		for _, l := range [][2]string{{"commit", commit}, {"of", b.Built}, {"compiler", b.Go}, {"platform", b.Platform}} {
			if l[1] != "" {
				fmt.Fprintf(w, "  %-9s %s\n", l[0], l[1])
			}
		}
	})
}
