# What a user and a developer do with this repository. "make help" lists it.
#
# A workspace file (make workspace) is for editors only: what is built, tested
# and checked here uses go.mod as it is in git.
export GOWORK := off

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
MISSPELL    := github.com/golangci/misspell/cmd/misspell@v0.8.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME    ?= 30s
BENCH       ?= .
BENCHFLAGS  ?=
ATTACKFLAGS ?=
ACMEFLAGS   ?=
FAULTS      ?= quick
FAULTSFLAGS ?=
CLUSTERFLAGS ?=
PACKAGESFLAGS ?=
DISTFLAGS   ?=
DISTTESTFLAGS ?=
SHUFFLE     ?=

# The go command leaves the nested module out of ./... without a word, so each
# module is named. Bare paths, for go -C.
MODULES := . internal/spdy

# What a release is built for.
PLATFORMS := linux/amd64 linux/arm64 linux/arm darwin/arm64 freebsd/amd64 windows/amd64

# The race detector needs a C compiler, and go env tells whether there is one.
RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

# A version from git where git can read the repository; without this the build
# fails in a container that mounts somebody else's.
VCS = $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)

# One go command for all that make starts: the installed one if it is new enough
# for go.mod, else the one that go.mod names, which any go command from 1.21 on
# fetches by itself, unless told GOTOOLCHAIN=local: so that is not heeded. It is
# looked up once, here, because "go run tool@version" heeds the tool's go.mod
# alone, and a tool that an older Go built cannot read our code. A version that
# is no release ("go1.28-devel_...") has no such name and is the installed one.
ifneq ($(filter-out help clean install uninstall,$(or $(MAKECMDGOALS),all)),)
wanted := $(if $(filter go1%,$(GOTOOLCHAIN)),$(patsubst %+auto,%,$(patsubst %+path,%,$(GOTOOLCHAIN)))+auto,auto)
found  := $(shell GOTOOLCHAIN=$(wanted) $(GO) env GOVERSION)
export GOTOOLCHAIN := $(if $(found),$(if $(filter-out go1%,$(subst -, ,$(found))),local,$(found)+auto),$(wanted))
endif

.NOTPARALLEL:
.PHONY: all run run-cluster cluster-test bench-cluster cluster-files test integration two-machines acme-test browser-test clients monitoring packages packages-test race allocs attack faults bench bench-growth microbench fuzz lint platforms vuln check check-begins clean workspace certs install uninstall dist dist-test help

# Without C, as in a release: a program that is linked to this machine's libc does not
# start where that is older, or another.
all: certs ## build bin/p, bin/c and bin/a, and put in place what they need to run
	@[ -e bin/p ] || echo "building bin/p, bin/c and bin/a: a minute or two, the first time"
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(VCS) -o bin/ ./cmd/p ./cmd/c ./cmd/a

run: all ## build and run the pair in the foreground, ready to curl; Ctrl-C stops it
	@integration-tests/run-pair

run-cluster: all cluster-files ## three p that are one, and two c, on this machine; Ctrl-C stops them
	@$(GO) build -trimpath -o bin/ ./integration-tests/cluster && bin/cluster --run

cluster-test: all cluster-files ## five p that are one: killed, stopped, cut off and restarted under load, in some 4 minutes; CLUSTERFLAGS=--help
	@$(GO) build -trimpath -tags nocluster -o bin/nocluster/ ./cmd/p
	@$(GO) run ./integration-tests/cluster $(CLUSTERFLAGS)

bench-cluster: all cluster-files ## what a hop costs, and ten thousand origins at five p: figures to integration-tests/cluster/RESULTS.md
	@$(GO) run ./integration-tests/cluster --bench integration-tests/cluster/RESULTS.md $(CLUSTERFLAGS)

cluster-files:
	@$(GO) run ./internal/devfiles --nodes p1,p2,p3,p4,p5

# The integration tests mostly wait, and what may be allocated is counted meanwhile.
# They are in the background of a shell, where Ctrl-C does not reach them, so it is
# passed on; what they say comes last, and its last line counts them.
test: export PAIR := own
test: race ## every test of both modules with -race, what may be allocated, and the integration tests
	@echo "the integration tests, beside what follows, in some 1 minute; what they say is shown at their end"
	@tests=; said=$$(mktemp); trap 'rm -f "$$said"' EXIT; trap 'kill $$tests 2>/dev/null; wait $$tests; exit 130' INT TERM; \
	  integration-tests/run-all >"$$said" 2>&1 & tests=$$!; \
	  echo "what may be allocated"; $(call ALLOCSTEST,-p 1); allocs=$$?; \
	  wait $$tests; tests=$$?; cat "$$said"; \
	  [ $$allocs = 0 ] || echo "what may be allocated: failed, see above"; [ $$allocs = 0 ] && [ $$tests = 0 ]

integration: all ## the integration tests: the programs, driven with curl
	@$(MAKE) --no-print-directory -C integration-tests

two-machines: all ## README's two machines and a visitor, as network namespaces
	@integration-tests/test-213-two-machines.sh

clients: all ## curl, wget, apt, players, Kodi, WebDAV and more through the pair, over HTTP and TLS, beside nginx
	@integration-tests/clients/run

acme-test: all ## certificates from real ACME servers, Debian's pebble and step-ca if it is there, in some 3 minutes; ACMEFLAGS=--list
	@$(GO) run ./integration-tests/acme $(if $(REQUIRE),--require) $(ACMEFLAGS)

monitoring: all ## the alerts and the metrics, read and scraped by a real Prometheus
	@integration-tests/monitoring/run

packages: ## bin/packages: a .deb and an .rpm for amd64 and arm64; VERSION=1.2.3 names them
	@GO="$(GO)" internal/packaging/build

packages-test: all ## the packages on a Debian that is booted for it, in some 3 minutes; needs root, mmdebstrap and systemd-nspawn; PACKAGESFLAGS=--help
	@GO="$(GO)" $(GO) run ./integration-tests/packages $(if $(REQUIRE),--require) $(PACKAGESFLAGS)

browser-test: all ## a real browser and a real application through the pair; needs Node and Chromium
	@integration-tests/browser/run

# The go command does not run again what passed and has not changed since, but where
# it shuffles: make check and CI do, with SHUFFLE=-shuffle=on. One command has both
# modules, so that no core waits for the last test of the first. go vet is for lint. On a
# machine with ten times as much to do, a package takes more than the usual ten minutes.
# Those that take longest are named first, so that none of them is left for one core
# alone at the end.
LONGEST := ./internal/proxy github.com/amahi/spdy ./internal/handbook ./cmd/p ./internal/serve
RACETEST = test $(RACE) -vet=off -timeout 40m $(SHUFFLE) $(if $(SKIPPED),-json) $(LONGEST) ./... github.com/amahi/spdy/...
# At the end of each of fifty programs the race detector waits for a second, for races
# of what still runs then. Tests wait for what they begin, so a tenth does.
race: export GORACE := atexit_sleep_ms=100 $(GORACE)
race: export BUILT := $(CURDIR)/bin
race: all ## the Go tests of both modules, with -race
	@$(if $(RACE),,echo "no C compiler, so the tests run without -race" | tee -a $(or $(SKIPPED),/dev/null))
	@echo "the Go tests of both modules: minutes, the first time more, and the longest of them say nothing until they end"
	@$(if $(SKIPPED),$(GO) build -o bin/ ./internal/testskips)
	@$(if $(SKIPPED),{ $(GO) $(RACETEST) || echo '{"Action":"fail"}'; } | bin/testskips $(SKIPPED),$(GO) $(RACETEST))

# Not with -race, which allocates too. Built as the programs are (-trimpath), so
# that nothing but the tests themselves is compiled for it.
ALLOCSTEST = $(GO) test -trimpath -vet=off $(1) $(if $(UPDATE_ALLOCS),-count=1) -run '^TestAllocs$$' $$(grep -rl --include='*_test.go' '^func TestAllocs(' cmd internal | \
  xargs -n 1 dirname | sort -u | sed -e 's,^internal/spdy,github.com/amahi/spdy,' -e t -e 's,^,./,')
allocs: ## that nothing came to allocate more often than testdata/allocs.txt says; UPDATE_ALLOCS=1 writes that
	@echo "what may be allocated, in some 20 s"
	@$(call ALLOCSTEST)

attack: all ## what a stranger may try against p and c, in some 5 minutes; ATTACKFLAGS=--list
	@$(GO) run ./integration-tests/attack $(ATTACKFLAGS)

faults: all ## what becomes of requests when something fails, in some 5 minutes; FAULTS=all or soak, FAULTSFLAGS=--help
	@$(GO) run ./integration-tests/faults --go $(GO) --set $(FAULTS) $(FAULTSFLAGS)

bench: all ## p and c beside other ways to do the same, in some 15 minutes; BENCHFLAGS=--help
	@$(GO) run ./integration-tests/bench $(BENCHFLAGS)

bench-growth: all ## how cost grows with requests and with origins: a table and a chart, in some 4 minutes
	@$(GO) run ./integration-tests/bench --growth $(BENCHFLAGS)

microbench: ## the benchmarks of both modules; BENCH=regexp chooses
	@set -e; for m in $(MODULES); do $(GO) -C $$m test -run '^$$' -bench '$(BENCH)' -benchmem ./...; done

fuzz: ## each fuzz target of both modules for FUZZTIME (30s)
	@set -e; for m in $(MODULES); do for pkg in $$($(GO) -C $$m list ./...); do \
	  for target in $$($(GO) -C $$m test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    $(GO) -C $$m test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; \
	done; done

lint: ## gofmt, go vet, go mod tidy, staticcheck and internal/lint, for both modules; that they compile for all systems of a release; spelling; the shell scripts' syntax
	@echo "lint: the format, go vet and staticcheck of both modules, and all systems of a release: some 2 minutes, the first time more"
	@bad=$$(find cmd internal integration-tests -name node_modules -prune -o -name '*.go' -exec gofmt -l {} +); \
	  if [ -n "$$bad" ]; then echo "not formatted, run gofmt -w on:"; echo "$$bad"; exit 1; fi
	@set -e; for m in $(MODULES); do \
	  $(GO) -C $$m vet ./...; \
	  $(GO) -C $$m mod tidy -diff; \
	  $(GO) -C $$m run $(STATICCHECK) ./...; \
	done
	@$(GO) vet -tags nocluster ./cmd/p ./internal/cluster/...
	@$(GO) -C internal/lint mod tidy -diff
	@$(GO) -C internal/lint build -o $(CURDIR)/bin/lint .
	@$(GO) -C internal/lint build -o $(CURDIR)/bin/platforms ./platforms
	@set -e; for m in $(MODULES); do (cd $$m && $(CURDIR)/bin/lint ./... && $(CURDIR)/bin/platforms $(PLATFORMS)); done
	@find README.md .github cmd internal integration-tests -name node_modules -prune -o \( -name '*.go' -o -name '*.md' -o -name '*.sh' -o -name '*.html' \) -print0 | \
	  xargs -0 $(GO) run $(MISSPELL) -error
	@set -e; for f in .ci/* integration-tests/functions integration-tests/run-* integration-tests/*.sh integration-tests/*/run integration-tests/dist/containers internal/packaging/build internal/packaging/scripts/* internal/dist/install; do bash -n $$f; done

platforms: ## go vet of both modules for each system of a release; half an hour of one core the first time, then a minute or two
	@set -e; for p in $(PLATFORMS); do for m in $(MODULES); do \
	  GOOS=$${p%/*} GOARCH=$${p#*/} GOARM=7 CGO_ENABLED=0 $(GO) -C $$m vet -trimpath ./... || { echo "that was for $$p"; exit 1; }; \
	done; done

vuln: export GO := $(GO)
vuln: export GOVULNCHECK := $(GOVULNCHECK)
vuln: ## known vulnerabilities that the code of both modules reaches
	@.ci/vuln $(MODULES)

# What is left out is said where it is, and once more at the end; of the Go tests, whose
# go command says it of none, at the end alone.
check: export SHUFFLE := -shuffle=on
check: export SKIPPED := $(CURDIR)/bin/skipped
check: check-begins lint vuln test ## lint, vuln and test: what CI runs, but for what wants other programs or minutes more
	@if [ -s $(SKIPPED) ]; then echo "skipped:"; sort -u $(SKIPPED); else echo "nothing was skipped"; fi

check-begins:
	@mkdir -p bin && : >$(SKIPPED)

install: export PREFIX := $(or $(PREFIX),/usr/local)
install: export DESTDIR := $(DESTDIR)
install: ## what "make" built, manual pages, completions, units and documents, below PREFIX (/usr/local) in DESTDIR
	@internal/dist/install install

uninstall: export PREFIX := $(or $(PREFIX),/usr/local)
uninstall: export DESTDIR := $(DESTDIR)
uninstall: ## take away what "make install" put there
	@internal/dist/install uninstall

dist: ## a release in dist/: archives for six systems, images for containers, sums; DISTFLAGS=--help
	@GO="$(GO)" $(GO) run ./internal/dist $(DISTFLAGS)

dist-test: all ## that two releases are equal, and that what is in them runs; in some 5 minutes, the first time more; DISTTESTFLAGS=--short for one system
	@GO="$(GO)" integration-tests/dist/run $(DISTTESTFLAGS)

clean: ## remove what was built; certificates, token and testdata stay
	rm -rf bin dist go.work go.work.sum

workspace: ## write go.work, which git ignores, for editors
	@rm -f go.work go.work.sum
	@env -u GOWORK $(GO) work init $(MODULES)

certs: ## make the certificates, token and sample files that are missing; ISSUE="NAME HOST..." one more certificate
	@[ -e certs/ca.pem ] || echo "making certificates, a token and sample media; modules are fetched, the first time"
	@$(GO) run ./internal/devfiles $(if $(ISSUE),--issue $(ISSUE))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
