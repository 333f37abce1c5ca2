package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cloakroom": main})
}

// TestScripts runs the stories of testdata. The CDNOW file stays outside the
// repository: its story is skipped where the file is absent, except in CI.
func TestScripts(t *testing.T) {
	cdnow, err := filepath.Abs("../../../shared/data/cdnow.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cdnow); err != nil && os.Getenv("CI") != "" {
		t.Fatalf("CI has the CDNOW file: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CDNOW", cdnow)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			_, err := os.Stat(cdnow)
			return cond == "cdnow" && err == nil, nil
		},
	})
}
