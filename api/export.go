package api

import "time"

// ExportRequest asks for many customers at once, as a file.
type ExportRequest struct {
	Form      string        `json:"form,omitempty" enum:"extract,masked,clear" doc:"extract (the default): without names and addresses, under pseudonyms of this file alone."`
	Format    string        `json:"format,omitempty" enum:"csv,csv-spreadsheet,jsonl,parquet" doc:"Default csv. In csv-spreadsheet, cells that a spreadsheet would take for formulas begin with an apostrophe."`
	Fields    []string      `json:"fields" minItems:"1" maxItems:"16"`
	Purpose   string        `json:"purpose" maxLength:"40"`
	Ticket    string        `json:"ticket,omitempty" maxLength:"64"`
	Recipient string        `json:"recipient" maxLength:"4096" doc:"age public key (age1...) that the files are encrypted to."`
	ValidFor  string        `json:"valid_for,omitempty" maxLength:"20" doc:"A length of time such as 72h, the default; at most 720h."`
	Tokens    []string      `json:"tokens,omitempty" maxItems:"100000" doc:"The customers; or a filter."`
	Filter    *ExportFilter `json:"filter,omitempty"`
	DryRun    bool          `json:"dry_run,omitempty" doc:"Check, and say what policy and budgets would; keep nothing."`
}

// ExportFilter says who is wanted. A condition that is left out is none.
type ExportFilter struct {
	Countries     []string `json:"countries,omitempty" maxItems:"250"`
	Regions       []string `json:"regions,omitempty" maxItems:"250"`
	CreatedFrom   string   `json:"created_from,omitempty" maxLength:"10" doc:"A day, inclusive."`
	CreatedBefore string   `json:"created_before,omitempty" maxLength:"10" doc:"A day, exclusive."`
	BoughtSince   string   `json:"bought_since,omitempty" maxLength:"10" doc:"A day."`
	Sample        int      `json:"sample,omitempty" minimum:"0" maximum:"1000000" doc:"Take so many of those who match, drawn at random."`
}

// Export is what was asked for and what became of it.
type Export struct {
	ID        string     `json:"id"`
	State     string     `json:"state" doc:"gathering, requested, approved, refused, stopped or expired; dry-run."`
	Form      string     `json:"form"`
	Format    string     `json:"format"`
	Fields    []string   `json:"fields"`
	Purpose   string     `json:"purpose"`
	Ticket    string     `json:"ticket,omitempty"`
	Recipient string     `json:"recipient"`
	Requester string     `json:"requester"`
	Role      string     `json:"role"`
	Created   time.Time  `json:"created,omitzero"`
	Expires   time.Time  `json:"expires,omitzero"`
	Customers int        `json:"customers" doc:"At most so many leave: who was erased since is left out. The count of a filter is rounded up to tens until somebody approved the export."`
	Cohort    string     `json:"cohort,omitempty" doc:"Digest of the frozen list of customers, as the log has it."`
	Gathered  int        `json:"gathered_percent"`
	Parts     int        `json:"parts,omitempty"`
	Files     []string   `json:"files" doc:"What each part has: customers, purchases."`
	DecidedBy string     `json:"decided_by,omitempty"`
	DecidedAt time.Time  `json:"decided_at,omitzero"`
	Room      ExportRoom `json:"room,omitzero"`
}

// ExportRoom is how many more customers the budgets let the requester export now.
type ExportRoom struct {
	Hour  uint64 `json:"hour"`
	Day   uint64 `json:"day"`
	Month uint64 `json:"30d"`
}

// Exports are a page of a brand's exports, newest first.
type Exports struct {
	Exports   []Export `json:"exports"`
	Contained bool     `json:"contained" doc:"Files are contained: nothing is asked for, approved or downloaded."`
}

// MaxExportTokens bounds the tokens of one request.
const MaxExportTokens = 100_000

// TrailerDigest is the HTTP trailer with the SHA-256 of a file of an export, in
// hexadecimal digits. A file that was cut has none.
const TrailerDigest = "Cloakroom-Sha256"
