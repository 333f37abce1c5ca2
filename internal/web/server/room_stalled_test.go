package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/web/server"
)

// await polls for a condition.
func (h *house) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !cond() {
		select {
		case <-late:
			t.Fatalf("it never came that %s", what)
		case <-tick.C:
		}
	}
}

// stall opens an upload of a key's and sends n bytes of it. It holds what it can until
// the test ends. It returns when the server has read them all.
func (h *house) stall(t *testing.T, key string, chunked bool, n int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	h.must(err)
	t.Cleanup(func() { conn.Close() })
	length := fmt.Sprintf("Content-Length: %d", server.MaxBulkBody)
	if chunked {
		length = "Transfer-Encoding: chunked"
	}
	fmt.Fprintf(conn, "PUT /v1/brands/gucci/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n%s\r\n\r\n", key, length)
	// The server asks for the body when it begins to read it.
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("the upload did not begin: %v, %v", resp, err)
	}
	body := strings.Repeat(" ", n)
	if chunked {
		body = fmt.Sprintf("%x\r\n%s\r\n", n, body)
	}
	_, err = io.WriteString(conn, body)
	h.must(err)
}

// Uploads of one key that stand still, however many, keep no large write of another's
// off, within the time that any request has.
func TestStalledUploadsKeepNobodyOff(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]int{"after a byte": 1, "after the first of the room": server.MaxBody + 10} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "")
			_, c := h.newKey(t, "analyst") // who may write nothing
			for i := range 40 {
				h.stall(t, c.Key, i%2 == 0, sent)
			}
			if sent > server.MaxBody {
				h.await(t, "the stalled uploads hold all that their principal may", func() bool {
					return h.server.OneShareIsTaken()
				})
			}
			var wg sync.WaitGroup
			for n := range 2 {
				wg.Go(func() {
					large := make([]api.Fields, 0, 4000)
					for i := range cap(large) {
						large = append(large, api.Fields{"external_id": fmt.Sprintf("L-%d-%d", n, i), "attr.note": strings.Repeat("y", 400)})
					}
					if _, err := h.as["application"].Put(t.Context(), "gucci", api.PutRequest{Customers: large}); err != nil && !isType(err, api.TypeConflict) {
						t.Errorf("a large write beside stalled uploads: %v", err)
					}
				})
			}
			wg.Wait()
		})
	}
}
