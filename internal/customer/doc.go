// Package customer is the wing for the people whose data it is: mail to them that an
// application asks for and never sees, and notices to everybody in the scope of a breach.
// It imports the platform, the vault and the wings that watch and respond. What reaches a
// customer is in the log before it leaves, and nobody is shown an address.
package customer
