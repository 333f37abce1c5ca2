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
	route(s, "GET", "/v1/brands/{brand}/alarms", "alarm-list", "Alarms, newest first", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		State  string `query:"state" enum:"new,acknowledged,closed,open" doc:"open: not closed."`
		Grade  string `query:"grade" enum:"low,medium,high,critical" doc:"The least grave."`
		Before string `query:"before" maxLength:"40"`
		Limit  int    `query:"limit" minimum:"0" maximum:"500"`
	}) (*api.Alarms, error) {
		return v.Alarms.List(ctx, c, in.Brand, detect.Query{State: in.State, Grade: in.Grade, Before: in.Before, Limit: in.Limit})
	})
	route(s, "GET", "/v1/brands/{brand}/alarms/{alarm}", "alarm-show", "One alarm", maxBody, func(ctx context.Context, c identity.Caller, in *AlarmPath) (*api.Alarm, error) {
		return v.Alarms.Show(ctx, c, in.Brand, in.Alarm)
	})
	route(s, "POST", "/v1/brands/{brand}/alarms/{alarm}/ack", "alarm-ack", "Say that somebody looks into an alarm", maxBody, func(ctx context.Context, c identity.Caller, in *AlarmPath) (*api.Alarm, error) {
		return v.Alarms.Acknowledge(ctx, c, in.Brand, in.Alarm)
	})
	route(s, "POST", "/v1/brands/{brand}/alarms/{alarm}/close", "alarm-close", "Close an alarm for a reason", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		AlarmPath
		Body api.CloseRequest
	}) (*api.Alarm, error) {
		return v.Alarms.Close(ctx, c, in.Brand, in.Alarm, in.Body)
	})
	route(s, "GET", "/v1/brands/{brand}/detection", "detection-rules", "The rules of detection that hold", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) (*api.DetectionRules, error) {
		return v.Alarms.Rules(ctx, c, in.Brand)
	})
	route(s, "PUT", "/v1/brands/{brand}/detection", "detection-set", "Set the rules of detection; empty text sets the defaults", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.DetectionRules
	}) (*api.DetectionRules, error) {
		return v.Alarms.SetRules(ctx, c, in.Brand, in.Body.Rules)
	})
	route(s, "POST", "/v1/brands/{brand}/detection/replay", "detection-replay", "What rules would have said of the past; changes nothing", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.ReplayRequest
	}) (*api.Replayed, error) {
		return v.Alarms.Replay(ctx, c, in.Brand, in.Body)
	})
	route(s, "GET", "/v1/brands/{brand}/receivers", "receiver-list", "Who is told of alarms", maxBody, func(ctx context.Context, c identity.Caller, in *BrandPath) ([]api.Receiver, error) {
		return v.Notify.List(ctx, c, in.Brand)
	})
	route(s, "POST", "/v1/brands/{brand}/receivers", "receiver-create", "Tell somebody of alarms by signed webhook, whose secret is shown once, or by e-mail", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		Body api.ReceiverRequest
	}) (*api.Receiver, error) {
		return v.Notify.Add(ctx, c, in.Brand, in.Body)
	})
	route(s, "DELETE", "/v1/brands/{brand}/receivers/{name}", "receiver-remove", "Tell somebody no longer", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		NamePath
	}) (*none, error) {
		return &none{}, v.Notify.Remove(ctx, c, in.Brand, in.Name)
	})
	route(s, "POST", "/v1/brands/{brand}/receivers/{name}/resume", "receiver-resume", "Send a receiver what it was not sent, now", maxBody, func(ctx context.Context, c identity.Caller, in *struct {
		BrandPath
		NamePath
	}) (*none, error) {
		return &none{}, v.Notify.Resume(ctx, c, in.Brand, in.Name)
	})
}
