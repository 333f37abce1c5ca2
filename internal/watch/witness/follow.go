package witness

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
)

const (
	every    = 5 * time.Second
	fresh    = time.Minute // after which a checkpoint is cosigned again
	patience = time.Minute // after which a witness that did not sign is an alarm
)

// ErrNotFresh is returned where a fresh cosignature is demanded and a witness gave none.
var ErrNotFresh = fault.New(fault.Unavailable, "a cosignature is demanded, and a witness did not give one: `cloakroom witness status` says why")

// Fresh is Cosign for what demands a cosignature of every witness.
func (s *Set) Fresh(ctx context.Context, brand record.BrandID, signed []byte) ([]byte, error) {
	if len(s.list) == 0 {
		return nil, ErrNotFresh
	}
	out, err := s.Cosign(ctx, brand, signed)
	if err != nil {
		return nil, errors.Join(ErrNotFresh, err)
	}
	return out, nil
}

// Run has the logs cosigned until the context ends. A witness that has not signed the
// newest state of a log for a minute is handed to late, once until it signs again.
func (s *Set) Run(ctx context.Context, log *slog.Logger, brands func(context.Context) ([]record.BrandID, error), late func(State)) error {
	if len(s.list) == 0 {
		return nil
	}
	behind, raised := map[place]time.Time{}, map[place]bool{}
	return follow.NewLoop(every).Run(ctx, log, "logs are not cosigned", func(ctx context.Context) error {
		list, err := brands(ctx)
		if err != nil {
			return err
		}
		var failed error
		for _, brand := range list {
			failed = errors.Join(failed, s.round(ctx, brand))
			for _, x := range s.States(brand) {
				p := place{x.Witness, brand}
				since, is := behind[p]
				switch {
				case x.Err == nil:
					delete(behind, p)
					delete(raised, p)
				case !is:
					behind[p] = time.Now()
				case time.Since(since) > patience && !raised[p]:
					raised[p] = true
					late(x)
				}
			}
		}
		return failed
	})
}

// round has one log cosigned, where it moved or was cosigned a while ago.
func (s *Set) round(ctx context.Context, brand record.BrandID) error {
	cp, err := s.Logs.Checkpoint(ctx, brand)
	if err != nil {
		return err
	}
	same := true
	for _, x := range s.States(brand) {
		same = same && x.Err == nil && signedSame(x.Signed, cp) && time.Since(x.At) < fresh
	}
	if same {
		return nil
	}
	_, err = s.Cosign(ctx, brand, cp)
	return err
}

// signedSame reports whether a cosigned checkpoint is of the same text as a checkpoint.
func signedSame(signed, cp []byte) bool {
	a, _, _ := strings.Cut(string(signed), "\n\n")
	b, _, _ := strings.Cut(string(cp), "\n\n")
	return a == b
}
