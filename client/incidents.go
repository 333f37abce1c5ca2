package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// Scope says whose data the entries that match concern: at a brand, or from the group at
// several.
func (c *Client) Scope(ctx context.Context, brand string, req api.ScopeRequest) (*api.Scope, error) {
	return ask[api.Scope](ctx, c, http.MethodPost, at(brand, "scope"), req)
}

// OpenIncident opens an incident.
func (c *Client) OpenIncident(ctx context.Context, brand string, req api.IncidentRequest) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodPost, at(brand, "incidents"), req)
}

// Incidents lists incidents, the newest first.
func (c *Client) Incidents(ctx context.Context, brand string) ([]api.Incident, error) {
	return list[api.Incident](ctx, c, at(brand, "incidents"))
}

// Incident returns an incident as far as the caller may see it.
func (c *Client) Incident(ctx context.Context, brand, id string) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodGet, at(brand, "incidents", id), nil)
}

// StateFact records a fact of an incident, or corrects one.
func (c *Client) StateFact(ctx context.Context, brand, id string, req api.FactRequest) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodPost, at(brand, "incidents", id, "facts"), req)
}

// ScopeIncident makes the next version of an incident's scope.
func (c *Client) ScopeIncident(ctx context.Context, brand, id string, req api.ScopeRequest) (*api.IncidentScope, error) {
	return ask[api.IncidentScope](ctx, c, http.MethodPost, at(brand, "incidents", id, "scope"), req)
}

// ApproveScope asks a second person to approve a version of an incident's scope.
func (c *Client) ApproveScope(ctx context.Context, brand, id string, req api.ScopeApproval) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodPost, at(brand, "incidents", id, "scope", "approve"), req)
}

// BreakdownStep counts where the customers of an approved version live, for a while. Call it
// until the answer is whole.
func (c *Client) BreakdownStep(ctx context.Context, brand, id string, req api.BreakdownRequest) (*api.BreakdownStep, error) {
	return ask[api.BreakdownStep](ctx, c, http.MethodPost, at(brand, "incidents", id, "scope", "breakdown"), req)
}

// CloseIncident closes an incident and freezes its report.
func (c *Client) CloseIncident(ctx context.Context, brand, id string, req api.CloseIncidentRequest) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodPost, at(brand, "incidents", id, "close"), req)
}

// BeginEvidence begins a file of evidence of an incident.
func (c *Client) BeginEvidence(ctx context.Context, brand, id string, req api.EvidenceRequest) (*api.EvidenceFile, error) {
	return ask[api.EvidenceFile](ctx, c, http.MethodPost, at(brand, "incidents", id, "evidence"), req)
}

// EvidenceFile copies a file of evidence that the caller began to w, and returns the digest
// of its manifest. An error means that what was copied is worth nothing: fetch it again.
func (c *Client) EvidenceFile(ctx context.Context, brand, id string, evidence uint64, w io.Writer) (string, error) {
	resp, err := c.send(ctx, http.MethodGet, at(brand, "incidents", id, "evidence", number(evidence)), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		_, err := read(resp)
		return "", err
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return "", fmt.Errorf("%w: %w", ErrCut, err)
	}
	digest := resp.Trailer.Get(api.TrailerEvidence)
	if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 {
		return "", ErrCut
	}
	return digest, nil
}

// HandEvidence records who received a file of evidence.
func (c *Client) HandEvidence(ctx context.Context, brand, id string, req api.HandedRequest) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodPost, at(brand, "incidents", id, "handed"), req)
}

// Severity proposes a severity for each controller's part of an incident, and returns every
// version that was signed.
func (c *Client) Severity(ctx context.Context, brand, id string, req api.SeverityRequest) (*api.Severities, error) {
	return ask[api.Severities](ctx, c, http.MethodPost, at(brand, "incidents", id, "severity"), req)
}

// SignSeverity signs the next version of an incident's severity.
func (c *Client) SignSeverity(ctx context.Context, brand, id string, req api.SeveritySign) (*api.Severities, error) {
	return ask[api.Severities](ctx, c, http.MethodPost, at(brand, "incidents", id, "severity", "sign"), req)
}

// Duties says which notices an incident makes due, by when, and which not and why.
func (c *Client) Duties(ctx context.Context, brand, id string, req api.DutiesRequest) (*api.Duties, error) {
	return ask[api.Duties](ctx, c, http.MethodPost, at(brand, "incidents", id, "duties"), req)
}

// CompareDuties says what another version of the rules changes for an incident.
func (c *Client) CompareDuties(ctx context.Context, brand, id string, req api.DutiesCompare) (*api.DutiesCompared, error) {
	return ask[api.DutiesCompared](ctx, c, http.MethodPost, at(brand, "incidents", id, "duties", "compare"), req)
}

// TakeRules makes an incident keep the rules of duties of the vault's release.
func (c *Client) TakeRules(ctx context.Context, brand, id string, req api.RulesRequest) (*api.Incident, error) {
	return ask[api.Incident](ctx, c, http.MethodPost, at(brand, "incidents", id, "rules"), req)
}

// Notices lists the drafts of an incident's notices, and the duties that are due and not filed.
func (c *Client) Notices(ctx context.Context, brand, id string) (*api.Notices, error) {
	return ask[api.Notices](ctx, c, http.MethodGet, at(brand, "incidents", id, "notices"), nil)
}

// DraftNotice drafts the next version of a notice.
func (c *Client) DraftNotice(ctx context.Context, brand, id string, req api.NoticeRequest) (*api.Notice, error) {
	return ask[api.Notice](ctx, c, http.MethodPost, at(brand, "incidents", id, "notices"), req)
}

// Notice returns a draft by its number.
func (c *Client) Notice(ctx context.Context, brand, id string, notice uint64) (*api.Notice, error) {
	return ask[api.Notice](ctx, c, http.MethodGet, at(brand, "incidents", id, "notices", number(notice)), nil)
}

// PrintNotice returns a draft as a file: html, odt or json.
func (c *Client) PrintNotice(ctx context.Context, brand, id string, notice uint64, as string) (*api.NoticePrint, error) {
	return ask[api.NoticePrint](ctx, c, http.MethodGet, at(brand, "incidents", id, "notices", number(notice), as), nil)
}

// ReviewNotice records that a named person has read a version of a notice in its language.
func (c *Client) ReviewNotice(ctx context.Context, brand, id string, notice uint64, req api.NoticeReview) (*api.Notice, error) {
	return ask[api.Notice](ctx, c, http.MethodPost, at(brand, "incidents", id, "notices", number(notice), "review"), req)
}

// FileNotice marks a version of a notice as sent.
func (c *Client) FileNotice(ctx context.Context, brand, id string, notice uint64, req api.NoticeFiled) (*api.Notice, error) {
	return ask[api.Notice](ctx, c, http.MethodPost, at(brand, "incidents", id, "notices", number(notice), "filed"), req)
}

// NoticeTexts lists a brand's texts of letters to customers, and the languages that its
// customers need.
func (c *Client) NoticeTexts(ctx context.Context, brand string) (*api.NoticeTexts, error) {
	return ask[api.NoticeTexts](ctx, c, http.MethodGet, at(brand, "notice-texts"), nil)
}

// NoticeText returns the text of a language.
func (c *Client) NoticeText(ctx context.Context, brand, language string) (*api.NoticeText, error) {
	return ask[api.NoticeText](ctx, c, http.MethodGet, at(brand, "notice-texts", language), nil)
}

// LoadNoticeText loads a brand's own text of a language.
func (c *Client) LoadNoticeText(ctx context.Context, brand string, req api.NoticeTextRequest) (*api.NoticeText, error) {
	return ask[api.NoticeText](ctx, c, http.MethodPost, at(brand, "notice-texts"), req)
}

// ReviewNoticeText records that a named person has read the text of a language.
func (c *Client) ReviewNoticeText(ctx context.Context, brand, language string, req api.NoticeTextReview) (*api.NoticeText, error) {
	return ask[api.NoticeText](ctx, c, http.MethodPost, at(brand, "notice-texts", language, "review"), req)
}

// DutyRules lists the rules of duties of the vault.
func (c *Client) DutyRules(ctx context.Context, brand string) (*api.DutyRules, error) {
	return ask[api.DutyRules](ctx, c, http.MethodGet, at(brand, "duties"), nil)
}
