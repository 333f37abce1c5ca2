package dbtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
)

// CutCommits returns a connection string to the same database by way of a proxy. Where
// cut says so, a COMMIT reaches the server, its answer is swallowed, and the connection
// ends: the client cannot know whether it took effect, and it did.
func CutCommits(t testing.TB, dsn string, cut func() bool) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go forward(c, fmt.Sprintf("%s:%d", cfg.Host, cfg.Port), cut)
		}
	}()
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password='%s' dbname=%s sslmode=disable", l.Addr().(*net.TCPAddr).Port, cfg.User, cfg.Password, cfg.Database)
}

func forward(client net.Conn, to string, cut func() bool) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	swallow := make(chan struct{})
	go func() {
		defer client.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			select {
			case <-swallow: // the answer to COMMIT, or the end
				return
			default:
			}
			if _, werr := client.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	var seen commits
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		if seen.in(b[:n]) && cut() {
			close(swallow)
			server.Write(b[:n])
			io.Copy(io.Discard, client) // until the other half has closed it
			return
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
	}
}

// commits finds COMMIT in what one connection sends: as a simple query, or as a prepared
// statement that is bound.
type commits struct{ prepared *regexp.Regexp }

func (c *commits) in(b []byte) bool {
	if m := regexp.MustCompile(`(?s)P.{4}([[:word:]]+)\x00commit\x00`).FindSubmatch(b); m != nil {
		c.prepared = regexp.MustCompile(`(?s)B.{4}\x00` + string(m[1]) + `\x00`)
	}
	return bytes.Contains(b, []byte("Q\x00\x00\x00\x0bcommit\x00")) || c.prepared != nil && c.prepared.Match(b)
}
