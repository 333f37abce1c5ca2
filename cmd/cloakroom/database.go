package main

// dbCmd is `cloakroom db`: verbs about the database as such.
type dbCmd struct {
	Init dbInitCmd `cmd:"" help:"Make or migrate the schema of a PostgreSQL database, and distribute it over a Citus cluster."`
}
