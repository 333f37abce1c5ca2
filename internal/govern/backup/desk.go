package backup

import (
	"context"
	"strings"
	"sync"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/keys"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// ErrRunning is returned while another backup of this server runs.
var ErrRunning = fault.New(fault.Conflict, "a backup is already running: wait for it, or cancel it")

// The states of a backup.
const (
	stateNone    = "none"
	stateRunning = "running"
	stateDone    = "done"
	stateFailed  = "failed"
)

// Desk makes backups of an open vault, one at a time, on the machine of the vault.
// Every one is logged in the group's log before it begins, with its recipients: a
// backup to somebody unknown is how a vault would be carried away.
type Desk struct {
	v      *Source
	mu     sync.Mutex
	now    api.Backup
	cancel context.CancelFunc
	done   chan struct{}
}

// NewDesk returns the desk of a vault.
func NewDesk(v *Source) *Desk { return &Desk{v: v, now: api.Backup{State: stateNone}} }

// Start begins a backup and returns at once; Status says how far it is. It goes on
// when the request that began it ends.
func (d *Desk) Start(ctx context.Context, c identity.Caller, in api.BackupRequest) (*api.Backup, error) {
	req := Request{Dir: in.Dir, Recipients: in.Recipients, WithRootKey: in.WithRootKey}
	for _, p := range in.Parts {
		req.Parts = append(req.Parts, db.Part(p))
	}
	if _, err := req.check(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now.State == stateRunning {
		return nil, ErrRunning
	}
	detail := entry.BackedUp{Parts: strings.Join(in.Parts, ","), RootKey: in.WithRootKey, Recipients: in.Recipients}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	held, hold, err := d.v.Ring.HoldRoot(run, keys.ForBackup)
	if err != nil {
		cancel()
		return nil, err
	}
	receipt, err := d.v.Admin.Announce(ctx, c, detail)
	if err != nil {
		hold.Release(ctx)
		cancel()
		return nil, err
	}
	d.now = api.Backup{State: stateRunning, Dir: req.Dir, Entry: receipt.Entry()}
	done := make(chan struct{})
	d.cancel, d.done = cancel, done
	go func() {
		defer close(done)
		defer cancel()
		m, err := write(held, hold, d.v, req, d.progress)
		hold.Release(run)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err != nil {
			d.now.State, d.now.Error = stateFailed, err.Error()
			return
		}
		d.now.State, d.now.ID, d.now.Made = stateDone, m.Backup, m.Made
		for _, f := range m.Parts {
			d.now.Parts = append(d.now.Parts, api.BackupPart{Part: string(f.Part), File: f.Name, Bytes: f.Bytes, Rows: f.Rows})
		}
	}()
	now := d.now
	return &now, nil
}

func (d *Desk) progress(p Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now.Part != p.Part || d.now.Table != p.Table {
		d.now.Total += d.now.Rows
	}
	d.now.Part, d.now.Table, d.now.Rows, d.now.Bytes = p.Part, p.Table, p.Rows, p.Bytes
}

// Status returns the backup that runs, or the last one.
func (d *Desk) Status() *api.Backup {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now
	return &now
}

// Stop cancels what runs and waits until it has cleared up.
func (d *Desk) Stop() {
	d.mu.Lock()
	cancel, done := d.cancel, d.done
	d.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}
