// Package govern is the wing for the care of the vault: administration of brands,
// principals, policies and keys, maintenance, and backup and restore. It imports the
// platform, the vault and the wings that watch and respond. It serves no HTTP and holds
// no path to a customer's data: administrators see none.
package govern
