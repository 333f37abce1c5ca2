// Command cloakroom is the customer-data vault's command line: a verb per file.
// `cloakroom help exit-codes` lists the exit codes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/cloakroom/cloakroom/internal/platform/db"
	"github.com/cloakroom/cloakroom/internal/vault/intake"
)

// Streams are where a verb reads and writes, and the environment that it runs in.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Err is a terminal: progress may be drawn on it
	// Env replaces variables of the process's environment, so that command lines of one
	// process can have different ones.
	Env map[string]string
}

// getenv returns a variable of the environment, "" without it.
func (s Streams) getenv(name string) string {
	if v, ok := s.Env[name]; ok {
		return v
	}
	return os.Getenv(name)
}

// resolve gives a flag that is not on the command line the value that Env has for it.
func (s Streams) resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Tag.Envs {
		if v, ok := s.Env[name]; ok {
			return v, nil
		}
	}
	return nil, nil
}

// usageError is a mistake on the command line.
type usageError struct{ text string }

// Error returns what is wrong, in words for people.
func (e *usageError) Error() string { return e.text }

// misread is a command line that does not parse.
type misread struct {
	usage usageError
	err   error
}

// Error returns what is wrong.
func (e *misread) Error() string { return e.usage.text }

// Unwrap returns the mistake, and how far the line was understood.
func (e *misread) Unwrap() []error { return []error{&e.usage, e.err} }

// commands is the command line.
type commands struct {
	Demo      demoCmd      `cmd:"" help:"Start a vault with invented customers and suggest commands."`
	Serve     serveCmd     `cmd:"" help:"Serve a vault."`
	Import    importCmd    `cmd:"" help:"Import customers and purchases from files."`
	Mapping   mappingCmd   `cmd:"" help:"Show the built-in mappings for the exports of shops."`
	Feed      feedCmd      `cmd:"" help:"Send records of a feed, in any order and any number of times."`
	Put       putCmd       `cmd:"" help:"Write one customer."`
	Find      findCmd      `cmd:"" help:"Find customers by e-mail, phone or number, masked."`
	Show      showCmd      `cmd:"" help:"Show one customer masked."`
	Reveal    revealCmd    `cmd:"" help:"Show fields of customers in clear."`
	WhoRead   whoReadCmd   `cmd:"" name:"who-read" help:"Show who read a customer, with proofs."`
	Export    exportCmd    `cmd:"" help:"Export many customers: request, have another person approve, download."`
	Standing  standingCmd  `cmd:"" help:"Set what has to be known before anybody writes to a customer."`
	Erase     eraseCmd     `cmd:"" help:"Erase a customer."`
	Hold      holdCmd      `cmd:"" help:"Legal holds: keys that are not destroyed."`
	Erasure   erasureCmd   `cmd:"" help:"Erasures that can still be taken back."`
	Log       logCmd       `cmd:"" help:"Read, prove and verify a brand's log."`
	Budget    budgetCmd    `cmd:"" help:"Show or set a brand's budgets."`
	Exposure  exposureCmd  `cmd:"" help:"Show how many customers each lineage, principal, role and brand could take if stolen now, and how many it uses."`
	Contain   containCmd   `cmd:"" help:"Stop a lineage, principal, role, brand or all exports at once."`
	Incident  incidentCmd  `cmd:"" help:"Keep incidents: facts, versions of the scope, timeline, a frozen report."`
	Message   messageCmd   `cmd:"" help:"Mail templates to customers, whose addresses are shown to nobody."`
	Campaign  campaignCmd  `cmd:"" help:"Write to everybody in a version of an incident's scope, once each."`
	Claim     claimCmd     `cmd:"" help:"Hold a list that somebody claims to have against the customers: is it ours, since when, from which disclosure."`
	Duties    dutiesCmd    `cmd:"" help:"Say which notices an incident makes due, by when, and which not and why."`
	Notice    noticeCmd    `cmd:"" help:"Draft notices to authorities, customers and law enforcement; review them and mark them as filed."`
	Scope     scopeCmd     `cmd:"" help:"Count the distinct customers that somebody or something disclosed, changed or erased."`
	Evidence  evidenceCmd  `cmd:"" help:"Put the evidence of an incident into one file, and check such a file offline."`
	Witness   witnessCmd   `cmd:"" help:"Show the witnesses that cosign the logs."`
	Change    changeCmd    `cmd:"" help:"List and decide the acts that need a second person."`
	Alarm     alarmCmd     `cmd:"" help:"List, acknowledge and close alarms, and manage their receivers."`
	Canary    canaryCmd    `cmd:"" help:"Manage canaries: decoy customers that raise an alarm when read."`
	Detect    detectCmd    `cmd:"" help:"Show, set and replay detection rules."`
	Policy    policyCmd    `cmd:"" help:"Check, compare and apply policies."`
	Brand     brandCmd     `cmd:"" help:"Create and list brands."`
	Settings  settingsCmd  `cmd:"" help:"Show and change a brand's settings: languages, mail, tickets, cooling time and more."`
	Principal principalCmd `cmd:"" help:"Manage people and services, their roles and keys."`
	Purpose   purposeCmd   `cmd:"" help:"Manage a brand's purposes."`
	Key       keyCmd       `cmd:"" help:"List and rotate keys."`
	Backup    backupCmd    `cmd:"" help:"Back up a running vault: data, keys and log separately."`
	Restore   restoreCmd   `cmd:"" help:"Restore a vault from its backups."`
	Doctor    doctorCmd    `cmd:"" help:"Check the vault's health."`
	DB        dbCmd        `cmd:"" name:"db" help:"Prepare and check the database."`
	Drill     drillCmd     `cmd:"" help:"Simulate breaches against a vault of invented customers."`
	Generate  generateCmd  `cmd:"" help:"Write CSV files of invented customers and purchases."`

	Config     configCmd     `cmd:"" help:"Check and show the configuration of serve."`
	Customer   customerCmd   `cmd:"" help:"Count customers."`
	Login      loginCmd      `cmd:"" help:"Keep the key of a vault on this machine."`
	Logout     logoutCmd     `cmd:"" help:"Remove the key of a vault from this machine."`
	Whoami     whoamiCmd     `cmd:"" help:"Show who you are to the vault, and your roles."`
	Status     statusCmd     `cmd:"" help:"Show which vault answers, how it is, and who you are."`
	Help       helpCmd       `cmd:"" help:"Explain a command or a topic."`
	Version    versionCmd    `cmd:"" help:"Show the release and the build."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
	Man        manCmd        `cmd:"" help:"Write man pages."`
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
	parser, err := newParser(std)
	if err != nil {
		fmt.Fprintln(std.Err, "cloakroom:", err)
		return exitFailed
	}
	if len(args) > 0 && args[0] == completeWord {
		complete(std.Out, parser.Model, args[1:])
		return 0
	}
	if len(args) == 0 {
		args = []string{"help"}
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		return failed(ctx, std, nil, args, &misread{usageError{err.Error()}, err})
	}
	cmd.BindTo(ctx, (*context.Context)(nil))
	std.In = newInput(ctx, std.In)
	if err = cmd.Run(std, parser); err != nil {
		return failed(ctx, std, cmd, args, err)
	}
	return 0
}

// newParser reads the definitions of all verbs.
func newParser(std Streams, more ...kong.Option) (*kong.Kong, error) {
	options := append([]kong.Option{kong.Name("cloakroom"),
		kong.Description("A customer-data vault with breach detection and response."),
		kong.Vars{"pool": fmt.Sprint(db.DefaultConnections), "profiles": strings.Join(intake.Profiles(), ", "), "data": defaultData(std.getenv)},
		kong.Writers(std.Out, std.Err), kong.Exit(func(code int) { panic(exited(code)) }), kong.UsageOnError(),
		kong.Help(printHelp), kong.ValueFormatter(formatValue)}, more...)
	options = append(options, kong.Resolvers(kong.ResolverFunc(std.configResolver)))
	if std.Env != nil {
		options = append(options, kong.Resolvers(kong.ResolverFunc(std.resolve)))
	}
	parser, err := kong.New(&commands{}, options...)
	if err != nil {
		return nil, err
	}
	arrange(parser.Model)
	giveVariables(parser.Model)
	return parser, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second interruption ends it at once
		<-ctx.Done()
		stop()
	}()
	code := Main(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stderr)})
	stop()
	os.Exit(code)
}
