package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/cloakroom/cloakroom/api"
)

// Exit codes of every verb.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3 // some rows were refused, or a part is done and the rest is not
	exitPending     = 5
	exitDenied      = 6
	exitBudget      = 7
	exitNotFound    = 8
	exitUnavailable = 9
	exitInterrupted = 130
)

// exitCodes explains them, for `help exit-codes`.
const exitCodes = `EXIT CODES
  0    done
  1    failed, for a reason that has no code of its own
  2    wrong command line; nothing was done
  3    partly done: rows of an import were refused, an act is logged and not finished,
       or its outcome is unknown
  4    a log holds what only a newer version understands
  5    pending: a second person has to approve it first
  6    denied: by the policy, a containment, or because the key is not accepted
  7    a budget is exhausted, or there is none
  8    not found: a brand, customer, alarm, entry ...
  9    unavailable: no server answers, or its log cannot be written
  130  interrupted

With --json, the error is an object on standard output, as the API answers it:
docs/errors.md.
`

// codes gives the types of the API's errors their exit codes.
var codes = map[string]int{
	api.TypePolicyDenied: exitDenied, api.TypeContained: exitDenied, api.TypeUnauthenticated: exitDenied, api.TypeUnknownPurpose: exitDenied, api.TypeOtherBrand: exitDenied,
	api.TypePending:         exitPending,
	api.TypeBudgetExhausted: exitBudget,
	api.TypeUnknownBrand:    exitNotFound, api.TypeUnknownToken: exitNotFound, api.TypeNotFound: exitNotFound,
	api.TypeLogUnavailable: exitUnavailable, api.TypeTimeout: exitUnavailable,
	api.TypePartlyDone: exitPartly, api.TypeOutcomeUnknown: exitPartly,
}

// The types of errors that no server answers.
const (
	typeUsage       = "usage"
	typeFailed      = "failed"
	typeInterrupted = "interrupted"
	typeUnreachable = "unreachable"
	typeRejected    = "rows-refused"
	typeIncomplete  = "log-incomplete"
)

// failed tells of an error, and returns the exit code for it.
func failed(ctx context.Context, std Streams, cmd *kong.Context, args []string, err error) int {
	code := exitFailed
	e := &api.Error{Type: typeFailed, Title: "Failed", Detail: err.Error()}
	var usage *usageError
	var rejected *rejectedError
	var answered *api.Error
	switch {
	case errors.As(err, &usage):
		code = exitUsage
		e.Type, e.Title, e.Hint = typeUsage, "Wrong command line", "cloakroom --help"
		at := cmd
		if parsed, ok := errors.AsType[*kong.ParseError](err); ok && parsed.Context.Selected() != nil {
			at = parsed.Context
		}
		if at != nil {
			e.Hint = "cloakroom " + words(at) + " --help"
		}
	case errors.Is(err, context.Canceled), ctx.Err() != nil: // whatever else broke by it
		code = exitInterrupted
		e.Type, e.Title, e.Detail = typeInterrupted, "Interrupted", "interrupted"
	case errors.As(err, &rejected):
		code = exitRejected
		e.Type, e.Title = typeRejected, "Rows refused"
	case errors.As(err, &answered):
		if code = codes[answered.Type]; code == 0 {
			code = exitFailed
		}
		copied := *answered
		e = &copied
	default:
		if _, ok := errors.AsType[*incompleteError](err); ok {
			code = exitIncomplete
			e.Type, e.Title = typeIncomplete, "Log incomplete"
		} else if text := unreachable(err); text != "" {
			code = exitUnavailable
			e.Type, e.Title, e.Detail = typeUnreachable, "Server unreachable", text
			err = errors.New(text)
		}
	}
	if wantsJSON(cmd, args) {
		out := json.NewEncoder(std.Out)
		out.SetEscapeHTML(false)
		out.Encode(e)
	}
	text := err.Error()
	if code == exitInterrupted {
		text = e.Detail
	}
	fmt.Fprintln(std.Err, "cloakroom:", text)
	if e.Hint != "" {
		fmt.Fprintln(std.Err, "Hint:", e.Hint)
	}
	if e.RequestID != "" {
		fmt.Fprintln(std.Err, "Request:", e.RequestID)
	}
	return code
}

// wantsJSON reports whether a command line asked for JSON, also one that was not understood.
func wantsJSON(cmd *kong.Context, args []string) bool {
	if cmd == nil {
		return slices.Contains(args, "--json")
	}
	for _, f := range cmd.Flags() {
		if f.Name == "json" {
			on, _ := cmd.FlagValue(f).(bool)
			return on
		}
	}
	return false
}

// words are those of a command, without its arguments.
func words(cmd *kong.Context) string {
	if n := cmd.Selected(); n != nil {
		return strings.TrimPrefix(path(n), "cloakroom ")
	}
	return cmd.Command()
}

// path is what is typed for a command.
func path(n *kong.Node) string {
	if n.Parent == nil {
		return n.Name
	}
	return path(n.Parent) + " " + n.Name
}

// unreachable says in plain words why no answer came; empty where something else failed.
func unreachable(err error) string {
	var asked *url.Error
	if !errors.As(err, &asked) {
		return ""
	}
	at := "the server"
	if u, perr := url.Parse(asked.URL); perr == nil && u.Host != "" && u.Host != "vault" {
		at = u.Scheme + "://" + u.Host
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return at + " speaks HTTP, not HTTPS: wrong port, or write http:// where it listens on this machine only"
	case strings.Contains(err.Error(), "malformed HTTP response"):
		return at + " does not speak HTTP: if it has a certificate, write https://"
	case errors.As(err, &unknown):
		return "the certificate of " + at + " is of an authority that this machine does not trust: add the authority to the machine, or name its file in SSL_CERT_FILE"
	case errors.As(err, &name):
		return "the certificate of " + at + " is for another name: write the address that stands in it"
	case errors.As(err, &invalid):
		return "the certificate of " + at + " is not valid now: renew it, or look at this machine's clock"
	case errors.As(err, &verify):
		return "the certificate of " + at + " is not accepted: " + verify.Err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at " + at + ": is the server running (cloakroom serve), and is the port right?"
	case errors.As(err, &dns):
		return "this machine does not know the name in " + at
	case errors.Is(err, os.ErrDeadlineExceeded), asked.Timeout():
		return at + " did not answer in time"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to " + at + " from this machine"
	}
	return "asking " + at + ": " + asked.Err.Error()
}

// serverURL reads the one form in which a server's address is written everywhere.
func serverURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return "", &usageError{"a server is written https://HOST:PORT, such as https://vault.example:7460; http:// on this machine only"}
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", &usageError{"http:// would send your key unencrypted over the network: write https://, which serve speaks with --tls-cert"}
	}
	return u.Scheme + "://" + u.Host, nil
}
