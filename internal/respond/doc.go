// Package respond is the wing for the time when something is wrong: it stops people and
// credentials, and answers whose data was concerned. It imports the
// platform, the vault and the wing that watches. It opens no customer, and what it does is
// in the log before it holds.
package respond
