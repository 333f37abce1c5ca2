package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// AlarmPath is part of requests.
type AlarmPath struct {
	BrandPath
	Alarm string `path:"alarm" maxLength:"40" doc:"An alarm's id, such as 1234-walk."`
}

// alarmRoutes serve what was detected, and the rules by which.
func (s *Server) alarmRoutes() {
	v := s.vault
	route(s, "GET", "/v1/brands/{brand}/alarms", "alarm-list", "List alarms, newest first", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		State    string `query:"state" enum:"new,acknowledged,closed,open" doc:"open: not closed."`
		Severity string `query:"severity" enum:"low,medium,high,critical" doc:"Lowest severity."`
		Before   string `query:"before" maxLength:"40"`
		Limit    int    `query:"limit" minimum:"0" maximum:"500"`
	}) (*api.Alarms, error) {
		return v.Alarms.List(ctx, c, in.Brand, detect.Query{State: in.State, Grade: in.Severity, Before: in.Before, Limit: in.Limit})
	})
	route(s, "GET", "/v1/brands/{brand}/alarms/{alarm}", "alarm-show", "Show an alarm", maxBody, func(ctx context.Context, c identity.Caller, in *AlarmPath) (*api.Alarm, error) {
		return v.Alarms.Show(ctx, c, in.Brand, in.Alarm)
	})
	route(s, "POST", "/v1/brands/{brand}/alarms/{alarm}/ack", "alarm-ack", "Acknowledge an alarm", maxBody, func(ctx context.Context, c identity.Caller, in *AlarmPath) (*api.Alarm, error) {
		return v.Alarms.Acknowledge(ctx, c, in.Brand, in.Alarm)
	})
	route(s, "POST", "/v1/brands/{brand}/alarms/{alarm}/close", "alarm-close", "Close an alarm for a reason", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		AlarmPath
		Body api.CloseRequest
	}) (*api.Alarm, error) {
		return v.Alarms.Close(ctx, c, in.Brand, in.Alarm, in.Body)
	})
	route(s, "GET", "/v1/brands/{brand}/detection", "detection-rules", "Show the detection rules in force", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) (*api.DetectionRules, error) {
		return v.Alarms.Rules(ctx, c, in.Brand)
	})
	route(s, "PUT", "/v1/brands/{brand}/detection", "detection-set", "Set the detection rules; empty text sets the defaults", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.DetectionRules
	}) (*api.DetectionRules, error) {
		return v.Alarms.SetRules(ctx, c, in.Brand, in.Body.Rules)
	})
	route(s, "POST", "/v1/brands/{brand}/detection/replay", "detection-replay", "Show which alarms rules would have raised in the past; changes nothing", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.ReplayRequest
	}) (*api.Replayed, error) {
		return v.Alarms.Replay(ctx, c, in.Brand, in.Body)
	})
	route(s, "GET", "/v1/brands/{brand}/receivers", "receiver-list", "List receivers of alarms", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Receiver, error) {
		return v.Notify.List(ctx, c, in.Brand)
	})
	route(s, "POST", "/v1/brands/{brand}/receivers", "receiver-create", "Add a receiver of alarms: a signed webhook, whose secret is shown once, or an e-mail address", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.ReceiverRequest
	}) (*api.Receiver, error) {
		return v.Notify.Add(ctx, c, in.Brand, in.Body)
	})
	route(s, "DELETE", "/v1/brands/{brand}/receivers/{name}", "receiver-remove", "Delete a receiver", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		NamePath
	}) (*none, error) {
		return &none{}, v.Notify.Remove(ctx, c, in.Brand, in.Name)
	})
	route(s, "POST", "/v1/brands/{brand}/receivers/{name}/resume", "receiver-resume", "Retry delivery to a receiver now", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		NamePath
	}) (*none, error) {
		return &none{}, v.Notify.Resume(ctx, c, in.Brand, in.Name)
	})
}
