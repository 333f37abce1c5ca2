package server_test

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/cloakroom/cloakroom/internal/app"
)

var update = flag.Bool("update", false, "write api/openapi.yaml anew")

func TestOpenAPIIsCurrent(t *testing.T) {
	t.Parallel()
	v, err := app.Open(t.Context(), t.TempDir(), app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	got, err := app.NewServer(v, slog.New(slog.NewTextHandler(io.Discard, nil))).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../../api/openapi.yaml"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the server describes: run go test ./internal/web/server -run OpenAPI -update", path)
	}
}
