package identity

import "github.com/cloakroom/cloakroom/internal/platform/record"

// Caller is an authenticated principal and the credential it came with.
type Caller struct {
	Principal  uint64
	Credential uint64
	Lineage    uint64 // the credential from which this one descends, or itself
	Name       string // the principal's name
	Country    string // where the principal works, and for which legal entity; empty until set
	Entity     string
	// Export is the one export that the credential can download, and nothing else;
	// empty for a credential that can do whatever its principal may.
	Export string
	// Owner: whoever has the machine asks, over the vault's socket or in a process that has
	// the vault open, without a key.
	Owner bool
}

// Who is a caller in the one role that it has for a brand.
type Who struct {
	Caller
	Role  string
	Brand record.BrandID
}
