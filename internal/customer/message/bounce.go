package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

// Report is what a bounce says of one mail: nothing else of it is kept.
type Report struct {
	ID     []byte // of the mail, from its Message-ID
	Status string // RFC 3463, such as 5.1.1
}

// ErrBounce is returned for a mail that is no report of a delivery.
var ErrBounce = fault.New(fault.Invalid, "this mail is no delivery status notification (RFC 3464) about a mail that was not delivered")

// Limits of a bounce. It comes from strangers.
const (
	maxParts   = 10
	maxBounce  = 1 << 20
	maxReports = 20
)

var (
	status    = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}`)
	messageID = regexp.MustCompile(`(?i)<([a-z2-7]{26})@[a-z0-9.-]{1,253}>`)
)

// ReadBounce reads a delivery status notification. A mail that is delayed has not failed,
// and is nothing.
func ReadBounce(b []byte) ([]Report, error) {
	if len(b) > maxBounce {
		return nil, ErrBounce
	}
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	head, err := r.ReadMIMEHeader()
	if err != nil {
		return nil, ErrBounce
	}
	kind, params, err := mime.ParseMediaType(head.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["boundary"] == "" {
		return nil, ErrBounce
	}
	failed, code := false, ""
	var ids [][]byte
	parts := multipart.NewReader(r.R, params["boundary"])
	for range maxParts {
		p, err := parts.NextRawPart()
		if err != nil {
			break
		}
		var body io.Reader = p
		switch strings.ToLower(p.Header.Get("Content-Transfer-Encoding")) {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, p)
		case "quoted-printable":
			body = quotedprintable.NewReader(p)
		}
		text, err := io.ReadAll(io.LimitReader(body, maxBounce))
		if err != nil && len(text) == 0 {
			continue
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		switch kind {
		case "message/delivery-status", "message/global-delivery-status":
			f, c := fate(text)
			failed = failed || f
			if code == "" || f {
				code = c
			}
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
			if id := returnedID(text); id != nil && len(ids) < maxReports {
				ids = append(ids, id)
			}
		}
	}
	if !failed || len(ids) == 0 {
		return nil, ErrBounce
	}
	var out []Report
	for _, id := range ids {
		out = append(out, Report{id, code})
	}
	return out, nil
}

// fate reads the fields of a delivery status.
func fate(text []byte) (failed bool, code string) {
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "action":
			failed = failed || strings.EqualFold(value, "failed")
		case "status":
			if s := status.FindString(value); s != "" && (code == "" || s[0] == '5') {
				code = s
			}
		}
	}
	return failed, code
}

// returnedID finds the Message-ID in the headers that came back.
func returnedID(text []byte) []byte {
	head, _, _ := bytes.Cut(text, []byte("\n\n"))
	unfolded := strings.NewReplacer("\n ", " ", "\n\t", " ").Replace("\n" + string(head))
	for line := range strings.Lines(unfolded) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "message-id") {
			continue
		}
		if m := messageID.FindStringSubmatch(value); m != nil {
			if id, err := midEncoding.DecodeString(strings.ToUpper(m[1])); err == nil && len(id) == 16 {
				return id
			}
		}
	}
	return nil
}
