# make run [ROOT=dir]   set up, then scan a tree and report on it
# make test             set up, then lint, types and all tests
# make check            lint and types only
# make bench            the benchmark
# make setup            .venv with everything

ROOT ?= /usr
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run test check bench servers clean

setup: .venv/developer

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Lurge needs Python 3.11 or newer: make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv .venv \
		|| { sh tests/install-debian-packages.sh python3-venv && $(PYTHON) -m venv --clear .venv; }

.venv/user: .venv/bin/pip pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/developer: .venv/user
	$(BIN)/pip install --quiet --editable '.[dev,mpi,object-stores]'
	touch $@

run: .venv/user
	$(BIN)/lurge scan --defaults '$(ROOT)'
	$(BIN)/lurge reporter inspector users puppeteer splitter candidates --defaults --force
	@echo "to see all of it in a browser: $(BIN)/lurge serve --defaults"

servers:
	sh tests/install-debian-packages.sh $$(sed 's/#.*//' tests/debian-packages.txt)

test: setup servers check
	$(BIN)/pytest -n auto --dist worksteal

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python tests/bench/bench_pass.py
	$(BIN)/python tests/bench/bench_reports.py
	$(BIN)/python tests/bench/bench_ranks.py
	$(BIN)/python tests/bench/bench_database.py
	$(BIN)/python tests/bench/bench_names.py
	$(BIN)/python tests/bench/bench_forecast.py
	$(BIN)/python tests/bench/bench_candidates.py
	$(BIN)/python tests/bench/bench_views.py
	$(BIN)/python tests/bench/bench_import.py 0.1
	$(BIN)/python tests/bench/bench_years.py --groups 50
	$(BIN)/python tests/bench/bench_web.py --part 0.1
	$(BIN)/python tests/bench/bench_archive.py --part 0.1

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info build
