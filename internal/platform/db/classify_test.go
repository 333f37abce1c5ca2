package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestErrorsOfPostgreSQLAreClassified(t *testing.T) {
	t.Parallel()
	pg := func(severity, code string) error {
		return fmt.Errorf("running: %w", &pgconn.PgError{Severity: severity, SeverityUnlocalized: severity, Code: code})
	}
	for _, c := range []struct {
		err           error
		before, after error // what it is marked as before COMMIT and at it; nil for not at all
	}{
		{pg("ERROR", "40001"), errRetry, errRetry},
		{pg("ERROR", "40P01"), errRetry, errRetry},
		{pg("ERROR", "53100"), ErrUnavailable, ErrUnavailable}, // disk full
		{pg("ERROR", "25006"), ErrUnavailable, ErrUnavailable}, // read-only
		{pg("ERROR", "57014"), ErrUnavailable, ErrUnavailable}, // statement timeout
		{pg("ERROR", "55P03"), ErrUnavailable, ErrUnavailable}, // lock timeout
		{pg("ERROR", "58030"), ErrUnavailable, ErrUnavailable}, // input and output
		{pg("ERROR", "XX001"), ErrUnavailable, ErrUnavailable}, // damaged file
		{pg("ERROR", "42P01"), errNoTable, errNoTable},
		{pg("ERROR", "23505"), nil, nil},                          // the caller's matter
		{pg("ERROR", "25P02"), nil, nil},                          // a fault of our own program
		{pg("FATAL", "57P01"), ErrUnavailable, ErrOutcomeUnknown}, // shut down
		{pg("FATAL", "25P03"), ErrUnavailable, ErrOutcomeUnknown}, // idle in a transaction
		{pg("FATAL", "53300"), ErrUnavailable, ErrOutcomeUnknown}, // too many connections
		{pg("PANIC", "53100"), ErrUnavailable, ErrOutcomeUnknown}, // the log's disk is full
		{io.ErrUnexpectedEOF, ErrUnavailable, ErrOutcomeUnknown},  // lost
		{syscall.ECONNRESET, ErrUnavailable, ErrOutcomeUnknown},   // lost
		{&net.OpError{Err: syscall.EPIPE}, ErrUnavailable, ErrOutcomeUnknown},
		{context.DeadlineExceeded, context.DeadlineExceeded, ErrOutcomeUnknown},
		{context.Canceled, context.Canceled, ErrOutcomeUnknown},
	} {
		for at, got := range map[string]error{"before": pgErr(c.err), "at": pgCommitErr(c.err)} {
			want := c.before
			if at == "at" {
				want = c.after
			}
			for _, mark := range []error{errRetry, ErrUnavailable, ErrOutcomeUnknown} {
				is := errors.Is(got, mark)
				if should := want == mark || want == errNoTable && mark == ErrUnavailable; is != should {
					t.Errorf("%v %s COMMIT: %v is %v", c.err, at, mark, is)
				}
			}
			if want != nil && !errors.Is(got, want) {
				t.Errorf("%v %s COMMIT is not %v", c.err, at, want)
			}
		}
	}
}
