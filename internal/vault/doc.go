// Package vault is the wing through which every request for customers' data goes: who
// asks (identity, signin), may they (access, containment, door), how many people (budget), the
// log (ledger), the sealed records (seal), and the ways in and out (intake, disclose,
// mask, export). It imports only the platform. What happens after an entry is logged,
// such as alarms and notifications, belongs to the wings above.
package vault
