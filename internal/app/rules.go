package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cloakroom/cloakroom/internal/respond/duties"
)

// RulesDir is the folder of the data directory with an operator's own rules of duties.
const RulesDir = "duties"

// rules reads the rules of duties of this release, and over them the operator's own.
func (v *Vault) rules() (*duties.Book, error) {
	dir := filepath.Join(v.Dir, RulesDir)
	switch _, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return duties.Load()
	case err != nil:
		return nil, fmt.Errorf("reading the operator's rules of duties: %w", err)
	}
	return duties.Load(os.DirFS(dir))
}

// checkRules refuses an operator's rules that do not hold: at the start, and not in the
// night on which they are needed.
func (v *Vault) checkRules() error {
	if _, err := os.Stat(filepath.Join(v.Dir, RulesDir)); err != nil {
		return nil // none of their own
	}
	_, err := v.Incident.Rules()
	return err
}
