package notify

import (
	"context"
	"errors"

	"github.com/wneessen/go-mail"
)

// Write sends one mail to somebody who is no receiver of alarms, such as the code of an
// invitation. It is not tried again, and an error says nothing of the address.
func (m *MailServer) Write(ctx context.Context, to, subject, text string) error {
	l := &letters{server: m, to: to}
	defer l.close()
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(m.From), msg.To(to)); err != nil {
		return errors.New("this is not a mail address") // err holds it
	}
	msg.Subject(subject)
	msg.SetMessageID()
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, text)
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	if err := l.dial(ctx); err != nil {
		_, err = refusal("connecting to the mail server", err)
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.conn.Close() })
	defer stop()
	if err := l.client.SendWithSMTPClient(l.sess, msg); err != nil {
		_, err = refusal("sending a mail", err)
		return err
	}
	return nil
}
