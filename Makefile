# make demo   the MNIST-1D study and its report, from a bare clone
# make test   all tests but the long ones
# make test-all   all tests
# make bench  the suite beside a plain Lightning script and bare loops -> docs/performance.md, docs/measurements.csv
# make soak   kills, races, mutated files, full disks: what docs/reliability.md promises, 40 minutes (SOAK='--kills 4 --studies 2')
# make docs   the documentation as a site, in site/
# make results  figures and tables of docs/results.md from the rows in docs/results/

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN = .venv/bin

.PHONY: demo test test-all bench soak docs results lint

demo: .venv/installed
	$(BIN)/python -m lmc_lab.study study=mnist1d

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not long'

test-all: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks

soak: .venv/installed
	PYTHONPATH=tests $(BIN)/python -m soak $(SOAK)

docs: .venv/installed
	$(BIN)/python -m mkdocs build --strict --quiet

results: .venv/installed
	$(BIN)/python docs/make_results.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "expected Python 3.11 or 3.12, found $$($(PYTHON) -V); call make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
