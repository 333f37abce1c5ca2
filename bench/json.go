package main

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/cloakroom/cloakroom/internal/platform/invent"
)

func decode(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) }

func encode(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	fatal(err)
	return info.Size()
}

// clone keeps a customer that the generator will overwrite.
func clone(x *invent.Customer) invent.Customer {
	y := *x
	y.Attributes, y.Purchases = maps.Clone(x.Attributes), slices.Clone(x.Purchases)
	return y
}
