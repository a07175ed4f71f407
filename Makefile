# birdsort: `make demo` shows what it does, `make test` proves that it works. Both set everything up first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
NODE := tests/node_modules
BIN := $(VENV)/bin
DEMO ?= data/demo
# Tests share the processor: one thread each is faster than two that fight.
ONE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST := $(ONE) $(BIN)/python -m pytest -q --durations=5

.PHONY: help install demo test lint check-sync check-notebooks check-tests check-training check-web check-recipes check-newest readme lab clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed browser ## set up .venv, the package, Chromium and its driver

.PHONY: browser
browser: ; @bash .ci/browser

$(VENV)/.installed: settings.ini setup.py .ci/venv
	@bash .ci/venv $(PYTHON) $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --quiet -e '.[dev]'
	@touch $@

# A second environment that sees the first one's torch, with today's newest fastai and fastcore over it.
$(NEWEST)/.installed: $(VENV)/.installed
	@bash .ci/venv $(BIN)/python $(NEWEST)
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])" > "$$($(NEWEST)/bin/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")/first.pth"
	@$(NEWEST)/bin/pip install --disable-pip-version-check --quiet --upgrade fastai fastcore 2> $(NEWEST)/pip.log || { cat $(NEWEST)/pip.log; exit 1; }
	@touch $@

# ONNX Runtime in JavaScript, in which a test asks an exported model.
$(NODE)/.installed: tests/package.json .ci/node
	@bash .ci/node
	@said=$$(npm install --ignore-scripts --no-audit --no-fund --no-package-lock --prefix tests 2>&1) || { echo "$$said"; exit 1; }
	@touch $@

demo: install ## from names to learner.pkl on drawn birds, offline
	@$(BIN)/birdsort demo --out $(DEMO)

test: install $(NEWEST)/.installed $(NODE)/.installed lint check-sync ## everything that CI checks
	@export TMPDIR=$$(mktemp -d) && trap 'rm -rf "$$TMPDIR"' EXIT && $(MAKE) --no-print-directory -j2 --output-sync=target check-tests check-training check-notebooks check-web check-recipes && $(MAKE) --no-print-directory check-newest
	@echo "all checks passed"

lint: $(VENV)/.installed ## ruff and mypy, in seconds
	@bash .ci/lint $(BIN)

check-sync: $(VENV)/.installed
	@$(BIN)/python -m pytest -q tests/test_architecture.py

check-notebooks: $(VENV)/.installed
	@$(ONE) $(BIN)/nbdev_test --n_workers 1 && echo "nbdev_test: every notebook ran"

check-web: $(VENV)/.installed $(NODE)/.installed
	@$(PYTEST) tests/sources tests/deploy

check-tests: $(VENV)/.installed
	@$(PYTEST) tests/cleaning tests/commands tests/end_to_end

check-training: $(VENV)/.installed
	@$(PYTEST) tests/training tests/evaluation

check-recipes: $(VENV)/.installed
	@$(PYTEST) tests/recipes

check-newest: $(NEWEST)/.installed
	@PYTHONPATH=. $(NEWEST)/bin/python -m pytest -q tests/end_to_end/newest.py

readme: $(VENV)/.installed ## write README.md from nbs/index.ipynb
	@$(BIN)/python .ci/readme.py

lab: install ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab nbs

clean: ## remove the environments; your projects in data/ stay
	rm -rf $(VENV) $(NEWEST) $(NODE) build dist *.egg-info
