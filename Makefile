# `make run` judges the reference and the installed third-party mixers, trains on the lecture's games and writes
# report/index.html; `make test` lints, type-checks and tests; `make test-all` also judges every mutant of the judge.
# Each sets up .venv by itself where it has to.
# `make bench` measures speed and keeps a record; `make bench-compare` compares with the last one; both take BENCH, for
# instance BENCH='--only w1 --clock cpu'. `make peers` makes the environments of the peers that ours is compared with.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test test-all lint bench bench-compare peers clean

run: $(READY)
	$(BIN)/python examples/main_job.py

# The reference's own verdicts from 120 cases each; `pytest properties/` takes 200.
PYTEST := $(BIN)/pytest -q -n 2 --benchmark-disable --examples 120

test: lint
	$(PYTEST) -m 'not thorough'

test-all: lint
	$(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m bench record $(BENCH)

bench-compare: $(READY)
	$(BIN)/python -m bench compare $(BENCH)

peers: .venv-peers/jax/.ready .venv-peers/jaxmarl/.ready .venv-peers/benchmarl/.ready

.venv-peers/%/.ready: bench/peers/%.txt
	$(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# torch first and alone: any later requirement then finds it installed and does not draw another build.
$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("marlspec needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch>=2.11,<2.14'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,peers]'
	touch $@

clean:
	rm -rf .venv .venv-peers report dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
