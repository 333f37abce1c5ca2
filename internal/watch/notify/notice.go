package notify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/platform/rights"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// The types of notifications, as webhooks name them.
const (
	TypeRaised       = "alarm.raised"
	TypeAcknowledged = "alarm.acknowledged"
	TypeClosed       = "alarm.closed"
	TypeBegan        = "containment.began"
	TypeUndone       = "containment.undone"
	TypeTest         = "receiver.test"
)

// notice is one notification of a receiver.
type notice struct {
	alarm.Notice
	brand     string
	contained containment.Containment // of an event that is about one; zero where it is not known
	trial     *trial                  // a test, and nothing else
}

func noticeOf(ctx context.Context, name string, brand record.BrandID, told alarm.Notice, c *containment.Store) (n notice, err error) {
	n = notice{Notice: told, brand: name}
	if e := told.Event; e != nil && e.Containment != 0 && c != nil {
		n.contained, err = c.Get(ctx, brand, e.Containment)
		if errors.Is(err, containment.ErrNone) || errors.Is(err, rights.ErrVoid) { // the table is not what the log says
			n.contained, err = containment.Containment{}, nil
		}
	}
	return n, err
}

func (n *notice) typ() string {
	if n.trial != nil {
		return TypeTest
	}
	if n.Event == nil {
		return TypeRaised
	}
	switch n.Event.What {
	case alarm.WhatAcknowledged:
		return TypeAcknowledged
	case alarm.WhatClosed:
		return TypeClosed
	case alarm.WhatContained:
		return TypeBegan
	}
	return TypeUndone
}

func (n *notice) at() time.Time {
	if n.trial != nil {
		return n.trial.at
	}
	if n.Event != nil {
		return n.Event.At
	}
	return n.Alarm.At
}

// id is the same whenever this is sent, so that a repeat is known as one.
func (n *notice) id() string {
	if n.trial != nil {
		return n.trial.id(n.brand)
	}
	if n.Event == nil {
		return n.raised()
	}
	return "event_" + n.brand + "_" + strconv.FormatUint(n.Entry, 10) + "-" + string(n.Rule)
}

// raised is the id of the notification of the notice's alarm.
func (n *notice) raised() string { return "alarm_" + n.brand + "_" + n.Alarm.ID() }

// data is what a webhook holds of it.
func (n *notice) data() any {
	if n.trial != nil {
		return n.trial.data(n.brand)
	}
	e := n.Event
	if e != nil && n.Alarm == nil {
		return n.containment()
	}
	a := alarm.Shown(n.brand, &n.Alarm.Alarm)
	a.Earlier = n.Alarm.EarlierID()
	if e == nil {
		return a
	}
	// As it stood then: it may be closed by now.
	a.State = string(e.What)
	if e.What == alarm.WhatClosed {
		a.ClosedBy, a.ClosedAt, a.Reason, a.Ticket = e.Principal, e.At, e.Reason, e.Ticket
	} else {
		a.AcknowledgedBy, a.AcknowledgedAt = e.Principal, e.At
	}
	return a
}

func (n *notice) containment() api.ContainmentEvent {
	e, c := n.Event, n.contained
	return api.ContainmentEvent{ID: e.Containment, Brand: n.brand, Entry: e.Entry, At: e.At, Kind: string(c.Kind), Target: c.Target, Role: c.Role,
		Until: c.Until, Principal: e.Principal, TookMillis: e.Took.Milliseconds(), SinceAlarmMillis: e.Since.Milliseconds(), Ticket: e.Ticket}
}

// cameAgain reports whether the alarm came after one about the same thing was closed.
func (n *notice) cameAgain() bool {
	return n.Event == nil && n.Earlier != nil && n.Earlier.ClosedBefore(n.Entry)
}

// earlier says which alarm this one repeats or comes after, and how that one stood.
func (n *notice) earlier() string {
	e := n.Earlier
	if e == nil {
		return ""
	}
	id := n.brand + "/" + e.ID() + " of " + e.At.Format(time.RFC3339)
	if !n.cameAgain() {
		return id + ", not closed"
	}
	return id + ", closed " + e.ClosedAt.Format(time.RFC3339) + " by " + who(e.ClosedBy) + strings.TrimRight(": "+e.Reason+" "+e.CloseTicket, ": ")
}

// who names a principal by number: names are not for mail.
func who(id uint64) string {
	if id == 0 {
		return "unknown principal"
	}
	return fmt.Sprintf("principal %d", id)
}

// whom says what a containment stops.
func whom(c containment.Containment) string {
	switch c.Kind {
	case containment.Lineage:
		return fmt.Sprintf("lineage %d", c.Target)
	case containment.Principal:
		return who(c.Target)
	case containment.Role:
		return "role " + c.Role
	case containment.Brand:
		return "everybody at the brand"
	case containment.Exports:
		return "all exports of the brand"
	}
	return "unknown target"
}

// subject is the first line of a mail.
func (n *notice) subject() string {
	if n.trial != nil {
		return n.trial.subject(n.brand)
	}
	e, a := n.Event, n.Alarm
	switch {
	case e == nil && n.cameAgain():
		return fmt.Sprintf("[%s] %s alarm came again: %s, %s (%s)", n.brand, a.Grade, a.Rule, who(a.Principal), a.ID())
	case e == nil:
		return fmt.Sprintf("[%s] %s alarm: %s, %s (%s)", n.brand, a.Grade, a.Rule, who(a.Principal), a.ID())
	case a != nil:
		return fmt.Sprintf("[%s] %s: %s alarm: %s, %s (%s)", n.brand, e.What, a.Grade, a.Rule, who(a.Principal), a.ID())
	case e.What == alarm.WhatContained:
		return fmt.Sprintf("[%s] contained: %s (containment %d)", n.brand, whom(n.contained), e.Containment)
	}
	return fmt.Sprintf("[%s] containment undone: %s (containment %d)", n.brand, whom(n.contained), e.Containment)
}

// text is a mail's text.
func (n *notice) text() string {
	if n.trial != nil {
		return n.trial.text(n.brand)
	}
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-12s%s\n", name, text)
		}
	}
	e, a := n.Event, n.Alarm
	if e != nil {
		switch e.What {
		case alarm.WhatAcknowledged:
			fmt.Fprintf(&b, "An alarm at %s was acknowledged.\n\n", n.brand)
		case alarm.WhatClosed:
			fmt.Fprintf(&b, "An alarm at %s was closed.\n\n", n.brand)
			line("reason", e.Reason)
		case alarm.WhatContained:
			fmt.Fprintf(&b, "Access was contained at %s.\n\n", n.brand)
		case alarm.WhatUndone:
			fmt.Fprintf(&b, "A containment at %s was undone.\n\n", n.brand)
		}
		if a == nil {
			line("target", whom(n.contained))
			line("id", fmt.Sprintf("containment %d", e.Containment))
			if !n.contained.Until.IsZero() && e.What == alarm.WhatContained {
				line("until", n.contained.Until.Format(time.RFC3339))
			}
		}
		if e.Principal == 0 {
			line("by", "the brand's detection rules")
		} else {
			line("by", who(e.Principal))
		}
		line("ticket", e.Ticket)
		line("when", e.At.Format(time.RFC3339)+fmt.Sprintf(", entry %d", e.Entry))
		if e.Took > 0 {
			line("took", e.Took.String())
		}
		if e.Since > 0 {
			line("after", e.Since.String()+" after the alarm")
		}
		if a == nil {
			fmt.Fprintf(&b, "\nContainments in force:\n\n  cloakroom contain list --brand %s\n", n.brand)
			return b.String()
		}
		b.WriteString("\nThe alarm:\n\n")
	} else {
		fmt.Fprintf(&b, "Alarm at %s: rule %s, severity %s.\n\n", n.brand, a.Rule, a.Grade)
	}
	line("seen", a.Seen)
	line("usual", a.Usual)
	line("customers", strconv.Itoa(a.Customers))
	line("who", who(a.Principal))
	line("role", a.Role)
	if a.Lineage != 0 {
		line("lineage", strconv.FormatUint(a.Lineage, 10))
	}
	line("at", a.At.Format(time.RFC3339)+fmt.Sprintf(", entry %d", a.Entry))
	line("id", n.brand+"/"+a.ID())
	line("earlier", n.earlier())
	if e != nil {
		fmt.Fprintf(&b, "\n  cloakroom alarm show --brand %s %s\n", n.brand, a.ID())
		return b.String()
	}
	b.WriteString("\nInvestigate, and contain the lineage if this is a theft:\n\n")
	fmt.Fprintf(&b, "  cloakroom alarm show --brand %s %s\n", n.brand, a.ID())
	if a.Lineage != 0 {
		fmt.Fprintf(&b, "  cloakroom contain --brand %s --lineage %d --alarm %s\n", n.brand, a.Lineage, a.ID())
	}
	return b.String()
}
