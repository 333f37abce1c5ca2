package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/detect"
)

// MessageType is the type of the webhook that tells of a new alarm.
const MessageType = "alarm.raised"

// notice is one thing that a receiver is told.
type notice struct {
	brand string
	alarm *detect.Alarm
}

func (n *notice) typ() string   { return MessageType }
func (n *notice) at() time.Time { return n.alarm.At }

// id is the same whenever this is sent, so that a repeat is known as one.
func (n *notice) id() string { return "alarm_" + n.brand + "_" + n.alarm.ID() }

// first is the id of the notice that this one is about; empty where it is none.
func (n *notice) first() string { return "" }

// data is what a webhook holds of it.
func (n *notice) data() any { return detect.Shown(n.brand, n.alarm) }

// who names a principal by number: names are not for mail.
func who(id uint64) string {
	if id == 0 {
		return "nobody known"
	}
	return fmt.Sprintf("principal %d", id)
}

// subject is the first line of a mail.
func (n *notice) subject() string {
	a := n.alarm
	return fmt.Sprintf("[%s] %s alarm: %s, %s (%s)", n.brand, a.Grade, a.Rule, who(a.Principal), a.ID())
}

// text is a mail's text.
func (n *notice) text() string {
	var b strings.Builder
	a := n.alarm
	fmt.Fprintf(&b, "A %s alarm of the rule %s at %s.\n\n", a.Grade, a.Rule, n.brand)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-11s%s\n", name, text)
		}
	}
	line("seen", a.Seen)
	line("usual", a.Usual)
	line("customers", fmt.Sprint(a.Customers))
	line("who", who(a.Principal))
	line("role", a.Role)
	if a.Lineage != 0 {
		line("credential", fmt.Sprint(a.Lineage))
	}
	line("at", a.At.Format(time.RFC3339)+fmt.Sprintf(", entry %d", a.Entry))
	line("id", n.brand+"/"+a.ID())
	b.WriteString("\nLook at it, and stop it if it is a theft:\n\n")
	fmt.Fprintf(&b, "  cloakroom alarm show --brand %s %s\n", n.brand, a.ID())
	if a.Lineage != 0 {
		fmt.Fprintf(&b, "  cloakroom contain --brand %s --credential %d --alarm %s\n", n.brand, a.Lineage, a.ID())
	}
	return b.String()
}
