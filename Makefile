# make repro | report | serve | ui | test | lint | bench | experiments | ablations | collapse. Each makes .venv first if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repro report serve ui test lint bench experiments ablations collapse clean

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

repro: $(VENV)/installed  ## run the whole pipeline and show what it reached
	dvc repro
	@python stages/summary.py

report: $(VENV)/installed  ## everything about the last run on one page, reports/index.html
	@python stages/report.py

serve: $(VENV)/installed  ## the model behind MLflow's scoring server, http://127.0.0.1:5001
	@python stages/serve.py

test: lint  ## check the code and run all tests
	python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

bench: $(VENV)/installed  ## speed of everything, each beside a plain reference, in one table
	python benchmarks/speed.py

DATA ?= synthetic

experiments: $(VENV)/installed  ## every system in one table (DATA=arxiv, a CSV or synthetic)
	python benchmarks/experiments.py table --data $(DATA)

ablations: $(VENV)/installed  ## the same for what each part of v1 and its recipe brings
	python benchmarks/experiments.py ablations --data $(DATA)

collapse: $(VENV)/installed  ## the same for why the published v4 never learned
	python benchmarks/experiments.py collapse --data $(DATA)

ui: $(VENV)/installed  ## MLflow in the browser, http://127.0.0.1:5000
	mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}"

clean:  ## remove the virtual environment and caches, not results
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
