package entry

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// The details, by kind. A field is sealed beside the leaf unless it is marked clear;
// clear is what names nobody and what a projection needs when the rest is erased.

// Search is the detail of a KindSearch entry.
type Search struct {
	By    string `log:"by,clear"`    // the field that was searched
	Found string `log:"found,clear"` // "nobody" where nobody was found
	Extra
}

// ExportPart is the detail of a disclosure by which customers leave with an export.
type ExportPart struct {
	Export string `log:"export,clear"`
	Extra
}

// Mailed is the detail of a disclosure by which customers' values leave in mail to them:
// to the carrier of the brand's mail, who is the entry's recipient.
type Mailed struct {
	Job      uint64 `log:"job,clear"`      // the message or campaign
	Template string `log:"template,clear"` // with its version
	// Campaign says that the job is an approved campaign, whose own budget counts it.
	Campaign bool `log:"campaign,clear"`
	// Count says that the values were only counted, for who approves the campaign.
	Count bool `log:"count,clear"`
	// Print says that the values left in a list for letters.
	Print bool `log:"print,clear"`
	Extra
}

// TemplateSet is a version of a template for mail to customers.
type TemplateSet struct {
	Template string `log:"template,clear"`
	Version  int    `log:"version,clear"`
	Purpose  string `log:"purpose,clear"`
	Digest   string `log:"digest,clear"` // SHA-256 of the whole text
	Extra
}

// OptedOut says that a customer wants no mail of a channel, or wants it again.
type OptedOut struct {
	Channel string `log:"channel,clear"`
	Again   bool   `log:"again,clear"`
	Extra
}

// CampaignStep is a step of a campaign, or of a message that somebody stopped.
type CampaignStep struct {
	Job      uint64 `log:"job,clear"`
	Step     string `log:"step,clear"`
	Incident string `log:"incident,clear"`
	Scope    uint64 `log:"scope,clear"` // the entry of the brand's log that counted the people
	Template string `log:"template,clear"`
	People   uint64 `log:"people,clear"`
	Until    string `log:"until,clear"` // of a hold
	Reason   string `log:"reason"`
	Extra
}

// MailSettled says what a person found out of a mail whose fate was in doubt, or that it
// goes out once more.
type MailSettled struct {
	Job     uint64 `log:"job,clear"`
	Version int    `log:"version,clear"`
	As      string `log:"as,clear"`
	Extra
}

// Wrote is what a write does to customers, in figures.
type Wrote struct {
	Unchanged int `log:"unchanged,clear"` // they have what was written already
	New       int `log:"new,clear"`       // customers made
	Changed   int `log:"changed,clear"`   // existing customers whose profile changes
	Mails     int `log:"emails,clear"`    // of them, those whose e-mail address was another
	// Met is how many rows were answered with whether somebody is a customer: each counts
	// in the budget of searches.
	Met int `log:"met,clear"`
	// Tried is how many rows a write had for which there was not room. It paid one search,
	// which Met counts, before it looked for anybody.
	Tried int `log:"tried,clear"`
	// Rehearsed is how many customers a rehearsal looked up: it wrote nothing.
	Rehearsed int `log:"rehearsed,clear"`
	// Withheld is how many rows stayed out because their customer, or somebody with their
	// address, was erased; of them Unkept, which the queue of the request desk had no room for.
	Withheld int `log:"withheld,clear"`
	Unkept   int `log:"unkept,clear"`
	// Returned is how many rows were let in though a tombstone matched, and Relationship why:
	// they are customers again.
	Returned     int    `log:"returned,clear"`
	Relationship string `log:"relationship"`
	// By says under what the write runs, where it is not under its principal's budgets:
	// ByOwner or ByApproval.
	By       string `log:"by,clear"`
	Approval uint64 `log:"approval,clear"` // of ByApproval: its number
	// Who says who of the entry's customers changes, see ChangedOf.
	Who string `log:"who"`
	// Mark says to detection alone how many canaries the write met. It is of one length.
	Mark string `log:"mark"`
}

// Under what a write runs, see Wrote.By.
const (
	ByOwner    = "owner"    // the machine's owner: over the vault's socket, or with the vault open
	ByApproval = "approval" // of two people
)

// Written is the detail of a KindWrite entry.
type Written struct {
	Wrote
	Extra
}

// Imported is the detail of a KindImport entry.
type Imported struct {
	Wrote
	Extra
}

// WroteOf returns what an entry wrote, if its detail says so. Those of older releases do
// not.
func WroteOf(d Detail) (Wrote, bool) {
	switch d := d.(type) {
	case Written:
		return d.Wrote, true
	case Imported:
		return d.Wrote, true
	}
	return Wrote{}, false
}

// allChanged is Wrote.Who where every customer of the entry changes.
const allChanged = "all"

// Who returns what Wrote.Who says of those who change, both lists ascending.
func Who(changed, all []record.Ordinal) string {
	switch {
	case len(changed) == 0:
		return ""
	case len(changed) == len(all):
		return allChanged
	}
	return base64.StdEncoding.EncodeToString(EncodeSubjects(changed))
}

// ChangedOf returns who of an entry's customers changes. Who and figure have to agree.
func (w *Wrote) ChangedOf(all []record.Ordinal) ([]record.Ordinal, error) {
	out := all
	if w.Who != allChanged {
		b, err := base64.StdEncoding.DecodeString(w.Who)
		if err != nil {
			return nil, fmt.Errorf("%w: who changes does not decode", ErrMalformed)
		}
		if out, err = DecodeSubjects(b); err != nil {
			return nil, err
		}
	}
	if len(out) != w.Changed {
		return nil, fmt.Errorf("%w: a number of changed customers that is not theirs", ErrMalformed)
	}
	return out, nil
}

// Refused is the detail of a KindRefusal entry.
type Refused struct {
	Action string `log:"action,clear,always"`
	Reason string `log:"reason,clear,always"`
	Times  int    `log:"times,clear,always"`
	// Budget says whose budget refused, as budget.HolderKind names it. Entries of older
	// releases have none.
	Budget string `log:"budget,clear"`
	Extra
}

// Reasons of refusals of writes that were accepted to wait, and are not written.
const (
	LostApproval = "approval-ended"
	LostForged   = "waiting-write-changed" // in the database
	LostOld      = "waited-too-long"
)

// Lost reports whether the refusal is of a write that was accepted before.
func (r Refused) Lost() bool {
	return r.Reason == LostApproval || r.Reason == LostForged || r.Reason == LostOld
}

// PolicyActivated is the detail of a KindPolicy entry.
type PolicyActivated struct {
	SHA256 string `log:"sha256,clear"`
	Extra
}

// BudgetRules is the detail of a KindBudget entry: the rules, as budget.Rules.Encode
// writes them. They are in force from the next group commit on.
type BudgetRules struct {
	Rules string `log:"rules,clear"`
	Extra
}

// BudgetPart is a part of rules that are too long for one entry, as budget.Cut makes them.
// The rules are in force from the next group commit after the last part on.
type BudgetPart struct {
	SHA256 string `log:"sha256,clear"`
	Part   int    `log:"part,clear"`
	Of     int    `log:"of,clear"`
	Rules  string `log:"rules,clear"`
	Extra
}

// Profile is who a principal is in words for people.
type Profile struct {
	Display string `log:"display"`
	Team    string `log:"team"`
	Place   string `log:"place"`
}

// Details of KindAdministration.
type (
	// BrandCreated: a brand was registered.
	BrandCreated struct {
		Brand string `log:"brand,clear"`
		Extra
	}
	// PrincipalCreated: a principal was registered, with roles by brand.
	PrincipalCreated struct {
		Principal string            `log:"principal"`
		Roles     map[string]string `log:"role.*,clear"`
		Profile
		Extra
	}
	// PrincipalDescribed: it was said who a principal is to customers.
	PrincipalDescribed struct {
		Principal string `log:"principal"`
		Profile
		Extra
	}
	// RoleSet: a principal got a role at a brand, or, with an empty one, lost it.
	RoleSet struct {
		Principal string `log:"principal"`
		Brand     string `log:"brand,clear"`
		Role      string `log:"role,clear,always"`
		Extra
	}
	// CredentialCreated: a principal got a credential.
	CredentialCreated struct {
		Principal string `log:"principal"`
		Extra
	}
	// Invited: somebody may make a key of a principal, or replace one of its keys.
	Invited struct {
		Principal  string `log:"principal"`
		Credential uint64 `log:"credential"`
		By         string `log:"by,clear"` // mail, code or owner
		Profile           // of one who was registered with it
		Extra
	}
	// Redeemed: the invited made their key.
	Redeemed struct {
		Principal  string `log:"principal"`
		Credential uint64 `log:"credential"`
		MadeBy     string `log:"made-by"` // who had them invited
		Extra
	}
	// CredentialConnected: a credential was made through the principal's own.
	CredentialConnected struct {
		Principal string `log:"principal"`
		Extra
	}
	// CredentialRenewed: a credential got another key.
	CredentialRenewed struct {
		Credential uint64 `log:"credential"`
		Extra
	}
	// CredentialRevoked: a lineage was revoked, or one credential of it.
	CredentialRevoked struct {
		Lineage    uint64 `log:"lineage"`
		Credential uint64 `log:"credential"`
		Extra
	}
	// PasskeyCreated: somebody registered a passkey.
	PasskeyCreated struct {
		Principal  string `log:"principal"`
		By         string `log:"by,clear"`       // invitation, recovery or session
		MadeBy     string `log:"made-by"`        // who had them invited
		Credential uint64 `log:"credential"`     // in the place of which
		Recovery   bool   `log:"recovery,clear"` // recovery codes were made with it
		Extra
	}
	// PasskeyCloned: a passkey counted back, as one does of which there is a copy; it was refused.
	PasskeyCloned struct {
		Principal  string `log:"principal"`
		Credential uint64 `log:"credential"`
		Extra
	}
	// SessionBegun: somebody signed in.
	SessionBegun struct {
		Principal string `log:"principal"`
		Method    string `log:"method,clear"` // passkey or subject
		Ends      string `log:"ends,clear"`   // RFC 3339, at the latest
		Extra
	}
	// SteppedUp: somebody who was signed in showed with a passkey that they are there, for an act.
	SteppedUp struct {
		Act        string `log:"act"`
		Credential uint64 `log:"credential"` // the passkey
		Extra
	}
	// RecoveryMade: somebody made recovery codes, in the place of those before.
	RecoveryMade struct {
		Principal string `log:"principal"`
		Extra
	}
	// PurposeCreated: a purpose was registered at the brand.
	PurposeCreated struct {
		Purpose    string `log:"purpose,clear"`
		LegalBasis string `log:"legal-basis,clear"`
		Extra
	}
	// LoyaltyPrefixesSet: the brand declared the ranges of its own numbers, and the fields
	// in which they are no card numbers.
	LoyaltyPrefixesSet struct {
		Prefixes []string `log:"prefix.*,clear"`
		Fields   []string `log:"field.*,clear"`
		Extra
	}
	// BrandCountrySet: the country of the brand's national phone numbers was set.
	BrandCountrySet struct {
		Country string `log:"country,clear"`
		Extra
	}
	// CoolingSet: the time was set for which erased customers' keys lie aside.
	CoolingSet struct {
		Days int `log:"days,clear,always"`
		Were int `log:"were,clear,always"`
		Extra
	}
	// WithheldListed: the request desk looked at rows that were withheld.
	WithheldListed struct {
		Rows int `log:"rows,clear,always"`
		Extra
	}
	// WithheldRefused: the request desk refused rows for good.
	WithheldRefused struct {
		Rows int `log:"rows,clear,always"`
		Extra
	}
	// SettingsChanged: settings of the brand were changed. Older releases had the three kinds
	// of entries above.
	SettingsChanged struct {
		Version int               `log:"version,clear,always"` // the one that is in force now
		Were    map[string]string `log:"were.*,clear"`         // by the setting's name
		Set     map[string]string `log:"set.*,clear"`
		Mail    map[string]string `log:"mail.*"` // addresses, which may name somebody
		// Prefixes and Fields are the brand's own numbers, where they changed.
		Prefixes []string `log:"prefix.*,clear"`
		Fields   []string `log:"field.*,clear"`
		Extra
	}
	// PurposeRetired: a purpose was ended at the brand.
	PurposeRetired struct {
		Purpose string `log:"purpose,clear"`
		Extra
	}
	// ReceiverCreated: alarms are sent to a receiver.
	ReceiverCreated struct {
		Receiver string `log:"receiver"`
		Host     string `log:"host"`
		Grade    string `log:"grade,clear"`
		Extra
	}
	// ReceiverRemoved: alarms are no longer sent to a receiver.
	ReceiverRemoved struct {
		Receiver string `log:"receiver"`
		Extra
	}
	// ReceiverResumed: a receiver is sent what it was not sent.
	ReceiverResumed struct {
		Receiver string `log:"receiver"`
		Extra
	}
	// ReceiverTested: a receiver is sent a message that is marked as a test.
	ReceiverTested struct {
		Receiver string `log:"receiver"`
		Extra
	}
	// ReceiverConfirmed: somebody read the last test of a receiver.
	ReceiverConfirmed struct {
		Receiver string `log:"receiver"`
		Extra
	}
	// ReceiverSilent: nobody said in time that they read the test of a receiver.
	ReceiverSilent struct {
		Receiver string `log:"receiver"`
		Days     int    `log:"days,clear,always"` // since the test
		Extra
	}
	// Checked: something was checked, and nothing was changed.
	Checked struct {
		Check string `log:"check,clear"`
		Extra
	}
	// ValuesErased: the values of entries of days before one were erased from this log.
	ValuesErased struct {
		Before string `log:"before,clear"` // a UTC day
		Extra
	}
	// BackedUp: a backup was begun.
	BackedUp struct {
		Parts      string   `log:"parts,clear,always"`
		RootKey    bool     `log:"root-key,clear"`
		Recipients []string `log:"recipient.*"` // public keys that it is encrypted to
		Extra
	}
	// Mended: a table that had been left wrong was put right.
	Mended struct {
		Table string `log:"table,clear"`
		From  int64  `log:"from,clear"`
		To    int64  `log:"to,clear"`
		Extra
	}
	// RowsSealed: rows of rights stay in force as they were found: those from before
	// entries had digests of rows.
	RowsSealed struct {
		Rows int  `log:"rows,clear,always"` // of this entry
		More bool `log:"more,clear"`        // another such entry follows
		Extra
	}
	// RowsAdopted: the rows that were sealed as they were found are confirmed, except
	// those that this entry ends.
	RowsAdopted struct {
		Rows int `log:"rows,clear,always"` // confirmed
		Void int `log:"void,clear"`        // ended
		Extra
	}
	// RowsMended: rows of rights that were not what the log says were made again as it says,
	// were removed, because no entry wrote them, or ended, because they cannot be made again.
	RowsMended struct {
		Rebuilt []string `log:"rebuilt.*"`
		Removed []string `log:"removed.*"`
		Ended   []string `log:"ended.*"`
		Extra
	}
	// RowsContinued: more rows that the act of an entry changed.
	RowsContinued struct {
		Of uint64 `log:"of,clear,always"`
		Extra
	}
	// Restored: the vault was restored from these backups.
	Restored struct {
		Data string `log:"data,clear"`
		Keys string `log:"keys,clear"`
		Log  string `log:"log,clear"`
		Extra
	}
)

// The proofs by which a passkey is registered.
const (
	ByInvitation = "invitation"
	ByRecovery   = "recovery"
	BySession    = "session"
)

// ChangeFacts is what every step of an act that two people make says.
type ChangeFacts struct {
	Change string `log:"id,clear"`
	Act    string `log:"act,clear"`
}

// Details of KindAdministration about acts that need a second person.
type (
	// ChangeAsked: somebody asked for an act that needs a second person.
	ChangeAsked struct {
		ChangeFacts
		Digest string `log:"digest,clear"` // of what is asked for, as it is sealed
		Extra
	}
	// ChangeAlone: an act that needs a second person is made by one.
	ChangeAlone struct {
		ChangeFacts
		Digest string `log:"digest,clear"`
		Extra
	}
	// ChangeApproved: a second person approved an act.
	ChangeApproved struct {
		ChangeFacts
		Extra
	}
	// ChangeRefused: a second person refused an act.
	ChangeRefused struct {
		ChangeFacts
		Extra
	}
	// ChangeWithdrawn: the requester withdrew a request.
	ChangeWithdrawn struct {
		ChangeFacts
		Extra
	}
	// ChangeDone: an act took effect.
	ChangeDone struct {
		ChangeFacts
		Mark string `log:"mark,clear"` // alone, break-glass, unsent, no-receiver
		Extra
	}
	// ChangeGlass: the requester breaks glass: the act takes effect by one hand, later.
	ChangeGlass struct {
		ChangeFacts
		Due    string `log:"due,clear"` // when it may take effect, RFC 3339
		Reason string `log:"reason"`
		Extra
	}
	// ChangeAcknowledged: another person acknowledged that glass was broken.
	ChangeAcknowledged struct {
		ChangeFacts
		Extra
	}
	// WritesApproved: two people approved the writes of a service.
	WritesApproved struct {
		Approval uint64 `log:"approval,clear"` // of a file: its number
		Kind     string `log:"approved,clear"` // file or standing
		Service  uint64 `log:"service"`
		Most     uint32 `log:"most,clear"` // existing customers that may change: in all, or on a day
		Mapping  string `log:"mapping,clear"`
		Files    string `log:"files,clear"`
		Ends     string `log:"ends,clear"` // of a standing approval
		Extra
	}
	// WritesEnded: an approval of writes was ended.
	WritesEnded struct {
		Approval uint64 `log:"approval,clear"`
		Extra
	}
	// ChangeNoticed: an act that another log records concerns this brand.
	ChangeNoticed struct {
		ChangeFacts
		Step  string `log:"step,clear"`  // asked, alone, break-glass or done
		Entry uint64 `log:"entry,clear"` // of the log that records the act
		Log   string `log:"log,clear"`   // the brand of that log
		Extra
	}
	// TwoPeople: two people who may be second exist, so that nobody acts alone any more.
	TwoPeople struct {
		Brand string `log:"brand,clear"`
		Extra
	}
)

// Details of KindRotation.
type (
	// RotationBegun: the rotation of a kind of key was begun.
	RotationBegun struct {
		Key string `log:"key,clear"`
		Extra
	}
	// OpenedToIndex: customers are opened to make their index values again.
	OpenedToIndex struct {
		Key     string `log:"key,clear"`
		Version int    `log:"version,clear"`
		Extra
	}
	// OldDestroyed: the versions of a key before this one are destroyed.
	OldDestroyed struct {
		Key     string `log:"key,clear"`
		Version int    `log:"version,clear"`
		Extra
	}
)

// Details of KindDetection.
type (
	// DetectionRules: these rules are in force from the next entry on.
	DetectionRules struct {
		Rules string `log:"rules,clear"`
		Extra
	}
	// AlarmRaised: somebody raised an alarm by hand. Where it came from is one of a few words,
	// so that no name gets into the log.
	AlarmRaised struct {
		Severity string `log:"severity,clear"`
		Source   string `log:"source,clear"`
		Suspect  uint64 `log:"suspect"` // the principal that it is about; 0: not known
		Extra
	}
	// AlarmAcknowledged: somebody looks at an alarm.
	AlarmAcknowledged struct {
		Alarm string `log:"alarm,clear"`
		Extra
	}
	// AlarmClosed: an alarm was closed.
	AlarmClosed struct {
		Alarm  string `log:"alarm,clear"`
		Reason string `log:"reason,clear"`
		Extra
	}
)

// ExportFacts is what every step of an export says.
type ExportFacts struct {
	Export    string `log:"export,clear"`
	Customers int    `log:"customers,clear,always"`
	Cohort    string `log:"cohort,clear"` // digest of the sealed list
}

// Details of KindExport.
type (
	// ExportRequested: a file was asked for.
	ExportRequested struct {
		ExportFacts
		Form      string `log:"form,clear"`
		Format    string `log:"format,clear"`
		Recipient string `log:"recipient"`
		Extra
	}
	// ExportGathered: customers were held against the filter of an export.
	ExportGathered struct {
		Export string `log:"export,clear"`
		Extra
	}
	// ExportFrozen: the list of an export's customers is complete.
	ExportFrozen struct {
		ExportFacts
		Extra
	}
	// ExportApproved: a second person approved an export.
	ExportApproved struct {
		ExportFacts
		Extra
	}
	// ExportRefused: a second person, or the vault, refused an export.
	ExportRefused struct {
		ExportFacts
		Extra
	}
	// ExportDownloaded: the first part of an export was fetched.
	ExportDownloaded struct {
		ExportFacts
		Extra
	}
	// ExportLinked: a key was made that fetches one export.
	ExportLinked struct {
		ExportFacts
		Extra
	}
	// ExportExpired: somebody came after the end of an export.
	ExportExpired struct {
		ExportFacts
		Extra
	}
	// ExportStopped: an export was ended by a person.
	ExportStopped struct {
		ExportFacts
		Extra
	}
)

// Details of KindContainment.
type (
	// ContainmentBegun: somebody or something is about to be stopped.
	ContainmentBegun struct {
		Kind   string `log:"kind,clear"`
		Target uint64 `log:"target"`
		Role   string `log:"role,clear"`
		Keep   string `log:"keep,clear"`
		Alarm  string `log:"alarm,clear"`
		By     string `log:"by,clear"` // "rule" where no person did it
		Until  string `log:"until,clear"`
		Extra
	}
	// Contained: a containment is in force on every server.
	Contained struct {
		ID    int64         `log:"id,clear"`
		Took  time.Duration `log:"took-ms,clear,always"`
		Since time.Duration `log:"since-alarm-ms,clear"` // the alarm that it answers
		Until string        `log:"until,clear"`
		Extra
	}
	// NotContained: a rule asked for a containment, and was refused.
	NotContained struct {
		Kind   string `log:"kind,clear"`
		Target uint64 `log:"target"`
		Alarm  string `log:"alarm,clear"`
		By     string `log:"by,clear"`
		Reason string `log:"reason,clear"`
		Extra
	}
	// Stopped: from here on this log takes no entry of a target. The target is a kind, a
	// code that names nobody, and a role, joined by dots.
	Stopped struct {
		What  string `log:"what,clear,always"`
		Cause string `log:"cause,clear,always"`
		Keep  string `log:"keep,clear"`
		Until string `log:"until,clear"` // at this time it ends by itself
		Extra
	}
	// Resumed: a stop for one cause, and until one time, has ended.
	Resumed struct {
		What  string `log:"what,clear,always"`
		Cause string `log:"cause,clear,always"`
		Until string `log:"until,clear"`
		Extra
	}
	// UndoAsked: a first person asked to undo a containment.
	UndoAsked struct {
		ID int64 `log:"id,clear"`
		Extra
	}
	// ContainmentUndone: a containment was undone.
	ContainmentUndone struct {
		ID    int64 `log:"id,clear"`
		Alone bool  `log:"alone,clear"` // by the person who made it
		Extra
	}
)

// CanaryCount is how many canaries a step concerns.
type CanaryCount struct {
	Count int `log:"count,clear,always"`
}

// Details of KindCanary.
type (
	// CanariesOrdered: canaries go in with the next imports.
	CanariesOrdered struct {
		CanaryCount
		Extra
	}
	// CanariesPlaced: canaries were made at once.
	CanariesPlaced struct {
		CanaryCount
		Extra
	}
	// CanariesListed: somebody was told which customers are canaries.
	CanariesListed struct {
		CanaryCount
		Extra
	}
	// CanariesRetired: canaries were erased.
	CanariesRetired struct {
		CanaryCount
		Extra
	}
	// CanaryMailListed: somebody was told what mail came to canaries.
	CanaryMailListed struct {
		CanaryCount
		Extra
	}
	// CanaryMail: mail came to a canary.
	CanaryMail struct {
		Times   int    `log:"times,clear"`
		Export  string `log:"export,clear"` // the one that the canary was put into, if it was
		Network string `log:"network"`      // the approximate address of the last sender
		Sender  string `log:"sender"`       // the domain of its envelope's sender
		Canary  string `log:"decoy"`        // sealed ordinal
		Key     int    `log:"key,clear"`    // version of the key that seals it
		Message string `log:"message"`      // hash of the Message-ID
		Extra
	}
)

// Outcome is the detail of a KindOutcome entry.
type Outcome struct {
	Of     uint64 `log:"of,clear,always"` // the entry that announced the act
	Result string `log:"result,clear"`    // done, failed or refused
	Reason string `log:"reason,clear"`    // a stable word
	Extra
}

// Who asked for an erasure, or took one back.
const (
	ByCustomer = "customer" // proven to be the customer
	ByStaff    = "staff"
)

// The details of erasures.
type (
	// ErasureBegun is the detail of a KindErasureBegun entry.
	ErasureBegun struct {
		Due string `log:"due,clear,always"` // the UTC day with which the key is destroyed
		By  string `log:"by,clear,always"`
		Extra
	}
	// ErasureUndone is the detail of a KindErasureUndone entry.
	ErasureUndone struct {
		By string `log:"by,clear,always"`
		Extra
	}
	// ErasureCooled is the detail of a KindErasure entry of a customer whose key lay aside.
	ErasureCooled struct {
		Begun uint64 `log:"begun,clear,always"` // the entry that began it
		Extra
	}
)

// Details of KindHold.
type (
	// HoldPlaced: the keys of the entry's customers are not destroyed until the hold is
	// released. A hold of many customers has several entries.
	HoldPlaced struct {
		Hold   string `log:"hold,clear,always"`
		Review string `log:"review,clear,always"` // the UTC day by which somebody looks at it again
		Named  int    `log:"named,clear"`         // how many customers the request named
		From   string `log:"from,clear"`          // of a hold on who stands in the log of a period
		To     string `log:"to,clear"`
		Ground string `log:"ground"`
		Extra
	}
	// HoldReleased: a hold is over.
	HoldReleased struct {
		Hold   string `log:"hold,clear,always"`
		Reason string `log:"reason"`
		Extra
	}
)

// IncidentScope is the detail of the entry that comes before the figures of a scope leave:
// who was asked about, up to which size of the log, and what the answer was.
type IncidentScope struct {
	Filter      string `log:"filter"` // as JSON
	Size        uint64 `log:"size"`
	Entries     uint64 `log:"entries"`
	Disclosures uint64 `log:"disclosures"`
	Records     uint64 `log:"records"`
	Digest      string `log:"digest"` // of the set of customers, in hexadecimal
	Extra
}

// The details of KindIncident entries by which an incident's story is told. The n-th
// IncidentOpened of a log is its incident n.
type (
	// IncidentOpened opens an incident.
	IncidentOpened struct {
		Title  string   `log:"title,always"`
		Source string   `log:"source,clear"` // alarm, report or hand
		Alarm  string   `log:"alarm"`
		Lead   string   `log:"lead"` // number of the principal
		Brands []string `log:"brand.*"`
		Rules  string   `log:"rules"` // version of the rules of duties that it keeps
		Book   string   `log:"book"`  // these rules, packed
		Extra
	}
	// IncidentRules takes other rules of duties for an incident than those that it kept.
	IncidentRules struct {
		Incident uint64 `log:"incident,clear,always"`
		Rules    string `log:"rules"`
		Book     string `log:"book"`
		Reason   string `log:"reason"`
		Extra
	}
	// IncidentScored is a version of an incident's severity, as a person signed it.
	IncidentScored struct {
		Incident uint64 `log:"incident,clear,always"`
		Brand    string `log:"brand"` // the controller whose part it scores
		Score    string `log:"score"`
		Band     string `log:"band"`
		Values   string `log:"values"` // all of it, as JSON
		Reason   string `log:"reason"`
		Extra
	}
	// IncidentFact is what somebody said that happened, or a correction of it.
	IncidentFact struct {
		Incident uint64 `log:"incident,clear,always"`
		Name     string `log:"name,always"`
		When     string `log:"when"` // RFC 3339
		Said     string `log:"said"` // who said so, in words
		Text     string `log:"text"`
		Brand    string `log:"brand"`
		Corrects uint64 `log:"corrects"` // the entry of the fact that it takes the place of
		// Of a notice that was filed: the rule that asked for it, the recipient's reference,
		// and the SHA-256 of what the recipient answered.
		Rule      string `log:"rule"`
		Reference string `log:"reference"`
		Receipt   string `log:"receipt"`
		// Notice is the entry of the version of the notice that was sent, and Digest is that
		// version's; neither where it was sent without a draft of the vault.
		Notice uint64 `log:"notice"`
		Digest string `log:"digest"`
		Extra
	}
	// IncidentNotice is a version of a notice's draft.
	IncidentNotice struct {
		Incident uint64 `log:"incident,clear,always"`
		Brand    string `log:"brand"` // the controller
		Form     string `log:"form"`
		Rule     string `log:"rule"`
		Language string `log:"language"`
		Phase    string `log:"phase"`
		Digest   string `log:"digest"` // SHA-256 of what it says, in hexadecimal
		Values   string `log:"values"` // all of it, as JSON
		Extra
	}
	// IncidentNoticeReviewed is a person's review of a version of a notice.
	IncidentNoticeReviewed struct {
		Incident uint64 `log:"incident,clear,always"`
		Notice   uint64 `log:"notice,clear,always"`
		Digest   string `log:"digest"` // of the version that was read
		Language string `log:"language"`
		Reviewer string `log:"reviewer"`
		Extra
	}
	// NoticeText is a brand's own text of letters to customers in a language.
	NoticeText struct {
		Language string `log:"language"`
		Digest   string `log:"digest"`
		Text     string `log:"text"`
		Extra
	}
	// NoticeTextReviewed is a person's review of the text of a language.
	NoticeTextReviewed struct {
		Language string `log:"language"`
		Digest   string `log:"digest"`
		Reviewer string `log:"reviewer"`
		Extra
	}
	// IncidentScoped is a version of an incident's scope.
	IncidentScoped struct {
		Incident uint64            `log:"incident,clear,always"`
		Version  uint64            `log:"version,clear,always"`
		Filter   string            `log:"filter"` // as JSON
		Parts    map[string]string `log:"part.*"` // by brand, as JSON
		Extra
	}
	// ScopeApproved says that two people approved a version of an incident's scope: the vault
	// may open what it takes to count the customers of it, and nobody else's.
	ScopeApproved struct {
		Incident uint64 `log:"incident,clear,always"`
		Version  uint64 `log:"version,clear,always"`
		Scope    uint64 `log:"scope,clear,always"` // the entry of the version
		Second   string `log:"second"`             // number of the person who approved it; empty in the alone phase
		Extra
	}
	// ScopeBroken is the breakdown of a version of an incident's scope at one brand.
	ScopeBroken struct {
		Incident uint64 `log:"incident,clear,always"`
		Version  uint64 `log:"version,clear,always"`
		Scope    uint64 `log:"scope,clear,always"`
		Brand    string `log:"brand"`
		Values   string `log:"values"` // the figures, as JSON
		Extra
	}
	// IncidentClosed closes an incident: what came before it is its frozen report.
	IncidentClosed struct {
		Incident uint64 `log:"incident,clear,always"`
		Summary  string `log:"summary"`
		Extra
	}
	// EvidenceBegun says that an incident's evidence is put into a file. It is logged before
	// anything of it leaves, and its place in the log is the evidence's number.
	EvidenceBegun struct {
		Incident  uint64 `log:"incident,clear,always"`
		Recipient string `log:"recipient"`      // age recipient of the customers' data; empty without
		Fields    string `log:"fields"`         // of the customers' data
		Cosigned  bool   `log:"cosigned,clear"` // it demands a fresh cosignature of every witness
		Extra
	}
	// EvidenceMade says that a file of evidence was written to its end.
	EvidenceMade struct {
		Incident uint64 `log:"incident,clear,always"`
		Evidence uint64 `log:"evidence,clear,always"` // the entry that began it
		Digest   string `log:"digest,clear"`          // SHA-256 of its manifest, in hexadecimal
		Extra
	}
	// EvidenceHanded says who received a file of evidence.
	EvidenceHanded struct {
		Incident uint64 `log:"incident,clear,always"`
		Evidence uint64 `log:"evidence,clear,always"`
		Digest   string `log:"digest,clear"`
		To       string `log:"to"`
		Extra
	}
)

// ScopeOpened is the detail of a disclosure by which the vault opens customers of an approved
// version of a scope to count them. Nobody is shown a value of theirs.
type ScopeOpened struct {
	Incident uint64 `log:"incident,clear,always"`
	Owner    string `log:"owner,clear,always"`   // the brand in whose log the incident is
	Figures  uint64 `log:"figures,clear,always"` // the entry of this log that has the figures of the version
	What     string `log:"what,clear"`           // what is counted: breakdown
	From     uint64 `log:"from,clear"`           // how many customers of the version came before these
	Counts   string `log:"counts"`               // what they came to, as JSON
	Extra
}

// ApprovalOf returns the approval whose budget a disclosure uses; 0: none.
func ApprovalOf(d Detail) uint64 {
	switch d := d.(type) {
	case ScopeOpened:
		return d.Figures
	case Mailed:
		if d.Campaign {
			return d.Job
		}
	}
	return 0
}

// The details of KindClaim entries.
type (
	// ClaimBegun comes before the first row of a sample is looked up. It counts every row.
	ClaimBegun struct {
		Incident uint64 `log:"incident,clear"` // of the same log; 0: none
		Rows     int    `log:"rows,clear,always"`
		Exact    bool   `log:"exact,clear"` // figures leave as they are: two people approved it
		Digest   string `log:"digest"`      // SHA-256 of the sample, in hexadecimal
		Change   string `log:"change-id"`   // the request that a second person approved
		Extra
	}
	// ClaimJudged is the answer, as it left. The sample is not in it, and names nobody.
	ClaimJudged struct {
		Incident uint64 `log:"incident,clear"`
		Claim    uint64 `log:"claim,clear,always"` // the entry that began it
		Verdict  string `log:"verdict,clear"`
		Report   string `log:"report"` // as JSON
		Extra
	}
)

func init() {
	register(KindClaim, "begin", ClaimBegun{})
	register(KindClaim, "judge", ClaimJudged{})
	register(KindIncident, "scope", IncidentScope{})
	register(KindIncident, "open", IncidentOpened{})
	register(KindIncident, "fact", IncidentFact{})
	register(KindIncident, "version", IncidentScoped{})
	register(KindIncident, "close", IncidentClosed{})
	register(KindIncident, "approve", ScopeApproved{})
	register(KindIncident, "breakdown", ScopeBroken{})
	register(KindIncident, "evidence", EvidenceBegun{})
	register(KindIncident, "evidence-made", EvidenceMade{})
	register(KindIncident, "evidence-handed", EvidenceHanded{})
	register(KindIncident, "rules", IncidentRules{})
	register(KindIncident, "severity", IncidentScored{})
	register(KindIncident, "notice", IncidentNotice{})
	register(KindIncident, "notice-reviewed", IncidentNoticeReviewed{})
	register(KindIncident, "notice-text", NoticeText{})
	register(KindIncident, "notice-text-reviewed", NoticeTextReviewed{})
	register(KindHold, "place", HoldPlaced{})
	register(KindHold, "release", HoldReleased{})
	register(KindErasureBegun, "", ErasureBegun{})
	register(KindErasureUndone, "", ErasureUndone{})
	register(KindErasure, "", ErasureCooled{})
	register(KindEpoch, "", EpochBegun{})
	register(KindOutcome, "", Outcome{})
	register(KindSearch, "", Search{})
	register(KindDisclosure, "", ExportPart{})
	register(KindDisclosure, "scope", ScopeOpened{})
	register(KindWrite, "", Written{})
	register(KindImport, "", Imported{})
	register(KindRefusal, "", Refused{})
	register(KindPolicy, "", PolicyActivated{})
	register(KindBudget, "", BudgetRules{})
	register(KindBudget, "part", BudgetPart{})

	register(KindDisclosure, "mail", Mailed{})
	register(KindAdministration, "template-set", TemplateSet{})
	register(KindAdministration, "opt-out", OptedOut{})
	register(KindAdministration, "campaign", CampaignStep{})
	register(KindAdministration, "mail-settled", MailSettled{})
	register(KindAdministration, "brand-create", BrandCreated{})
	register(KindAdministration, "principal-create", PrincipalCreated{})
	register(KindAdministration, "principal-describe", PrincipalDescribed{})
	register(KindAdministration, "role", RoleSet{})
	register(KindAdministration, "credential-create", CredentialCreated{})
	register(KindAdministration, "invite", Invited{})
	register(KindAdministration, "redeem", Redeemed{})
	register(KindAdministration, "credential-connect", CredentialConnected{})
	register(KindAdministration, "credential-renew", CredentialRenewed{})
	register(KindAdministration, "credential-revoke", CredentialRevoked{})
	register(KindAdministration, "passkey-create", PasskeyCreated{})
	register(KindAdministration, "passkey-clone", PasskeyCloned{})
	register(KindAdministration, "session-begin", SessionBegun{})
	register(KindAdministration, "step-up", SteppedUp{})
	register(KindAdministration, "recovery-make", RecoveryMade{})
	register(KindAdministration, "purpose-create", PurposeCreated{})
	register(KindAdministration, "purpose-retire", PurposeRetired{})
	register(KindAdministration, "loyalty-prefixes", LoyaltyPrefixesSet{})
	register(KindAdministration, "brand-country", BrandCountrySet{})
	register(KindAdministration, "erasure-cooling", CoolingSet{})
	register(KindAdministration, "withheld-list", WithheldListed{})
	register(KindAdministration, "withheld-refuse", WithheldRefused{})
	register(KindAdministration, "settings", SettingsChanged{})
	register(KindAdministration, "receiver-create", ReceiverCreated{})
	register(KindAdministration, "receiver-remove", ReceiverRemoved{})
	register(KindAdministration, "receiver-resume", ReceiverResumed{})
	register(KindAdministration, "receiver-test", ReceiverTested{})
	register(KindAdministration, "receiver-confirm", ReceiverConfirmed{})
	register(KindAdministration, "receiver-silent", ReceiverSilent{})
	register(KindAdministration, "none", Checked{})
	register(KindAdministration, "backup", BackedUp{})
	register(KindAdministration, "mend", Mended{})
	register(KindAdministration, "values-erase", ValuesErased{})
	register(KindAdministration, "restore", Restored{})
	register(KindAdministration, "change-ask", ChangeAsked{})
	register(KindAdministration, "change-alone", ChangeAlone{})
	register(KindAdministration, "change-approve", ChangeApproved{})
	register(KindAdministration, "change-refuse", ChangeRefused{})
	register(KindAdministration, "change-withdraw", ChangeWithdrawn{})
	register(KindAdministration, "change-glass", ChangeGlass{})
	register(KindAdministration, "change-acknowledge", ChangeAcknowledged{})
	register(KindAdministration, "change-done", ChangeDone{})
	register(KindAdministration, "change-notice", ChangeNoticed{})
	register(KindAdministration, "writes-approve", WritesApproved{})
	register(KindAdministration, "writes-end", WritesEnded{})
	register(KindAdministration, "two-people", TwoPeople{})
	register(KindAdministration, "rows-seal", RowsSealed{})
	register(KindAdministration, "rows-adopt", RowsAdopted{})
	register(KindAdministration, "rows-more", RowsContinued{})
	register(KindAdministration, "rows-mend", RowsMended{})

	register(KindRotation, "begin", RotationBegun{})
	register(KindRotation, "open-to-index", OpenedToIndex{})
	register(KindRotation, "destroy-old", OldDestroyed{})

	register(KindDetection, "rules", DetectionRules{})
	register(KindDetection, "alarm-raise", AlarmRaised{})
	register(KindDetection, "alarm-ack", AlarmAcknowledged{})
	register(KindDetection, "alarm-close", AlarmClosed{})

	register(KindExport, "request", ExportRequested{})
	register(KindExport, "gather", ExportGathered{})
	register(KindExport, "cohort", ExportFrozen{})
	register(KindExport, "approve", ExportApproved{})
	register(KindExport, "refuse", ExportRefused{})
	register(KindExport, "download", ExportDownloaded{})
	register(KindExport, "link", ExportLinked{})
	register(KindExport, "expire", ExportExpired{})
	register(KindExport, "stop", ExportStopped{})

	register(KindContainment, "contain", ContainmentBegun{})
	register(KindContainment, "contained", Contained{})
	register(KindContainment, "stop", Stopped{})
	register(KindContainment, "resume", Resumed{})
	register(KindContainment, "not-contained", NotContained{})
	register(KindContainment, "undo-ask", UndoAsked{})
	register(KindContainment, "undo", ContainmentUndone{})

	register(KindCanary, "order", CanariesOrdered{})
	register(KindCanary, "place", CanariesPlaced{})
	register(KindCanary, "list", CanariesListed{})
	register(KindCanary, "retire", CanariesRetired{})
	register(KindCanary, "list-mail", CanaryMailListed{})
	register(KindCanary, "mail", CanaryMail{})
}
