package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/respond/incident"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// incidentRoutes keep incidents, and answer whose data was concerned.
func (s *Server) incidentRoutes(mux *http.ServeMux) {
	route(s, "POST", "/v1/brands/{brand}/scope", "scope", "Count the distinct customers that the matching entries disclosed, changed or erased", s.scope)
	route(s, "POST", "/v1/brands/{brand}/incidents", "incident-open", "Open an incident", s.openIncident, once)
	route(s, "GET", "/v1/brands/{brand}/incidents", "incident-list", "List incidents, newest first, with those of the group that name the brand", s.listIncidents)
	route(s, "GET", "/v1/brands/{brand}/incidents/{incident}", "incident-show", "Show an incident: facts, versions of its scope, timeline", s.showIncident)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/facts", "incident-fact", "Record a fact, or correct one; the old value stays", s.stateFact, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/scope", "incident-scope", "Make the next version of the scope", s.scopeIncident, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/scope/approve", "incident-approve", "Ask a second person to approve a version of the scope", s.approveScope, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/scope/breakdown", "incident-breakdown", "Count where the customers of an approved version live, for up to two seconds; send it until it is whole", s.breakdown)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/close", "incident-close", "Close an incident and freeze its report", s.closeIncident, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/evidence", "evidence-begin", "Begin a file of evidence of an incident; its file is then fetched by its number", s.beginEvidence, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/handed", "evidence-handed", "Record who received a file of evidence", s.handEvidence, once)
	const file = "/v1/brands/{brand}/incidents/{incident}/evidence/{number}"
	s.describe(file, "evidence-file", "A file of evidence that you began, as docs/evidence-format.md describes it. The trailer "+api.TrailerEvidence+" comes with a whole file only", "application/octet-stream", "brand", "incident", "number")
	mux.HandleFunc("GET "+file, s.evidenceFile)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/severity", "incident-severity", "Propose the severity of each controller's part, and show every version that was signed", s.severity)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/severity/sign", "incident-severity-sign", "Sign the next version of the severity", s.signSeverity, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/duties", "incident-duties", "Decide which notices are due, to which recipients, by when, and which are not and why", s.duties)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/duties/compare", "incident-duties-compare", "Say what another version of the rules changes for an incident", s.compareDuties)
	route(s, "GET", "/v1/brands/{brand}/incidents/{incident}/notices", "notice-list", "List an incident's drafts of notices, and the duties that are due and not filed", s.listNotices)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/notices", "notice-draft", "Draft the next version of a notice, filled in from scope, facts and measures", s.draftNotice, once)
	route(s, "GET", "/v1/brands/{brand}/incidents/{incident}/notices/{number}", "notice-show", "Show a draft of a notice", s.showNotice)
	route(s, "GET", "/v1/brands/{brand}/incidents/{incident}/notices/{number}/{as}", "notice-print", "Print a draft of a notice as a file", s.printNotice)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/notices/{number}/review", "notice-review", "Record that a named person has read a version of a notice in its language", s.reviewNotice, once)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/notices/{number}/filed", "notice-filed", "Mark a version of a notice as sent; clocks that hang on it start", s.fileNotice, once)
	route(s, "GET", "/v1/brands/{brand}/notice-texts", "notice-text-list", "List the texts of letters to customers, and the languages that customers need", s.listNoticeTexts)
	route(s, "POST", "/v1/brands/{brand}/notice-texts", "notice-text-load", "Load the brand's own text of a language", s.loadNoticeText, once)
	route(s, "GET", "/v1/brands/{brand}/notice-texts/{language}", "notice-text-show", "Show the text of a language", s.showNoticeText)
	route(s, "POST", "/v1/brands/{brand}/notice-texts/{language}/review", "notice-text-review", "Record that a named person has read the text of a language", s.reviewNoticeText, once)
	route(s, "GET", "/v1/brands/{brand}/duties", "duty-list", "List the rules of duties of the vault, with the operator's own", s.listDuties)
	route(s, "POST", "/v1/brands/{brand}/incidents/{incident}/rules", "incident-rules", "Make an incident keep the rules of duties of this release", s.takeRules, once)
}

func (s *Server) severity(ctx context.Context, c identity.Caller, in *toIncident[api.SeverityRequest]) (*api.Severities, error) {
	return s.vault.Incident.Severity(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) signSeverity(ctx context.Context, c identity.Caller, in *toIncident[api.SeveritySign]) (*api.Severities, error) {
	return s.vault.Incident.SignSeverity(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) duties(ctx context.Context, c identity.Caller, in *toIncident[api.DutiesRequest]) (*api.Duties, error) {
	return s.vault.Incident.Duties(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) compareDuties(ctx context.Context, c identity.Caller, in *toIncident[api.DutiesCompare]) (*api.DutiesCompared, error) {
	return s.vault.Incident.CompareDuties(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) takeRules(ctx context.Context, c identity.Caller, in *toIncident[api.RulesRequest]) (*api.Incident, error) {
	return s.vault.Incident.TakeRules(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) listNotices(ctx context.Context, c identity.Caller, in *IncidentPath) (*api.Notices, error) {
	return s.vault.Incident.Notices(ctx, c, in.Brand, in.Incident)
}

func (s *Server) draftNotice(ctx context.Context, c identity.Caller, in *toIncident[api.NoticeRequest]) (*api.Notice, error) {
	return s.vault.Incident.DraftNotice(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) showNotice(ctx context.Context, c identity.Caller, in *NoticePath) (*api.Notice, error) {
	return s.vault.Incident.Notice(ctx, c, in.Brand, in.Incident, in.Number)
}

func (s *Server) printNotice(ctx context.Context, c identity.Caller, in *printPath) (*api.NoticePrint, error) {
	return s.vault.Incident.PrintNotice(ctx, c, in.Brand, in.Incident, in.Number, in.As)
}

func (s *Server) reviewNotice(ctx context.Context, c identity.Caller, in *toNotice[api.NoticeReview]) (*api.Notice, error) {
	return s.vault.Incident.ReviewNotice(ctx, c, in.Brand, in.Incident, in.Number, in.Body)
}

func (s *Server) fileNotice(ctx context.Context, c identity.Caller, in *toNotice[api.NoticeFiled]) (*api.Notice, error) {
	return s.vault.Incident.FileNotice(ctx, c, in.Brand, in.Incident, in.Number, in.Body)
}

func (s *Server) listNoticeTexts(ctx context.Context, c identity.Caller, in *BrandPath) (*api.NoticeTexts, error) {
	return s.vault.Incident.NoticeTexts(ctx, c, in.Brand)
}

func (s *Server) loadNoticeText(ctx context.Context, c identity.Caller, in *sentTo[api.NoticeTextRequest]) (*api.NoticeText, error) {
	return s.vault.Incident.LoadNoticeText(ctx, c, in.Brand, in.Body)
}

func (s *Server) showNoticeText(ctx context.Context, c identity.Caller, in *LanguagePath) (*api.NoticeText, error) {
	return s.vault.Incident.NoticeText(ctx, c, in.Brand, in.Language)
}

func (s *Server) reviewNoticeText(ctx context.Context, c identity.Caller, in *toLanguage[api.NoticeTextReview]) (*api.NoticeText, error) {
	return s.vault.Incident.ReviewNoticeText(ctx, c, in.Brand, in.Language, in.Body)
}

func (s *Server) listDuties(ctx context.Context, c identity.Caller, in *BrandPath) (*api.DutyRules, error) {
	return s.vault.Incident.RuleList(ctx, c, in.Brand)
}

func (s *Server) scope(ctx context.Context, c identity.Caller, in *sentTo[api.ScopeRequest]) (*api.Scope, error) {
	return s.vault.Scope.Scope(ctx, c, in.Brand, in.Body)
}

func (s *Server) openIncident(ctx context.Context, c identity.Caller, in *sentTo[api.IncidentRequest]) (*api.Incident, error) {
	return s.vault.Incident.Open(ctx, c, in.Brand, in.Body)
}

func (s *Server) listIncidents(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Incident, error) {
	return s.vault.Incident.List(ctx, c, in.Brand)
}

func (s *Server) showIncident(ctx context.Context, c identity.Caller, in *IncidentPath) (*api.Incident, error) {
	return s.vault.Incident.Incident(ctx, c, in.Brand, in.Incident)
}

func (s *Server) stateFact(ctx context.Context, c identity.Caller, in *toIncident[api.FactRequest]) (*api.Incident, error) {
	return s.vault.Incident.Fact(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) scopeIncident(ctx context.Context, c identity.Caller, in *toIncident[api.ScopeRequest]) (*api.IncidentScope, error) {
	return s.vault.Incident.Scope(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) approveScope(ctx context.Context, c identity.Caller, in *toIncident[api.ScopeApproval]) (*api.Incident, error) {
	return s.vault.Incident.ApproveScope(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) breakdown(ctx context.Context, c identity.Caller, in *toIncident[api.BreakdownRequest]) (*api.BreakdownStep, error) {
	return s.vault.Incident.Breakdown(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) closeIncident(ctx context.Context, c identity.Caller, in *toIncident[api.CloseIncidentRequest]) (*api.Incident, error) {
	return s.vault.Incident.Close(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) beginEvidence(ctx context.Context, c identity.Caller, in *toIncident[api.EvidenceRequest]) (*api.EvidenceFile, error) {
	return s.vault.Incident.BeginEvidence(ctx, c, in.Brand, in.Incident, in.Body)
}

func (s *Server) handEvidence(ctx context.Context, c identity.Caller, in *toIncident[api.HandedRequest]) (*api.Incident, error) {
	return s.vault.Incident.Handed(ctx, c, in.Brand, in.Incident, in.Body)
}

// maxEvidence is how long a file of evidence may take. Its client has Timeout for each part.
const maxEvidence = 4 * time.Hour

func (s *Server) evidenceFile(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if err := s.files.Acquire(ctx, 1); err != nil {
		s.fail(w, problem(err))
		return
	}
	defer s.files.Release(1)
	var f *incident.File
	err := s.decide(ctx, func(ctx context.Context, c identity.Caller) (err error) {
		number, err := strconv.ParseUint(r.PathValue("number"), 10, 63)
		if err != nil {
			return incident.ErrNoEvidence
		}
		f, err = s.vault.Incident.Evidence(ctx, c, r.PathValue("brand"), r.PathValue("incident"), number)
		return err
	})
	if err != nil {
		e := s.problem(ctx, err)
		if e.Status >= http.StatusInternalServerError {
			s.failures.add("evidence-file", e.Type, w.Header().Get(headerRequest), err)
		}
		s.fail(w, e)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.Name()))
	w.Header().Set("Trailer", api.TrailerEvidence)
	w.WriteHeader(http.StatusOK)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxEvidence) // a client that is gone is found by the next write
	defer cancel()
	digest, err := f.Write(ctx, &patient{w, http.NewResponseController(w), s.timeout})
	if err != nil {
		s.log.Error("a file of evidence was cut", "operation", "evidence-file", "cause", err)
		s.metrics.failed(api.TypeInternal)
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(api.TrailerEvidence, digest)
}

// patient writes an answer that may take long, of which the client takes each piece in time.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	each    time.Duration
}

// Write writes a piece.
func (p *patient) Write(b []byte) (int, error) {
	// Inside one process there is no connection that could stall.
	if err := p.control.SetWriteDeadline(time.Now().Add(p.each)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("giving the client time: %w", err)
	}
	return p.ResponseWriter.Write(b)
}

// IncidentPath is part of requests.
type IncidentPath struct {
	BrandPath
	Incident string `path:"incident" maxLength:"20" doc:"An incident's number; group-3 for an incident of the group."`
}

// toIncident is a request with a body to an incident.
type toIncident[B any] struct {
	IncidentPath
	Body B
}

// NoticePath is part of requests.
type NoticePath struct {
	IncidentPath
	Number uint64 `path:"number" doc:"The entry of a draft, which is its number."`
}

// printPath is a request for a draft as a file.
type printPath struct {
	NoticePath
	As string `path:"as" enum:"html,odt,json" doc:"HTML for print, OpenDocument text, or JSON."`
}

// toNotice is a request with a body to a draft.
type toNotice[B any] struct {
	NoticePath
	Body B
}

// LanguagePath is part of requests.
type LanguagePath struct {
	BrandPath
	Language string `path:"language" maxLength:"35" doc:"A language tag such as it or pt-BR."`
}

// toLanguage is a request with a body to the text of a language.
type toLanguage[B any] struct {
	LanguagePath
	Body B
}
