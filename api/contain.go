package api

import "time"

// ContainRequest says what to stop: exactly one of the first five.
type ContainRequest struct {
	Lineage    uint64 `json:"lineage,omitempty" doc:"A credential and all made through it, by the number of any of them; at the brand, and from the group at every brand."`
	Principal  string `json:"principal,omitempty" maxLength:"64" doc:"By name; at the brand, and from the group at every brand."`
	Role       string `json:"role,omitempty" maxLength:"64" doc:"Clear fields, searches and files, at the brand."`
	Brand      bool   `json:"brand,omitempty" doc:"Clear fields, searches and files of everybody at the brand."`
	AllExports bool   `json:"all_exports,omitempty" doc:"Files of the brand."`
	Keep       string `json:"keep,omitempty" enum:"masked,tokens,nothing" doc:"What a role or the brand may still do: masked views, tokens and writes (the default); tokens and writes; nothing."`
	Alarm      string `json:"alarm,omitempty" maxLength:"40" doc:"The alarm that this responds to; the time since that alarm is logged."`
	Ticket     string `json:"ticket,omitempty" maxLength:"64"`
	ForSeconds int64  `json:"for_seconds,omitempty" minimum:"60" maximum:"7776000" doc:"After so many seconds it ends by itself. Without, it holds until it is undone."`
	DryRun     bool   `json:"dry_run,omitempty" doc:"Show what would stop; change nothing."`
}

// Containment is a containment, or with dry_run its impact.
type Containment struct {
	ID          int64             `json:"id,omitempty"`
	Kind        string            `json:"kind" enum:"lineage,principal,role,brand,exports"`
	Target      uint64            `json:"target,omitempty" doc:"The lineage or principal."`
	Role        string            `json:"role,omitempty"`
	Keep        string            `json:"keep,omitempty" doc:"What stays allowed: masked views, tokens and writes; tokens and writes; nothing."`
	At          time.Time         `json:"at,omitzero"`
	Until       time.Time         `json:"until,omitzero" doc:"When it ends by itself, by the database's clock; absent: when it is undone."`
	By          string            `json:"by,omitempty" doc:"Who contained: a name, or the rule of detection."`
	Alarm       string            `json:"alarm,omitempty" doc:"The alarm that this responds to."`
	TookMillis  int64             `json:"took_ms,omitempty" doc:"From the request until no server logs a disclosure to the target."`
	Principals  []string          `json:"principals,omitempty" doc:"Affected principals; not listed for a brand."`
	Credentials int               `json:"credentials,omitempty" doc:"Number of usable credentials that stop."`
	Shown       []ContainedClass  `json:"shown,omitempty" doc:"Recent disclosures to the target, by each class that stops."`
	Exports     *ContainedExports `json:"exports,omitempty" doc:"The open exports that stop."`
	Elsewhere   bool              `json:"elsewhere,omitempty" doc:"The target also has a role at another brand, which only the group can stop."`
	Asked       time.Time         `json:"undo_asked,omitzero"`
	AskedBy     string            `json:"undo_asked_by,omitempty"`
	Ended       time.Time         `json:"ended,omitzero"`
	EndedBy     string            `json:"ended_by,omitempty" doc:"The second person; the same as undo_asked_by where the maker undid it alone."`
}

// ContainedClass counts recent disclosures of one class.
type ContainedClass struct {
	Class string `json:"class" enum:"clear,masked,search,export,write,erase,message,claim"`
	Hour  int    `json:"hour" doc:"Different customers in the last hour, as budgets count them."`
	Day   int    `json:"day" doc:"In the last day."`
}

// ContainedExports are open exports that a containment stops.
type ContainedExports struct {
	Requested int `json:"requested" doc:"Waiting for approval, or being collected."`
	Approved  int `json:"approved" doc:"Approved, and not downloaded."`
	Leaving   int `json:"leaving" doc:"Partly or fully downloaded."`
}

// ContainmentEvent notifies receivers of a containment that began or was undone.
type ContainmentEvent struct {
	ID               int64     `json:"id"`
	Brand            string    `json:"brand"`
	Entry            uint64    `json:"entry"`
	At               time.Time `json:"at"`
	Kind             string    `json:"kind,omitempty"`
	Target           uint64    `json:"target,omitempty"` // the lineage or principal
	Role             string    `json:"role,omitempty"`
	Until            time.Time `json:"until,omitzero"` // when it ends by itself
	Principal        uint64    `json:"principal"`      // who did it
	TookMillis       int64     `json:"took_ms,omitempty"`
	SinceAlarmMillis int64     `json:"since_alarm_ms,omitempty"`
	Ticket           string    `json:"ticket,omitempty"`
}
