package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

type receiverCmd struct {
	Add    receiverAddCmd    `cmd:"" help:"Send alarms to a URL or an e-mail address."`
	List   receiverListCmd   `cmd:"" help:"List receivers and their delivery status."`
	Resume receiverResumeCmd `cmd:"" help:"Retry delivery now, even after the vault gave up."`
	Remove receiverRemoveCmd `cmd:"" help:"Delete a receiver."`

	Test    receiverTestCmd    `cmd:"" help:"Send a receiver a message that is marked as a test."`
	Confirm receiverConfirmCmd `cmd:"" help:"Say that you read the last test of a receiver."`
}

type receiverTestCmd struct {
	forBrand
	Name string `arg:"" help:"Receiver name."`
}

// Help is the long help text.
func (receiverTestCmd) Help() string {
	return `Sends a message marked TEST and prints the HTTP status or the mail server's reply. The
message holds a code: the person who reads it confirms with "alarm receiver confirm", which says who
it reached. The vault tests each receiver by itself 30 days after the last test; a test that
nobody confirms within 3 days is an alarm.

EXIT STATUS: 0 the receiver took the test, 1 it did not.`
}

// Run tests a receiver.
func (c *receiverTestCmd) Run(ctx context.Context, std Streams) error {
	return c.with(ctx, std, func(v *connection) error {
		r, err := v.TestReceiver(ctx, c.Brand, c.Name)
		if err != nil {
			return err
		}
		if err := c.print(std, r, func(w io.Writer) {
			if r.TestFault == "" {
				fmt.Fprintf(w, "%s took the test (%s). The person who reads it confirms with the command in it\n", r.Name, reply(r))
			}
		}); err != nil {
			return err
		}
		if r.TestFault != "" {
			return fmt.Errorf("%s did not take the test: %s", r.Name, r.TestFault)
		}
		return nil
	})
}

// reply says what a receiver answered its last test.
func reply(r *api.Receiver) string {
	switch {
	case r.TestStatus == 0:
		return "no answer"
	case r.Kind == api.ReceiverMail:
		return fmt.Sprintf("SMTP %d", r.TestStatus)
	}
	return fmt.Sprintf("HTTP %d", r.TestStatus)
}

type receiverConfirmCmd struct {
	forBrand
	Name string `arg:"" help:"Receiver name."`
	Code string `arg:"" help:"The code in the test."`
}

// Run confirms a test.
func (c *receiverConfirmCmd) Run(ctx context.Context, std Streams) error {
	in := api.ReceiverConfirmation{Code: c.Code}
	call := func(v *connection) (*api.Receiver, error) { return v.ConfirmReceiver(ctx, c.Brand, c.Name, in) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, r *api.Receiver) {
		fmt.Fprintf(w, "the test of %s is confirmed by %s\n", r.Name, r.ConfirmedBy)
	})
}

// lastTest says when a receiver was last tested, and who read that.
func lastTest(r *api.Receiver) string {
	switch {
	case r.Tested.IsZero():
		return "never tested"
	case r.TestFault != "":
		return "test failed: " + r.TestFault
	case r.Confirmed.IsZero():
		return fmt.Sprintf("tested %s (%s), not confirmed", r.Tested.Format(time.DateOnly), reply(r))
	}
	return fmt.Sprintf("tested %s (%s), confirmed by %s", r.Tested.Format(time.DateOnly), reply(r), r.ConfirmedBy)
}

type receiverAddCmd struct {
	forBrand
	Name      string `arg:"" help:"Lower-case letters, digits and hyphens."`
	URLFile   string `name:"url-file" help:"File with the URL; a URL may be a credential, and other users can read a command line." type:"existingfile" xor:"to" placeholder:"FILE"`
	Mailto    string `help:"E-mail address instead of a URL." xor:"to" placeholder:"ADDRESS"`
	SecretOut string `name:"secret-out" help:"New file for the webhook's signing secret, mode 0600." placeholder:"FILE"`
	Severity  string `help:"Lowest severity sent." enum:"low,medium,high,critical" default:"medium"`
	Past      bool   `help:"Also send existing alarms."`
}

// Run adds a receiver.
func (c *receiverAddCmd) Run(ctx context.Context, std Streams) error {
	to := "mailto:" + c.Mailto
	switch {
	case c.URLFile != "":
		text, err := os.ReadFile(c.URLFile)
		if err != nil {
			return fmt.Errorf("reading the URL: %w", err)
		}
		to = strings.TrimSpace(string(text))
	case c.Mailto == "":
		return &usageError{"give --url-file or --mailto"}
	}
	in := api.ReceiverRequest{Name: c.Name, URL: to, Severity: c.Severity, Past: c.Past}
	if strings.HasPrefix(to, "mailto:") {
		if c.SecretOut != "" {
			return &usageError{"mail is not signed: leave --secret-out out"}
		}
		return c.add(ctx, std, in, io.Discard)
	}
	if c.SecretOut == "" {
		return &usageError{"give --secret-out: webhooks are signed"}
	}
	out, err := os.OpenFile(c.SecretOut, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the file for the secret: %w", err)
	}
	if err = errors.Join(c.add(ctx, std, in, out), out.Close()); err != nil {
		os.Remove(c.SecretOut)
	}
	return err
}

func (c *receiverAddCmd) add(ctx context.Context, std Streams, in api.ReceiverRequest, secret io.Writer) error {
	return c.with(ctx, std, func(v *connection) error {
		r, err := v.CreateReceiver(ctx, c.Brand, in)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(secret, r.Secret); err != nil {
			return fmt.Errorf("writing the secret: %w; remove the receiver and add it again", err)
		}
		r.Secret = ""
		return c.print(std, r, func(w io.Writer) {
			fmt.Fprintf(w, "Alarms of severity %s or higher go to %s at %s", r.Severity, r.Name, r.Host)
			if c.SecretOut != "" {
				fmt.Fprintf(w, "; the signing secret is in %s", c.SecretOut)
			}
			fmt.Fprintln(w)
		})
	})
}

type receiverListCmd struct{ forBrand }

// Run lists receivers.
func (c *receiverListCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) ([]api.Receiver, error) { return v.Receivers(ctx, c.Brand) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, list []api.Receiver) {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "RECEIVER\tKIND\tHOST\tFROM SEVERITY\tDELIVERED\tSTATE\tLAST TEST")
		for i := range list {
			r, state := &list[i], "served"
			switch {
			case !r.Stopped.IsZero():
				state = fmt.Sprintf("gave up at %s: %s; its alarms are kept, send them with: cloakroom alarm receiver resume", r.Stopped.Format(time.RFC3339), r.Fault)
			case r.Failures > 0:
				state = fmt.Sprintf("failed %d times, next retry %s: %s", r.Failures, r.NextTry.Format(time.RFC3339), r.Fault)
			case r.Fault != "":
				state = "waiting: " + r.Fault
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.Name, r.Kind, r.Host, r.Severity, r.Delivered, state, lastTest(r))
		}
		t.Flush()
	})
}

type receiverResumeCmd struct {
	forBrand
	Name string `arg:""`
}

// Run lets a receiver be tried at once.
func (c *receiverResumeCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (struct{}, error) { return struct{}{}, v.ResumeReceiver(ctx, c.Brand, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, _ struct{}) {
		fmt.Fprintln(w, "resumed", c.Name)
	})
}

type receiverRemoveCmd struct {
	forBrand
	Name string `arg:""`
}

// Run removes a receiver.
func (c *receiverRemoveCmd) Run(ctx context.Context, std Streams) error {
	call := func(v *connection) (struct{}, error) { return struct{}{}, v.RemoveReceiver(ctx, c.Brand, c.Name) }
	return ask(ctx, std, &c.remote, call, func(w io.Writer, _ struct{}) {
		fmt.Fprintln(w, "removed", c.Name)
	})
}
