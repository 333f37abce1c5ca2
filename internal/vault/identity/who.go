package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

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
	// Session is the session through which the credential was made, or the credential itself
	// where it is one; 0 for none. Acts that need somebody there ask those for a passkey.
	Session uint64
	// Only are the roles that an identity provider switched on for the session, as
	// "brand=role" with spaces between, after onlyMark; empty where all of the principal's are.
	Only string
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

// onlyMark begins a list of roles that are switched on: an empty list is none of them.
const onlyMark = "only"

// OnlyRoles writes a list of roles for Caller.Only.
func OnlyRoles(roles []Role) string {
	b := []byte(onlyMark)
	for _, r := range roles {
		b = fmt.Appendf(b, " %d=%s", r.Brand, r.Role)
	}
	return string(b)
}

// lets reports whether a role is switched on at a brand, by itself or by the group's.
func (c *Caller) lets(brand record.BrandID, role string) bool {
	if c.Only == "" {
		return true
	}
	list := strings.Fields(c.Only)
	return slices.Contains(list, fmt.Sprintf("%d=%s", brand, role)) || slices.Contains(list, fmt.Sprintf("%d=%s", record.Group, role))
}
