# Everything runs in a virtual environment of this checkout; each target does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# onnxruntime-gpu runs on machines without a GPU too, but has no macOS wheels.
RUNTIME := $(if $(filter Darwin,$(shell uname -s)),cpu,gpu)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow mutation lint types unit wheel docs benchmark paper clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/installed  ## the whole chain on real data: train, calibrate, fold, export, verify
	$(BIN)/bnfold demo --output demo --force

test: lint types unit docs wheel  ## lint, type check, tests, documentation, and the built wheel installed and tried

test-slow: $(VENV)/developed  ## the long sweeps
	HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest -m slow --numprocesses auto

mutation: $(VENV)/developed  ## break the folding rules one at a time: the tests have to notice each
	$(BIN)/python -m tests.folding.mutants

lint: $(VENV)/developed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/developed  ## basedpyright, strict
	$(BIN)/basedpyright

unit: $(VENV)/developed  ## the tests, warnings as errors
	$(BIN)/python -m pytest --numprocesses auto

wheel: $(VENV)/developed  ## build the wheel, install it in clean environments, try it there
	$(BIN)/python -m pytest -m wheel tests/wheel

docs: $(VENV)/developed  ## build the documentation site into build/docs, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

benchmark: $(VENV)/developed  ## figures against peers, printed as ratios
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group benchmark
	for program in benchmarks/*.py; do $(BIN)/python $$program || exit 1; done

paper: $(VENV)/developed  ## train the paper's claims at a small size, draw docs/images, print the tables
	$(BIN)/python -m experiments.paper --output paper

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist demo .pytest_cache .ruff_cache .hypothesis

$(VENV)/pip:
	$(PYTHON) -c 'import sys; sys.exit("bnfold needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	touch $@

$(VENV)/installed: $(VENV)/pip pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,$(RUNTIME)]'
	touch $@

$(VENV)/developed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group test --group lint --group build --group docs
	touch $@
