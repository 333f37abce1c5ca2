package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type detectCmd struct {
	Rules  detectRulesCmd  `cmd:"" help:"Show or set a brand's rules."`
	Replay detectReplayCmd `cmd:"" help:"Show which alarms rules would have raised in the past; change nothing."`
}

type detectRulesCmd struct {
	forBrand
	Set     string `help:"Set the rules from a YAML file; missing settings have their defaults." type:"existingfile" xor:"set" placeholder:"FILE"`
	Default bool   `help:"Set the default rules." xor:"set"`
}

// Run shows or sets rules.
func (c *detectRulesCmd) Run(ctx context.Context, std Streams) error {
	var in api.DetectionRules
	if c.Set != "" {
		text, err := readRules(c.Set)
		if err != nil {
			return err
		}
		in.Rules = text
	}
	in.Default = c.Default
	call := func(v *connection) (*api.DetectionRules, error) {
		if c.Set == "" && !c.Default {
			return v.DetectionRules(ctx, c.Brand)
		}
		return v.SetDetectionRules(ctx, c.Brand, in)
	}
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.DetectionRules) { fmt.Fprint(w, r.Rules) })
}

type detectReplayCmd struct {
	forBrand
	From  string `help:"Start day or time: 2026-11-01 or RFC 3339, UTC." placeholder:"TIME"`
	To    string `help:"End day or time, exclusive." placeholder:"TIME"`
	Rules string `help:"Rules to try (default: those in force at each time)." type:"existingfile" placeholder:"FILE"`
}

// Run replays.
func (c *detectReplayCmd) Run(ctx context.Context, std Streams) error {
	var in api.ReplayRequest
	var err error
	if in.From, err = moment(c.From); err != nil {
		return err
	}
	if in.To, err = moment(c.To); err != nil {
		return err
	}
	if c.Rules != "" {
		text, err := readRules(c.Rules)
		if err != nil {
			return err
		}
		in.Rules = text
	}
	call := func(v *connection) (*api.Replayed, error) { return v.ReplayDetection(ctx, c.Brand, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.Replayed) {
		for i := range r.Alarms {
			a := &r.Alarms[i]
			fmt.Fprintf(w, "%s  %s  %s  %s\n  seen:  %s\n  usual: %s\n", a.At.Format("2006-01-02 15:04"), a.Severity, a.ID, who(a), a.Seen, a.Usual)
		}
		fmt.Fprintf(w, "%d alarms from %d entries; receivers would have been notified of %d\n", r.Count, r.Entries, r.Pages)
		for _, rule := range slices.Sorted(maps.Keys(r.Rules)) {
			fmt.Fprintf(w, "  %-10s %d\n", rule, r.Rules[rule])
		}
	})
}

func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{"a time is a day such as 2026-11-01, or RFC 3339"}
}
