package notify

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errInside is where a receiver is on this machine or in a private network: whoever may
// add receivers could otherwise have the vault call what only this machine reaches.
var errInside = errors.New("the receiver's address is on this machine or in a private network: start `cloakroom serve` with --allow-receiver and its network to send there")

// inside are the networks, beside those that netip knows, that are nobody's in public.
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), // shared address space, RFC 6598
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), // IPv4 within IPv6
}

// reaches reports whether alarms may be sent to an address.
func reaches(ip netip.Addr, allow []netip.Prefix) bool {
	ip = ip.Unmap().WithZone("")
	for _, p := range allow {
		if p.Contains(ip) {
			return true
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range inside {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// dialer connects to public addresses and to those that are allowed. The address is looked
// at when it is dialled, so that no name can stand for another one a moment later.
func dialer(allow func() []netip.Prefix) *net.Dialer {
	return &net.Dialer{Timeout: postTimeout, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("the dialled address: %w", err)
		}
		if !reaches(to.Addr(), allow()) {
			return errInside
		}
		return nil
	}}
}

func newWebhookClient(allow func() []netip.Prefix) *http.Client {
	return &http.Client{Timeout: postTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer(allow).DialContext, ForceAttemptHTTP2: true,
			MaxIdleConns: 100, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: postTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a signed alarm goes where it was meant to
		}}
}
