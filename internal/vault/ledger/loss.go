package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/identity"
)

// ErrNoLoss is returned for a log that this server did not find shorter.
var ErrNoLoss = fault.New(fault.Conflict, "this server did not find that entries of this log are lost: `cloakroom log list` shows the state of every log; ask the server that says shorter")

// ErrLossMoved is returned where a log lost other entries than those that were accepted.
var ErrLossMoved = fault.New(fault.Conflict, "the log has another length than when its loss was accepted: look at `cloakroom log list`, and ask again")

// Loss is what a log lost, as far as a server knows.
type Loss struct {
	Size uint64 // entries that the log has
	Seen uint64 // entries that the server has seen in it
}

// Lost returns what this server knows a log to have lost.
func (l *Ledger) Lost(brand record.BrandID) (Loss, error) {
	if f, ok := l.fault(brand); ok && f.Trouble == Shorter {
		return Loss{f.Size, f.Seen}, nil
	}
	return Loss{}, ErrNoLoss
}

// AcceptLoss begins a new epoch of a log that this server found shorter, over the entries
// that are left. Its first entry names the newest checkpoint that the server had kept, and
// who accepted the loss. It returns the number of the epoch, and the files in which what was
// kept is put aside as evidence. This server serves the log again after a restart: what it
// has in memory is of entries that are lost.
func (l *Ledger) AcceptLoss(ctx context.Context, who identity.Who, loss Loss, b Beginning) (epoch uint64, files []string, err error) {
	now, err := l.Lost(who.Brand)
	if err != nil {
		return 0, nil, err
	}
	if now != loss {
		return 0, nil, ErrLossMoved
	}
	for _, k := range l.opts.Seen.of(who.Brand) {
		b.Kept = append(b.Kept, k.text)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, nil, ErrClosed
	}
	c := newChain(l, who.Brand)
	c.accepts = true
	l.wg.Go(c.run)
	l.mu.Unlock()
	select {
	case <-c.ready:
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("reading the log of brand %d: %w", who.Brand, ctx.Err())
	}
	if c.failed != nil {
		return 0, nil, c.failed
	}
	if c.proj.size != loss.Size {
		return 0, nil, ErrLossMoved
	}
	req, err := c.beginning(ctx, who, b)
	if err == nil {
		err = c.await(ctx, req)
	}
	if err != nil {
		return 0, nil, err
	}
	// A server that dies here finds when it starts that its log has parted, and follows when
	// its operator confirms.
	files, err = l.opts.Seen.Retire(who.Brand)
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.faults[who.Brand]
	if f.Trouble = Followed; err != nil {
		f.Trouble = Parted
		f.Err = errors.Join(&partedError{loss.Size, loss.Seen}, err)
	}
	l.faults[who.Brand] = f
	return req.entry.Detail.(entry.EpochBegun).Epoch, files, err
}
