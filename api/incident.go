package api

import (
	"time"
)

// IncidentRequest opens an incident.
type IncidentRequest struct {
	Title  string   `json:"title" minLength:"1" maxLength:"200" doc:"What the incident is called. No names of customers."`
	Source string   `json:"source,omitempty" enum:"alarm,report,hand" doc:"What it was opened from; hand where it is left out, alarm where an alarm is given."`
	Alarm  string   `json:"alarm,omitempty" maxLength:"40" doc:"The alarm that it was opened from."`
	Lead   string   `json:"lead,omitempty" maxLength:"64" doc:"Who leads; the caller where it is left out."`
	Brands []string `json:"brands,omitempty" maxItems:"1000" doc:"At the group: the brands that are concerned."`
	Ticket string   `json:"ticket,omitempty" maxLength:"64"`
}

// FactRequest states a fact of an incident, or corrects one.
type FactRequest struct {
	Name     string    `json:"name" maxLength:"40" doc:"One of the names of facts, such as aware or contained."`
	When     time.Time `json:"when,omitzero" doc:"When it happened."`
	Said     string    `json:"said,omitempty" maxLength:"200" doc:"Who said so; the caller where it is left out."`
	Text     string    `json:"text,omitempty" maxLength:"4000" doc:"In words. No values of customers."`
	Brand    string    `json:"brand,omitempty" maxLength:"40" doc:"The brand whose people may see it. At the group, without it, the group's people alone."`
	Corrects uint64    `json:"corrects,omitempty" doc:"The entry of the fact that this takes the place of."`
	Rule     string    `json:"rule,omitempty" maxLength:"60" doc:"Of the fact filed: the rule of duties whose notice was sent."`
	// Reference and Receipt are the recipient's.
	Reference string `json:"reference,omitempty" maxLength:"200" doc:"Of the fact filed: the number that the recipient gave it."`
	Receipt   string `json:"receipt,omitempty" maxLength:"64" pattern:"^[0-9a-f]{64}$" doc:"Of the fact filed: SHA-256 of what the recipient answered, in hexadecimal."`
	Ticket    string `json:"ticket,omitempty" maxLength:"64"`
}

// FactNames are the names that facts have. Times that deadlines hang on are among them.
func FactNames() []string {
	return []string{"occurred-from", "occurred-to", "leak-possible", "detected", "aware", "determined", "personal-data-hit", "contained", "filed", "assumed", "unknown", "note",
		"suspected", "discovered", "confirmed", "assessed", "material", "persons-identified", "facts-clear", "handled", "disclosed", "residents", "judged"}
}

// CloseIncidentRequest closes an incident.
type CloseIncidentRequest struct {
	Summary string `json:"summary" minLength:"1" maxLength:"4000" doc:"What it came to. No values of customers."`
	Ticket  string `json:"ticket,omitempty" maxLength:"64"`
}

// Incident is an incident as the caller may see it.
type Incident struct {
	ID       string          `json:"id" doc:"Its number, such as 3; for an incident of the group, group-3."`
	Owner    string          `json:"owner" doc:"The brand whose log holds it."`
	Title    string          `json:"title"`
	Source   string          `json:"source" enum:"alarm,report,hand"`
	Alarm    string          `json:"alarm,omitempty"`
	Lead     string          `json:"lead"`
	Brands   []string        `json:"brands" doc:"Of those concerned, the ones that the caller may see."`
	Part     bool            `json:"part,omitempty" doc:"The caller sees one brand's part only."`
	Opened   time.Time       `json:"opened"`
	OpenedBy string          `json:"opened_by"`
	Closed   time.Time       `json:"closed,omitzero"`
	ClosedBy string          `json:"closed_by,omitempty"`
	Summary  string          `json:"summary,omitempty" doc:"Of a closed incident. The report is what is here, and never changes."`
	Facts    []Fact          `json:"facts" doc:"What people said, each version, in the order in which it was said."`
	Scopes   []ScopeVersion  `json:"scopes" doc:"Versions of the scope, the oldest first."`
	Rules    string          `json:"rules,omitempty" doc:"Version of the rules of duties that it keeps."`
	Timeline []IncidentEvent `json:"timeline" doc:"What the log says, by time."`
	Evidence []EvidenceFile  `json:"evidence,omitempty" doc:"Files of evidence that were made of it, also after it was closed."`
}

// EvidenceFile is a file of evidence, as the log has it.
type EvidenceFile struct {
	Number    uint64             `json:"number" doc:"The entry of the owner's log that began it."`
	At        time.Time          `json:"at"`
	By        string             `json:"by"`
	Recipient string             `json:"recipient,omitempty" doc:"The age recipient of the customers' data in it; none without data."`
	Fields    []string           `json:"fields,omitempty" doc:"The fields of that data."`
	Digests   []string           `json:"digests,omitempty" doc:"SHA-256 of the manifest of the file that was written to its end, in hexadecimal. None: it was cut."`
	Handed    []EvidenceHandOver `json:"handed,omitempty"`
}

// EvidenceHandOver says who received a file of evidence.
type EvidenceHandOver struct {
	Entry  uint64    `json:"entry"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	To     string    `json:"to"`
	Digest string    `json:"digest"`
}

// EvidenceRequest asks for a file of evidence of an incident. Customers' data is in it only
// where fields are named: disclosed to the caller as every reveal is, against their
// budgets, and encrypted to the recipient.
type EvidenceRequest struct {
	Fields    []string `json:"fields,omitempty" maxItems:"100" doc:"Fields of the customers in the newest version of the scope. None without it."`
	Purpose   string   `json:"purpose,omitempty" maxLength:"64" doc:"With fields: what for."`
	Cosigned  bool     `json:"cosigned,omitempty" doc:"Refuse where a witness does not sign the logs afresh."`
	Recipient string   `json:"recipient,omitempty" maxLength:"4000" doc:"With fields: the age recipient, age1..., that the data is encrypted to."`
	Ticket    string   `json:"ticket,omitempty" maxLength:"64"`
}

// HandedRequest says who received a file of evidence.
type HandedRequest struct {
	Digest string `json:"digest" minLength:"64" maxLength:"64" doc:"SHA-256 of the file's manifest, as evidence verify prints it."`
	To     string `json:"to" minLength:"1" maxLength:"200" doc:"Who got it."`
	Ticket string `json:"ticket,omitempty" maxLength:"64"`
}

// TrailerEvidence is the trailer of a file of evidence that arrived whole: SHA-256 of its
// manifest.
const TrailerEvidence = "Cloakroom-Evidence"

// Fact is one version of what somebody said.
type Fact struct {
	Entry      uint64    `json:"entry" doc:"Its entry in the owner's log."`
	At         time.Time `json:"at" doc:"When it was recorded."`
	By         string    `json:"by"`
	Name       string    `json:"name"`
	When       time.Time `json:"when,omitzero"`
	Said       string    `json:"said"`
	Text       string    `json:"text,omitempty"`
	Brand      string    `json:"brand,omitempty"`
	Corrects   uint64    `json:"corrects,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	Reference  string    `json:"reference,omitempty"`
	Receipt    string    `json:"receipt,omitempty"`
	Notice     uint64    `json:"notice,omitempty" doc:"Of the fact filed: the version of the notice that was sent."`
	Digest     string    `json:"digest,omitempty" doc:"Of that version."`
	Replaced   bool      `json:"replaced,omitempty" doc:"A later version took its place."`
	Concurrent bool      `json:"concurrent,omitempty" doc:"It corrects a version that another correction had replaced already: both stand until somebody decides."`
}

// ScopeVersion is a version of an incident's scope, as the log has it.
type ScopeVersion struct {
	Version uint64         `json:"version"`
	Entry   uint64         `json:"entry"`
	At      time.Time      `json:"at"`
	By      string         `json:"by"`
	Records int            `json:"records" doc:"Distinct customers, counted at each brand."`
	Persons Persons        `json:"persons"`
	Filter  string         `json:"filter" doc:"As JSON, with numbers in place of names."`
	Parts   []ScopeFigures `json:"parts"`
	// Approved is when two people approved it; zero where nobody did.
	Approved   time.Time   `json:"approved,omitzero" doc:"When two people approved it."`
	ApprovedBy []string    `json:"approved_by,omitempty" doc:"Who did; one name in the time before two people existed."`
	Approval   uint64      `json:"approval,omitempty" doc:"The entry of the approval."`
	Breakdown  []Breakdown `json:"breakdown,omitempty" doc:"Where its customers live, for each brand that was counted to its end."`
}

// ScopeApproval asks a second person to approve a version of an incident's scope.
type ScopeApproval struct {
	Version uint64 `json:"version,omitempty" doc:"The version; the newest where it is left out."`
	Ticket  string `json:"ticket,omitempty" maxLength:"64"`
}

// BreakdownRequest asks for the next step of the breakdown of an approved version.
type BreakdownRequest struct {
	Version uint64 `json:"version,omitempty" doc:"The version; the newest that is approved where it is left out."`
	Ticket  string `json:"ticket,omitempty" maxLength:"64"`
}

// Breakdown says where the customers of a version of a scope live, at one brand. Those who
// could not be opened are counted beside the places; the others are in one place each.
type Breakdown struct {
	Brand   string           `json:"brand"`
	Entry   uint64           `json:"entry,omitempty" doc:"The entry that has these figures, once they are whole."`
	Records int              `json:"records" doc:"Customers of the version at this brand."`
	Opened  int              `json:"opened" doc:"Of them, whose country and region the vault opened: the sum of the places."`
	Places  []BreakdownPlace `json:"places"`
	// Those who are counted apart, because somebody has to look before they are written to.
	Cooling   int `json:"cooling" doc:"Not opened: their erasure began, and can be taken back."`
	Erased    int `json:"erased" doc:"Not opened: erased since."`
	Held      int `json:"held" doc:"Under a legal hold; in a place too where they were opened."`
	Deceased  int `json:"deceased" doc:"In a place too."`
	Minors    int `json:"minors" doc:"In a place too."`
	Protected int `json:"protected" doc:"In a place too: represented by somebody, not to be written to, or asked to be erased."`
}

// BreakdownPlace is one place of a breakdown.
type BreakdownPlace struct {
	Country string `json:"country,omitempty" doc:"ISO 3166-1; empty where it is not known."`
	Region  string `json:"region,omitempty" doc:"A code, or a name that at least ten customers share; other for the rest; empty where it is not known."`
	Records int    `json:"records"`
}

// BreakdownStep is how far a breakdown is.
type BreakdownStep struct {
	Version uint64      `json:"version"`
	Done    int         `json:"done" doc:"Customers counted so far."`
	Of      int         `json:"of" doc:"Customers of the version."`
	Whole   bool        `json:"whole" doc:"It is finished, and kept with the version. Else ask for the next step."`
	Parts   []Breakdown `json:"parts" doc:"By brand: those that are finished."`
}

// ScopeFigures are the figures of a scope's version at one brand.
type ScopeFigures struct {
	Brand       string `json:"brand"`
	Size        uint64 `json:"size" doc:"The size of the brand's log that they are of."`
	Entry       uint64 `json:"entry" doc:"The entry of the brand's log that holds them, with the digest of the set."`
	Entries     int    `json:"entries"`
	Disclosures int    `json:"disclosures"`
	Records     int    `json:"records"`
	Added       int    `json:"added" doc:"Customers that the version before had not."`
	Removed     int    `json:"removed" doc:"Customers of the version before that this one has not."`
	// Fields and Reached say what was disclosed of how many of them.
	Fields  []ScopeRow     `json:"fields,omitempty"`
	Reached map[string]int `json:"reached,omitempty" doc:"The records by the most that was shown of each: clear, masked or extract."`
}

// IncidentScope is a new version of an incident's scope with all of its figures.
type IncidentScope struct {
	Version ScopeVersion `json:"version"`
	Scope   Scope        `json:"scope"`
}

// IncidentEvent is an entry of the timeline: a machine wrote it.
type IncidentEvent struct {
	At    time.Time `json:"at"`
	Entry uint64    `json:"entry"`
	Brand string    `json:"brand"`
	By    string    `json:"by,omitempty"`
	What  string    `json:"what"`
}
