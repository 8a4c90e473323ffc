# Everything a developer or CI runs. `make help` lists it.

PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
# In the background a shell ignores Ctrl-C, and so does all it starts: none of these tests sends it.
BESIDE := tests/unit tests/conformance $(addprefix tests/e2e/,database agents gateway \
	beckn/test_sandbox.py test_notebooks.py)

# A Ray job's entrypoint is a shell line such as `python train.py`: it has to find this Python.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help env check test demo bench lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

env: $(STAMP) ## Create .venv and install GridFlex with everything it needs

check: $(STAMP) ## Format, lint, types and layers
	ruff format --check .
	ruff check .
	mypy
	pytest -q tests/unit/test_layers.py

test: $(STAMP) ## The whole test suite; ARGS="tests/unit -x" for a part of it
ifdef ARGS
	pytest --durations=15 $(ARGS)
else
# The tests of whole systems mostly wait: the others run beside them, and are shown after.
	@mkdir -p build; nice pytest --durations=15 -p no:cacheprovider $(BESIDE) > build/tests-beside.txt 2>&1 & \
	beside=$$!; trap 'kill $$beside 2>/dev/null; exit 130' INT TERM; \
	echo "pytest $(BESIDE:%=--ignore=%) tests   (what is ignored runs beside it)"; \
	pytest --durations=15 $(BESIDE:%=--ignore=%) tests; systems=$$?; \
	wait $$beside; others=$$?; cat build/tests-beside.txt; exit $$((systems | others))
endif

demo: $(STAMP) ## One accelerated day of real Ray jobs on the grid, compared with "run now"
	gridflex demo $(ARGS)

bench: $(STAMP) ## Run every benchmark and write bench/results
	set -e; for script in bench/*.py; do echo "== $$script"; python "$$script"; done

lock: $(STAMP) ## Pin what pyproject.toml asks for; ARGS=--upgrade takes newer releases
	cp requirements.lock $(VENV)/lock.txt
	pip-compile --quiet --extra dev --strip-extras --allow-unsafe --no-header --annotation-style=line \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
		--upgrade-package $(TORCH) $(ARGS) --output-file $(VENV)/lock.txt pyproject.toml
	{ echo "# Made by 'make lock' from pyproject.toml; see docs/decisions/0002-lock-file.md."; \
	  sed -E -e '/^(#|$$)/d' -e '/^(nvidia-|cuda-|triton)/d' -e 's/^(torch==[^+ ]+)\+[^ ]*/\1/' \
		-e 's/[[:space:]]+#/  #/' $(VENV)/lock.txt; } > requirements.lock

clean: ## Remove caches and build products; the environment stays
	rm -rf build dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -path ./$(VENV) -prune -o -name node_modules -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "GridFlex needs Python 3.11, and '$(PYTHON)' is not it or is not installed." >&2; \
		echo "Install Python 3.11, or name it: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments: install its venv package" >&2; \
		echo "(python3.11-venv on Debian and Ubuntu)." >&2; exit 1; }
	@$(VENV)/bin/pip --version >/dev/null 2>&1 || { echo "Creating $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing PyTorch, then $$(grep -c == requirements.lock) pinned packages; a minute or a few"
	@pip install --quiet $(TORCH)
	@echo "PyTorch is there; installing the rest"
	@pip install --quiet --requirement requirements.lock
	@PYTHONWARNINGS=ignore pip install --quiet --no-deps --editable .
	@touch $@
	@echo "The environment is ready"
