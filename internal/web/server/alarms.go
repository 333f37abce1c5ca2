package server

import (
	"context"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// alarmRoutes serve what was detected, and the rules by which.
func (s *Server) alarmRoutes() {
	route(s, "GET", "/v1/brands/{brand}/alarms", "alarm-list", "List alarms, newest first", s.listAlarms)
	route(s, "POST", "/v1/brands/{brand}/alarms", "alarm-raise", "Raise an alarm by hand", s.raiseAlarm, once)
	route(s, "GET", "/v1/brands/{brand}/alarms/{alarm}", "alarm-show", "Show an alarm", s.showAlarm)
	route(s, "POST", "/v1/brands/{brand}/alarms/{alarm}/ack", "alarm-ack", "Acknowledge an alarm", s.acknowledgeAlarm)
	route(s, "POST", "/v1/brands/{brand}/alarms/{alarm}/close", "alarm-close", "Close an alarm for a reason", s.closeAlarm)
	route(s, "GET", "/v1/brands/{brand}/detection", "detection-rules", "Show the detection rules in force", s.detectionRules)
	route(s, "PUT", "/v1/brands/{brand}/detection", "detection-set", "Set the detection rules; empty text sets the defaults", s.setDetection)
	route(s, "POST", "/v1/brands/{brand}/detection/replay", "detection-replay", "Show which alarms rules would have raised in the past; changes nothing", s.replayDetection)
	s.receiverRoutes()
}

func (s *Server) listAlarms(ctx context.Context, c identity.Caller, in *alarmsQuery) (*api.Alarms, error) {
	return s.vault.Alarms.List(ctx, c, in.Brand, alarm.Query{State: in.State, Grade: in.Severity, Before: in.Before, Limit: in.Limit})
}

func (s *Server) raiseAlarm(ctx context.Context, c identity.Caller, in *sentTo[api.RaiseRequest]) (*api.Alarm, error) {
	return s.vault.Alarms.Raise(ctx, c, in.Brand, in.Body)
}

func (s *Server) showAlarm(ctx context.Context, c identity.Caller, in *AlarmPath) (*api.Alarm, error) {
	return s.vault.Alarms.Show(ctx, c, in.Brand, in.Alarm)
}

func (s *Server) acknowledgeAlarm(ctx context.Context, c identity.Caller, in *AlarmPath) (*api.Alarm, error) {
	return s.vault.Alarms.Acknowledge(ctx, c, in.Brand, in.Alarm)
}

func (s *Server) closeAlarm(ctx context.Context, c identity.Caller, in *closeRequest) (*api.Alarm, error) {
	return s.vault.Alarms.Close(ctx, c, in.Brand, in.Alarm, in.Body)
}

func (s *Server) detectionRules(ctx context.Context, c identity.Caller, in *BrandPath) (*api.DetectionRules, error) {
	return s.vault.Alarms.Rules(ctx, c, in.Brand)
}

func (s *Server) setDetection(ctx context.Context, c identity.Caller, in *sentTo[api.DetectionRules]) (*api.DetectionRules, error) {
	return s.vault.Alarms.SetRules(ctx, c, in.Brand, in.Body)
}

func (s *Server) replayDetection(ctx context.Context, c identity.Caller, in *sentTo[api.ReplayRequest]) (*api.Replayed, error) {
	return s.vault.Alarms.Replay(ctx, c, in.Brand, in.Body)
}

// AlarmPath is part of requests.
type AlarmPath struct {
	BrandPath
	Alarm string `path:"alarm" maxLength:"40" doc:"An alarm's id, such as 1234-walk."`
}

type alarmsQuery struct {
	BrandPath
	State    string `query:"state" enum:"new,acknowledged,closed,open" doc:"open: not closed."`
	Severity string `query:"severity" enum:"low,medium,high,critical" doc:"Lowest severity."`
	Before   string `query:"before" maxLength:"40"`
	Limit    int    `query:"limit" minimum:"0" maximum:"500"`
}

type closeRequest struct {
	AlarmPath
	Body api.CloseRequest
}
