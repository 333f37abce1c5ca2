package message

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cloakroom/cloakroom/api"
)

func one(subject, text, markup string) api.MailTemplate {
	return api.MailTemplate{Name: "t", Purpose: "order-fulfilment", Variants: []api.MailVariant{{Language: "en", Subject: subject, Text: text, HTML: markup}}}
}

// A template leads nowhere but to the brand's own domain, loads nothing, and fills in named
// fields alone.
func TestWhatATemplateMayNot(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]api.MailTemplate{
		"another host":                  one("s", "see https://evil.example/x", ""),
		"a host that ends alike":        one("s", "see https://evilgucci.example/", ""),
		"a host before ours":            one("s", "see https://gucci.example.evil.test/", ""),
		"a user in a link":              one("s", "see https://gucci.example@evil.test/", ""),
		"a port":                        one("s", "see https://gucci.example:8443/", ""),
		"in clear":                      one("s", "see http://gucci.example/", ""),
		"a script":                      one("s", "javascript://gucci.example/%0aalert(1)", ""),
		"cyrillic":                      one("s", "see https://guссi.example/", ""),
		"punycode":                      one("s", "see https://xn--gui-5cda.gucci.example/", ""),
		"a host without a scheme":       one("s", "see evil.example now", ""),
		"www":                           one("s", "see www.evil.example now", ""),
		"an ideographic full stop":      one("s", "see evil。example now", ""),
		"a mail address":                one("s", "write to mailto:a@evil.example", ""),
		"a link in the subject":         one("https://evil.example", "t", ""),
		"a second header":               one("s\r\nBcc: a@b.example", "t", ""),
		"turned text":                   one("s", "abc\u202edef", ""),
		"another field":                 one("s", "{{email}}", ""),
		"code of a template":            one("s", "{{range .}}{{end}}", ""),
		"a half place":                  one("s", "{{given_name", ""),
		"markup in a fallback":          one("s", "t", "<p>{{given_name|<b>}}</p>"),
		"an image":                      one("s", "t", `<p><img src="https://gucci.example/p.gif"></p>`),
		"a script in HTML":              one("s", "t", `<script>1</script>`),
		"a style":                       one("s", "t", `<p style="background:url(https://gucci.example)">x</p>`),
		"a handler":                     one("s", "t", `<p onclick="x()">x</p>`),
		"a place in an attribute":       one("s", "t", `<a href="https://gucci.example/{{given_name}}">x</a>`),
		"a link that says another host": one("s", "t", `<a href="https://gucci.example/">https://evil.example</a>`),
		"a link elsewhere in HTML":      one("s", "t", `<a href="https://evil.example/">x</a>`),
		"a link without a host":         one("s", "t", `<a href="//evil.example/">x</a>`),
		"an entity that hides one":      one("s", "t", `<p>evil&#46;example</p>`),
		"a comment":                     one("s", "t", `<!-- x --><p>x</p>`),
		"no text":                       one("s", "", `<p>x</p>`),
	} {
		if _, err := check(x, "gucci.example"); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for name, x := range map[string]api.MailTemplate{
		"all that is allowed": one("{{given_name|Dear customer}}: news", "Dear {{given_name|customer}}, see https://www.gucci.example/a?b=c#d.\n{{brand}} {{code}} {{last_purchase|}}",
			`<html lang="en"><body dir="rtl"><h1>Hi {{given_name|you}}</h1><ul><li><a href="https://gucci.example/">gucci.example</a></li></ul></body></html>`),
		"a full stop without a blank": one("s", "it left us.Thank you", ""),
	} {
		if _, err := check(x, "gucci.example"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A brand whose own domain is in other letters links to it in its ASCII form.
	if _, err := check(one("s", "https://www.xn--mnchen-3ya.example/", ""), "xn--mnchen-3ya.example"); err != nil {
		t.Error(err)
	}
}

// Whatever a customer's values are, a mail has one line of a subject, no link that is not
// the template's, and markup of the template alone.
func TestNoValueBreaksOut(t *testing.T) {
	t.Parallel()
	x, err := check(one("Hi {{given_name}}", "Dear {{given_name|you}},\nbye", "<p>Dear {{given_name|you}}</p>"), "gucci.example")
	if err != nil {
		t.Fatal(err)
	}
	hostile := []string{"a\r\nBcc: b@c.example", "<script>x</script>", "visit evil.example", "http://evil.example", "evil。example", "www.evil", "{{code}}", "a\u202eb", "\"><a href=x>", "x@y.example", strings.Repeat("n", 500), "&#60;b&#62;"}
	rapid.Check(t, func(r *rapid.T) {
		v := rapid.OneOf(rapid.SampledFrom(hostile), rapid.String()).Draw(r, "value")
		m, err := x.variants[0].render(map[string]string{"given_name": v})
		if err != nil {
			r.Fatal(err)
		}
		if strings.ContainsFunc(m.Subject, unsafe) {
			r.Errorf("a subject of several lines: %q", m.Subject)
		}
		if strings.Count(m.Text, "\n") != 1 || link.MatchString(m.Text) || domainLike.MatchString(strings.TrimSuffix(m.Text, "bye")) {
			r.Errorf("%q", m.Text)
		}
		if strings.Count(m.HTML, "<") != 2 || !strings.HasPrefix(m.HTML, "<p>Dear ") || !strings.HasSuffix(m.HTML, "</p>") {
			r.Errorf("%q", m.HTML)
		}
	})
}

// Addresses: a domain in other letters is handed over in ASCII, and nothing is an address
// that could begin another command.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"noor@mail.example": "noor@mail.example", " Noor@MAIL.example ": "Noor@mail.example", "noor@bücher.example": "noor@xn--bcher-kva.example",
		"": "", "noor": "", "@x.example": "", "a b@x.example": "", "a@x.example>\r\nDATA": "", "a@x.example, b@y.example": "", "<a@x.example>": "", "a@": "", "nöor@mail.example": "", "a@b@c.example": "",
	} {
		got, _, ok := address(in)
		if ok != (want != "") || got != want {
			t.Errorf("%q: %q %v", in, got, ok)
		}
	}
}

// States move forward only, whatever follows whatever.
func TestStatesMoveForward(t *testing.T) {
	t.Parallel()
	rank := map[State]int{Planned: 0, Deferred: 0, Claimed: 1, InDoubt: 2, Accepted: 3, Refused: 4, Bounced: 4, NoAddress: 4, Held: 4, Erased: 4}
	for from := range stateNames {
		for to := range stateNames {
			if !from.may(to) {
				continue
			}
			if rank[to] <= rank[from] && to != Deferred {
				t.Errorf("%s moves to %s", from, to)
			}
			if to == Deferred && from > Deferred {
				t.Errorf("%s moves to %s", from, to)
			}
		}
	}
	for final := range map[State]bool{Refused: true, Bounced: true, NoAddress: true, Held: true, Erased: true} {
		for to := range stateNames {
			if final.may(to) {
				t.Errorf("%s is final and moves to %s", final, to)
			}
		}
	}
}

// FuzzReadBounce holds that mail from strangers is read in bounded memory, and that what is
// kept of it is an id and a status.
func FuzzReadBounce(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <aaaaaaaaaaaaaaaaaaaaaaaaaa@x.example>\r\n\r\n--b--\r\n"))
	f.Add([]byte("Content-Type: text/plain\n\nhello"))
	f.Add([]byte("Content-Type: multipart/report; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\nContent-Type: message/delivery-status\n\nQWN0aW9u\n--b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ReadBounce(b)
		if err != nil {
			return
		}
		for _, r := range list {
			if len(r.ID) != 16 || r.Status != "" && r.Status != status.FindString(r.Status) {
				t.Errorf("%+v", r)
			}
		}
		if len(list) == 0 || len(list) > maxReports {
			t.Error(fmt.Sprint(len(list), " reports"))
		}
	})
}
