# Builds, installs and tests the extensions; try them with `make demo`.
#
# Needs Rust, a C compiler, libclang and PostgreSQL's headers, and says so if one is missing. Tests and the demo install what they
# need besides, on Debian and its relatives. PGXS is not used: cargo builds the library, and the SQL is written by hand.
#
#   make                 build for the PostgreSQL of PG_CONFIG
#   make deps            install what building and testing need, Rust excepted
#   make install         install it there (sudo make install, after make)
#   make installcheck    regression tests of what is installed, in a throwaway cluster
#   make test            all of it: build, install, and every test
#   make matrix          the tests that depend on PostgreSQL's version, on each supported one, fetched from package registries
#   make demo            build, install, and run examples/quickstart.sql against a local Lambda emulator
#   make psql            the same, with a psql prompt in place of the examples
#   make assertions      the regression tests in servers that are built with assertions
#   make package         packages of what is built for the PostgreSQL of PG_CONFIG, into target/packages
#   make package-test    in a bare Debian 12 and 13: install a package, invoke a function, remove the package
#   make upgrades        pg_upgrade, dump and restore between several versions
#   make soak            the long forms of tests, fuzzing among them; about forty minutes
#   make bench           compares with the bare SDK and with boto3, and writes benches/results.md; four minutes once built
#   make clean

PG_CONFIG ?= pg_config
export PG_CONFIG

# The releases that all tests were last run with, as in README. These are the versions that PostgreSQL's community supports.
POSTGRESQL_RELEASES = 14.23 15.18 16.14 17.12 18.4 19rc1
POSTGRESQL_VERSIONS = $(foreach release,$(POSTGRESQL_RELEASES),$(firstword $(subst ., ,$(subst rc,.,$(release)))))
# Each change is tested with the version of PG_CONFIG and with these.
POSTGRESQL_VERSIONS_OF_EACH_CHANGE = 16 18

# Evaluated in recipes, because `deps` may have to install pg_config first.
PGVER = $(shell $(PG_CONFIG) --version 2> /dev/null | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
PKGLIBDIR = $(shell $(PG_CONFIG) --pkglibdir 2> /dev/null)
SHAREDIR = $(shell $(PG_CONFIG) --sharedir 2> /dev/null)
EXTENSIONDIR = $(if $(SHAREDIR),$(SHAREDIR)/extension)

# pgrx and supabase-wrappers declare a newer Rust than they need.
CARGO_FLAGS = --ignore-rust-version --no-default-features --features pg$(PGVER)
CARGO = PGRX_PG_CONFIG_PATH=$$(command -v $(PG_CONFIG)) cargo

# A profile of Cargo.toml. Libraries of another than release go to target/packages, so that tests keep theirs.
PROFILE = release

# The library without line numbers for debuggers, which are most of its size. They are in a file beside it.
LIBRARY = $(if $(filter release,$(PROFILE)),target,target/packages)/pg$(PGVER)/aws_lambda_fdw.so
CONTROL = aws_commons.control aws_lambda.control aws_lambda_fdw.control
SQL = $(wildcard sql/*.sql)

PYTEST = target/venv/bin/pytest -o cache_dir=target/pytest -o pythonpath=tests/harness
EMULATOR = --emulator --functions examples/functions

# The end-to-end tests of planner and executor, and one that needs PostgreSQL 18.
E2E_OF_VERSIONS = $(addprefix tests/e2e/, test_random_clauses.py test_random_joins.py test_random_counts.py \
	test_concurrent_updates.py \
	test_interrupts.py test_interrupts_of_sets.py test_examples.py test_documents.py test_update_scripts.py test_guards.py)

# Goals and prerequisites run one after the other, because some need what others make. cargo itself compiles crates in parallel.
.NOTPARALLEL:

.PHONY: all build ready deps venv install installed installcheck assertions unit e2e e2e-of-versions test matrix soak bench demo psql \
	package package-test upgrades clean

all: build

# Checks that the machine has what building needs, and installs nothing.
ready:
	@tests/harness/ready
	@tests/harness/deps build
	@tests/harness/supported $(POSTGRESQL_RELEASES)

# The version is checked before a server is installed, and again with the one that was. `sudo make deps` is allowed.
deps:
	@tests/harness/ready $(if $(filter-out deps,$(MAKECMDGOALS)),,packages)
	@tests/harness/supported $(POSTGRESQL_RELEASES)
	@tests/harness/deps
	@tests/harness/supported $(POSTGRESQL_RELEASES)

venv: deps
	@tests/harness/venv

# cargo knows what is up to date. Tests and the demo use one profile, release, so that everything is compiled once.
build: ready
	@tests/harness/compile $(LIBRARY) $(PROFILE) $(CARGO_FLAGS)

# Under sudo nothing is built, because cargo would leave root's files in target.
install: $(if $(SUDO_USER),,build)
	@tests/harness/installable '$(LIBRARY)' '$(PKGLIBDIR)' '$(EXTENSIONDIR)' '$(DESTDIR)'
	install -d '$(DESTDIR)$(PKGLIBDIR)' '$(DESTDIR)$(EXTENSIONDIR)'
	install -m 755 $(LIBRARY) '$(DESTDIR)$(PKGLIBDIR)/aws_lambda_fdw.so'
	install -m 644 $(CONTROL) $(SQL) '$(DESTDIR)$(EXTENSIONDIR)'

# Installs for the tests and the demo, with sudo if necessary.
installed: deps build
	@tests/harness/install '$(LIBRARY)' '$(PKGLIBDIR)' '$(EXTENSIONDIR)' $(PROFILE)

# A separate compilation with fat LTO, which takes some minutes.
package: deps
	@tests/harness/deps packages
	@$(MAKE) --no-print-directory build PROFILE=packaged
	packaging/package $(PGVER)

installcheck: venv
	@echo "==> regression tests: about two minutes"
	tests/harness/installcheck

unit: ready
	@echo "==> formatting, Clippy and the Rust tests: where only the library was compiled, about five minutes on two cores"
	cargo fmt --all --check
	$(CARGO) clippy --release $(CARGO_FLAGS) --all-targets -- -D warnings
	$(CARGO) test --release $(CARGO_FLAGS) --lib

e2e: venv
	@echo "==> end-to-end tests: about a quarter of an hour"
	tests/harness/run --endpoint --emulator --auth -- $(PYTEST) $(wildcard tests/e2e tests/endpoint)

e2e-of-versions: venv
	@echo "==> end-to-end tests of what depends on PostgreSQL's version: about two minutes"
	tests/harness/run --endpoint --emulator --auth -- $(PYTEST) $(E2E_OF_VERSIONS)

# If PG_CONFIG has this version, the library is built with it, so that cargo compiles once.
PG_CONFIG_OF_VERSION = $(if $(filter $(PGVER),$*),$(PG_CONFIG),$(CURDIR)/target/servers/$*/pg_config)

# This server has no headers. With DOCS_RS pgrx uses its own bindings.
build-14 version-14 package-14: export DOCS_RS = 1

build-%: venv
	@tests/harness/server $*
	@$(MAKE) --no-print-directory build PG_CONFIG=$(PG_CONFIG_OF_VERSION)

version-%: build-%
	tests/harness/server $* $(MAKE) --no-print-directory installcheck e2e-of-versions

matrix:
	@echo "==> each of PostgreSQL $(POSTGRESQL_VERSIONS): about five minutes"
	@tests/harness/test '$(addprefix version-, $(POSTGRESQL_VERSIONS))'

upgrades: build-15 build-17 build-18
	@echo "==> pg_upgrade and dumps: about two minutes"
	tests/harness/server 15 tests/harness/server 17 tests/harness/server 18 tests/harness/run --endpoint --emulator --auth -- \
		$(PYTEST) tests/e2e/test_pg_upgrade.py tests/e2e/test_update_scripts.py

package-%: venv
	@tests/harness/server $*
	@$(MAKE) --no-print-directory package PG_CONFIG=$(PG_CONFIG_OF_VERSION)

# Each Debian with its own version of PostgreSQL.
package-test: package-15 package-17
	tests/harness/run --endpoint -- sh -c 'tests/packages/try bookworm 15 && tests/packages/try trixie 17'

assertions-%: build-%
	tests/harness/server $*-assertions $(MAKE) --no-print-directory installcheck

assertions: assertions-15 assertions-18

# Then with assertions, and then without caches of catalog entries (debug_discard_caches), which is slow.
soak: venv installed build-19 build-18
	@echo "==> the long forms of tests: about forty minutes"
	SOAK=1 RANDOM_QUERIES=1500 tests/harness/run --endpoint --emulator --auth -- $(PYTEST) -rP \
		tests/e2e/test_long_life.py tests/e2e/test_subtransactions.py tests/e2e/test_interrupts_by_state.py \
		tests/e2e/test_random_clauses.py tests/e2e/test_random_joins.py tests/e2e/test_random_counts.py tests/e2e/test_long_waits.py
	tests/harness/server 19 $(MAKE) --no-print-directory e2e
	RANDOM_QUERIES=500 tests/harness/server 18-assertions tests/harness/run --endpoint --emulator --auth -- $(PYTEST) \
		tests/e2e/test_long_life.py tests/e2e/test_random_clauses.py tests/e2e/test_random_joins.py tests/e2e/test_random_counts.py \
		tests/e2e/test_concurrent_updates.py
	RANDOM_QUERIES=10 tests/harness/server 18-assertions tests/harness/run --endpoint --emulator --auth \
		--conf 'debug_discard_caches = 1' -- $(PYTEST) tests/e2e/test_random_clauses.py tests/e2e/test_random_joins.py tests/e2e/test_random_counts.py
	tests/harness/fuzz names 120
	tests/harness/fuzz options 120
	tests/harness/fuzz answers 120
	tests/harness/fuzz batches 120
	tests/harness/fuzz functions 120

# Servers are fetched for Linux on x86-64. Those with assertions are built from Debian's source.
ifeq ($(shell uname -s -m),Linux x86_64)
OTHER_SERVERS = $(addprefix version-, $(POSTGRESQL_VERSIONS_OF_EACH_CHANGE))
WITH_ASSERTIONS = $(if $(shell command -v apt-get),assertions-15 assertions-18)
endif

# Steps that may ask for a password come first.
test: venv installed
	@echo "==> all tests: about three quarters of an hour on two cores"
	$(if $(WITH_ASSERTIONS),@tests/harness/deps source)
	@tests/harness/test 'e2e $(WITH_ASSERTIONS)' 'unit installcheck $(OTHER_SERVERS)'

# The profile of packages. The server's Python finds boto3 by PYTHONPATH.
bench: PROFILE = packaged
bench: venv installed
	@echo "==> benchmarks: about four minutes once all is compiled"
	@tests/harness/deps benches
	@tests/harness/venv benches
	cargo build --target-dir target --profile $(PROFILE) --package benches
	directory=$$(mktemp -d /tmp/aws_lambda_fdw.XXXXXX) && trap 'rm -rf "$$directory"' EXIT && \
	target/venv-benches/bin/python benches/certificates "$$directory" && \
	LIBRARY=$(LIBRARY) PYTHONPATH=$$(target/venv-benches/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		SSL_CERT_FILE="$$directory/authorities.pem" tests/harness/run --endpoint -- target/venv-benches/bin/python benches/run.py --write

# The message names the settings of `tests/harness/run` that are no defaults.
STARTING = starting a throwaway PostgreSQL and a Lambda emulator with the functions of examples/functions, a few seconds. Their time-out, 	request_timeout_ms, is a minute there and not 3 seconds, as the emulator starts a process for each invocation in flight.

demo: venv installed
	@echo "==> $(STARTING)"
	@tests/harness/run $(EMULATOR) -- psql -X -a -v ON_ERROR_STOP=1 -P pager=off -f examples/quickstart.sql
	@echo "==> all of it is stopped and removed again; make psql gives you a prompt in the same place"

# In a database of the name that the documents use.
psql: venv installed
	@echo "==> $(STARTING)"
	@tests/harness/run $(EMULATOR) -- sh -c 'psql -X -q -c "CREATE DATABASE mydb"; export PGDATABASE=mydb; \
		said=$$(psql -X -q -v ON_ERROR_STOP=1 -f examples/quickstart.sql 2>&1) || echo "$$said"; exec psql'

clean:
	rm -rf target
