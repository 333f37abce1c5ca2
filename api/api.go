// Package api holds the JSON shapes of Cloakroom's HTTP API, and the errors it
// answers. It has no logic. The OpenAPI description in openapi.yaml is made from it.
//
// Personal data stands in bodies only, never in a URL.
package api

import "time"

// Fields are a customer's columns by name, and attributes as attr.NAME.
type Fields map[string]string

// Receipt names the entry that says what was released, in the brand's log, and the
// size of the first checkpoint that includes it.
type Receipt struct {
	Brand          string `json:"brand"`
	Entry          uint64 `json:"entry" doc:"Index of the entry in the brand's log, from 0."`
	CheckpointSize uint64 `json:"checkpoint_size"`
}

// Customer is one customer as the caller may see them.
type Customer struct {
	Token     string     `json:"token"`
	Fields    Fields     `json:"fields"`
	Purchases []Purchase `json:"purchases,omitempty"`
}

// Purchase is one thing bought. Masked, it has the month in place of the time, and
// no article, amount or store.
type Purchase struct {
	ID          string `json:"purchase_id,omitempty" maxLength:"512"`
	At          string `json:"at,omitempty" maxLength:"64" doc:"RFC 3339; a month when masked."`
	SKU         string `json:"sku,omitempty" maxLength:"512"`
	Description string `json:"description,omitempty" maxLength:"512"`
	Quantity    *int64 `json:"quantity,omitempty" doc:"Absent means 1; 0 is kept."`
	Amount      string `json:"amount,omitempty" maxLength:"64" doc:"Exact decimal."`
	Currency    string `json:"currency,omitempty" maxLength:"16"`
	Store       string `json:"store,omitempty" maxLength:"512"`
	Channel     string `json:"channel,omitempty" maxLength:"512"`
}

// RevealRequest asks for fields of up to MaxReveal customers in clear.
type RevealRequest struct {
	Tokens  []string `json:"tokens" minItems:"1" maxItems:"1000" doc:"Answered in this order, each as often as it is named, under the token that it is named by."`
	Fields  []string `json:"fields" minItems:"1" maxItems:"16"`
	Purpose string   `json:"purpose" maxLength:"40"`
	Ticket  string   `json:"ticket,omitempty" maxLength:"64"`
}

// MaxReveal bounds the customers of one reveal.
const MaxReveal = 1000

// Disclosed answers a reveal, a masked view and a search.
type Disclosed struct {
	Receipt   *Receipt   `json:"receipt" doc:"Null where nothing was found and nothing released."`
	Customers []Customer `json:"customers"`
}

// SearchRequest asks for the masked views of those who have a value.
type SearchRequest struct {
	By      string `json:"by" enum:"external_id,email,phone"`
	Value   string `json:"value" maxLength:"1024"`
	Country string `json:"country,omitempty" maxLength:"2" doc:"For phone numbers written without theirs."`
	Purpose string `json:"purpose" maxLength:"40"`
	Ticket  string `json:"ticket,omitempty" maxLength:"64"`
}

// PutRequest writes customers. With external_id among the fields it makes those who
// are not there. Fields that are not named stay; attr.NAME among the fields, or
// "attributes" with an empty value, replaces all attributes, unless MergeAttributes.
type PutRequest struct {
	Customers       []Fields `json:"customers" minItems:"1" maxItems:"5000"`
	MergeAttributes bool     `json:"merge_attributes,omitempty" doc:"Lay attributes over those kept: one with an empty value is taken away, and those that are not named stay."`
	DryRun          bool     `json:"dry_run,omitempty" doc:"Check, and say what would become of each customer; write nothing but a log entry."`
	NewRelationship string   `json:"new_relationship,omitempty" maxLength:"200" doc:"Why customers who were erased are let in: they are customers again. It is logged."`
}

// FileApproval begins the approval of a file by two people.
type FileApproval struct {
	Service   string `json:"service,omitempty" maxLength:"64" doc:"Who imports the file; empty: the caller."`
	Customers string `json:"customers,omitempty" maxLength:"64" doc:"SHA-256 of the file of customers."`
	Purchases string `json:"purchases,omitempty" maxLength:"64" doc:"SHA-256 of the file of purchases."`
	Mapping   string `json:"mapping" maxLength:"64" doc:"SHA-256 of the mapping and of the flags that say how values are read."`
	Most      int64  `json:"most,omitempty" minimum:"0" maximum:"100000000" doc:"The most existing customers that it may change; 0: as many as the rehearsal finds."`
}

// ApprovalRequest asks another person for an approval whose rows were rehearsed.
type ApprovalRequest struct {
	Ticket string `json:"ticket,omitempty" maxLength:"64" doc:"Case number; it stands in the log."`
}

// StandingApproval asks another person to approve the writes of a service through one
// mapping.
type StandingApproval struct {
	Service string    `json:"service" minLength:"1" maxLength:"64"`
	Mapping string    `json:"mapping" maxLength:"64" doc:"SHA-256 of the mapping and of the flags that say how values are read."`
	Fields  []string  `json:"fields" minItems:"1" maxItems:"40" doc:"The fields that its writes may set, beside external_id."`
	Most    int64     `json:"most_per_day" minimum:"1" maximum:"100000000" doc:"The most existing customers that change on a day."`
	Until   time.Time `json:"until" doc:"The end, within a year."`
	Ticket  string    `json:"ticket,omitempty" maxLength:"64" doc:"Case number; it stands in the log."`
}

// WriteApproval is what two people approved about writes. Figures that depend on who is a
// customer are for people with the action audit.
type WriteApproval struct {
	Number  uint64    `json:"number"`
	Kind    string    `json:"kind" enum:"file,standing"`
	State   string    `json:"state" enum:"draft,asked,in-force,ended"`
	Service string    `json:"service"`
	AskedBy string    `json:"asked_by"`
	Mapping string    `json:"mapping" doc:"SHA-256."`
	Files   []string  `json:"files,omitempty" doc:"SHA-256 of each."`
	Fields  []string  `json:"fields,omitempty"`
	Most    int64     `json:"most,omitempty" doc:"The most existing customers that may change: in all, or on a day."`
	Changed *int64    `json:"changed,omitempty" doc:"How many of them changed: in all, or in the last day."`
	Created time.Time `json:"created"`
	Ends    time.Time `json:"ends"`
}

// ApprovedPut writes customers under an approval, or rehearses them for one.
type ApprovedPut struct {
	Customers       []Fields `json:"customers" minItems:"1" maxItems:"5000"`
	MergeAttributes bool     `json:"merge_attributes,omitempty" doc:"Lay attributes over those kept: one with an empty value is taken away, and those that are not named stay."`
	Mapping         string   `json:"mapping,omitempty" maxLength:"64" doc:"SHA-256 of the mapping, as it was approved."`
}

// Put is the same as a request without an approval.
func (p *ApprovedPut) Put() *PutRequest {
	return &PutRequest{Customers: p.Customers, MergeAttributes: p.MergeAttributes}
}

// ApprovedPurchases adds purchases under an approval.
type ApprovedPurchases struct {
	Customers []CustomerPurchases `json:"customers" minItems:"1" maxItems:"5000"`
	Mapping   string              `json:"mapping,omitempty" maxLength:"64" doc:"SHA-256 of the mapping, as it was approved."`
}

// Taken says of each thing sent whether it was accepted, and never who is a customer.
type Taken struct {
	Results []TakenResult `json:"results"`
}

// TakenResult is accepted, or rejected for a fault of its own.
type TakenResult struct {
	Outcome   string        `json:"outcome" enum:"accepted,rejected"`
	Reject    *Reject       `json:"reject,omitempty"`
	Purchases []TakenResult `json:"purchases,omitempty"`
}

// StandingRequest replaces the standing of a customer: what has to be known before anybody
// writes to them. An empty list takes it away.
type StandingRequest struct {
	Standing []string `json:"standing" maxItems:"5" enum:"deceased,minor,represented,do-not-write,erasure-asked" doc:"deceased: nobody writes to them. minor: a parent or guardian acts for them. represented: somebody else acts for them. do-not-write: they asked not to be written to. erasure-asked: their source deleted them."`
	Ticket   string   `json:"ticket,omitempty" maxLength:"64" doc:"Case number; it stands in the log."`
}

// FeedRecord is one record of a feed: a customer or a purchase, as its source has it now.
type FeedRecord struct {
	Source    string        `json:"source" minLength:"1" maxLength:"40" doc:"Name of the system that sends it."`
	Position  *int64        `json:"position,omitempty" doc:"Place of the record in the source's log. Of two records about one thing, the later place stays."`
	ChangedAt string        `json:"changed_at,omitempty" maxLength:"64" doc:"RFC 3339; in place of a position."`
	Op        string        `json:"op,omitempty" enum:"c,u,r,d" doc:"c, u and r write. d asks for the erasure of a customer, and erases nothing."`
	Customer  Fields        `json:"customer,omitempty" doc:"Fields by name, external_id among them; a field that is not named stays."`
	Purchase  *FeedPurchase `json:"purchase,omitempty"`
}

// FeedPurchase is a purchase in a feed.
type FeedPurchase struct {
	ExternalID string `json:"external_id" maxLength:"1024" doc:"Whose it is."`
	Purchase
}

// Fed answers a feed: a FedRecord for each record, in their order. It never says whether
// a customer was known.
type Fed struct {
	Records []FedRecord `json:"records"`
}

// FedRecord says whether a record was accepted, and why not.
type FedRecord struct {
	Accepted bool    `json:"accepted"`
	Reject   *Reject `json:"reject,omitempty"`
}

// BrandCountry is the country of a brand's national phone numbers.
type BrandCountry struct {
	Country string `json:"country" maxLength:"64" doc:"ISO 3166-1 code; empty: none."`
}

// PurchasesRequest adds purchases.
type PurchasesRequest struct {
	Customers []CustomerPurchases `json:"customers" minItems:"1" maxItems:"5000"`
	DryRun    bool                `json:"dry_run,omitempty" doc:"Check, and say what would become of each purchase; write nothing but a log entry."`
}

// CustomerPurchases are purchases of one customer, named by external id or token.
type CustomerPurchases struct {
	ExternalID string     `json:"external_id,omitempty" maxLength:"1024"`
	Token      string     `json:"token,omitempty" maxLength:"64"`
	Purchases  []Purchase `json:"purchases" minItems:"1" maxItems:"20000"`
}

// Written says what became of each thing written, in order.
type Written struct {
	Receipt *Receipt      `json:"receipt" doc:"Null where nothing changed."`
	Results []WriteResult `json:"results"`
	// Withheld is for the machine's owner alone.
	Withheld *Withheld `json:"withheld,omitempty" doc:"For the machine's owner: how many of these rows stay out, because their customer was erased or has an address of somebody who was. To anybody else they are answered as if they were written; which they are is for the request desk."`
}

// Withheld counts rows that stay out, and purchases with them, by what is answered of each.
type Withheld struct {
	Rows      WithheldAs `json:"rows"`
	Purchases WithheldAs `json:"purchases"`
}

// WithheldAs counts what stays out and is answered as new, updated or unchanged.
type WithheldAs struct {
	New       int `json:"new"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
}

// All is how many there are.
func (w WithheldAs) All() int { return w.New + w.Updated + w.Unchanged }

// WriteResult is what became of one customer, and of their purchases in order.
type WriteResult struct {
	Outcome   string        `json:"outcome" enum:"new,updated,unchanged,rejected"`
	Token     string        `json:"token,omitempty"`
	Reject    *Reject       `json:"reject,omitempty"`
	Purchases []WriteResult `json:"purchases,omitempty"`
	// Cleared and Unfindable tell of a customer that was written.
	Cleared    int      `json:"cleared,omitempty" doc:"How many values were taken away."`
	Emptied    []string `json:"emptied,omitempty" doc:"The fields that they were in."`
	Unfindable []string `json:"unfindable,omitempty" doc:"The fields, email and phone, whose value is kept, but nobody can find the customer by it."`
}

// Reject says what was refused and why, without the value. Also has the other faults of
// the same customer or purchase: all are found at once.
type Reject struct {
	Field  string  `json:"field,omitempty"`
	Code   string  `json:"code"`
	Reason string  `json:"reason"`
	Also   []Fault `json:"also,omitempty"`
}

// Fault is one thing that is wrong with a customer or purchase.
type Fault struct {
	Field  string `json:"field,omitempty"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// Brand is one brand.
type Brand struct {
	Name    string    `json:"name" maxLength:"40"`
	Title   string    `json:"title,omitempty" maxLength:"200"`
	Created time.Time `json:"created,omitzero" readOnly:"true"`
}

// LoyaltyPrefixes are the ranges of a brand's own numbers, of loyalty or gift cards,
// which could be payment card numbers by their digits.
type LoyaltyPrefixes struct {
	Prefixes []string `json:"prefixes" maxItems:"50" doc:"The first 6 to 12 digits of such numbers. None: no numbers of this brand's own."`
	Fields   []string `json:"fields" maxItems:"20" doc:"Where such numbers may stand: external_id and attributes, as attr.NAME."`
}

// Settings are what a brand says of itself, under a version.
type Settings struct {
	Version         int      `json:"version" doc:"1: nobody has changed them."`
	Country         string   `json:"country,omitempty" maxLength:"64" doc:"Where the brand is established: an ISO 3166-1 code."`
	PhoneCountry    string   `json:"phone_country,omitempty" maxLength:"64" doc:"Country of national phone numbers, in rows and of customers without a country."`
	Languages       []string `json:"languages" maxItems:"20" doc:"In which the brand writes to customers, the first one by default: tags such as fr or pt-BR."`
	MailFrom        string   `json:"mail_from,omitempty" maxLength:"200" doc:"Sender of mail to customers."`
	MailReplyTo     string   `json:"mail_reply_to,omitempty" maxLength:"200" doc:"Where customers' answers go."`
	TicketPattern   string   `json:"ticket_pattern,omitempty" maxLength:"100" doc:"Regular expression (RE2) that a whole ticket fits."`
	CoolingDays     int      `json:"cooling_days" doc:"How long erased customers' keys lie aside: 0 to 21."`
	TombstoneDays   int      `json:"tombstone_days" doc:"For how long after that erased customers are kept out of imports: 0 to 3650."`
	GlassHours      int      `json:"glass_hours,omitempty" doc:"How long broken glass waits before it takes effect: 1 to 168; without it, as the server says."`
	RetentionDays   int      `json:"retention_days" doc:"How long the values of log entries are kept at least: 31 to 3650."`
	LoyaltyPrefixes []string `json:"loyalty_prefixes" maxItems:"50" doc:"The first 6 to 12 digits of the brand's own numbers, which are no payment cards."`
	LoyaltyFields   []string `json:"loyalty_fields" maxItems:"20" doc:"Where such numbers may stand: external_id and attributes, as attr.NAME."`
}

// SettingsChange changes settings: those that it has. An empty text or list takes one away.
type SettingsChange struct {
	Version         int      `json:"version,omitempty" minimum:"0" doc:"The version that the change was written for: it is refused as a conflict where another is in force. 0: the one in force."`
	Country         *string  `json:"country,omitempty" maxLength:"64"`
	PhoneCountry    *string  `json:"phone_country,omitempty" maxLength:"64"`
	Languages       []string `json:"languages,omitzero" maxItems:"20"`
	MailFrom        *string  `json:"mail_from,omitempty" maxLength:"200"`
	MailReplyTo     *string  `json:"mail_reply_to,omitempty" maxLength:"200"`
	TicketPattern   *string  `json:"ticket_pattern,omitempty" maxLength:"100"`
	CoolingDays     *int     `json:"cooling_days,omitempty" minimum:"0" maximum:"21"`
	TombstoneDays   *int     `json:"tombstone_days,omitempty" minimum:"0" maximum:"3650"`
	GlassHours      *int     `json:"glass_hours,omitempty" minimum:"0" maximum:"168" doc:"0: as the server says."`
	RetentionDays   *int     `json:"retention_days,omitempty" minimum:"31" maximum:"3650"`
	LoyaltyPrefixes []string `json:"loyalty_prefixes,omitzero" maxItems:"50"`
	LoyaltyFields   []string `json:"loyalty_fields,omitzero" maxItems:"20"`
}

// SettingChange is one setting before and after a change.
type SettingChange struct {
	Name   string `json:"name"`
	Was    string `json:"was,omitempty"`
	Is     string `json:"is,omitempty"`
	Weaker string `json:"weaker,omitempty" doc:"What the change weakens, so that it takes a second person."`
}

// SettingsSet says what became of a change of settings, or would.
type SettingsSet struct {
	Version int             `json:"version" doc:"The one in force."`
	Applied bool            `json:"applied" doc:"False for a dry run, and where nothing differs."`
	Changes []SettingChange `json:"changes"`
}

// SettingsHistory are versions of a brand's settings, the newest first.
type SettingsHistory struct {
	Versions []SettingsVersion `json:"versions"`
	Next     int               `json:"next,omitempty" doc:"Ask with before=next for older ones; 0: there are none."`
}

// SettingsVersion is one version, and what it changed.
type SettingsVersion struct {
	Version   int             `json:"version"`
	At        time.Time       `json:"at"`
	By        string          `json:"by,omitempty" doc:"Name of the principal who asked for it."`
	Changes   []SettingChange `json:"changes"`
	NotLogged bool            `json:"not_logged,omitempty" doc:"True: the version is not what was logged; somebody changed the database."`
}

// Purpose is what data may be processed for.
type Purpose struct {
	Name        string    `json:"name" maxLength:"40"`
	LegalBasis  string    `json:"legal_basis" enum:"consent,contract,legal-obligation,vital-interests,public-task,legitimate-interests" doc:"GDPR Art. 6(1)."`
	Description string    `json:"description,omitempty" maxLength:"500"`
	Created     time.Time `json:"created,omitzero" readOnly:"true"`
	Retired     time.Time `json:"retired,omitzero" readOnly:"true"`
}

// Profile says who a principal is in words for people. Customers read it where they are
// shown who read their data.
type Profile struct {
	DisplayName string `json:"display_name,omitempty" maxLength:"256" doc:"Name for people, up to 64 characters."`
	Team        string `json:"team,omitempty" maxLength:"256" doc:"Such as Gucci Client Service; up to 64 characters."`
	Place       string `json:"place,omitempty" maxLength:"256" doc:"Such as Milan; up to 64 characters."`
}

// Principal is a person or service with its roles by brand and its credentials.
type Principal struct {
	Name    string            `json:"name" maxLength:"64"`
	Kind    string            `json:"kind" enum:"person,service"`
	ID      uint64            `json:"id,omitempty" readOnly:"true"`
	Roles   map[string]string `json:"roles,omitempty" doc:"Role by brand; group holds where no other is given."`
	Country string            `json:"country,omitempty" maxLength:"2" doc:"Where the principal works (ISO 3166-1, two letters): every entry of what it does says so."`
	Entity  string            `json:"entity,omitempty" maxLength:"128" doc:"The legal entity that it works for."`
	Profile
	Owner       string       `json:"owner,omitempty" maxLength:"64" doc:"The person who holds a service's keys: they alone redeem its codes."`
	Disabled    time.Time    `json:"disabled,omitzero" readOnly:"true"`
	Credentials []Credential `json:"credentials,omitempty" readOnly:"true"`
}

// Credential is one way in. Key is shown once, when it is made.
type Credential struct {
	ID      uint64    `json:"id"`
	Lineage uint64    `json:"lineage" doc:"Revoking it ends this credential and all made through it."`
	Kind    string    `json:"kind,omitempty" doc:"How its holder proves it: key, passkey, session, subject or local."`
	Label   string    `json:"label,omitempty"`
	Export  string    `json:"export,omitempty" doc:"The one export that it can download, and nothing else."`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
	MadeBy  string    `json:"made_by,omitempty" doc:"Who made it, or had its holder invited."`
	Key     string    `json:"key,omitempty"`
	Code    string    `json:"code,omitempty" doc:"In the place of a key: a code that the owner of the service redeems within 24 hours."`
}

// InviteRequest invites people to make their own keys.
type InviteRequest struct {
	People []Invitee         `json:"people" minItems:"1" maxItems:"1000"`
	Roles  map[string]string `json:"roles,omitempty" doc:"Role by brand of those who are not registered yet."`
	Until  time.Time         `json:"until,omitzero" doc:"When their keys end; left out: not by themselves."`
	Label  string            `json:"label,omitempty" maxLength:"64"`
}

// Invitee is one person, or service, who is invited.
type Invitee struct {
	Name       string `json:"name" maxLength:"64"`
	Kind       string `json:"kind,omitempty" enum:"person,service" doc:"Of one who is not registered yet; left out: person."`
	Profile           // of one who is not registered yet
	Mail       string `json:"mail,omitempty" maxLength:"254" doc:"Where the code is sent. Without it, or without a mail server, the person who approves is shown the code."`
	Credential uint64 `json:"credential,omitempty" doc:"Whose key the new one takes the place of."`
}

// Invitations are what an invitation gave, once.
type Invitations struct {
	Codes   []InviteCode `json:"codes,omitempty" doc:"Codes to hand over, each to its person, within 24 hours."`
	Mailed  []string     `json:"mailed,omitempty" doc:"Who was sent a code by mail."`
	Expires time.Time    `json:"expires"`
}

// InviteCode is the code of one person.
type InviteCode struct {
	Name string `json:"name"`
	Code string `json:"code"`
}

// RedeemRequest makes the key of an invitation.
type RedeemRequest struct {
	Code string `json:"code" maxLength:"64"`
}

// CredentialRequest makes a credential.
type CredentialRequest struct {
	Label    string `json:"label,omitempty" maxLength:"64"`
	ValidFor string `json:"valid_for,omitempty" maxLength:"32" doc:"Such as 720h; empty: until revoked. One made through your own expires with yours at the latest."`
}

// Revoked says how many credentials a revocation ended.
type Revoked struct {
	Revoked int `json:"revoked"`
}

// RoleRequest gives a role.
type RoleRequest struct {
	Role string `json:"role" maxLength:"64"`
}

// Policy is a version of a brand's policy, in Cedar.
type Policy struct {
	Version int    `json:"version,omitempty" doc:"The version in force. A policy that is applied with it is refused as a conflict where another is in force by then."`
	Text    string `json:"text" maxLength:"262144"`
}

// PolicyChange is what one role gains or loses.
type PolicyChange struct {
	Role      string   `json:"role"`
	Principal uint64   `json:"principal,omitempty"`
	Action    string   `json:"action"`
	Purpose   string   `json:"purpose"`
	Gained    []string `json:"gained,omitempty"`
	Lost      []string `json:"lost,omitempty"`
}

// PolicyDiff is what would change if a policy were applied.
type PolicyDiff struct {
	Changes []PolicyChange `json:"changes"`
	Applied bool           `json:"applied"`
	Version int            `json:"version,omitempty"`
	Bounds  []BoundChange  `json:"bounds" doc:"Whose loss bound changes, the greatest growth first."`
}

// BudgetRules is the text of a brand's budgets, a rule a line.
type BudgetRules struct {
	Rules   string `json:"rules" maxLength:"4194304"`
	Default bool   `json:"default,omitempty" doc:"Set the default budgets in place of rules."`
	Version string `json:"version,omitempty" maxLength:"64" doc:"Names the budgets in force. Budgets that are set with it are refused as a conflict where others are in force by then."`
}

// BudgetsSet is what became of budgets that were set, or would.
type BudgetsSet struct {
	Rules   string        `json:"rules"`
	Version string        `json:"version,omitempty" doc:"Names these budgets."`
	Applied bool          `json:"applied"`
	Bounds  []BoundChange `json:"bounds" doc:"Whose loss bound changes, the greatest growth first."`
}

// Windows are numbers of distinct customers in an hour, a day and 30 days.
type Windows struct {
	Hour  uint64 `json:"hour"`
	Day   uint64 `json:"day"`
	Month uint64 `json:"30d"`
}

// Held names who holds a budget.
type Held struct {
	Brand     string `json:"brand"`
	Kind      string `json:"kind" enum:"lineage,principal,role,brand" doc:"A lineage is a credential and all made through it."`
	ID        uint64 `json:"id,omitempty" doc:"Of the lineage or the principal."`
	Principal string `json:"principal,omitempty" doc:"Whose lineage, or which principal."`
	Role      string `json:"role,omitempty"`
	Label     string `json:"label,omitempty" doc:"Of the credential."`
}

// Figures are what a holder could take and what it uses: distinct customers. What it
// uses was counted at every step of five minutes of the last 30 days in which it took
// somebody, in the windows that ended there.
type Figures struct {
	Bound   Windows  `json:"bound" doc:"Stolen now, it could take at most this many."`
	Now     *Windows `json:"now,omitempty" doc:"In the windows that end now."`
	Steps   int      `json:"steps,omitempty" doc:"How many steps were measured."`
	P99     *Windows `json:"p99,omitempty" doc:"99 of 100 steps had at most this many. Absent for those who may not audit."`
	Most    *Windows `json:"most,omitempty" doc:"No step had more."`
	WouldDo *Windows `json:"would_do,omitempty" doc:"A budget with which it would have done its work, with room."`
	Gap     *Windows `json:"gap,omitempty" doc:"The bound without the p99."`
}

// ExposureRow is the exposure of one holder, by all classes together and by each.
type ExposureRow struct {
	Held
	State       string  `json:"state,omitempty" enum:"contained,contained in part,disabled,export links only,no live key,no role" doc:"Why it can take less than its budget, or nothing."`
	Administers bool    `json:"administers,omitempty" doc:"May change budgets, policy or roles, and so every bound."`
	Destroy     Windows `json:"destroy" doc:"Customers that it could change or erase: the sum of the classes write and erase."`
	Few         bool    `json:"few,omitempty" doc:"Fewer than 100 steps were measured: the p99 is the greatest of them."`
	Figures
	Classes []ClassFigures `json:"classes" doc:"Of the classes that the policy lets it use, or that it used."`
}

// ClassFigures are those of one class.
type ClassFigures struct {
	Class string `json:"class" enum:"clear,masked,search,export,write,erase,message,claim"`
	Figures
}

// Exposure says what could be stolen at a brand, or at several.
type Exposure struct {
	At     time.Time     `json:"at"`
	Since  time.Time     `json:"since" doc:"From when on use was measured."`
	UsesAt time.Time     `json:"uses_at,omitzero" doc:"Up to when: before at on a server that has just started and not caught up with the log."`
	Own    bool          `json:"own,omitempty" doc:"Only the caller's own: it may not audit."`
	Total  int           `json:"total" doc:"Rows that there are; top may have cut some off."`
	Rows   []ExposureRow `json:"rows" doc:"The greatest gap in 30 days first."`
}

// BoundChange is a loss bound before and after a change of budgets or policy.
type BoundChange struct {
	Held
	Before  Windows       `json:"before"`
	After   Windows       `json:"after"`
	Classes []ClassChange `json:"classes" doc:"The classes whose bound changes."`
}

// ClassChange is a loss bound of one class before and after.
type ClassChange struct {
	Class  string  `json:"class" enum:"clear,masked,search,export,write,erase,message,claim"`
	Before Windows `json:"before"`
	After  Windows `json:"after"`
}

// Disclosure is one entry that released fields of a customer.
type Disclosure struct {
	Entry     uint64    `json:"entry"`
	At        time.Time `json:"at"`
	Principal string    `json:"principal"`
	Profile             // of the principal, as it is now
	Role      string    `json:"role"`
	Kind      string    `json:"kind"`
	Purpose   string    `json:"purpose"`
	Ticket    string    `json:"ticket,omitempty"`
	Fields    []string  `json:"fields"`
	Level     string    `json:"level"`
	Erased    bool      `json:"erased,omitempty" doc:"The reader, the ticket and the exact time are erased: at is the UTC day."`
	Unproven  string    `json:"unproven,omitempty" doc:"Why it cannot be proven that the entry is this customer's. The proof then has no commitment, and shows that the entry is in the log as the line says."`
	Proof     Proof     `json:"proof"`
}

// Proof shows that a commitment is in an entry, and the entry in the log. Whoever has
// the brand's verifier key can check it offline. That the commitment is this
// customer's can be checked with the customer's log key, which the vault keeps.
type Proof struct {
	Leaf       []byte   `json:"leaf" doc:"The entry as it was hashed."`
	Customers  int      `json:"customers" doc:"How many customers the entry concerns."`
	Position   int      `json:"position" doc:"The customer's place among them."`
	Counter    uint32   `json:"counter" doc:"How many disclosures of this customer came before."`
	Commitment []byte   `json:"commitment"`
	Path       [][]byte `json:"path" doc:"From the commitment to the entry's root (RFC 6962)."`
	Inclusion  [][]byte `json:"inclusion" doc:"From the entry to the checkpoint (RFC 6962)."`
	Reader     []byte   `json:"reader,omitempty" doc:"The customer's pseudonym of the reader: another for every other customer, and each UTC month."`
	Core       []byte   `json:"core,omitempty" doc:"SHA-256 of this and the pseudonym is the commitment."`
	Shown      []Shown  `json:"shown,omitempty" doc:"The values of the entry that the line shows; the leaf has salted digests of them."`
}

// Shown is one value of a log entry, opened alone.
type Shown struct {
	Name  string   `json:"name" enum:"at,ticket" doc:"Which value."`
	Value []byte   `json:"value" doc:"CBOR."`
	Salt  []byte   `json:"salt"`
	Path  [][]byte `json:"path" doc:"From the value's digest to the root in the leaf (RFC 6962)."`
}

// Disclosures answers who read a customer.
type Disclosures struct {
	Token       string       `json:"token"`
	VerifierKey string       `json:"verifier_key"`
	Checkpoint  string       `json:"checkpoint"`
	Disclosures []Disclosure `json:"disclosures"`
}

// EraseRequest begins an erasure.
type EraseRequest struct {
	Token      string `json:"token" maxLength:"64"`
	ByCustomer bool   `json:"by_customer,omitempty" doc:"The customer asked for it and was proven to be them: the answer has a code with which they alone can take the erasure back."`
}

// Erased answers an erasure, and one that was taken back.
type Erased struct {
	Receipt Receipt `json:"receipt"`
	Token   string  `json:"token"`
	// Due is when the key is destroyed; until then an erasure can be taken back.
	Due time.Time `json:"due,omitzero" doc:"When the key is destroyed. Nobody can read, find or count the customer from now on; until then the erasure can be taken back. Absent: the key is destroyed."`
	// Held says that a legal hold keeps the key.
	Held bool `json:"held,omitempty" doc:"A legal hold keeps the key: the erasure is a restriction (GDPR Art. 18). Nobody can read, find or count the customer; the key is destroyed when no hold keeps it any more, not before due. Tell the customer so."`
	// TakeBackCode is shown once.
	TakeBackCode string `json:"take_back_code,omitempty" doc:"Shown once: put it into the confirmation to the customer. With it and an address of theirs they take the erasure back."`
}

// ErasureQuery pages through erasures that cool.
type ErasureQuery struct {
	After uint64 `json:"after,omitempty" query:"after" doc:"Where the last page ended."`
	Limit int    `json:"limit,omitempty" query:"limit" minimum:"0" maximum:"1000"`
}

// Erasures lists erasures that have begun and whose keys are not destroyed yet.
type Erasures struct {
	Erasures []Cooling `json:"erasures"`
	Next     uint64    `json:"next,omitempty" doc:"Where the next page begins; absent: this is the last."`
}

// Cooling is an erasure that can still be taken back.
type Cooling struct {
	Token      string    `json:"token"`
	Entry      uint64    `json:"entry" doc:"The entry of the log that began it."`
	Begun      time.Time `json:"begun"`
	Due        time.Time `json:"due" doc:"When the key is destroyed."`
	ByCustomer bool      `json:"by_customer" doc:"The customer asked for it, and alone takes it back."`
	Held       bool      `json:"held,omitempty" doc:"A legal hold keeps the key, also after due."`
}

// HoldRequest asks for a legal hold, with a second person: keys of its customers are not
// destroyed until it is released.
type HoldRequest struct {
	Tokens      []string `json:"tokens,omitempty" maxItems:"10000" doc:"Customers whose keys are kept; an erasure of theirs may have begun."`
	ExternalIDs []string `json:"external_ids,omitempty" maxItems:"10000" doc:"The same, by external id. The answer does not say which ids were found."`
	From        string   `json:"from,omitempty" maxLength:"10" doc:"In place of customers: all customers who have an entry in the log from this UTC day"`
	To          string   `json:"to,omitempty" maxLength:"10" doc:"to this one, today at the latest: who was written, read or erased in these days."`
	Ground      string   `json:"ground" maxLength:"1000" doc:"Why, such as the proceedings."`
	Review      string   `json:"review" maxLength:"10" doc:"The UTC day by which somebody looks at the hold again; it ends by its release alone."`
	Ticket      string   `json:"ticket,omitempty" maxLength:"64"`
}

// HoldRelease asks to end a legal hold, with a second person.
type HoldRelease struct {
	Reason string `json:"reason" maxLength:"1000"`
	Ticket string `json:"ticket,omitempty" maxLength:"64"`
}

// Hold is a legal hold.
type Hold struct {
	ID       string    `json:"id"`
	Entry    uint64    `json:"entry" doc:"The entry of the log that placed it."`
	Placed   time.Time `json:"placed"`
	By       string    `json:"by,omitempty" doc:"Who asked for it."`
	Ground   string    `json:"ground"`
	Review   string    `json:"review" doc:"The UTC day by which somebody looks at it again."`
	Overdue  bool      `json:"overdue" doc:"That day is over. The hold stays in force."`
	Named    int       `json:"named,omitempty" doc:"How many customers the request named."`
	From     string    `json:"from,omitempty" doc:"Of a hold on a period: its first UTC day"`
	To       string    `json:"to,omitempty" doc:"and its last."`
	Released bool      `json:"released,omitempty" doc:"It is over."`
}

// Holds are the legal holds in force at a brand, the oldest first.
type Holds struct {
	Holds []Hold `json:"holds"`
}

// TakeBackRequest takes back what a customer asked for.
type TakeBackRequest struct {
	Code    string `json:"code" maxLength:"64" doc:"The code of the confirmation."`
	Address string `json:"address" maxLength:"400" doc:"The customer's e-mail address, phone number or postal code."`
	Country string `json:"country,omitempty" maxLength:"2" doc:"For a phone number without its country."`
}

// ErasureUndo takes back what staff erased, with a second person.
type ErasureUndo struct {
	Tokens    []string `json:"tokens,omitempty" maxItems:"10000" doc:"Whose erasure; or:"`
	FromEntry uint64   `json:"from_entry,omitempty" doc:"All whose erasure staff began by entries from this one"`
	ToEntry   uint64   `json:"to_entry,omitempty" doc:"to this one. What customers asked for is left."`
	Ticket    string   `json:"ticket,omitempty" maxLength:"64"`
}

// EraseNow destroys keys without a cooling time, with a second person.
type EraseNow struct {
	Tokens []string `json:"tokens" minItems:"1" maxItems:"10000"`
	Ticket string   `json:"ticket,omitempty" maxLength:"64"`
}

// ErasuresDone answers an act of two people about erasures.
type ErasuresDone struct {
	Brand  string   `json:"brand"`
	Tokens []string `json:"tokens" doc:"Of the customers that the act reached."`
}

// ErasureState says what is left of erasures at a brand.
type ErasureState struct {
	Cooling   int64     `json:"cooling" doc:"Erasures that can still be taken back."`
	NextDue   time.Time `json:"next_due,omitzero" doc:"When the next key is destroyed."`
	Unrotated int64     `json:"unrotated" doc:"Keys destroyed since the KEK and the root key were both rotated: full copies of the database from before those still open them."`
	Oldest    time.Time `json:"oldest_unrotated,omitzero" doc:"When the first of those was destroyed."`
	Holds     int       `json:"holds" doc:"Legal holds in force."`
	Overdue   []string  `json:"overdue_holds,omitempty" doc:"Those of them whose day of review is over, by id."`
	Held      int64     `json:"held" doc:"Erasures whose keys a legal hold keeps."`
}

// ErasureCooling is how long erased customers' keys lie aside at a brand.
type ErasureCooling struct {
	Days int `json:"days" minimum:"0" maximum:"21" doc:"0: keys are destroyed at once."`
}

// ErasureTombstones is how long a brand remembers whom it erased, so that no import brings
// them back.
type ErasureTombstones struct {
	Days int `json:"days" minimum:"0" maximum:"3650" doc:"0: not at all. Customers whose keys are destroyed already keep theirs."`
}

// WithheldQuery pages through rows that were withheld.
type WithheldQuery struct {
	After string `json:"after,omitempty" query:"after" maxLength:"24" doc:"Where the last page ended."`
	Limit int    `json:"limit,omitempty" query:"limit" minimum:"0" maximum:"1000"`
}

// WithheldRows are rows that stayed out, for the request desk to decide about.
type WithheldRows struct {
	Rows []WithheldRow `json:"rows"`
	Next string        `json:"next,omitempty" doc:"Where the next page begins; absent: this is the last."`
}

// WithheldRow is a row that stayed out. It waits for 30 days.
type WithheldRow struct {
	ID         string    `json:"id"`
	ExternalID string    `json:"external_id,omitempty" doc:"Of the row; absent where a customer who is there would get an address."`
	Token      string    `json:"token" doc:"As it was answered."`
	Matches    []string  `json:"matches" doc:"The fields whose values an erased customer had."`
	Existing   bool      `json:"existing" doc:"A customer who is there would get these values."`
	Admissible bool      `json:"admissible" doc:"The row is kept, and can be admitted. Of one with an erased customer's external id nothing else is kept."`
	By         string    `json:"by,omitempty" doc:"Who sent it first."`
	Since      time.Time `json:"since"`
}

// WithheldDecision admits or refuses withheld rows.
type WithheldDecision struct {
	IDs    []string `json:"ids" minItems:"1" maxItems:"100"`
	Reason string   `json:"reason,omitempty" maxLength:"200" doc:"Why they are admitted: it is logged."`
	Ticket string   `json:"ticket,omitempty" maxLength:"64"`
}

// WithheldDecided answers it.
type WithheldDecided struct {
	Rows   int      `json:"rows"`
	Tokens []string `json:"tokens,omitempty" doc:"Of the customers who were admitted."`
}

// Entry is an entry of a brand's log.
type Entry struct {
	Index     uint64            `json:"index"`
	Kind      string            `json:"kind"`
	At        time.Time         `json:"at"`
	Principal uint64            `json:"principal"`
	Name      string            `json:"name,omitempty" doc:"Of the principal."`
	Lineage   uint64            `json:"lineage,omitempty"`
	Role      string            `json:"role,omitempty"`
	Purpose   string            `json:"purpose,omitempty"`
	Ticket    string            `json:"ticket,omitempty"`
	Fields    []string          `json:"fields,omitempty"`
	Level     string            `json:"level,omitempty"`
	Customers int               `json:"customers,omitempty" doc:"How many customers it concerns; in lists of entries."`
	Detail    map[string]string `json:"detail,omitempty"`
	Leaf      []byte            `json:"leaf,omitempty" doc:"The entry as it was hashed; not in lists."`
}

// Entries are a page of a brand's log, the newest first.
type Entries struct {
	Entries []Entry `json:"entries"`
	Before  uint64  `json:"before,omitempty" doc:"Ask for the next page with it; absent on the last."`
}

// EntriesPage is the most entries of a page.
const EntriesPage = 500

// Count is how many customers a brand has, canaries and erased ones left out.
type Count struct {
	Customers int64 `json:"customers"`
}

// Hashes is an inclusion or consistency proof.
type Hashes struct {
	Hashes [][]byte `json:"hashes"`
}

// Checkpoint is the newest signed checkpoint of a log.
type Checkpoint struct {
	Checkpoint  string `json:"checkpoint" doc:"A signed note, C2SP tlog-checkpoint."`
	VerifierKey string `json:"verifier_key"`
	Size        uint64 `json:"size"`
}

// Health says whether the vault can serve.
type Health struct {
	Status string `json:"status" enum:"ok,failing"`
	Detail string `json:"detail,omitempty"`
	Owed   int    `json:"owed_stops,omitempty" doc:"Containments and revocations that the log of a brand could not take yet, on this server: it writes them there before anything else."`
	Late   bool   `json:"late,omitempty" doc:"What follows from the logs is late on this server, alarms among it: GET /v1/followers says by how much."`
}

// Whoami says who the vault takes a caller for.
type Whoami struct {
	Principal  uint64            `json:"principal"`
	Name       string            `json:"name"`
	Kind       string            `json:"kind" enum:"person,service"`
	Local      bool              `json:"local,omitempty" doc:"The local administrator of the vault's machine."`
	Credential uint64            `json:"credential"`
	Lineage    uint64            `json:"lineage"`
	Label      string            `json:"label,omitempty"`
	Expires    time.Time         `json:"expires,omitzero" doc:"Of the credential."`
	Roles      map[string]string `json:"roles" doc:"Role by brand; group holds where no other is given."`
}

// Version says which release answers.
type Version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Schema   int    `json:"schema" doc:"Version of the database's schema."`
}

// Follower says how far what follows from a log is behind it.
type Follower struct {
	Follower string  `json:"follower" doc:"What follows from the log, such as alarms."`
	Brand    string  `json:"brand"`
	Entries  uint64  `json:"entries" doc:"Logged, and not yet followed."`
	Seconds  float64 `json:"seconds" doc:"Since the oldest of them was logged."`
	Starting bool    `json:"starting,omitempty" doc:"This server has just started and reads what its snapshot lacks."`
}

// LogState says whether a brand's log is well, as the server that answers sees it.
type LogState struct {
	Brand      string    `json:"brand"`
	State      string    `json:"state" enum:"ok,changed,shorter,clock,parted,followed,unwritable" doc:"changed: not what was signed. shorter: entries that this server has seen are missing. parted: a new epoch lacks entries that this server has seen. followed: the operator let the server follow that epoch. These stop everything at the brand until the server is restarted."`
	Size       uint64    `json:"size" doc:"Entries that the log has."`
	Seen       uint64    `json:"seen" doc:"Entries that this server has seen in it."`
	Since      time.Time `json:"since,omitzero" doc:"When this server noticed; its own clock."`
	What       string    `json:"what,omitempty" doc:"What is wrong, and what to do."`
	Verified   uint64    `json:"verified,omitempty" doc:"Entries that this server last verified in the background."`
	VerifiedAt time.Time `json:"verified_at,omitzero"`
}

// LogFollowed says that a server follows a new epoch of a log once it is restarted.
type LogFollowed struct {
	Brand string   `json:"brand"`
	Files []string `json:"files" doc:"On the server's machine: the checkpoints that it had seen, as signed notes."`
}

// LossRequest accepts that entries of a log are lost.
type LossRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why nobody can bring the entries back. It stands in the log."`
}

// LossAccepted says that a log continues without entries that are lost.
type LossAccepted struct {
	Brand   string   `json:"brand"`
	Epoch   uint64   `json:"epoch" doc:"Number of the new epoch of the log."`
	Size    uint64   `json:"size" doc:"Entries that the new epoch continues from."`
	Missing uint64   `json:"missing" doc:"Entries that are known to be lost."`
	Files   []string `json:"files" doc:"On the server's machine: the checkpoints that it had seen, as signed notes."`
}

// VerifyRequest asks that a whole log be replayed.
type VerifyRequest struct {
	Older string `json:"older,omitempty" maxLength:"4096" doc:"A checkpoint that you kept."`
}

// Verified says whether a log is what was signed. A fault names entries, and no
// customer.
type Verified struct {
	OK         bool   `json:"ok"`
	Size       uint64 `json:"size"`
	Fault      string `json:"fault,omitempty"`
	Newer      uint64 `json:"newer,omitempty" doc:"Entries that a newer version wrote: their leaves are what was signed."`
	Incomplete bool   `json:"incomplete,omitempty" doc:"Some of those move budgets or rights: nothing was changed, and not everything is understood."`
	Erased     uint64 `json:"erased,omitempty" doc:"Entries whose values are erased."`
}

// ExpireRequest asks to erase the values of log entries: who acted, the exact time, and
// every text that may name somebody.
type ExpireRequest struct {
	Before string `json:"before" maxLength:"10" doc:"A UTC day, such as 2026-01-31: entries of earlier days are erased, except what is still in force. At most 31 days ago."`
	DryRun bool   `json:"dry_run,omitempty" doc:"Only count."`
}

// Expired says what was erased, or would be.
type Expired struct {
	Before  string `json:"before"`
	Entries uint64 `json:"entries" doc:"Entries whose values were erased."`
	Kept    uint64 `json:"kept" doc:"Entries of these days of which something is still in force."`
	Already uint64 `json:"already" doc:"Entries whose values were erased before."`
	Keys    []int  `json:"keys,omitempty" doc:"Months whose keys were destroyed, such as 202601: no backup opens the values of those months with keys from after this."`
}

// Key is a version of a key of a brand, without what it is.
type Key struct {
	Kind    string    `json:"kind"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Current bool      `json:"current" doc:"What is new is made with it."`
}

// Rotation is the replacement of a key by its next version.
type Rotation struct {
	Brand    string    `json:"brand"`
	Kind     string    `json:"kind"`
	Version  int       `json:"version" doc:"The new one."`
	Position int64     `json:"position" doc:"Customers with a lower ordinal have been moved."`
	Bound    int64     `json:"bound" doc:"Customers from this ordinal on never had the old key."`
	Done     int64     `json:"done" doc:"Customers moved."`
	Failed   int64     `json:"failed,omitempty" doc:"Customers that do not open."`
	Stalled  bool      `json:"stalled,omitempty" doc:"Stuck because of them; the old key stays."`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero" doc:"The old key was destroyed."`
}

// RootRotated answers the rotation of the root key.
type RootRotated struct {
	Keys int `json:"keys" doc:"Brand keys rewrapped."`
}

// CheckPlace is where a check of the database stands. The empty one is the beginning.
type CheckPlace struct {
	Phase     int   `json:"phase,omitempty"`
	Ord       int64 `json:"ord,omitempty"`
	Value     int64 `json:"value,omitempty"`
	Begun     bool  `json:"begun,omitempty"`
	Customers int64 `json:"customers,omitempty" doc:"Customers looked at."`
	Segments  int64 `json:"segments,omitempty" doc:"Segments of purchases looked at."`
	Expected  int64 `json:"expected,omitempty" doc:"Index entries that there should be."`
	Faults    int64 `json:"faults,omitempty"`
}

// CheckFault is something wrong in the database: where and what, and no value.
type CheckFault struct {
	Table   string `json:"table"`
	Ordinal uint32 `json:"ordinal,omitempty"`
	What    string `json:"what"`
}

// Checked is what a part of a check found, and where to go on.
type Checked struct {
	Faults []CheckFault `json:"faults"`
	Next   CheckPlace   `json:"next"`
	Last   int64        `json:"last" doc:"The last ordinal there is."`
	Done   bool         `json:"done"`
}

// MendRequest asks the vault to repair what it can repair by itself.
type MendRequest struct {
	DryRun bool `json:"dry_run,omitempty" doc:"Say what is wrong and what would be repaired; change nothing."`
}

// Mended is what was wrong, and what was repaired, or in a dry run would be.
type Mended struct {
	Faults  []CheckFault `json:"faults"`
	Repairs []string     `json:"repairs" doc:"What was changed, or in a dry run would be. A fault without a repair needs a person."`
}

// UnadoptedRow is a row of rights that stands as it was found: it is older than the entries
// that grant such rows, or than the logs of a restored copy.
type UnadoptedRow struct {
	Brand string `json:"brand" doc:"In whose log the row was sealed; group for the group."`
	Row   string `json:"row" doc:"Table and key, after the brand where it is not the group: credentials/12, gucci:purposes/analysis."`
	Says  string `json:"says" doc:"What the row grants or stops, in words."`
}

// Unadopted is a part of the rows of rights that nobody has confirmed.
type Unadopted struct {
	Rows   []UnadoptedRow `json:"rows"`
	Total  int            `json:"total"`
	Digest string         `json:"digest" doc:"Of the whole list: confirming names it."`
}

// AdoptRequest confirms the rows of rights of a list, except some, which it ends.
type AdoptRequest struct {
	Digest string   `json:"digest" maxLength:"64" doc:"Of the list that was read."`
	Void   []string `json:"void,omitempty" maxItems:"1000" doc:"Rows that end, as the list names them."`
	DryRun bool     `json:"dry_run,omitempty" doc:"Say what would be confirmed and ended; change nothing."`
}

// Adopted is what was confirmed and ended, or in a dry run would be.
type Adopted struct {
	Confirmed int            `json:"confirmed"`
	Voided    []UnadoptedRow `json:"voided"`
}

// BackupRequest asks for a backup on the machine of the vault.
type BackupRequest struct {
	Dir         string   `json:"dir" maxLength:"4096" doc:"A directory on the machine of the vault; must not hold anything."`
	Parts       []string `json:"parts,omitempty" maxItems:"4" doc:"data, keys, log; empty: all."`
	Recipients  []string `json:"recipients,omitempty" maxItems:"20" doc:"age recipients of the encrypted keys."`
	WithRootKey bool     `json:"with_root_key,omitempty" doc:"Also the root key, encrypted to the recipients."`
}

// Backup is a backup that runs, or the last one.
type Backup struct {
	State string       `json:"state" enum:"none,running,done,failed"`
	Dir   string       `json:"dir,omitempty"`
	ID    string       `json:"id,omitempty"`
	Made  time.Time    `json:"made,omitzero" doc:"The state that it holds."`
	Entry uint64       `json:"entry" doc:"The entry of the group's log that announces it."`
	Part  string       `json:"part,omitempty" doc:"What it is at, while it runs."`
	Table string       `json:"table,omitempty"`
	Rows  uint64       `json:"rows,omitempty" doc:"Of this table."`
	Total uint64       `json:"total,omitempty" doc:"Rows of the tables before."`
	Bytes int64        `json:"bytes,omitempty" doc:"Of this part's file."`
	Parts []BackupPart `json:"parts,omitempty"`
	Error string       `json:"error,omitempty"`
}

// BackupPart is one file of a backup.
type BackupPart struct {
	Part  string            `json:"part"`
	File  string            `json:"file"`
	Bytes int64             `json:"bytes"`
	Rows  map[string]uint64 `json:"rows"`
}
