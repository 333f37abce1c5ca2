package api

import "time"

// ContainRequest says what to stop: exactly one of the first five.
type ContainRequest struct {
	Credential uint64 `json:"credential,omitempty" doc:"Its whole lineage, at the brand, and from the group at every brand."`
	Principal  string `json:"principal,omitempty" maxLength:"64" doc:"By name; at the brand, and from the group at every brand."`
	Role       string `json:"role,omitempty" maxLength:"64" doc:"Clear fields, searches and files, at the brand."`
	Brand      bool   `json:"brand,omitempty" doc:"Clear fields, searches and files of everybody at the brand."`
	AllExports bool   `json:"all_exports,omitempty" doc:"Files of the brand."`
	Alarm      string `json:"alarm,omitempty" maxLength:"40" doc:"The alarm that it answers; the time since is logged."`
	Ticket     string `json:"ticket,omitempty" maxLength:"64"`
	DryRun     bool   `json:"dry_run,omitempty" doc:"Say what would stop, and stop nothing."`
}

// Containment is something stopped, or with dry_run what would be.
type Containment struct {
	ID          int64     `json:"id,omitempty"`
	Kind        string    `json:"kind" enum:"lineage,principal,role,brand,exports"`
	Target      uint64    `json:"target,omitempty" doc:"The lineage or principal."`
	Role        string    `json:"role,omitempty"`
	At          time.Time `json:"at,omitzero"`
	By          string    `json:"by,omitempty"`
	TookMillis  int64     `json:"took_ms,omitempty" doc:"From the request until no server logs a disclosure to it."`
	Principals  []string  `json:"principals,omitempty" doc:"Whom it stops; for a brand, nobody is listed."`
	Credentials int       `json:"credentials,omitempty" doc:"How many credentials that could be used it stops."`
	Elsewhere   bool      `json:"elsewhere,omitempty" doc:"They have a role at another brand, too, which this does not stop: only the group can."`
	Asked       time.Time `json:"undo_asked,omitzero"`
	AskedBy     string    `json:"undo_asked_by,omitempty"`
	Ended       time.Time `json:"ended,omitzero"`
	EndedBy     string    `json:"ended_by,omitempty"`
}
