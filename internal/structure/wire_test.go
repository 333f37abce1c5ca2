package structure

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// asked is one statement as it went to the database, with its arguments.
type asked struct {
	sql     string
	args    [][]byte
	formats []int16
}

// ints returns the numbers of the n-th argument, counted from 1: one, or those of an
// array.
func (a *asked) ints(n int) ([]int64, error) {
	if n < 1 || n > len(a.args) {
		return nil, fmt.Errorf("there is no argument $%d", n)
	}
	arg, format := a.args[n-1], int16(0)
	switch len(a.formats) {
	case 0:
	case 1:
		format = a.formats[0]
	default:
		format = a.formats[n-1]
	}
	if format == 0 {
		var out []int64
		for s := range strings.SplitSeq(strings.Trim(string(arg), "{}"), ",") {
			v, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("$%d is not a number", n)
			}
			out = append(out, v)
		}
		return out, nil
	}
	if v, ok := binaryInt(arg); ok {
		return []int64{v}, nil
	}
	return binaryInts(arg, n)
}

func binaryInt(b []byte) (int64, bool) {
	switch len(b) {
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b))), true
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b))), true
	case 8:
		return int64(binary.BigEndian.Uint64(b)), true
	}
	return 0, false
}

// binaryInts reads an array of one dimension: dimensions, flags, type, length, lower
// bound, and each element after its length.
func binaryInts(b []byte, n int) ([]int64, error) {
	bad := fmt.Errorf("$%d is not a number nor an array of numbers", n)
	if len(b) < 20 || binary.BigEndian.Uint32(b) != 1 {
		return nil, bad
	}
	var out []int64
	for b = b[20:]; len(b) >= 4; {
		size := int(binary.BigEndian.Uint32(b))
		if b = b[4:]; size > len(b) {
			return nil, bad
		}
		v, ok := binaryInt(b[:size])
		if !ok {
			return nil, bad
		}
		out, b = append(out, v), b[size:]
	}
	return out, nil
}

// wire stands between a vault and PostgreSQL, passes everything on, and writes down
// the statements of each transaction: what really ran, however the code came to it.
type wire struct {
	mu   sync.Mutex
	seen [][]asked
}

// listen returns a wire, and the connection string that leads through it.
func listen(t *testing.T, dsn string) (*wire, string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	if strings.HasPrefix(cfg.Host, "/") {
		network, address = "unix", filepath.Join(cfg.Host, fmt.Sprintf(".s.PGSQL.%d", cfg.Port))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial(network, address)
			if err != nil {
				c.Close()
				continue
			}
			go func() {
				io.Copy(c, s)
				c.Close()
			}()
			go func() {
				h := &held{from: c, to: s}
				w.read(pgproto3.NewBackend(h, nil))
				h.pass()
				s.Close()
			}()
		}
	}()
	return w, fmt.Sprintf("%s host=127.0.0.1 port=%d", dsn, l.Addr().(*net.TCPAddr).Port)
}

// held passes on what was read when more is asked for: by then what it says is written
// down. So nobody has an answer to what is not written down yet.
type held struct {
	from    io.Reader
	to      io.Writer
	pending []byte
}

func (h *held) pass() error {
	_, err := h.to.Write(h.pending)
	h.pending = h.pending[:0]
	return err
}

// Read implements io.Reader.
func (h *held) Read(p []byte) (int, error) {
	if err := h.pass(); err != nil {
		return 0, err
	}
	n, err := h.from.Read(p)
	h.pending = append(h.pending, p[:n]...)
	return n, err
}

// read follows one connection. A transaction is what stands between BEGIN and COMMIT,
// else what stands before a Sync.
func (w *wire) read(b *pgproto3.Backend) {
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	prepared := map[string]string{}
	var now []asked
	open := false
	end := func() {
		if len(now) > 0 {
			w.mu.Lock()
			w.seen = append(w.seen, now)
			w.mu.Unlock()
		}
		now, open = nil, false
	}
	add := func(a asked) {
		word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(a.sql)), " ")
		switch strings.TrimRight(word, ";") {
		case "begin", "start":
			end()
			open = true
		case "commit", "end", "rollback":
			end()
		case "savepoint", "release":
		default:
			now = append(now, a)
		}
	}
	for {
		m, err := b.Receive()
		if err != nil {
			end()
			return
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			prepared[m.Name] = m.Query
		case *pgproto3.Bind:
			a := asked{sql: prepared[m.PreparedStatement], formats: slices.Clone(m.ParameterFormatCodes)}
			for _, p := range m.Parameters {
				a.args = append(a.args, slices.Clone(p))
			}
			add(a)
		case *pgproto3.Query:
			for s := range strings.SplitSeq(m.String, ";") {
				if strings.TrimSpace(s) != "" {
					add(asked{sql: s})
				}
			}
			if !open {
				end()
			}
		case *pgproto3.Sync:
			if !open {
				end()
			}
		}
	}
}

// take returns the transactions since it was asked last.
func (w *wire) take() [][]asked {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.seen
	w.seen = nil
	return out
}
