package api

import "time"

// ScopeFilter says which entries of a log count. Within a list any value matches, and every
// list that is given has to match. An empty filter matches every entry.
type ScopeFilter struct {
	Principals  []string  `json:"principals,omitempty" maxItems:"100" doc:"Who acted: by name, or by number."`
	Credentials []uint64  `json:"credentials,omitempty" maxItems:"100"`
	Lineages    []uint64  `json:"lineages,omitempty" maxItems:"100" doc:"A credential and all made through it, by the number of any of them."`
	Roles       []string  `json:"roles,omitempty" maxItems:"100"`
	Exports     []string  `json:"exports,omitempty" maxItems:"100"`
	Recipients  []string  `json:"recipients,omitempty" maxItems:"100"`
	Fields      []string  `json:"fields,omitempty" maxItems:"100" doc:"Entries with at least one of these fields."`
	Purposes    []string  `json:"purposes,omitempty" maxItems:"100"`
	Levels      []string  `json:"levels,omitempty" maxItems:"100" doc:"How fields were shown: clear, masked or extract."`
	Kinds       []string  `json:"kinds,omitempty" maxItems:"100" doc:"Kinds of entries, such as disclosure, search, write or erasure."`
	From        time.Time `json:"from,omitzero" doc:"Entries at this time or later."`
	To          time.Time `json:"to,omitzero" doc:"Entries before this time."`
}

// ScopeRequest asks whose data was concerned by the entries that match.
type ScopeRequest struct {
	Brands        []string      `json:"brands,omitempty" maxItems:"1000" doc:"At the group: the brands to ask; all without it."`
	Any           []ScopeFilter `json:"any" minItems:"1" maxItems:"20" doc:"An entry counts where one of these filters matches."`
	Except        []ScopeFilter `json:"except,omitempty" maxItems:"20" doc:"An entry does not count where one of these filters matches."`
	Investigators bool          `json:"investigators,omitempty" doc:"Count the entries of incident responders too. They always count where a filter names a principal, credential, lineage or role."`
	Ticket        string        `json:"ticket,omitempty" maxLength:"64"`
}

// Scope is whose data was concerned: how many, and of what. The two counts stand beside each
// other, because one person may have a record at several brands.
type Scope struct {
	Records int          `json:"records" doc:"Distinct customers, counted at each brand."`
	Persons Persons      `json:"persons"`
	Brands  []BrandScope `json:"brands"`
}

// Persons bounds how many people have the records: the same person may be a customer of
// several brands, and customers are not joined across brands.
type Persons struct {
	AtLeast int `json:"at_least" doc:"The records of the brand with most of them."`
	AtMost  int `json:"at_most" doc:"The records of all brands together."`
}

// BrandScope is the part of a scope that is in one brand's log.
type BrandScope struct {
	Brand       string         `json:"brand"`
	Size        uint64         `json:"size" doc:"The size of the log that the figures are of."`
	Entry       uint64         `json:"entry" doc:"The entry that says that these figures were read."`
	Digest      string         `json:"digest" doc:"SHA-256 of the set of customers, in hexadecimal."`
	Entries     int            `json:"entries" doc:"Entries that disclosed customers."`
	Disclosures int            `json:"disclosures" doc:"Customers of these entries, counted in each."`
	Records     int            `json:"records" doc:"Distinct customers disclosed."`
	Reached     map[string]int `json:"reached" doc:"The records by the most that was shown of each: clear, masked or extract."`
	Changed     int            `json:"changed" doc:"Distinct existing customers whose profile was changed."`
	Created     int            `json:"created" doc:"Customers created."`
	Erased      int            `json:"erased" doc:"Distinct customers whose erasure was begun or done."`
	LeftOut     ScopePart      `json:"left_out" doc:"What incident responders were shown, and does not count."`
	Unknown     ScopePart      `json:"unknown" doc:"Entries whose values were erased (log expire), so that nobody can say whether they match; they do not count."`
	Unmatched   []string       `json:"unmatched,omitempty" doc:"Principals of the filters that no entry of the log names."`
	Fields      []ScopeRow     `json:"fields"`
	Levels      []ScopeRow     `json:"levels"`
	Purposes    []ScopeRow     `json:"purposes"`
	Recipients  []ScopeRow     `json:"recipients,omitempty"`
	Times       []ScopeRow     `json:"times" doc:"By hour, or by day where there are more than 744 hours."`
}

// ScopePart counts entries and their customers.
type ScopePart struct {
	Entries int `json:"entries"`
	Records int `json:"records" doc:"Distinct customers."`
}

// ScopeRow is one row of a breakdown.
type ScopeRow struct {
	Name        string `json:"name"`
	Entries     int    `json:"entries"`
	Disclosures int    `json:"disclosures"`
	Records     int    `json:"records" doc:"Distinct customers."`
}
