# `make` lists the targets. Each one first creates .venv if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := src stages benchmarks examples pretraining tests  # not a user's scripts beside them
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro report serve ui test pytest lint bench faults experiments ablations collapse clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# the scripts of an environment work only where it was made: a moved one is built again
ifneq ($(shell test -s $(VENV)/installed && ! pwd -P | cmp -s - $(VENV)/installed && echo moved),)
.PHONY: $(VENV)/installed
$(VENV)/installed: VENV_OPTIONS = --clear
$(info $(VENV) was made in another folder; it is built again)
endif

# what pip does: a line that is rewritten in a terminal, few lines in a log; ends with pip's status
define SHOW_PIP
/^Collecting / { now = "package " ++packages ": " $$2 }
/^ *Downloading .*[0-9][0-9]\.[0-9] MB/ { now = "downloading " $$2 " " $$3 " " $$4; large = 1 }
/^Installing / { now = "unpacking " packages " packages"; large = 1 }
/^pip ended with / { if (terminal) printf "\r\033[K"; exit $$4 }
now {
	if (terminal) printf "\r\033[K  %s", now
	else if (large || packages % 25 == 1) print "  " now
	fflush(); now = ""; large = 0
}
endef
export SHOW_PIP

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is required, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV)
	@echo 'Installing requirements.txt and what it needs: 150 packages, 2 GB or more, a few minutes'
	@{ $(BIN)/python -m pip install --progress-bar off --disable-pip-version-check -r requirements.txt; \
	  echo "pip ended with $$?"; } | awk -v terminal="$$(test -t 2 && echo yes)" "$$SHOW_PIP"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@pwd -P > $@

repro: $(VENV)/installed  ## run the whole pipeline and print the scores
	dvc repro
	@python -m arxiv_hybrid summary

report: $(VENV)/installed  ## write a report of the last run, reports/index.html
	@python -m arxiv_hybrid report

serve: $(VENV)/installed  ## serve the model over HTTP, http://127.0.0.1:5001
	@python -m arxiv_hybrid serve

test: $(VENV)/installed  ## run ruff, mypy and all tests
	@$(MAKE) --no-print-directory --jobs=2 lint pytest

# four workers keep two cores busy: each waits now and then for a server, a queue or the disk
pytest: $(VENV)/installed
	python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed  ## run ruff and mypy
	ruff check $(CODE)
	ruff format --check $(CODE)
	mypy

bench: $(VENV)/installed  ## measure speed, each part against a plain reference
	python benchmarks/speed.py

faults: $(VENV)/installed  ## break things on purpose and count what is lost, 15 minutes
	python benchmarks/faults.py

DATA ?= synthetic

experiments: $(VENV)/installed  ## compare all systems in one table (DATA=arxiv, a CSV or synthetic)
	python benchmarks/experiments.py table --data $(DATA)

ablations: $(VENV)/installed  ## measure what each part of v1 and of its recipe contributes
	python benchmarks/experiments.py ablations --data $(DATA)

collapse: $(VENV)/installed  ## show why the published v4 never learned
	python benchmarks/experiments.py collapse --data $(DATA)

ui: $(VENV)/installed  ## open MLflow, http://127.0.0.1:5000
	@python -m arxiv_hybrid ui

clean:  ## remove .venv and caches; keep data, models and results
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
