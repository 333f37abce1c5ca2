# Everything here is plain Go; the targets are for short fingers.
# FUZZTIME is how long each fuzz target runs.
FUZZTIME ?= 30s
# SIZES are the numbers of customers that scale measures, and SCALEFLAGS its other flags:
# make scale SIZES="100000 1000000 10000000" SCALEFLAGS="-work /mnt/large"
SIZES ?= 100000 1000000
SCALEFLAGS ?=

.PHONY: test vet fuzz race ci scale

test:
	go test ./...

vet:
	go vet ./...
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt the files above"; exit 1; }
	go tool -modfile=tools.mod staticcheck ./...
	go tool -modfile=tools.mod govulncheck ./...

# SQLite's own code, translated from C, and its C library are left alone by the race
# detector: it looks for mistakes in ours, and looking at theirs takes twice the time.
NORACE = -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false

race:
	go test -race $(NORACE) -timeout 30m ./...

# go test fuzzes one target at a time.
fuzz:
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do \
		for target in $$(grep -h -o '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "== $$dir $$target"; \
			go test $$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME); \
		done; \
	done

# scale writes out/scale/postgres.md, .svg and .json; what it measured before it keeps.
scale:
	cd bench && go run ./scale -sizes "$(SIZES)" -out ../out/scale $(SCALEFLAGS)

ci:
	.ci/run
