# Every target makes its own environment when it is missing.
#   make report   the main job on the bundled model: runs/atlas/report.html
#   make test     all tests                       make lint   ruff and pyright
#   make trust    kills, damage, full disks and attacks in large numbers: benchmarks/results/trust.json
#   make bench    benchmarks -> benchmarks/results make test-oldest  tests on the oldest supported TransformerLens
#   make figures  paper figures of runs/atlas      make notebooks    run the notebooks again, outputs kept
#   make docs     the documentation, without network: docs/_build/html/index.html
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help report test test-oldest bench figures notebooks docs trust lint install clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

# torch first and alone: the pin in constraints.txt is a CPU build where one is offered
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(OLDEST)/installed: pyproject.toml constraints.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check 'transformer-lens==3.9.0' -e '.[dev]'
	touch $@

install: $(VENV)/installed

report: $(VENV)/installed
	$(BIN)/interp run --out runs/atlas

test: $(VENV)/installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest -n $(JOBS) --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/installed
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

figures: report
	for script in figures/fig_*.py; do $(BIN)/python $$script || exit 1; done

notebooks: $(VENV)/installed
	$(BIN)/python notebooks/build.py

docs: $(VENV)/installed
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build/html

trust: $(VENV)/installed
	$(BIN)/python benchmarks/trust.py

clean:
	rm -rf $(VENV) $(OLDEST) .pytest_cache .ruff_cache build dist docs/_build
