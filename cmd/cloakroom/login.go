package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/client"
)

// profile is a vault that somebody logged in to: its file has mode 0600.
type profile struct {
	Server string `json:"server"`
	Key    string `json:"key"`
}

// defaultProfile is the vault of a login that names none.
const defaultProfile = "default"

var profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// profileFile is where the profile of a vault is kept.
func profileFile(getenv func(string) string, name string) (string, error) {
	if !profileName.MatchString(name) {
		return "", &usageError{"a vault's name is lower-case letters, digits, dots, hyphens and underscores"}
	}
	dir := getenv("XDG_CONFIG_HOME")
	switch home := getenv("HOME"); {
	case runtime.GOOS == "windows":
		dir = getenv("AppData")
	case filepath.IsAbs(dir):
	case home == "":
		return "", errors.New("no place for profiles: set HOME or XDG_CONFIG_HOME")
	case runtime.GOOS == "darwin":
		dir = filepath.Join(home, "Library", "Application Support")
	default:
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, appName, "vaults", name+".json"), nil
}

// readProfile reads the profile of a vault; its error is fs.ErrNotExist where there is none.
func readProfile(getenv func(string) string, name string) (*profile, error) {
	file, err := profileFile(getenv, name)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the login of %s: %w", name, err)
	}
	if info, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("other users may read %s, which has a key (mode %o): run chmod 600 on it, and replace the key (cloakroom principal renew)", file, info.Mode().Perm())
	}
	p := &profile{}
	if err := json.Unmarshal(text, p); err != nil || p.Server == "" || p.Key == "" {
		return nil, fmt.Errorf("%s is not a login: log in again", file)
	}
	return p, nil
}

// loginCmd is `cloakroom login`.
type loginCmd struct {
	Name   string `arg:"" optional:"" help:"Name for the vault." default:"default"`
	Server string `help:"Address of the vault." env:"CLOAKROOM_SERVER" required:"" placeholder:"https://HOST:PORT"`
	JSON   bool   `help:"Print who you are as JSON."`
}

// Help is the long help text.
func (loginCmd) Help() string {
	return `Reads an API key from CLOAKROOM_KEY or standard input, asks the vault who it is of, and keeps
it in a file of mode 0600 (~/.config/cloakroom/vaults on Linux). Commands then take
--vault NAME, or CLOAKROOM_VAULT; the vault named "default" is used where this machine has
no vault of its own.`
}

// Run logs in.
func (c *loginCmd) Run(ctx context.Context, std Streams) error {
	server, err := serverURL(c.Server)
	if err != nil {
		return err
	}
	file, err := profileFile(std.getenv, c.Name)
	if err != nil {
		return err
	}
	key := std.getenv("CLOAKROOM_KEY")
	if key == "" {
		if std.Terminal {
			fmt.Fprint(std.Err, "API key: ")
		}
		line, err := bufio.NewReader(io.LimitReader(std.In, maxSearched)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the key: %w", err)
		}
		key = strings.TrimSpace(line)
	}
	if key == "" {
		return &usageError{"no key: put it into CLOAKROOM_KEY or on standard input; cloakroom principal key makes one"}
	}
	me, err := client.New(server, key, nil).Whoami(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(profile{server, key})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("making the directory of logins: %w", err)
	}
	if err := replaceFile(file, append(text, '\n')); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	r := remote{JSON: c.JSON}
	return r.print(std, me, func(w io.Writer) {
		fmt.Fprintf(w, "logged in to %s as ", server)
		printWhoami(w, me)
		if c.Name != defaultProfile {
			fmt.Fprintf(w, "Use it with --vault %s, or export CLOAKROOM_VAULT=%[1]s\n", c.Name)
		}
	})
}

// replaceFile writes a file of mode 0600 whole, or leaves the one before.
func replaceFile(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// logoutCmd is `cloakroom logout`.
type logoutCmd struct {
	Name string `arg:"" optional:"" help:"Name of the vault." default:"default"`
}

// Help is the long help text.
func (logoutCmd) Help() string {
	return "Removes the key from this machine. The key itself stays valid: cloakroom principal disconnect ends it."
}

// Run removes a login.
func (c *logoutCmd) Run(_ context.Context, std Streams) error {
	file, err := profileFile(std.getenv, c.Name)
	if err != nil {
		return err
	}
	err = os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &api.Error{Type: api.TypeNotFound, Title: "No such login", Detail: "there is no login of this name on this machine"}
	}
	if err != nil {
		return fmt.Errorf("removing the login: %w", err)
	}
	fmt.Fprintln(std.Out, "logged out; the key itself stays valid until it is revoked")
	return nil
}
