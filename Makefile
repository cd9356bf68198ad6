# make demo        set everything up and reconstruct the bundled sample
# make test        set everything up and run the fast tests (with coverage)
# make test-slow   the slow ones too
# make lint        ruff, mypy --strict, pre-commit's file checks
# make setup       only the set-up: system libraries, .venv, BlazePose's two model files
.DEFAULT_GOAL := help
.PHONY: help setup system demo test test-slow lint format clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.hoirecon-setup
# The environment takes 8 GB; pip holds its downloads beside it for a while.
DISK_GB ?= 14

help:
	@sed -n 's/^# make/make/p' Makefile

setup: system $(STAMP)

system:
	@sh tools/system_libraries.sh

# Installed again only when the dependency lists change.
$(STAMP): pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else f"hoirecon needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: call make PYTHON=python3.11 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import shutil, sys; free = shutil.disk_usage(".").free / 1e9; sys.exit(0 if free > $(DISK_GB) else f"{free:.0f} GB are free here, the set-up takes up to $(DISK_GB) (torch with CUDA alone 6): make room, or move the clone to a larger disk")'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[all,smplx,dev]"
	$(BIN)/hoirecon models fetch
	@touch $(STAMP)

demo: setup
	$(BIN)/hoirecon demo --out out/demo

# One thread per worker: the kernels here are small, and two cores are two workers.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q -m "not slow and not gpu" --cov --cov-report=term:skip-covered

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q -m "not gpu"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist out .mypy_cache .ruff_cache .pytest_cache htmlcov *.egg-info
