# Everything here is plain Go; the targets are for short fingers.
# FUZZTIME is how long each fuzz target runs.
FUZZTIME ?= 30s

.PHONY: test vet fuzz race ci

test:
	go test ./...

vet:
	go vet ./...
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt the files above"; exit 1; }
	go tool -modfile=tools.mod staticcheck ./...
	go tool -modfile=tools.mod govulncheck ./...

race:
	go test -race ./...

# go test fuzzes one target at a time.
fuzz:
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do \
		for target in $$(grep -h -o '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "== $$dir $$target"; \
			go test $$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME); \
		done; \
	done

ci:
	.ci/run
