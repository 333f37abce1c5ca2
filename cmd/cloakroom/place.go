package main

import (
	"path/filepath"
	"runtime"
	"strings"
)

// appName names the directories that the platform keeps for a program.
const appName = "cloakroom"

// defaultData is the data directory that nobody named: systemd's for a service, else the
// platform's for the data of a user's programs.
func defaultData(getenv func(string) string) string {
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	home := getenv("HOME")
	switch {
	case runtime.GOOS == "windows" && getenv("LocalAppData") != "":
		return filepath.Join(getenv("LocalAppData"), appName)
	case runtime.GOOS == "darwin" && home != "":
		return filepath.Join(home, "Library", "Application Support", appName)
	case filepath.IsAbs(getenv("XDG_DATA_HOME")):
		return filepath.Join(getenv("XDG_DATA_HOME"), appName)
	case home != "":
		return filepath.Join(home, ".local", "share", appName)
	}
	return filepath.Join("/var", "lib", appName)
}

// shellQuote makes one word of a POSIX shell's command line.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:@=+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
