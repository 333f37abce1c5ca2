// Package watch is the wing of what follows the log and raises alarms: detection,
// canaries, the mail server for canaries, exposure, and delivery of alarms to receivers.
// It imports the platform and the vault. It never decides whether a request may pass,
// and nothing here changes rights: responses to an alarm belong to respond and govern.
package watch
