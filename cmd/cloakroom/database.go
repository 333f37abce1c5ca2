package main

// dbCmd is `cloakroom db`: verbs about the database as such.
type dbCmd struct {
	Check dbCheckCmd `cmd:"" help:"Open every record, look for every index entry, replay every log."`
	Mend  dbMendCmd  `cmd:"" help:"Repair what the vault can repair by itself."`
	Init  dbInitCmd  `cmd:"" help:"Make or migrate the schema of a PostgreSQL database, and distribute it over a Citus cluster."`
}
