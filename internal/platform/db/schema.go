package db

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// migrations are the schema's history: a database carries the number of those it
// has seen. Never edit one that was released; add another. {blob} and {clustered}
// are the only words that differ by engine, and {postgres} begins a statement that only
// that engine runs.
//
// Which package writes a table stands above it, and a test holds every other
// package off it. Times are microseconds since 1970, UTC.
var migrations = []string{
	// brands
	`CREATE TABLE brands (
		id      integer PRIMARY KEY,
		name    text NOT NULL UNIQUE,
		title   text NOT NULL,
		created bigint NOT NULL
	);
	CREATE TABLE purposes (
		brand       integer NOT NULL,
		name        text NOT NULL,
		legal_basis text NOT NULL,
		description text NOT NULL,
		created     bigint NOT NULL,
		retired     bigint NOT NULL,
		PRIMARY KEY (brand, name)
	);` +
		// keys
		`CREATE TABLE brand_keys (
		brand   integer NOT NULL,
		kind    text NOT NULL,
		version integer NOT NULL,
		wrapped {blob} NOT NULL,
		created bigint NOT NULL,
		PRIMARY KEY (brand, kind, version)
	);` +
		// identity
		`CREATE TABLE principals (
		id       bigint PRIMARY KEY,
		name     text NOT NULL UNIQUE,
		kind     text NOT NULL,
		created  bigint NOT NULL,
		disabled bigint NOT NULL
	);
	CREATE TABLE roles (
		principal bigint NOT NULL,
		brand     integer NOT NULL,
		role      text NOT NULL,
		PRIMARY KEY (principal, brand)
	);
	CREATE TABLE credentials (
		id        bigint PRIMARY KEY,
		principal bigint NOT NULL,
		parent    bigint NOT NULL,
		root      bigint NOT NULL,
		hash      {blob} NOT NULL UNIQUE,
		label     text NOT NULL,
		created   bigint NOT NULL,
		expires   bigint NOT NULL,
		revoked   bigint NOT NULL
	);
	CREATE INDEX credentials_by_principal ON credentials (principal);` +
		// access
		`CREATE TABLE policies (
		brand   integer NOT NULL,
		version integer NOT NULL,
		text    text NOT NULL,
		created bigint NOT NULL,
		author  bigint NOT NULL,
		PRIMARY KEY (brand, version)
	);` +
		// seal
		`CREATE TABLE ordinals (
		one  integer PRIMARY KEY,
		next bigint NOT NULL
	);
	INSERT INTO ordinals (one, next) VALUES (1, 1);
	CREATE TABLE customers (
		ord     bigint PRIMARY KEY,
		brand   integer NOT NULL,
		updated bigint NOT NULL,
		erased  bigint NOT NULL,
		sealed  {blob}
	);
	CREATE TABLE customer_keys (
		ord      bigint PRIMARY KEY,
		brand    integer NOT NULL,
		kek      integer NOT NULL,
		version  bigint NOT NULL,
		epoch    bigint NOT NULL,
		segments integer NOT NULL,
		wrapped  {blob} NOT NULL
	);
	CREATE TABLE purchases (
		ord     bigint NOT NULL,
		segment integer NOT NULL,
		sealed  {blob} NOT NULL,
		PRIMARY KEY (ord, segment)
	) {clustered};
	CREATE TABLE lookups (
		value bigint NOT NULL,
		ord   bigint NOT NULL,
		PRIMARY KEY (value, ord)
	) {clustered};
	CREATE TABLE externals (
		value bigint PRIMARY KEY,
		ord   bigint NOT NULL
	);
	CREATE TABLE former_values (
		ord         bigint NOT NULL,
		field       integer NOT NULL,
		until       bigint NOT NULL,
		since       bigint NOT NULL,
		fingerprint bigint NOT NULL,
		PRIMARY KEY (ord, field, until)
	) {clustered};
	CREATE TABLE catalogue (
		brand  integer NOT NULL,
		id     bigint NOT NULL,
		value  bigint NOT NULL,
		sealed {blob} NOT NULL,
		PRIMARY KEY (brand, id),
		UNIQUE (brand, value)
	);` +
		// ledger
		`CREATE TABLE log_heads (
		brand      integer PRIMARY KEY,
		size       bigint NOT NULL,
		at         bigint NOT NULL,
		checkpoint {blob} NOT NULL
	);
	CREATE TABLE log_groups (
		brand    integer NOT NULL,
		first    bigint NOT NULL,
		count    integer NOT NULL,
		at       bigint NOT NULL,
		entries  {blob} NOT NULL,
		hashes   {blob} NOT NULL,
		subjects {blob} NOT NULL,
		PRIMARY KEY (brand, first)
	);
	CREATE TABLE log_checkpoints (
		brand      integer NOT NULL,
		size       bigint NOT NULL,
		at         bigint NOT NULL,
		checkpoint {blob} NOT NULL,
		PRIMARY KEY (brand, size)
	);
	CREATE TABLE log_snapshots (
		brand integer NOT NULL,
		size  bigint NOT NULL,
		data  {blob} NOT NULL,
		PRIMARY KEY (brand, size)
	);
	CREATE TABLE log_commitments (
		brand integer NOT NULL,
		entry bigint NOT NULL,
		ord   bigint NOT NULL,
		hash  {blob} NOT NULL,
		PRIMARY KEY (brand, entry, ord)
	);`,
	// revision
	`CREATE TABLE revisions (
		one integer PRIMARY KEY,
		n   bigint NOT NULL
	);
	INSERT INTO revisions (one, n) VALUES (1, 1);`,

	// keys
	`CREATE TABLE rotations (
		brand      integer NOT NULL,
		kind       text NOT NULL,
		version    integer NOT NULL,
		position   bigint NOT NULL,
		bound      bigint NOT NULL,
		done       bigint NOT NULL,
		failed     bigint NOT NULL,
		began      bigint NOT NULL,
		ended      bigint NOT NULL,
		principal  bigint NOT NULL,
		credential bigint NOT NULL,
		lineage    bigint NOT NULL,
		role       text NOT NULL,
		holder     text NOT NULL,
		lease      bigint NOT NULL,
		PRIMARY KEY (brand, kind, version)
	);`,

	// keys
	`CREATE TABLE root_key (
		one     integer PRIMARY KEY,
		id      text NOT NULL,
		changed bigint NOT NULL
	);
	INSERT INTO root_key (one, id, changed) VALUES (1, '', 0);`,
	// idempotency
	`CREATE TABLE write_answers (
		principal bigint NOT NULL,
		name      {blob} NOT NULL,
		request   {blob} NOT NULL,
		at        bigint NOT NULL,
		status    integer NOT NULL,
		answer    {blob} NOT NULL,
		PRIMARY KEY (principal, name)
	);
	CREATE INDEX write_answers_by_age ON write_answers (at);`,
	// ledger
	`CREATE TABLE log_snapshot_parts (
		brand integer NOT NULL,
		size  bigint NOT NULL,
		part  bigint NOT NULL,
		data  {blob} NOT NULL,
		PRIMARY KEY (brand, size, part)
	);`,

	// alarm
	`CREATE TABLE alarms (
		brand       integer NOT NULL,
		entry       bigint NOT NULL,
		rule        text NOT NULL,
		at          bigint NOT NULL,
		grade       integer NOT NULL,
		principal   bigint NOT NULL,
		lineage     bigint NOT NULL,
		role        text NOT NULL,
		customers   bigint NOT NULL,
		usual       text NOT NULL,
		seen        text NOT NULL,
		dedup       text NOT NULL,
		again       integer NOT NULL,
		ack_entry   bigint NOT NULL,
		acked_by    bigint NOT NULL,
		acked_at    bigint NOT NULL,
		close_entry bigint NOT NULL,
		closed_by   bigint NOT NULL,
		closed_at   bigint NOT NULL,
		reason      text NOT NULL,
		ticket      text NOT NULL,
		contain     integer NOT NULL,
		PRIMARY KEY (brand, entry, rule)
	);
	CREATE INDEX alarms_by_key ON alarms (brand, dedup);
	CREATE INDEX alarms_to_contain ON alarms (brand, entry) WHERE contain = 1;
	CREATE TABLE alarm_cursors (
		brand  integer PRIMARY KEY,
		next   bigint NOT NULL,
		rules  bigint NOT NULL,
		holder text NOT NULL,
		until  bigint NOT NULL
	);` +
		// notify
		`CREATE TABLE receivers (
		brand     integer NOT NULL,
		name      text NOT NULL,
		url       text NOT NULL,
		grade     integer NOT NULL,
		key       integer NOT NULL,
		created   bigint NOT NULL,
		entry     bigint NOT NULL,
		rule      text NOT NULL,
		delivered bigint NOT NULL,
		failures  integer NOT NULL,
		status    integer NOT NULL,
		next      bigint NOT NULL,
		holder    text NOT NULL,
		until     bigint NOT NULL,
		PRIMARY KEY (brand, name)
	);`,
	// export
	`CREATE TABLE exports (
		brand      integer NOT NULL,
		id         text NOT NULL,
		state      text NOT NULL,
		principal  bigint NOT NULL,
		credential bigint NOT NULL,
		lineage    bigint NOT NULL,
		role       text NOT NULL,
		form       text NOT NULL,
		format     text NOT NULL,
		fields     bigint NOT NULL,
		purpose    text NOT NULL,
		ticket     text NOT NULL,
		recipient  text NOT NULL,
		created    bigint NOT NULL,
		expires    bigint NOT NULL,
		position   bigint NOT NULL,
		bound      bigint NOT NULL,
		customers  bigint NOT NULL,
		filter     {blob} NOT NULL,
		cohort     {blob} NOT NULL,
		decoys     {blob} NOT NULL,
		decided_by bigint NOT NULL,
		decided_at bigint NOT NULL,
		began      bigint NOT NULL,
		PRIMARY KEY (brand, id)
	);
	CREATE INDEX exports_by_lineage ON exports (lineage);`,
	// canary
	`CREATE TABLE canaries (
		brand   integer PRIMARY KEY,
		version bigint NOT NULL,
		key     integer NOT NULL,
		sealed  {blob} NOT NULL
	);`,
	// containment
	`CREATE TABLE containments (
		id       bigint PRIMARY KEY,
		brand    integer NOT NULL,
		kind     text NOT NULL,
		target   bigint NOT NULL,
		role     text NOT NULL,
		keep     text NOT NULL,
		alarm    text NOT NULL,
		at       bigint NOT NULL,
		made_by  bigint NOT NULL,
		asked    bigint NOT NULL,
		asked_by bigint NOT NULL,
		asked_in bigint NOT NULL,
		ended    bigint NOT NULL,
		ended_by bigint NOT NULL
	);`,
	// identity
	`ALTER TABLE credentials ADD COLUMN scope text NOT NULL DEFAULT '';`,
	// notify
	`ALTER TABLE receivers ADD COLUMN fault text NOT NULL DEFAULT '';
	ALTER TABLE receivers ADD COLUMN refused bigint NOT NULL DEFAULT 0;
	ALTER TABLE receivers ADD COLUMN stopped bigint NOT NULL DEFAULT 0;`,
	// alarm
	`CREATE TABLE alarm_events (
		brand       integer NOT NULL,
		entry       bigint NOT NULL,
		what        text NOT NULL,
		at          bigint NOT NULL,
		grade       integer NOT NULL,
		again       integer NOT NULL,
		alarm_entry bigint NOT NULL,
		alarm_rule  text NOT NULL,
		principal   bigint NOT NULL,
		containment bigint NOT NULL,
		took        bigint NOT NULL,
		since       bigint NOT NULL,
		reason      text NOT NULL,
		ticket      text NOT NULL,
		PRIMARY KEY (brand, entry, what)
	);`,
	// seal
	`ALTER TABLE customers ADD COLUMN bought {blob};`,
	// ledger
	`CREATE TABLE log_index (
		brand  integer NOT NULL,
		bucket integer NOT NULL,
		first  bigint NOT NULL,
		data   {blob} NOT NULL,
		PRIMARY KEY (brand, bucket, first)
	);`,
	// ledger
	`CREATE TABLE log_erasures (
		brand integer NOT NULL,
		entry bigint NOT NULL,
		ord   bigint NOT NULL,
		at    bigint NOT NULL,
		PRIMARY KEY (brand, entry, ord)
	);`,
	// keys
	`CREATE TABLE root_holds (
		holder text PRIMARY KEY,
		what   text NOT NULL,
		since  bigint NOT NULL,
		until  bigint NOT NULL
	);`,
	// identity: no credential ends later than one through which it was made, except a link
	`CREATE INDEX credentials_by_root ON credentials (root, revoked, expires);
	UPDATE credentials SET expires = coalesce((
		WITH RECURSIVE up(parent, expires) AS (SELECT c.parent, c.expires FROM credentials c WHERE c.id = credentials.id
			UNION ALL SELECT c.parent, c.expires FROM credentials c JOIN up ON c.id = up.parent)
		SELECT min(up.expires) FROM up WHERE up.expires > 0), 0)
	WHERE parent <> 0 AND scope = '';`,
	// alarm
	`ALTER TABLE alarms ADD COLUMN topic text NOT NULL DEFAULT '';
	ALTER TABLE alarms ADD COLUMN earlier bigint NOT NULL DEFAULT 0;
	ALTER TABLE alarms ADD COLUMN prior bigint NOT NULL DEFAULT 0;
	ALTER TABLE alarms ADD COLUMN repeats bigint NOT NULL DEFAULT 0;
	ALTER TABLE alarm_events ADD COLUMN prior bigint NOT NULL DEFAULT 0;
	DROP INDEX alarms_by_key;
	CREATE INDEX alarms_by_key ON alarms (brand, dedup, entry);
	CREATE INDEX alarms_by_topic ON alarms (brand, topic, entry);
	CREATE INDEX alarms_closed ON alarms (brand, dedup, close_entry) WHERE close_entry <> 0;` +
		// notify
		`ALTER TABLE receivers ADD COLUMN since bigint NOT NULL DEFAULT 0;`,
	// ledger
	`ALTER TABLE log_groups ADD COLUMN vals {blob};`,
	// identity
	`ALTER TABLE principals ADD COLUMN country text NOT NULL DEFAULT '';
	ALTER TABLE principals ADD COLUMN entity text NOT NULL DEFAULT '';`,
	// revision
	`ALTER TABLE revisions ADD COLUMN writer integer NOT NULL DEFAULT 1;`,
	// follow
	`CREATE TABLE followers (
		follower text NOT NULL,
		brand    integer NOT NULL,
		next     bigint NOT NULL,
		holder   text NOT NULL,
		until    bigint NOT NULL,
		PRIMARY KEY (follower, brand)
	);
	INSERT INTO followers (follower, brand, next, holder, until) SELECT 'alarms', brand, next, '', 0 FROM alarm_cursors;
	CREATE TABLE follower_snapshots (
		brand     integer NOT NULL,
		follower  text NOT NULL,
		size      bigint NOT NULL,
		parts     bigint NOT NULL,
		bytes     bigint NOT NULL,
		PRIMARY KEY (brand, follower, size)
	);
	CREATE TABLE follower_snapshot_parts (
		brand    integer NOT NULL,
		follower text NOT NULL,
		size     bigint NOT NULL,
		part     bigint NOT NULL,
		data     {blob} NOT NULL,
		PRIMARY KEY (brand, follower, size, part)
	);`,
	// brands
	`ALTER TABLE brands ADD COLUMN loyalty text NOT NULL DEFAULT '';`,
	// identity
	`ALTER TABLE roles ADD COLUMN since bigint NOT NULL DEFAULT 0;
	ALTER TABLE credentials ADD COLUMN keyed bigint NOT NULL DEFAULT 0;`,
	// change
	`CREATE TABLE changes (
		id         text PRIMARY KEY,
		brand      integer NOT NULL,
		act        text NOT NULL,
		state      text NOT NULL,
		mark       text NOT NULL,
		principal  bigint NOT NULL,
		credential bigint NOT NULL,
		lineage    bigint NOT NULL,
		role       text NOT NULL,
		ticket     text NOT NULL,
		key        integer NOT NULL,
		payload    {blob} NOT NULL,
		entry      bigint NOT NULL,
		created    bigint NOT NULL,
		expires    bigint NOT NULL,
		second     bigint NOT NULL,
		second_in  bigint NOT NULL,
		decided    bigint NOT NULL,
		decided_in bigint NOT NULL,
		done       bigint NOT NULL,
		reason     text NOT NULL
	);
	CREATE INDEX changes_state ON changes (state, created);
	CREATE TABLE separation (
		one   integer PRIMARY KEY,
		at    bigint NOT NULL,
		entry bigint NOT NULL
	);`,
	// revision: a release that does not count writes and erasures may not decide them.
	`UPDATE revisions SET writer = 2 WHERE writer < 2;`,
	// brands
	`ALTER TABLE brands ADD COLUMN country text NOT NULL DEFAULT '';`,
	// idempotency
	`ALTER TABLE write_answers ADD COLUMN revision bigint NOT NULL DEFAULT 0;`,
	// identity
	`CREATE TABLE invitations (
		hash        {blob} PRIMARY KEY,
		principal   bigint NOT NULL,
		credential  bigint NOT NULL,
		owner       bigint NOT NULL,
		label       text NOT NULL,
		key_expires bigint NOT NULL,
		made_by     bigint NOT NULL,
		created     bigint NOT NULL,
		expires     bigint NOT NULL,
		used        bigint NOT NULL
	);
	ALTER TABLE credentials ADD COLUMN made_by bigint NOT NULL DEFAULT 0;
	ALTER TABLE principals ADD COLUMN owner bigint NOT NULL DEFAULT 0;`,
	// change
	`ALTER TABLE changes ADD COLUMN places text NOT NULL DEFAULT '';
	ALTER TABLE changes ADD COLUMN glass bigint NOT NULL DEFAULT 0;
	ALTER TABLE changes ADD COLUMN glass_in bigint NOT NULL DEFAULT 0;
	ALTER TABLE changes ADD COLUMN acked bigint NOT NULL DEFAULT 0;
	ALTER TABLE changes ADD COLUMN acked_in bigint NOT NULL DEFAULT 0;`,
	// seal
	`CREATE TABLE cooling (
		ord      bigint PRIMARY KEY,
		brand    integer NOT NULL,
		kek      integer NOT NULL,
		version  bigint NOT NULL,
		epoch    bigint NOT NULL,
		segments integer NOT NULL,
		wrapped  {blob} NOT NULL,
		entry    bigint NOT NULL,
		begun    bigint NOT NULL,
		due      bigint NOT NULL,
		asked    integer NOT NULL
	);
	CREATE TABLE take_backs (
		value {blob} PRIMARY KEY,
		ord   bigint NOT NULL
	);` +
		// brands: days that an erased customer's key lies aside
		`ALTER TABLE brands ADD COLUMN cooling integer NOT NULL DEFAULT 7;` +
		// revision: a rotation by an older release would not reach the keys that lie aside
		`UPDATE revisions SET writer = 3 WHERE writer < 3;`,
	// ledger
	`CREATE TABLE unsealed_rights (brand integer PRIMARY KEY);
	INSERT INTO unsealed_rights (brand) SELECT brand FROM log_heads;
	UPDATE revisions SET writer = 4 WHERE writer < 4;`,
	// seal: rows of destroyed keys are vacuumed however large the tables are
	`{postgres} ALTER TABLE customer_keys SET (autovacuum_vacuum_scale_factor = 0);
	{postgres} ALTER TABLE cooling SET (autovacuum_vacuum_scale_factor = 0);
	{postgres} ALTER TABLE take_backs SET (autovacuum_vacuum_scale_factor = 0);`,
	// containment: those that end by themselves
	`ALTER TABLE containments ADD COLUMN until bigint NOT NULL DEFAULT 0;`,
	// notify: the last test of a receiver, and who confirmed it
	`ALTER TABLE receivers ADD COLUMN tested bigint NOT NULL DEFAULT 0;
	ALTER TABLE receivers ADD COLUMN test_code text NOT NULL DEFAULT '';
	ALTER TABLE receivers ADD COLUMN test_status bigint NOT NULL DEFAULT 0;
	ALTER TABLE receivers ADD COLUMN test_fault text NOT NULL DEFAULT '';
	ALTER TABLE receivers ADD COLUMN confirmed bigint NOT NULL DEFAULT 0;
	ALTER TABLE receivers ADD COLUMN confirmed_by bigint NOT NULL DEFAULT 0;
	ALTER TABLE receivers ADD COLUMN silent bigint NOT NULL DEFAULT 0;`,
	// approval
	`CREATE TABLE write_approvals (
		id        bigint PRIMARY KEY,
		brand     integer NOT NULL,
		kind      text NOT NULL,
		state     text NOT NULL,
		principal bigint NOT NULL,
		asked_by  bigint NOT NULL,
		mapping   text NOT NULL,
		files     text NOT NULL,
		fields    bigint NOT NULL,
		most      bigint NOT NULL,
		created   bigint NOT NULL,
		ends      bigint NOT NULL,
		row_count bigint NOT NULL,
		made      bigint NOT NULL,
		changed   bigint NOT NULL,
		unchanged bigint NOT NULL,
		refused   bigint NOT NULL
	);
	CREATE TABLE approved_chunks (
		approval bigint NOT NULL,
		code     {blob} NOT NULL,
		PRIMARY KEY (approval, code)
	);` +
		// intake
		`CREATE TABLE write_queue (
		id         bigint PRIMARY KEY,
		brand      integer NOT NULL,
		approval   bigint NOT NULL,
		principal  bigint NOT NULL,
		credential bigint NOT NULL,
		lineage    bigint NOT NULL,
		key        integer NOT NULL,
		sealed     {blob} NOT NULL,
		created    bigint NOT NULL
	);`,
	// ledger
	`CREATE TABLE log_tips (
		brand      integer NOT NULL,
		size       bigint NOT NULL,
		at         bigint NOT NULL,
		checkpoint {blob} NOT NULL,
		PRIMARY KEY (brand, size)
	);
	INSERT INTO log_tips (brand, size, at, checkpoint) SELECT brand, size, at, checkpoint FROM log_heads;` +
		// revision: an older release would move the heads
		`UPDATE revisions SET writer = 5 WHERE writer < 5;`,
	// revision: entries keep the rows of rights beside their leaf, which an older release
	// takes for something else
	`UPDATE revisions SET writer = 5 WHERE writer < 5;`,
	// seal
	`CREATE TABLE tombstones (
		value bigint NOT NULL,
		ord   bigint NOT NULL,
		brand integer NOT NULL,
		until bigint NOT NULL,
		PRIMARY KEY (value, ord)
	) {clustered};
	CREATE INDEX tombstones_ord ON tombstones (ord);
	CREATE INDEX tombstones_until ON tombstones (brand, until);
	CREATE TABLE withheld (
		brand   integer NOT NULL,
		id      bigint NOT NULL,
		value   bigint NOT NULL,
		ord     bigint NOT NULL,
		key     integer NOT NULL,
		sealed  {blob} NOT NULL,
		created bigint NOT NULL,
		PRIMARY KEY (brand, id)
	);
	CREATE INDEX withheld_value ON withheld (brand, value);
	CREATE INDEX withheld_ord ON withheld (brand, ord);` +
		// revision: an older release would erase without tombstones, and let everybody in
		`UPDATE revisions SET writer = 5 WHERE writer < 5;`,
	// identity: who a principal is to customers
	`ALTER TABLE principals ADD COLUMN display text NOT NULL DEFAULT '';
	ALTER TABLE principals ADD COLUMN team text NOT NULL DEFAULT '';
	ALTER TABLE principals ADD COLUMN place text NOT NULL DEFAULT '';`,
	// brands
	`CREATE TABLE brand_settings (
		brand   integer NOT NULL,
		version bigint NOT NULL,
		text    text NOT NULL,
		created bigint NOT NULL,
		author  bigint NOT NULL,
		before  text NOT NULL,
		PRIMARY KEY (brand, version)
	);
	UPDATE revisions SET writer = 5 WHERE writer < 5;`,
	// identity
	`CREATE TABLE sessions (
		credential bigint PRIMARY KEY,
		method     text NOT NULL,
		idle       bigint NOT NULL,
		provider   {blob} NOT NULL,
		roles      text NOT NULL,
		seen       bigint NOT NULL
	);
	CREATE INDEX sessions_by_provider ON sessions (provider);
	CREATE TABLE passkeys (
		credential bigint PRIMARY KEY,
		record     text NOT NULL,
		counter    bigint NOT NULL
	);
	CREATE TABLE recovery_codes (
		selector  text PRIMARY KEY,
		principal bigint NOT NULL,
		salt      {blob} NOT NULL,
		hash      {blob} NOT NULL,
		created   bigint NOT NULL,
		used      bigint NOT NULL
	);
	CREATE INDEX recovery_codes_of ON recovery_codes (principal);` +
		// signin
		`CREATE TABLE spent_challenges (
		hash    {blob} PRIMARY KEY,
		expires bigint NOT NULL
	);`,
	// message
	`CREATE TABLE mail_templates (
		brand   integer NOT NULL,
		name    text NOT NULL,
		version bigint NOT NULL,
		purpose text NOT NULL,
		text    text NOT NULL,
		created bigint NOT NULL,
		author  bigint NOT NULL,
		PRIMARY KEY (brand, name, version)
	);
	CREATE TABLE mail_jobs (
		id         bigint PRIMARY KEY,
		brand      integer NOT NULL,
		kind       text NOT NULL,
		state      text NOT NULL,
		reason     text NOT NULL,
		template   text NOT NULL,
		version    bigint NOT NULL,
		purpose    text NOT NULL,
		ticket     text NOT NULL,
		principal  bigint NOT NULL,
		credential bigint NOT NULL,
		lineage    bigint NOT NULL,
		role       text NOT NULL,
		incident   text NOT NULL,
		scope      bigint NOT NULL,
		people     bigint NOT NULL,
		place      text NOT NULL,
		printer    text NOT NULL,
		epoch      text NOT NULL,
		held       bigint NOT NULL,
		reached    bigint NOT NULL,
		created    bigint NOT NULL
	);
	CREATE INDEX mail_jobs_brand ON mail_jobs (brand, id);
	CREATE TABLE mails (
		job      bigint NOT NULL,
		ord      bigint NOT NULL,
		version  bigint NOT NULL,
		state    bigint NOT NULL,
		attempts bigint NOT NULL,
		due      bigint NOT NULL,
		entry    bigint NOT NULL,
		lang     text NOT NULL,
		mid      {blob} NOT NULL,
		code     {blob} NOT NULL,
		queue    text NOT NULL,
		reason   text NOT NULL,
		bounce   text NOT NULL,
		print    bigint NOT NULL,
		changed  bigint NOT NULL,
		PRIMARY KEY (job, ord, version)
	);
	CREATE INDEX mails_due ON mails (job, due) WHERE state < 3;
	CREATE INDEX mails_mid ON mails (mid);
	CREATE INDEX mails_ord ON mails (ord);
	CREATE INDEX mails_code ON mails (code);
	CREATE TABLE mail_optouts (
		brand   integer NOT NULL,
		ord     bigint NOT NULL,
		channel text NOT NULL,
		since   bigint NOT NULL,
		PRIMARY KEY (ord, brand, channel)
	);` +
		// revision: an older release would take rules for the class message for changed ones
		`UPDATE revisions SET writer = 6 WHERE writer < 6;`,
}

const (
	sqlCreateVersions = `CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY, at bigint NOT NULL)`
	sqlReadVersion    = `SELECT coalesce(max(version), 0) FROM schema_versions WHERE version <> 1000000`
	sqlWriteVersion   = `INSERT INTO schema_versions (version, at) VALUES ($1, $2)`
)

// Version returns the version of the schema, 0 where none of the vault's tables is.
func (d *DB) Version(ctx context.Context) (int, error) { return SchemaVersion(ctx, d) }

// Migrate brings the schema up to date. Each migration is one transaction with the
// record that it ran, so that a kill in between leaves a version, not a mixture.
// A database made by a newer release is refused, and with ErrUnfinished one whose
// restore did not end.
func (d *DB) Migrate(ctx context.Context) error {
	return d.migrate(ctx, len(migrations), true)
}

// migrate brings the schema to a version, and no further. Each step is a transaction, so
// that a long one can be waited for and none is done twice; on an empty database, where
// none is long, all are one.
func (d *DB) migrate(ctx context.Context, to int, whole bool) error {
	if err := d.lockSchema(ctx, func(q Queryer) error {
		_, err := q.Exec(ctx, sqlCreateVersions)
		return err
	}); err != nil {
		return fmt.Errorf("creating the table of schema versions: %w", err)
	}
	for {
		done := false
		err := d.lockSchema(ctx, func(q Queryer) error {
			var version int
			if err := q.Row(ctx, sqlReadVersion).Scan(&version); err != nil {
				return err
			}
			if version > len(migrations) {
				return fmt.Errorf("the database has schema version %d and this program knows %d: it was written by a newer release; use that release or newer", version, len(migrations))
			}
			if whole {
				if unfinished, err := restoring(ctx, q); err != nil {
					return err
				} else if unfinished {
					return ErrUnfinished
				}
			}
			if version >= to {
				done = true
				return nil
			}
			until := version + 1
			if version == 0 {
				until = to
			}
			for ; version < until; version++ {
				for _, stmt := range splitSQL(migrations[version], q.Engine()) {
					if _, err := q.Exec(ctx, stmt); err != nil {
						return fmt.Errorf("schema version %d: %w", version+1, err)
					}
				}
				if _, err := q.Exec(ctx, sqlWriteVersion, version+1, time.Now().UnixMicro()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("migrating the database: %w", err)
		}
		if done {
			break
		}
	}
	if err := d.distributeNew(ctx); err != nil {
		return fmt.Errorf("distributing what the migration added: %w", err)
	}
	return nil
}

func splitSQL(text string, e Engine) []string {
	blob, clustered := "blob", "WITHOUT ROWID"
	if e == Postgres {
		blob, clustered = "bytea", ""
	}
	text = strings.NewReplacer("{blob}", blob, "{clustered}", clustered).Replace(text)
	var out []string
	for s := range strings.SplitSeq(text, ";") {
		s, only := strings.CutPrefix(strings.TrimSpace(s), "{postgres}")
		if s = strings.TrimSpace(s); s != "" && (!only || e == Postgres) {
			out = append(out, s)
		}
	}
	return out
}
