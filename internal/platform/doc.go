// Package platform is the wing of parts that know nothing of customers' rights: the
// database and its engines, keys, the codecs of records and log entries, card numbers,
// revisions, idempotency. A part belongs here when any other wing could use it.
// Nothing here knows a brand's policy, opens a customer's record, or imports a package of
// another wing.
package platform
