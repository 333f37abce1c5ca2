// Command cloakroom is the customer-data vault's command line: a verb per file.
//
// Exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes of every verb.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// Streams are where a verb reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Err is a terminal: progress may be drawn on it
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

// Error returns what is wrong, in words for people.
func (e *usageError) Error() string { return e.text }

// commands is the command line.
type commands struct {
	Generate generateCmd `cmd:"" help:"Write CSV files of invented customers and purchases."`
}

// exited is how kong ends after --help.
type exited int

// Main runs one command line and returns its exit code. Signals and the process's
// end belong to main alone.
func Main(ctx context.Context, args []string, std Streams) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			code = int(r)
		default:
			panic(r)
		}
	}()
	parser, err := kong.New(&commands{}, kong.Name("cloakroom"),
		kong.Description("A customer-data vault with breach detection and response."),
		kong.Writers(std.Out, std.Err), kong.Exit(func(code int) { panic(exited(code)) }), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(std.Err, "cloakroom:", err)
		return exitFailed
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(std.Err, "cloakroom: %v\nTry: cloakroom --help\n", err)
		return exitUsage
	}
	cmd.BindTo(ctx, (*context.Context)(nil))
	err = cmd.Run(std)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(std.Err, "cloakroom: %v\nTry: cloakroom %s --help\n", err, cmd.Command())
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(std.Err, "cloakroom: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(std.Err, "cloakroom:", err)
	return exitFailed
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stderr)})
	stop()
	os.Exit(code)
}
