package client

import (
	"context"
	"net/http"

	"github.com/cloakroom/cloakroom/api"
)

// AlarmsQuery narrows a list of alarms. The zero query is for the newest.
type AlarmsQuery struct {
	State    string // new, acknowledged, closed or open
	Severity string // the lowest that is listed
	Before   string // only those older than the alarm of this id
	Limit    int
}

// Alarms lists alarms, newest first.
func (c *Client) Alarms(ctx context.Context, brand string, q AlarmsQuery) (*api.Alarms, error) {
	return ask[api.Alarms](ctx, c, http.MethodGet, query(at(brand, "alarms"), "state", q.State, "severity", q.Severity, "before", q.Before, "limit", some(q.Limit)), nil)
}

// Alarm returns one alarm.
func (c *Client) Alarm(ctx context.Context, brand, id string) (*api.Alarm, error) {
	return ask[api.Alarm](ctx, c, http.MethodGet, at(brand, "alarms", id), nil)
}

// RaiseAlarm raises an alarm by hand.
func (c *Client) RaiseAlarm(ctx context.Context, brand string, req api.RaiseRequest) (*api.Alarm, error) {
	return ask[api.Alarm](ctx, c, http.MethodPost, at(brand, "alarms"), req)
}

// AcknowledgeAlarm says that the caller looks into an alarm.
func (c *Client) AcknowledgeAlarm(ctx context.Context, brand, id string) (*api.Alarm, error) {
	return ask[api.Alarm](ctx, c, http.MethodPost, at(brand, "alarms", id, "ack"), nil)
}

// CloseAlarm closes an alarm for a reason.
func (c *Client) CloseAlarm(ctx context.Context, brand, id string, req api.CloseRequest) (*api.Alarm, error) {
	return ask[api.Alarm](ctx, c, http.MethodPost, at(brand, "alarms", id, "close"), req)
}

// DetectionRules returns a brand's rules of detection.
func (c *Client) DetectionRules(ctx context.Context, brand string) (*api.DetectionRules, error) {
	return ask[api.DetectionRules](ctx, c, http.MethodGet, at(brand, "detection"), nil)
}

// SetDetectionRules replaces a brand's rules of detection. Empty rules set the defaults.
func (c *Client) SetDetectionRules(ctx context.Context, brand string, req api.DetectionRules) (*api.DetectionRules, error) {
	return ask[api.DetectionRules](ctx, c, http.MethodPut, at(brand, "detection"), req)
}

// ReplayDetection returns the alarms that rules would have raised. It changes nothing.
func (c *Client) ReplayDetection(ctx context.Context, brand string, req api.ReplayRequest) (*api.Replayed, error) {
	return ask[api.Replayed](ctx, c, http.MethodPost, at(brand, "detection", "replay"), req)
}

// Receivers lists the receivers of alarms.
func (c *Client) Receivers(ctx context.Context, brand string) ([]api.Receiver, error) {
	return list[api.Receiver](ctx, c, at(brand, "receivers"))
}

// CreateReceiver adds a receiver of alarms. Its secret is shown once.
func (c *Client) CreateReceiver(ctx context.Context, brand string, req api.ReceiverRequest) (*api.Receiver, error) {
	return ask[api.Receiver](ctx, c, http.MethodPost, at(brand, "receivers"), req)
}

// RemoveReceiver removes a receiver.
func (c *Client) RemoveReceiver(ctx context.Context, brand, name string) error {
	return c.Do(ctx, http.MethodDelete, at(brand, "receivers", name), nil, nil)
}

// TestReceiver sends a receiver a message that is marked as a test, and returns what it
// answered.
func (c *Client) TestReceiver(ctx context.Context, brand, name string) (*api.Receiver, error) {
	return ask[api.Receiver](ctx, c, http.MethodPost, at(brand, "receivers", name, "test"), nil)
}

// ConfirmReceiver says that the caller read the last test of a receiver.
func (c *Client) ConfirmReceiver(ctx context.Context, brand, name string, req api.ReceiverConfirmation) (*api.Receiver, error) {
	return ask[api.Receiver](ctx, c, http.MethodPost, at(brand, "receivers", name, "confirm"), req)
}

// ResumeReceiver has the vault retry delivery now.
func (c *Client) ResumeReceiver(ctx context.Context, brand, name string) error {
	return c.Do(ctx, http.MethodPost, at(brand, "receivers", name, "resume"), nil, nil)
}
