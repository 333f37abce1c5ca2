// Command scale measures how a vault grows: it invents customers and purchases, loads
// them with the real `cloakroom import`, serves them with the real `cloakroom serve`,
// and reports rates, bytes, times and the peak memory of every process at several
// sizes, as a table, a plot and JSON.
//
//	cd bench && go run ./scale [-sizes "100000 1000000"] [-out DIR] [-database URL]
//
// Without -database it starts a PostgreSQL of its own. A size whose result is in -out
// already is not measured again, so that an interrupted run goes on where it stopped.
// It needs Linux: memory is read from /proc.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	sizes     []int
	purchases int
	out, work string
	binary    string
	engine    string
	database  string
	seconds   time.Duration
	clients   int
	batch     int
	pipe      bool
	force     bool
	disk      int64
}

const (
	enginePostgres = "postgres"
	engineSQLite   = "sqlite"
)

// Bytes that one customer needs while it is loaded, rounded up from measurements: the
// database with its indexes, and the CSV files beside it. The write-ahead log comes on
// top, whatever the size.
const (
	customerBytes = 900
	purchaseBytes = 70
	customerCSV   = 280
	purchaseCSV   = 130
	fixedBytes    = 6 << 30
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func parse() (*options, error) {
	o := &options{}
	sizes := flag.String("sizes", "100000 1000000", "numbers of customers, ascending")
	flag.IntVar(&o.purchases, "purchases", 10, "purchases for each customer, on average")
	flag.StringVar(&o.out, "out", "out/scale", "directory of the table, the plot and the JSON")
	flag.StringVar(&o.work, "work", "", "where files and databases go while it runs (default: a temporary directory)")
	flag.StringVar(&o.binary, "binary", "", "the cloakroom program (default: built from this tree)")
	flag.StringVar(&o.engine, "engine", enginePostgres, "postgres or sqlite")
	flag.StringVar(&o.database, "database", "", "a PostgreSQL on which databases may be made (default: one of its own)")
	flag.DurationVar(&o.seconds, "for", 10*time.Second, "how long each rate is measured")
	flag.IntVar(&o.clients, "clients", 8, "concurrent clients")
	flag.IntVar(&o.batch, "batch", 500, "customers of a batch")
	flag.BoolVar(&o.pipe, "pipe", false, "hand the rows over through pipes, without files: for a small disk; the generator then shares the time of the import")
	flag.BoolVar(&o.force, "force", false, "measure sizes again that have a result")
	flag.Parse()
	for s := range strings.FieldsSeq(strings.ReplaceAll(*sizes, ",", " ")) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-sizes: %q is not a number of customers", s)
		}
		o.sizes = append(o.sizes, n)
	}
	slices.Sort(o.sizes)
	if o.engine != enginePostgres && o.engine != engineSQLite {
		return nil, errors.New("-engine is postgres or sqlite")
	}
	if len(o.sizes) == 0 || o.purchases < 0 || flag.NArg() > 0 {
		return nil, errors.New("see -help")
	}
	return o, nil
}

func run(ctx context.Context) (err error) {
	o, err := parse()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if o.out, err = filepath.Abs(o.out); err != nil {
		return err
	}
	if o.work, err = os.MkdirTemp(o.work, "cloakroom-scale-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.work)) }()
	if err := os.Chmod(o.work, 0o755); err != nil { // PostgreSQL's user passes through
		return err
	}
	if err := o.enough(); err != nil {
		return err
	}
	if o.binary == "" {
		o.binary = filepath.Join(o.work, "cloakroom")
		say("building cloakroom")
		root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloakroom/cloakroom").Output()
		if err != nil {
			return fmt.Errorf("looking for the sources: %w", err)
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "./cmd/cloakroom")
		build.Dir = strings.TrimSpace(string(root)) // it has its own go.mod
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building cloakroom: %w", err)
		}
	}
	if o.engine == enginePostgres && o.database == "" {
		server, err := startPostgres(ctx, filepath.Join(o.work, "postgres"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		o.database = server.url
	}
	for _, n := range o.sizes {
		file := filepath.Join(o.out, fmt.Sprintf("%s-%d.json", o.engine, n))
		if _, err := os.Stat(file); err == nil && !o.force {
			say("%d customers: measured before, see %s", n, file)
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r, err := o.measure(ctx, n)
		if err != nil {
			return fmt.Errorf("%d customers: %w", n, err)
		}
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := writeWhole(file, append(b, '\n')); err != nil {
			return err
		}
		if _, err := o.report(); err != nil { // also of what there is so far
			return err
		}
	}
	text, err := o.report()
	fmt.Print(text)
	return err
}

// enough refuses to fill the disk.
func (o *options) enough() error {
	n := int64(o.sizes[len(o.sizes)-1])
	each := int64(customerBytes + o.purchases*purchaseBytes)
	if !o.pipe {
		each += int64(customerCSV + o.purchases*purchaseCSV)
	}
	need := n*each + fixedBytes
	var s syscall.Statfs_t
	if err := syscall.Statfs(o.work, &s); err != nil {
		return fmt.Errorf("reading the free disk: %w", err)
	}
	free := int64(s.Bavail) * int64(s.Bsize)
	o.disk = need
	say("%d customers need about %.1f GiB of disk; %.1f GiB are free", n, gib(need), gib(free))
	if free < need {
		return fmt.Errorf("the largest size needs about %.1f GiB and %.1f are free in %s: give -work on a larger disk, -pipe to do without files, or smaller -sizes", gib(need), gib(free), o.work)
	}
	return nil
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().UTC().Format("15:04:05 ")+format+"\n", args...)
}

// writeWhole leaves the old file or the new one, and never a part.
func writeWhole(name string, b []byte) error {
	if err := os.WriteFile(name+".partial", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".partial", name)
}
