# Every target sets up what it needs. `make help` says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What a real guest needs: a kernel that is a plain program, a shell for it, and a packer for its ramdisk.
GUEST_PACKAGES := user-mode-linux busybox-static cpio
# What looks at the page in its tests.
BROWSER_PACKAGES := chromium

# A file's tests stay together, for what they share.
ON_ALL_CPUS := -n auto --dist loadfile

# Without it every process compiles all sources anew. It is not beside them, and gone after `make clean`.
BYTECODE := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/$(VENV)/bytecode

.DEFAULT_GOAL := help
.PHONY: help run test test-quick spec lint bench fuzz torture highalloc scenario guest-packages clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## start the daemon with a modelled guest named demo, API on 127.0.0.1:8750
	@$(BYTECODE) PATH="$(CURDIR)/$(BIN):$$PATH" exec vballoond serve --config config/vballoond.toml

test: $(READY) guest-packages lint ## lint, types, import contracts, and all tests, real guests included
	$(BYTECODE) $(BIN)/pytest $(ON_ALL_CPUS)

test-quick: $(READY) ## the tests without real guests and those that take long, with fewer examples
	$(BYTECODE) VBALLOOND_EXAMPLES=0.34 $(BIN)/pytest $(ON_ALL_CPUS) -m "not real_guest and not long"

spec: $(READY) ## which clause of virtio 1.4 is shown by which test, and with what result
	@$(BIN)/pytest tests/spec --spec-table -q --no-header

lint: $(READY) ## ruff, mypy, and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## inflate and deflate as fast as it goes, and frame maps of 1 TiB, as ratios within one run
	$(BIN)/python benchmarks/inflate.py
	$(BIN)/python benchmarks/frame_map.py
	$(BIN)/python benchmarks/beside_a_storm.py
	$(BIN)/python benchmarks/beside_streams.py
	$(BIN)/python benchmarks/beside_qemu.py

MINUTES ?= 10
fuzz: $(READY) ## garbage from all sides for MINUTES=10, beside guests that keep the rules; SEED brings a run back
	@$(BIN)/python -m fuzz.main --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

RING ?= both
HOLDER ?= keeper
torture: $(READY) guest-packages ## SIGKILL for workers below real guests, KILLS=200 times with RING=both formats; HOLDER=systemd, SEED
	@$(BYTECODE) $(BIN)/python -m torture.main --ring $(RING) --holder $(HOLDER) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

highalloc: $(READY) ## huge pages with and without balloon compaction, beside the published table; some ten minutes
	$(BIN)/vballoond experiment highalloc --check

# Every policy that is built in; tests/scenario holds this list against them.
POLICIES := static watermark shares proportional available-balance psi idle-tax huge-pages
scenario: $(READY) ## fifty live guests for ten minutes of virtual time under every policy: on one daemon, and simulated; SEED
	$(BIN)/pytest -n auto -m scenario -v
	$(BIN)/vballoond simulate --scenario fifty $(if $(SEED),--seed $(SEED)) $(addprefix --policy ,$(POLICIES))

guest-packages:
	@tools/guest-packages $(GUEST_PACKAGES) $(BROWSER_PACKAGES)

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vballoond needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@echo 'setting up $(VENV), once; this takes two minutes'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@echo 'compiling the modelled guest, once on this machine'
	@$(BIN)/python -c 'from vballoond.lab.highalloc.run import warm_up; warm_up()'
	@touch $@
