# Everything a developer does, from a bare machine with make and Python 3.11, 3.12 or 3.13.

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ROOT_INSTALLED := $(VENV)/.root-installed
IDDS_INSTALLED := $(VENV)/.idds-installed
SEEDS ?= 200
# Tests wait more than they compute: for processes that start, die or are late.
TEST_PROCESSES ?= $(shell expr 2 \* $$(nproc))
PIP_QUIET := -qq --disable-pip-version-check
# What is compiled is kept, or each of the hundreds of programs that tests start would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

# The wheel of ACTS needs the GNU C library 2.34. On an older system everything is installed without it; only the demo needs it.
LIBC ?= $(shell getconf GNU_LIBC_VERSION 2>/dev/null)
TOO_OLD_FOR_ACTS := $(if $(filter glibc,$(LIBC)),$(shell printf '%s\n' 'glibc 2.34' '$(LIBC)' | sort -VC || echo yes),yes)
LOCKED := $(if $(TOO_OLD_FOR_ACTS),grep -v '^pyacts==' requirements/lock.txt,cat requirements/lock.txt)

# The first interpreter of those declared that is able to make a virtual environment; PYTHON=... overrides.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& { echo $$python; break; }; done)

# Tests compile small programs. Where the machine has no compiler, one comes from the package index.
COMPILER := $(if $(shell command -v g++ || command -v c++ || command -v clang++),,$(VENV)/.compiler)

.PHONY: help install demo demo-tune test kill scans harvest harvester faults baseline disks lint check pilot hadd idds slurm containers browser bare bench docs lock clean

help:  ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

install: $(INSTALLED)  ## install Raythena and the pinned versions of everything it needs in .venv

$(INSTALLED): requirements/lock.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 with venv found (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing in $(VENV) (about a minute the first time)"
	@test -z "$(TOO_OLD_FOR_ACTS)" || echo "note: the demo will not run here: ACTS needs the GNU C library 2.34, this system has $(or $(LIBC),another one)"
	@$(LOCKED) | $(BIN)/python -m pip install $(PIP_QUIET) --only-binary :all: --no-deps -r /dev/stdin
	@$(BIN)/python -m pip install $(PIP_QUIET) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.compiler: requirements/compiler.txt $(INSTALLED)
	@echo "no C++ compiler here: one comes from the package index (two minutes, once; apt-get install g++ saves them)"
	@$(BIN)/python -m pip install $(PIP_QUIET) --only-binary :all: --no-deps -r requirements/compiler.txt
	@printf '#include <string>\nint main() {}\n' > $(VENV)/first.cpp
	@$(BIN)/python -m ziglang c++ -std=c++17 -O1 -pthread $(VENV)/first.cpp -o $@
	@touch $@

demo: $(INSTALLED)  ## two real jobs from generated events to validated tracks and jets, on this machine, from scratch
	rm -rf raythena-demo
	$(BIN)/raythena demo

demo-tune: $(INSTALLED)  ## a scan of 60 networks on two logical nodes (a minute or two)
	rm -rf digits-network.raythena
	$(BIN)/raythena tune examples/tune/network.yaml --nodes 2

lint: $(INSTALLED)  ## style, format, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.13
	$(BIN)/vermin --quiet --no-tips --violations --target=3.11- --exclude str.decode --exclude file src tests benchmarks examples
	$(BIN)/lint-imports

check: lint $(COMPILER)  ## lint, and the fast unit tests
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) -m "not slow and not ray" tests/unit

test: $(INSTALLED) $(COMPILER)  ## every test that does not take minutes
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadgroup -m "not slow" tests/ray tests/jobs tests/unit

kill: $(INSTALLED)  ## kill -9 at 60 random moments of jobs under load, a link cut; every event compared (half an hour)
	$(BIN)/python tests/campaigns/kills.py
	$(BIN)/python tests/campaigns/cut_link.py || test $$? = 77

scans: $(INSTALLED)  ## kill -9 at 100 random moments of hyper-parameter scans; every point compared (an hour)
	$(BIN)/python tests/campaigns/scans.py

harvest: $(INSTALLED)  ## 200 made-up jobs through the real `raythena harvest`, every race and fault on (an hour)
	$(BIN)/python tests/campaigns/harvester_command.py --seeds $(SEEDS)

harvester: $(INSTALLED)  ## Harvester double: 200 made-up jobs with every race on, then the end of a worker at every step (minutes)
	$(BIN)/python tests/campaigns/harvester.py
	$(BIN)/python tests/campaigns/harvester_steps.py

faults: $(INSTALLED)  ## 100,000 simulated jobs in which everything goes wrong, on all cores (about half an hour on two)
	$(BIN)/raythena simulate --seeds 100000

baseline: $(INSTALLED)  ## the faults the original Raythena was measured with, one job each; every event accounted for (half an hour)
	$(BIN)/python tests/campaigns/baseline_faults.py

disks: $(INSTALLED)  ## small file systems that fill up, fail or turn read-only under real jobs; takes root (ten minutes)
	$(BIN)/python tests/campaigns/disk_faults.py

pilot: $(INSTALLED)  ## the real pilot, from the package index, with stand-ins for what it runs: whole jobs and faults (minutes)
	$(BIN)/python -m pytest tests/ray/test_pilot.py tests/ray/test_pilot_alone.py tests/jobs/test_athenamp.py

slurm: $(INSTALLED)  ## jobs on real Slurm with four nodes on this machine; takes root and slurmctld, slurmd, munge (minutes)
	$(BIN)/python -m pytest tests/slurm $(if $(SELECT),-m "$(SELECT)")

containers: $(INSTALLED) $(COMPILER)  ## a payload and merges in real apptainer and bubblewrap (a minute, two the first time as root)
	tests/containers/install_apptainer.sh
	$(BIN)/python -m pytest tests/containers

browser: $(INSTALLED)  ## the page in a real Chromium, which must be there (Debian: apt-get install chromium); a minute
	$(BIN)/python -m pytest tests/browser

bare:  ## the two commands on a bare machine, for each Python declared; takes root and debootstrap (an hour)
	$(PYTHON) tests/campaigns/bare_machine.py $(ARGUMENTS) || test $$? = 77

hadd: $(ROOT_INSTALLED)  ## merge with ROOT's own hadd, from the package index (248 MB, once), and compare with ours
	$(BIN)/python -m pytest tests/root

idds: $(IDDS_INSTALLED)  ## a scan steered by iDDS's own classes, from the package index (a minute)
	$(BIN)/python -m pytest tests/idds

$(IDDS_INSTALLED): requirements/idds.txt $(INSTALLED)
	@echo "installing iDDS in $(VENV)/idds"
	@$(BIN)/python -m venv --clear $(VENV)/idds
	@$(VENV)/idds/bin/python -m pip install $(PIP_QUIET) --only-binary :all: --no-deps -r requirements/idds.txt
	@touch $@

$(ROOT_INSTALLED): requirements/root.txt $(INSTALLED)
	@echo "installing ROOT in $(VENV)/root"
	@$(BIN)/python -m venv --clear $(VENV)/root
	@$(VENV)/root/bin/python -m pip install $(PIP_QUIET) --only-binary :all: --no-deps -r requirements/root.txt
	@touch $@

bench: $(INSTALLED)  ## every benchmark, one after the other
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: $(INSTALLED)  ## write the command-line reference and the tables of keys anew
	$(BIN)/python -m raythena.cli.command_reference > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md
	$(BIN)/python -m raythena.cli.job_file_tables docs/job-file.md

lock:  ## resolve every dependency anew and pin what was found
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml > build/lock/build.txt
	build/lock/bin/python -m pip install $(PIP_QUIET) --only-binary :all: -r build/lock/build.txt editables
	build/lock/bin/python -m pip install $(PIP_QUIET) --only-binary :all: --no-build-isolation -e '.[demo,dev,tables,tune,tls,browser]'
	@{ echo "# Exact versions of everything for [demo,dev,tables,tune,tls,browser] and the build; written by 'make lock'."; \
	  build/lock/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f; } > requirements/lock.txt
	rm -rf build/lock

clean:  ## remove what these targets made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
