package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// memory reads fields of /proc/PID/status, in bytes.
func memory(pid int, fields ...string) (sum int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		for _, f := range fields {
			if name == f {
				kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
				if err == nil {
					sum += kb << 10
				}
			}
		}
	}
	return sum
}

// process is a cloakroom that runs.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	out  bytes.Buffer
	errs tail
	peak int64 // VmHWM, read last before it ended
	mu   sync.Mutex
}

// tail keeps the end of what was written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 4096 {
		t.b = t.b[len(t.b)-4096:]
	}
	return len(p), nil
}

// String returns the end of what was written.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// sampleEvery is how often memory is read. The peak that /proc keeps misses nothing
// in between, but for what is allocated in the last moments of a process.
const sampleEvery = 50 * time.Millisecond

func (o *options) start(args ...string) (*process, error) {
	p := &process{cmd: exec.Command(o.binary, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = o.work, &p.out, &p.errs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting cloakroom: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	go func() {
		for {
			select {
			case <-p.done:
				return
			case <-time.After(sampleEvery):
				p.sample()
			}
		}
	}()
	return p, nil
}

func (p *process) sample() {
	m := memory(p.cmd.Process.Pid, "VmHWM")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peak = max(p.peak, m)
}

func (p *process) high() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// wait waits for the end, or ends the process with the context.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.cmd.Process.Kill()
		<-p.done
		return ctx.Err()
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path)+" "+p.cmd.Args[1], p.err, p.errs.String())
	}
	return nil
}

// stop ends a server as its operator would.
func (p *process) stop() error {
	p.sample()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(time.Minute):
		p.cmd.Process.Kill()
		return errors.New("serve did not end within a minute of SIGTERM")
	}
}

// takes reports whether a verb has a flag.
func (o *options) takes(ctx context.Context, verb, flag string) bool {
	out, _ := exec.CommandContext(ctx, o.binary, verb, "--help").CombinedOutput()
	return bytes.Contains(out, []byte(flag+"=")) || bytes.Contains(out, []byte(flag+" "))
}

// watch keeps the peak of memory of the database's processes that is their own: what
// they share is counted by the server's settings.
type watch struct {
	mu    sync.Mutex
	one   int64 // the largest backend
	all   int64 // of all backends at one time
	count int
	stop  func()
}

func (d *database) watch() *watch {
	w := &watch{stop: func() {}}
	if d == nil || !d.local {
		return w
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			var one, all int64
			pids := d.backends(ctx)
			for _, pid := range pids {
				m := memory(pid, "RssAnon")
				one, all = max(one, m), all+m
			}
			w.mu.Lock()
			w.one, w.all, w.count = max(w.one, one), max(w.all, all), max(w.count, len(pids))
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(4 * sampleEvery):
			}
		}
	}()
	return w
}
