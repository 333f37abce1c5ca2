package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// docBlock is a block of commands of a page, as a reader copies it.
type docBlock struct {
	page  string
	line  int
	lines []string
	why   string // it is not run; the page says so beside it
}

// notRun begins the line of a block that says why no test runs it.
const notRun = "# not run: "

// maxNotRun bounds how many blocks of all pages are not run.
const maxNotRun = 10

// command finds a line that a reader would type.
var command = regexp.MustCompile(`^\s*(\$ )?([A-Z_]+=\S* )*(sudo |docker |podman |systemctl |dpkg |apt |cloakroom |go |make |curl |export |cd |age |age-keygen |psql |pg_dump )`)

// docBlocks returns the blocks of commands of a page, and complains about commands that
// stand in a block which is not marked as one.
func docBlocks(t *testing.T, page, text string) []docBlock {
	t.Helper()
	var out []docBlock
	var at *docBlock
	language := ""
	for i, line := range strings.Split(text, "\n") {
		if mark, ok := strings.CutPrefix(line, "```"); ok {
			switch {
			case language != "":
				if at != nil {
					out = append(out, *at)
				}
				language, at = "", nil
			case mark == "":
				t.Errorf("%s:%d: a block without a language: sh for commands that a test runs, or text, json, sql ...", page, i+1)
				language = "text"
			default:
				language = mark
				if mark == "sh" {
					at = &docBlock{page: page, line: i + 2}
				}
			}
			continue
		}
		switch why, skip := strings.CutPrefix(line, notRun); {
		case at != nil && skip:
			at.why = why
		case at != nil:
			at.lines = append(at.lines, line)
		case (language != "" || strings.HasPrefix(line, "    ")) && command.MatchString(line):
			t.Errorf("%s:%d: commands stand in ```sh, so that a test runs them", page, i+1)
		}
	}
	return out
}

// stays is a command that does not end by itself: a reader leaves it running in a
// terminal of its own.
var stays = regexp.MustCompile(`^([A-Z_]+=\S* )*(cloakroom|go run \./cmd/cloakroom) (serve|demo|canary receive)\b`)

// script makes one script of a page's blocks. A line that stays is run in the background
// until it serves; one that ends in `# refused` must fail.
func docScript(blocks []docBlock) string {
	var b strings.Builder
	b.WriteString(`set -euo pipefail
serving() { # waits for what the command that stays says when it serves
  for _ in $(seq 6000); do
    if grep -q 'Serving on\|taking mail' "$1" 2>/dev/null; then return 0; fi
    if ! kill -0 "$2" 2>/dev/null; then break; fi
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}
running=()
trap 'for p in "${running[@]}"; do kill "$p" 2>/dev/null || true; done' EXIT
`)
	for _, k := range blocks {
		if k.why != "" {
			continue
		}
		lines := strings.Split(strings.ReplaceAll(strings.Join(k.lines, "\n"), "\\\n", " "), "\n")
		for _, l := range lines {
			fmt.Fprintf(&b, "echo %s >&2\n", shellQuote(fmt.Sprintf("%s:%d: %s", k.page, k.line, strings.Join(strings.Fields(l), " "))))
			switch {
			case stays.MatchString(l):
				out := fmt.Sprintf("stays-%d", b.Len())
				fmt.Fprintf(&b, "{ exec %s\n} >%[2]s 2>&1 </dev/null &\nrunning+=($!)\nserving %[2]s $!\n", envFirst(l), out)
			case strings.HasSuffix(l, "# refused"):
				fmt.Fprintf(&b, "if %s\nthen echo 'this was not refused' >&2; exit 99; fi\n", strings.TrimSuffix(l, "# refused"))
			default:
				b.WriteString(l + "\n")
			}
		}
	}
	return b.String()
}

// envFirst makes `X=y command` a command that exec takes.
func envFirst(l string) string {
	if strings.HasPrefix(l, "cloakroom") || strings.HasPrefix(l, "go ") {
		return l
	}
	return "env " + l
}

// Every command block of README.md and of docs is run literally and in order, each page
// in a shell of its own.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("commands one after another, each in a process of its own")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatalf("the pages are written for a POSIX shell: %v", err)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	bin := docPrograms(t)
	run, skipped := 0, []string{}
	for _, path := range append([]string{"../../README.md"}, pages...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := filepath.Base(path)
		blocks := docBlocks(t, page, string(text))
		for _, b := range blocks {
			if b.why != "" {
				skipped = append(skipped, fmt.Sprintf("%s:%d: not run: %s", page, b.line, b.why))
			} else {
				run++
			}
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			prelude := []docBlock{{page: page, lines: []string{"cloakroom demo --data try --customers 600", ". try/env"}}}
			if page == "README.md" {
				copyTree(t, dir)
				if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
					t.Fatal(err)
				}
				prelude = nil
			}
			for _, b := range blocks {
				if b.why == "" {
					prelude = append(prelude, b)
				}
			}
			if len(prelude) == 0 || page != "README.md" && len(prelude) == 1 {
				return
			}
			cmd := exec.CommandContext(t.Context(), bash, "-c", docScript(prelude))
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "GOBIN="+filepath.Join(dir, "bin"), "GOFLAGS=-trimpath", "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"),
				"PATH="+filepath.Join(dir, "bin")+string(os.PathListSeparator)+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "CLOAKROOM_LISTEN=127.0.0.1:0", "CLOAKROOM_CONSOLE_LISTEN=127.0.0.1:0", "CLOAKROOM_MAIL_LISTEN=127.0.0.1:0", "XDG_DATA_HOME=", "XDG_CONFIG_HOME=")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			// What a page leaves running is of one group, also the program that `go run` starts.
			cmd.WaitDelay = 5 * time.Second // they hold its output open
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			err := cmd.Start()
			if err == nil {
				defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				err = cmd.Wait()
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
	t.Logf("%d blocks are run, %d are not:\n%s", run, len(skipped), strings.Join(skipped, "\n"))
	if len(skipped) > maxNotRun {
		t.Errorf("%d blocks are not run: at most %d", len(skipped), maxNotRun)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// docPrograms makes a directory with the program and with what the pages take from age,
// all of them this test's own binary.
func docPrograms(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, as := range map[string]string{"cloakroom": "yes", "age-keygen": "age-keygen", "age": "age"} {
		text := fmt.Sprintf("#!/bin/sh\n%s=%s exec '%s' \"$@\"\n", asProgram, as, self)
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// copyTree copies what the README's go commands build.
func copyTree(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"go.mod", "go.sum", "api", "client", "cloakroomtest", "cmd", "evidence", "internal"} {
		err := filepath.WalkDir(filepath.Join("../..", name), func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel("../..", path)
			switch {
			case err != nil:
				return err
			case e.IsDir() && e.Name() == "testdata":
				return fs.SkipDir
			case e.IsDir():
				return os.MkdirAll(filepath.Join(dir, rel), 0o755)
			case strings.HasSuffix(path, "_test.go"):
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, rel), text, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
