package dbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startWithin bounds how long a server may take to answer: it recovers on a slow disk.
const startWithin = 60 * time.Second

// ServerOptions configure a PostgreSQL server of a test's own.
type ServerOptions struct {
	// Data and WAL are directories for its files and its write-ahead log, such as a
	// SmallDisk. Empty means a temporary directory, and the data directory.
	Data, WAL string
	// Settings are lines such as "max_connections=20".
	Settings []string
}

// Instance is a PostgreSQL server that a test may stop, break and start again. It ends
// with the test.
type Instance struct {
	t    testing.TB
	bin  string
	data string
	port int
	args []string
	cred *syscall.Credential
	log  bytes.Buffer // of initdb and the server; read it only while neither runs
	cmd  *exec.Cmd
	done chan struct{} // closed when the process ended
}

// Server starts a PostgreSQL server on a free port. Without PostgreSQL's programs it
// skips the test and says how to install them; in CI it fails.
func Server(t testing.TB, o ServerOptions) *Instance {
	t.Helper()
	s := &Instance{t: t, bin: programs(t)}
	if os.Getuid() == 0 { // the server refuses to run as root
		s.cred = unprivileged(t)
	}
	if o.Data == "" {
		o.Data = Folder(t)
	}
	s.data = filepath.Join(o.Data, "data")
	init := []string{"-D", s.data, "-U", "cloakroom", "-A", "trust", "--wal-segsize=1", "--no-sync", "--no-locale", "-E", "UTF8"}
	for _, dir := range []string{o.Data, o.WAL} {
		if dir == "" {
			continue
		}
		if s.cred != nil {
			if err := os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if o.WAL != "" {
		init = append(init, "--waldir", filepath.Join(o.WAL, "wal"))
	}
	cmd := s.command(o.Data, "initdb", init...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, s.log.String())
	}
	s.port = freePort(t)
	// Shared memory in files of its own, so that a full test disk fills nothing else.
	settings := []string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "dynamic_shared_memory_type=mmap",
		"shared_buffers=16MB", "min_wal_size=2MB", "max_wal_size=4MB", "port=" + strconv.Itoa(s.port)}
	s.args = []string{"-D", s.data}
	for _, set := range append(settings, o.Settings...) {
		s.args = append(s.args, "-c", set)
	}
	s.begin()
	return s
}

// begin starts the server for the first time, and ends it with the test.
func (s *Instance) begin() {
	s.t.Helper()
	s.t.Cleanup(func() {
		s.Stop("immediate")
		if s.t.Failed() {
			tail := s.log.Bytes()
			s.t.Logf("PostgreSQL's log ends:\n%s", tail[max(0, len(tail)-4000):])
		}
	})
	s.Start()
}

// freePort returns a port that nobody listens at. It is none that a connection gets by
// itself: other tests make many, also while the server that has the port is stopped.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		port := 15000 + rand.IntN(15000)
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		l.Close()
		return port
	}
}

// programs returns the folder of PostgreSQL's programs.
func programs(t testing.TB) string {
	t.Helper()
	// Debian's own folder first: what stands in PATH can be a link that only root follows.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1])
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p)
	}
	const how = "PostgreSQL's programs are not installed: apt-get install postgresql, or put the folder of initdb into PATH"
	if os.Getenv("CI") != "" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}

// unprivileged returns an account that is not root and has an entry in /etc/passwd,
// which the server asks for.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("no account that is not root: useradd --system postgres")
	return nil
}

// Folder makes a temporary directory that another account can reach, which those of
// testing are not.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloakroom-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *Instance) command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &s.log, &s.log
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGDATABASE=", "PGPASSWORD=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	return cmd
}

// DSN is its connection string, to the database postgres.
func (s *Instance) DSN() string {
	return fmt.Sprintf("postgres://cloakroom@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Start starts the server where it does not run, and waits until it answers.
func (s *Instance) Start() {
	s.t.Helper()
	starts := 0
	for deadline := time.Now().Add(startWithin); ; {
		if !s.Running() {
			if starts++; starts > 3 { // one that was about to end may be met running
				s.t.Fatalf("PostgreSQL ended:\n%s", s.log.String())
			}
			s.cmd = s.command(s.data, "postgres", s.args...)
			if err := s.cmd.Start(); err != nil {
				s.t.Fatal(err)
			}
			done, cmd := make(chan struct{}), s.cmd
			s.done = done
			go func() { cmd.Wait(); close(done) }()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c, err := pgx.Connect(ctx, s.DSN())
		if err == nil {
			c.Close(ctx)
		}
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("PostgreSQL does not answer: %v", err)
		}
		select {
		case <-s.done:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Replica makes a streaming replica of the server and starts it.
func (s *Instance) Replica() *Instance {
	s.t.Helper()
	r := &Instance{t: s.t, bin: s.bin, cred: s.cred, port: freePort(s.t)}
	dir := Folder(s.t)
	if r.cred != nil {
		if err := os.Chown(dir, int(r.cred.Uid), int(r.cred.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	r.data = filepath.Join(dir, "data")
	if err := r.command(dir, "pg_basebackup", "-D", r.data, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", s.DSN()).Run(); err != nil {
		s.t.Fatalf("pg_basebackup: %v\n%s", err, r.log.String())
	}
	for _, a := range s.args {
		switch a {
		case s.data:
			a = r.data
		case "port=" + strconv.Itoa(s.port):
			a = "port=" + strconv.Itoa(r.port)
		}
		r.args = append(r.args, a)
	}
	r.begin()
	return r
}

// Port is where it listens on 127.0.0.1.
func (s *Instance) Port() int { return s.port }

// Running reports whether the server's process is there.
func (s *Instance) Running() bool {
	if s.done == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Stop ends the server: "immediate" as a power cut does, "fast" with its connections.
func (s *Instance) Stop(mode string) {
	if !s.Running() {
		return
	}
	sig := map[string]os.Signal{"immediate": syscall.SIGQUIT, "fast": syscall.SIGINT}[mode]
	if sig == nil {
		s.t.Fatalf("no such mode: %s", mode)
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(startWithin):
		s.cmd.Process.Kill()
		<-s.done
	}
}

// Admin runs one statement in the database postgres.
func (s *Instance) Admin(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql)
	return err
}

// Disk is a file system of a few megabytes.
type Disk struct {
	Dir string
	t   testing.TB
}

// SmallDisk mounts a file system of so many bytes. It needs root: without, it skips the
// test, and in CI fails.
func SmallDisk(t testing.TB, bytes int) *Disk {
	t.Helper()
	dir := Folder(t)
	if err := mountSmall(dir, bytes); err != nil {
		how := fmt.Sprintf("no small disk can be mounted (%v): run as root, with the right to mount", err)
		if os.Getenv("CI") != "" && os.Getuid() == 0 {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	t.Cleanup(func() { unmount(dir) })
	return &Disk{dir, t}
}

// Fill writes a file until nothing more fits.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir, "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); ; {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

// Free takes the file away.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.Dir, "filler")); err != nil {
		d.t.Fatal(err)
	}
}
