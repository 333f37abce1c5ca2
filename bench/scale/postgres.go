package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresSettings are those of a small dedicated server: durable as by default, with
// room for a load between two checkpoints.
var postgresSettings = []string{
	"shared_buffers=1GB", "max_wal_size=4GB", "checkpoint_timeout=15min", "maintenance_work_mem=256MB",
	"listen_addresses=127.0.0.1", "max_connections=64", "wal_compression=lz4",
}

// server is a PostgreSQL of our own.
type server struct {
	url  string
	cmd  *exec.Cmd
	done chan error
	dir  string
}

// startPostgres makes and starts a PostgreSQL in a directory: as the user postgres
// where we are root, which initdb refuses.
func startPostgres(ctx context.Context, dir string) (*server, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root: %w: make the user postgres, or give -database", err)
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "cloakroom", "-A", "trust", "-E", "UTF8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr, initdb.Stderr = dir, attr, os.Stderr
	if err := initdb.Run(); err != nil {
		return nil, fmt.Errorf("making a PostgreSQL: %w", err)
	}
	args := []string{"-D", data, "-p", strconv.Itoa(port), "-k", dir}
	for _, s := range postgresSettings {
		args = append(args, "-c", s)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{
		url:  fmt.Sprintf("postgres://cloakroom@127.0.0.1:%d/postgres?sslmode=disable", port),
		cmd:  exec.Command(filepath.Join(bin, "postgres"), args...),
		done: make(chan error, 1), dir: dir,
	}
	// A process group of its own: an interrupt from the terminal is ours, and we stop
	// the server after those who use it.
	own := *attr
	own.Setpgid = true
	s.cmd.Dir, s.cmd.SysProcAttr, s.cmd.Stdout, s.cmd.Stderr = dir, &own, log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	for {
		c, err := pgx.Connect(ctx, s.url)
		if err == nil {
			return s, c.Close(ctx)
		}
		select {
		case err := <-s.done:
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("PostgreSQL ended at start: %w: %s", err, text)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), s.stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil { // fast shutdown
		return fmt.Errorf("stopping PostgreSQL: %w", err)
	}
	<-s.done
	return nil
}

// postgresBinaries finds initdb: on the path, else the newest where Debian puts it.
func postgresBinaries() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no PostgreSQL here: install it, or give -database")
	}
	slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// database is one made for one size.
type database struct {
	admin *pgx.Conn
	url   string // of the new database
	name  string
	local bool // its processes can be seen from here
}

func makeDatabase(ctx context.Context, admin string) (*database, error) {
	c, err := pgx.Connect(ctx, admin)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	d := &database{admin: c, name: fmt.Sprintf("cloakroom_scale_%d", os.Getpid())}
	if _, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)"); err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "CREATE DATABASE "+d.name); err != nil {
		return nil, err
	}
	cfg := c.Config()
	d.url = fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", cfg.User, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), d.name)
	if cfg.Password != "" {
		d.url = fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cfg.User, cfg.Password, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), d.name)
	}
	var pid int
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return nil, err
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	d.local = len(name) >= 8 && string(name[:8]) == "postgres"
	return d, nil
}

func (d *database) drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := d.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)")
	return errors.Join(err, d.admin.Close(ctx))
}

// backends are the processes that serve the new database.
func (d *database) backends(ctx context.Context) (pids []int) {
	rows, err := d.admin.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = $1", d.name)
	if err != nil {
		return nil
	}
	pids, _ = pgx.CollectRows(rows, pgx.RowTo[int])
	return pids
}

// tableSize is what one table takes, with its indexes and its long values.
type tableSize struct {
	Table string `json:"table"`
	Bytes int64  `json:"bytes"`
	Index int64  `json:"index_bytes"`
}

func (d *database) sizes(ctx context.Context) ([]tableSize, error) {
	c, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	rows, err := c.Query(ctx, `SELECT relname::text, pg_total_relation_size(oid), pg_indexes_size(oid) FROM pg_class
		WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 2 DESC`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[tableSize])
}
