package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
	"github.com/cloakroom/cloakroom/internal/watch/notify"
)

// pager is a receiver that remembers which alarms it was notified of.
type pager struct {
	url string

	mu  sync.Mutex
	got []api.Alarm
}

func newPager(t *testing.T) *pager {
	p := new(pager)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m := struct {
			Type string    `json:"type"`
			Data api.Alarm `json:"data"`
		}{}
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("a page that is no JSON: %v", err)
		}
		if m.Type == notify.TypeRaised && m.Data.Rule != "second-person" { // those are each about something else
			p.mu.Lock()
			p.got = append(p.got, m.Data)
			p.mu.Unlock()
		}
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

// pages are the alarms it was notified of, each with the earlier one that the page names.
func (p *pager) pages() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, a := range p.got {
		out = append(out, strings.TrimSpace(a.ID+" "+a.Earlier))
	}
	return strings.Join(out, ", ")
}

// A person who closed an alarm is notified when the same principal comes again on the
// same day, and so is a receiver that was added since. What only goes on floods nobody.
func TestAnAlarmThatComesAgainPages(t *testing.T) {
	t.Parallel()
	onEach(t, testAnAlarmThatComesAgainPages)
}

func testAnAlarmThatComesAgainPages(t *testing.T, h *house) {
	ctx := t.Context()
	h.watch(t)
	responder, agent := h.as["incident-responder"], h.as["support-agent"]
	alarms := func(rest ...string) string {
		return client.Path(append([]string{"brands", "gucci", "alarms"}, rest...)...)
	}
	first, second := newPager(t), newPager(t)
	receivers := client.Path("brands", "gucci", "receivers")
	h.must(h.Do(ctx, "POST", receivers, api.ReceiverRequest{Name: "first", URL: first.url}, nil))
	h.must(responder.Do(ctx, "POST", client.Path("brands", "gucci", "canaries"), api.CanaryRequest{Count: 1, Now: true}, nil))
	var decoys []api.Canary
	h.must(responder.Do(ctx, "GET", client.Path("brands", "gucci", "canaries"), nil, &decoys))

	hits := 0
	hit := func() (id string) {
		t.Helper()
		d, err := agent.Reveal(ctx, "gucci", api.RevealRequest{Tokens: []string{decoys[0].Token}, Fields: []string{"country"}, Purpose: "customer-support", Ticket: "CASE-1"})
		h.must(err)
		hits++
		id = fmt.Sprint(d.Receipt.Entry, "-canary")
		eventually(t, id+" is stored", func() bool { return responder.Do(ctx, "GET", alarms(id), nil, nil) == nil })
		return id
	}
	paged := func(who string, p *pager, want ...string) {
		t.Helper()
		eventually(t, who+" was notified of "+strings.Join(want, ", "), func() bool { return p.pages() == strings.Join(want, ", ") })
	}
	show := func(id string) (a api.Alarm) {
		h.must(responder.Do(ctx, "GET", alarms(id), nil, &a))
		return a
	}
	closeIt := func(id string) {
		h.must(responder.Do(ctx, "POST", alarms(id, "close"), api.CloseRequest{Reason: "mistaken"}, nil))
	}

	one := hit()
	paged("the first", first, one)
	two, three := hit(), hit()
	if a := show(one); a.Repeat || a.Repeats != 2 || a.Earlier != "" {
		t.Errorf("the alarm that goes on: %+v", a)
	}
	if a := show(three); !a.Repeat || a.Earlier != one {
		t.Errorf("an alarm that repeats an open one: %+v", a)
	}

	closeIt(one)
	four := hit()
	paged("the first", first, one, four+" "+one)
	if a := show(four); a.Repeat || a.Earlier != one {
		t.Errorf("an alarm that came again: %+v", a)
	}
	if a := show(one); a.Repeats != 2 {
		t.Errorf("a closed alarm still counts: %+v", a)
	}

	// The one that is closed may be one that nobody was notified of.
	five := hit()
	closeIt(five)
	six := hit()
	paged("the first", first, one, four+" "+one, six+" "+five)

	// An old one that is closed late changes nothing: a newer one is open.
	closeIt(two)
	h.must(h.Do(ctx, "POST", receivers, api.ReceiverRequest{Name: "second", URL: second.url}, nil))
	seven := hit()
	hit()
	paged("the second", second, seven+" "+six)
	closeIt(seven)
	eight := hit()
	paged("the second", second, seven+" "+six, eight+" "+seven)
	paged("the first", first, one, four+" "+one, six+" "+five, eight+" "+seven)
	if a := show(six); a.Repeats != 2 {
		t.Errorf("%+v", a)
	}
}
