package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/cloakroom/cloakroom/internal/exercise/generate"
	"github.com/cloakroom/cloakroom/internal/platform/invent"
)

// defaultCustomers is what the demonstration uses.
const defaultCustomers = 50_000

// progressEvery is how many customers pass between two looks at the clock and at
// whether the command was interrupted.
const progressEvery = 4096

// generateCmd is `cloakroom generate`.
type generateCmd struct {
	Customers     *int     `help:"Number of customers in all brands together (default 50000)." placeholder:"N"`
	Seed          uint64   `help:"Seed; the same seed gives the same files." default:"1" placeholder:"S"`
	Out           string   `help:"Directory for BRAND/customers.csv and BRAND/purchases.csv." required:"" placeholder:"DIR"`
	Brands        []string `help:"Brands that share the customers (default: gucci,balenciaga,mcqueen; with --purchases-from gucci)." placeholder:"NAME,..."`
	PurchasesFrom string   `help:"File of purchases in the CDNOW format to keep; only customers are invented." placeholder:"FILE"`
	JSON          bool     `help:"Print the result as one JSON object."`
}

// Help is the long help text.
func (generateCmd) Help() string {
	return `Nobody in the files is real. The same seed gives the same bytes on every machine.

Files that are already there are never overwritten.

  cloakroom generate --customers 1000 --out data
  cloakroom generate --purchases-from cdnow.txt --out data

EXIT STATUS: 0 done, 1 failed, 2 wrong command line, 130 interrupted. After 1 and
130 no file of a half-done run is left under its final name.`
}

// generated is the answer to --json.
type generated struct {
	Customers int64            `json:"customers"`
	Purchases int64            `json:"purchases"`
	Seed      uint64           `json:"seed"`
	Brands    []generatedBrand `json:"brands"`
}

type generatedBrand struct {
	Brand         string            `json:"brand"`
	Customers     int64             `json:"customers"`
	Purchases     int64             `json:"purchases"`
	Amounts       map[string]string `json:"amounts"` // exact total by currency
	CustomersFile string            `json:"customers_file"`
	PurchasesFile string            `json:"purchases_file"`
}

// brandName keeps a brand's name usable as a directory.
var brandName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// config checks the command line and fills in what was left out.
func (c *generateCmd) config() (invent.Config, error) {
	cfg := invent.Config{Customers: defaultCustomers, Seed: c.Seed, Brands: c.Brands}
	if c.PurchasesFrom != "" {
		if c.Customers != nil || len(c.Brands) > 1 {
			return cfg, &usageError{"--purchases-from takes one brand and no --customers: the file says who buys"}
		}
		if len(cfg.Brands) == 0 {
			cfg.Brands = []string{"gucci"}
		}
	}
	if c.Customers != nil {
		cfg.Customers = *c.Customers
	}
	if len(cfg.Brands) == 0 {
		cfg.Brands = []string{"gucci", "balenciaga", "mcqueen"}
	}
	seen := map[string]bool{}
	for _, b := range cfg.Brands {
		if !brandName.MatchString(b) || seen[b] {
			return cfg, &usageError{fmt.Sprintf("--brands: %q is not a brand's name (small letters, digits and hyphens, each once)", b)}
		}
		seen[b] = true
	}
	if err := cfg.Check(); err != nil {
		return cfg, &usageError{err.Error()}
	}
	return cfg, nil
}

// Run writes the files.
func (c *generateCmd) Run(ctx context.Context, std Streams) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	outs := make([]*brandFiles, len(cfg.Brands))
	defer func() {
		for _, o := range outs {
			if o != nil {
				o.discard()
			}
		}
	}()
	for i, b := range cfg.Brands {
		if outs[i], err = openBrand(filepath.Join(c.Out, b)); err != nil {
			return err
		}
	}
	started, n, drawn := time.Now(), 0, false
	write := func(x *invent.Customer) error {
		if n++; n%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if std.Terminal {
				drawn = true
				rate := float64(n) / time.Since(started).Seconds()
				fmt.Fprintf(std.Err, "\r\x1b[K%d customers, %.0f/s", n, rate)
				if c.PurchasesFrom == "" {
					left := time.Duration(float64(cfg.Customers-n) / rate * float64(time.Second))
					fmt.Fprintf(std.Err, ", %d%%, %s left", 100*n/cfg.Customers, left.Round(time.Second))
				}
			}
		}
		return outs[x.Brand].writer.Write(x)
	}
	err = c.each(cfg, write)
	if drawn {
		fmt.Fprint(std.Err, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	result := generated{Seed: cfg.Seed}
	for i, o := range outs {
		if err := o.finish(); err != nil {
			return err
		}
		t := o.writer.Totals()
		b := generatedBrand{Brand: cfg.Brands[i], Customers: t.Customers, Purchases: t.Purchases,
			Amounts: map[string]string{}, CustomersFile: o.paths[0], PurchasesFile: o.paths[1]}
		for currency, a := range t.Amounts {
			b.Amounts[currency] = a.String()
		}
		result.Customers += t.Customers
		result.Purchases += t.Purchases
		result.Brands = append(result.Brands, b)
	}
	if c.JSON {
		return json.NewEncoder(std.Out).Encode(result)
	}
	for _, b := range result.Brands {
		fmt.Fprintf(std.Out, "%s: %d customers, %d purchases in %s\n", b.Brand, b.Customers, b.Purchases, filepath.Dir(b.CustomersFile))
	}
	return nil
}

// each calls write with every customer that the command line asks for.
func (c *generateCmd) each(cfg invent.Config, write func(*invent.Customer) error) error {
	if c.PurchasesFrom == "" {
		for x := range invent.Customers(cfg) {
			if err := write(x); err != nil {
				return err
			}
		}
		return nil
	}
	f, err := os.Open(c.PurchasesFrom)
	if err != nil {
		return fmt.Errorf("opening the purchases: %w", err)
	}
	defer f.Close()
	for x, err := range generate.FromPurchases(f, cfg) {
		if err != nil {
			return err
		}
		if err := write(x); err != nil {
			return err
		}
	}
	return nil
}

// brandFiles are one brand's two files, which carry the suffix ".partial" until
// they are whole.
type brandFiles struct {
	paths   [2]string
	files   [2]*os.File
	buffers [2]*bufio.Writer
	writer  *generate.Writer
}

func openBrand(dir string) (*brandFiles, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	o := &brandFiles{paths: [2]string{filepath.Join(dir, "customers.csv"), filepath.Join(dir, "purchases.csv")}}
	for i, p := range o.paths {
		_, err := os.Lstat(p)
		if err == nil {
			err = fmt.Errorf("%s is already there: name another directory with --out, or remove it", p)
		} else if errors.Is(err, fs.ErrNotExist) {
			o.files[i], err = os.Create(p + ".partial")
		}
		if err != nil {
			o.discard()
			return nil, err
		}
		o.buffers[i] = bufio.NewWriterSize(o.files[i], 1<<18)
	}
	var err error
	if o.writer, err = generate.NewWriter(o.buffers[0], o.buffers[1]); err != nil {
		o.discard()
		return nil, err
	}
	return o, nil
}

// finish gives both files their names. A crash between the two leaves whole
// customers and a partial file of purchases, which no import takes by accident.
func (o *brandFiles) finish() error {
	if err := o.writer.Flush(); err != nil {
		return err
	}
	for i, f := range o.files {
		if err := o.buffers[i].Flush(); err != nil {
			return fmt.Errorf("writing %s: %w", o.paths[i], err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("closing %s: %w", o.paths[i], err)
		}
		if err := os.Rename(f.Name(), o.paths[i]); err != nil {
			return fmt.Errorf("naming the finished file: %w", err)
		}
		o.files[i] = nil
	}
	return nil
}

// discard removes what is not finished.
func (o *brandFiles) discard() {
	for _, f := range o.files {
		if f != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}
}

func isTerminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }
