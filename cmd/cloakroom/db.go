package main

// dbCmd is `cloakroom db`: verbs about the database as such.
type dbCmd struct {
	Check dbCheckCmd `cmd:"" help:"Check every record, index entry and log."`
	Adopt dbAdoptCmd `cmd:"" help:"Confirm the rows of rights that an earlier release left, or end some of them."`
	Mend  dbMendCmd  `cmd:"" help:"Repair what the vault can repair without a backup."`
	Init  dbInitCmd  `cmd:"" help:"Create or migrate the schema of a PostgreSQL database, and distribute it over a Citus cluster."`
}
