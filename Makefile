# Everything here works with Python 3.11 or newer, its venv module and make. `make help` lists the targets.

PYTHON ?= python3
UV ?= uv
# One more than there are cores: many tests wait for a process or a server.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

# pip without its noise; hashes from the lock decide what may be installed, and nothing is compiled.
INSTALL = -m pip --disable-pip-version-check install -qq
LOCKED = --require-hashes --only-binary :all: -r

# Settings of whoever runs this must not reach a lock: it is valid for everybody.
LOCK = env -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_DEFAULT_INDEX -u UV_FIND_LINKS \
  $(UV) pip compile pyproject.toml --no-config --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command "make lock" $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: demo test torture check bench lock clean help

demo: .venv-demo/ready ## show the whole thing at work, no account needed
	@.venv-demo/bin/monitor demo

test: .venv/ready ## run the tests (the long ones run in .ci/run)
	@.venv/bin/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

torture: .venv/ready ## every long suite whole, for hours (docs/torture.md)
	@MONITOR_TORTURE=1 .venv/bin/python -m pytest -n auto -m slow $(ARGS)

check: .venv/ready ## lint, types, layers
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

bench: .venv/ready ## measure what docs/benchmarks.md reports
	@.venv/bin/python -m benchmarks

lock: ## write .ci/locks anew from pyproject.toml (needs uv; UPGRADE=--upgrade for the newest versions)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	@$(LOCK) --group build -o .ci/locks/run.txt >/dev/null
	@$(LOCK) --group build --extra aws -o .ci/locks/aws.txt >/dev/null
	@$(LOCK) --group build --extra azure -o .ci/locks/azure.txt >/dev/null
	@$(LOCK) --group build --extra gcp -o .ci/locks/gcp.txt >/dev/null
	@$(LOCK) --group build --extra demo -o .ci/locks/demo.txt >/dev/null
	@$(LOCK) --group dev --extra all -o .ci/locks/dev.txt >/dev/null
	@wc -l .ci/locks/*.txt

clean: ## remove the environments and caches that make has made
	@rm -rf .venv .venv-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@echo "make TARGET:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

# An environment is made whole or not at all: `ready` is written last.
.venv-demo/ready: .ci/locks/demo.txt pyproject.toml
	$(call environment,.venv-demo,.ci/locks/demo.txt)

.venv/ready: .ci/locks/dev.txt pyproject.toml
	$(call environment,.venv,.ci/locks/dev.txt)

define environment
@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "Python 3.11 or newer is needed, but this is $$($(PYTHON) -V 2>&1). Name a newer one: make PYTHON=python3.12"; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
  || { echo "This Python cannot make environments. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
@echo "Making $(1) (this once, about a minute) ..."
@$(PYTHON) -m venv --clear $(1)
@$(1)/bin/python $(INSTALL) $(LOCKED) $(2)
@$(1)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
@touch $@
endef
