package notify

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/cloakroom/cloakroom/internal/watch/alarm"
)

// testNets is where the receivers of tests are.
var testNets = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func TestReceiversAreReachedInPublicOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, "::ffff:127.0.0.1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"10.1.2.3": false, "172.16.0.9": false, "192.168.1.1": false, "100.64.0.1": false, "fd00::1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "224.0.0.1": false, "255.255.255.255": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::1": false,
	} {
		if got := reaches(netip.MustParseAddr(text), nil); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "127.0.0.1": false} {
		if got := reaches(netip.MustParseAddr(text), []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}); got != want {
			t.Errorf("%s with 10.1.0.0/16 allowed: %v", text, got)
		}
	}
}

// The address that is dialled counts, whatever the name was.
func TestAReceiverOnThisMachineIsNotCalled(t *testing.T) {
	t.Parallel()
	called := make(chan struct{}, 2)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called <- struct{}{} }))
	defer s.Close()
	n := &notice{brand: "gucci", Notice: alarm.Notice{Alarm: &alarm.Stored{}}}
	for _, address := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		to := &webhook{newWebhookClient(func() []netip.Prefix { return nil }), address, nil}
		if _, err := to.deliver(t.Context(), n); err == nil || !strings.Contains(err.Error(), "--allow-receiver") {
			t.Errorf("a receiver on this machine: %v", err)
		}
	}
	if len(called) > 0 {
		t.Error("it was called")
	}
	to := &webhook{newWebhookClient(func() []netip.Prefix { return testNets }), s.URL, nil}
	if _, err := to.deliver(t.Context(), n); err != nil || len(called) != 1 {
		t.Errorf("an allowed one: %v", err)
	}
}
