package entry

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// BudgetWindow is the longest trailing window of a budget, and a day on top, so that
// no bucket of an entry whose values are erased is part of a window any more. A test of
// package ledger holds it against the windows that there are.
const BudgetWindow = 31 * 24 * time.Hour

// Retention says when the values of a kind's entries may be erased: for At least after
// the end of the entry's UTC day, and not before what the entry granted has ended. An
// operator may keep them for longer.
type Retention struct {
	Least time.Duration
	// Until says what has to have ended; empty where an entry of the kind grants nothing.
	Until string
}

// retention is the one table of how long values are kept at least. docs/log-format.md
// has it in words.
var retention = [...]Retention{
	KindDisclosure:     {BudgetWindow, ""}, // its last budget window has passed
	KindSearch:         {BudgetWindow, ""},
	KindWrite:          {BudgetWindow, ""},
	KindImport:         {BudgetWindow, ""},
	KindErasure:        {BudgetWindow, ""},
	KindRefusal:        {BudgetWindow, ""},
	KindAudit:          {BudgetWindow, ""},
	KindAdministration: {BudgetWindow, "the principal has no role left, the role is set again, the key is renewed or revoked, the purpose retired, the receiver removed, another version of the template set, five years have passed since the last step of the campaign"},
	KindPolicy:         {BudgetWindow, "another policy is activated"},
	KindBudget:         {BudgetWindow, "other budgets are activated"},
	KindRotation:       {BudgetWindow, "the old versions of the key are destroyed"},
	KindDetection:      {BudgetWindow, "other rules are activated, the alarm is closed"},
	KindExport:         {BudgetWindow, "the export is refused, expired or stopped, or a year has passed since its last step"},
	KindContainment:    {BudgetWindow, "the containment is undone, and for its first entry every other, too"},
	KindCanary:         {BudgetWindow, ""},
	KindOutcome:        {BudgetWindow, ""},
	KindErasureBegun:   {BudgetWindow, ""}, // its due day is in clear
	KindErasureUndone:  {BudgetWindow, ""},
	KindIncident:       {BudgetWindow, "five years have passed since the incident's last step; the text of a language, or its review, is replaced"},
	KindEpoch:          {BudgetWindow, "never: who confirmed a loss stays known"},
	KindHold:           {BudgetWindow, "the hold is released"},
	KindClaim:          {BudgetWindow, "five years have passed since the incident's last step"},
}

// incidentEnds is for how long after its last step the register needs what an incident's
// entries say: see Art. 33(5) GDPR.
const incidentEnds = 5 * 365 * 24 * time.Hour

// exportEnds is after how long without a step an export grants nothing any more: its
// end is in the database, and no export is valid for longer.
const exportEnds = 365 * 24 * time.Hour

// RetentionOf returns the retention of a kind. Of a kind that this release does not
// know nothing is ever erased.
func RetentionOf(k Kind) (Retention, bool) {
	if !k.Known() {
		return Retention{}, false
	}
	return retention[k], true
}

// Grants follows through a log which entries are still in force: those whose values
// have to stay. Entries are to be shown in the order of the log.
type Grants struct {
	open      map[string]grant
	incidents uint64 // opened so far
}

type grant struct {
	entries []uint64
	last    time.Time
	within  time.Duration // it ends by itself so long after its last step; 0: never
}

// Note takes the next entry.
func (g *Grants) Note(index uint64, e *Entry) {
	if g.open == nil {
		g.open = map[string]grant{}
	}
	id := func(n int64) string { return strconv.FormatInt(n, 10) }
	switch d := e.Detail.(type) {
	case EpochBegun:
		g.add("epochs", index, e.At, 0)
	case PolicyActivated:
		g.replace("policy", index)
	case BudgetRules:
		g.replace("budget", index)
	case DetectionRules:
		g.replace("rules", index)
	case BrandCreated:
		g.replace("brand "+d.Brand, index)
	case PrincipalCreated:
		g.replace("principal "+d.Principal, index)
		for brand := range d.Roles {
			g.replace("role "+d.Principal+" "+brand, index)
		}
	case RoleSet:
		g.replace("role "+d.Principal+" "+d.Brand, index)
		if d.Role == "" {
			g.roleless(d.Principal, d.Brand)
		}
	case CredentialCreated:
		g.add("credentials "+d.Principal, index, e.At, 0)
	case CredentialConnected:
		g.add("credentials "+d.Principal, index, e.At, 0)
	case CredentialRenewed:
		g.replace("key "+strconv.FormatUint(d.Credential, 10), index)
	case CredentialRevoked:
		delete(g.open, "key "+strconv.FormatUint(max(d.Credential, d.Lineage), 10))
	case PurposeCreated:
		g.replace("purpose "+d.Purpose, index)
	case PurposeRetired:
		delete(g.open, "purpose "+d.Purpose)
	case ReceiverCreated:
		g.replace("receiver "+d.Receiver, index)
	case ReceiverRemoved:
		delete(g.open, "receiver "+d.Receiver)
	case RotationBegun:
		g.replace("rotation "+d.Key, index)
	case OldDestroyed:
		delete(g.open, "rotation "+d.Key)
	case AlarmAcknowledged:
		g.replace("alarm "+d.Alarm, index)
	case AlarmClosed:
		delete(g.open, "alarm "+d.Alarm)
	case ContainmentBegun:
		if end := MomentTime(d.Until); end.After(e.At) { // it ends by itself
			g.add("contain until "+d.Until, index, e.At, end.Sub(e.At))
			return
		}
		g.add("contain", index, e.At, 0)
	case Contained:
		if end := MomentTime(d.Until); end.After(e.At) {
			g.add("contained until "+id(d.ID), index, e.At, end.Sub(e.At))
			return
		}
		g.add("containment "+id(d.ID), index, e.At, 0)
	case ContainmentUndone:
		delete(g.open, "contained until "+id(d.ID))
		delete(g.open, "containment "+id(d.ID))
		if !g.any("containment ") { // an entry of one that begins does not say its number
			delete(g.open, "contain")
		}
	case IncidentOpened:
		g.incidents++
		g.incident(g.incidents, index, e.At)
	case IncidentFact:
		g.incident(d.Incident, index, e.At)
	case IncidentScoped:
		g.incident(d.Incident, index, e.At)
	case ScopeApproved:
		g.incident(d.Incident, index, e.At)
	case ScopeBroken:
		g.incident(d.Incident, index, e.At)
	case IncidentRules:
		g.incident(d.Incident, index, e.At)
	case IncidentScored:
		g.incident(d.Incident, index, e.At)
	case IncidentNotice:
		g.incident(d.Incident, index, e.At)
	case IncidentNoticeReviewed:
		g.incident(d.Incident, index, e.At)
	case NoticeText:
		g.replace("notice text "+d.Language, index)
	case NoticeTextReviewed:
		g.replace("notice text review "+d.Language, index)
	case IncidentClosed:
		g.incident(d.Incident, index, e.At)
	case EvidenceBegun:
		g.incident(d.Incident, index, e.At)
	case EvidenceMade:
		g.incident(d.Incident, index, e.At)
	case EvidenceHanded:
		g.incident(d.Incident, index, e.At)
	case TemplateSet:
		g.replace("template "+d.Template, index)
	case CampaignStep:
		g.add("campaign "+strconv.FormatUint(d.Job, 10), index, e.At, incidentEnds)
	case ClaimBegun:
		g.claim(d.Incident, index, e.At)
	case ClaimJudged:
		g.claim(d.Incident, index, e.At)
	case ExportRequested:
		g.add("export "+d.Export, index, e.At, exportEnds)
	case ExportFrozen:
		g.add("export "+d.Export, index, e.At, exportEnds)
	case ExportApproved:
		g.add("export "+d.Export, index, e.At, exportEnds)
	case ExportDownloaded:
		g.add("export "+d.Export, index, e.At, exportEnds)
	case ExportLinked:
		g.add("export "+d.Export, index, e.At, exportEnds)
	case ExportRefused:
		delete(g.open, "export "+d.Export)
	case ExportExpired:
		delete(g.open, "export "+d.Export)
	case ExportStopped:
		delete(g.open, "export "+d.Export)
	case HoldPlaced:
		g.add("hold "+d.Hold, index, e.At, 0)
	case HoldReleased:
		delete(g.open, "hold "+d.Hold)
	}
}

// incident keeps a step of an incident.
func (g *Grants) incident(n, index uint64, at time.Time) {
	g.add("incident "+strconv.FormatUint(n, 10), index, at, incidentEnds)
}

// claim keeps a claim as long as its incident, and one that belongs to none as long as if
// it was an incident by itself.
func (g *Grants) claim(incident, index uint64, at time.Time) {
	if incident != 0 {
		g.incident(incident, index, at)
		return
	}
	g.add("claim "+strconv.FormatUint(index, 10), index, at, incidentEnds)
}

// roleless takes a role from a principal. One that has none left cannot use what else
// was granted to it.
func (g *Grants) roleless(principal, brand string) {
	delete(g.open, "role "+principal+" "+brand)
	if !g.any("role " + principal + " ") {
		delete(g.open, "principal "+principal)
		delete(g.open, "credentials "+principal)
	}
}

func (g *Grants) any(prefix string) bool {
	for key := range g.open {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

func (g *Grants) replace(key string, index uint64) { g.open[key] = grant{entries: []uint64{index}} }

func (g *Grants) add(key string, index uint64, at time.Time, within time.Duration) {
	x := g.open[key]
	g.open[key] = grant{append(slices.Clip(x.entries), index), at, within}
}

// Open returns the entries that are still in force at a time.
func (g *Grants) Open(now time.Time) map[uint64]bool {
	out := map[uint64]bool{}
	for _, x := range g.open {
		if x.within > 0 && now.Sub(x.last) > x.within {
			continue
		}
		for _, i := range x.entries {
			out[i] = true
		}
	}
	return out
}
