# birdsort: `make demo` shows what it does, `make test` proves that it works. Both set everything up first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
NODE := tests/node_modules
BIN := $(VENV)/bin
DEMO ?= data/demo
# Several workers with one thread each are faster than threads that fight; more workers than cores, since many tests wait.
ONE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
WORKERS ?= 3
PYTEST := $(ONE) $(BIN)/python -m pytest -q

.PHONY: help install demo test lint check check-house check-notebooks check-tests check-newest readme docs screens lab clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed browser ## set up .venv, the package, Chromium and its driver

.PHONY: browser
browser: ; @bash .ci/browser

.PHONY: display
display: ; @bash .ci/display

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

test: install display $(NEWEST)/.installed $(NODE)/.installed ## everything that CI checks
	@export TMPDIR=$$(bash .ci/tmp) && trap 'rm -rf "$$TMPDIR"' EXIT && $(MAKE) --no-print-directory --keep-going -j3 --output-sync=target lint check-house check-tests check-notebooks check-newest
	@echo "all checks passed"

lint: $(VENV)/.installed ## ruff and pyrefly, in seconds
	@bash .ci/lint $(BIN)

check: $(VENV)/.installed ## export, lint and run one notebook or folder: make check ON=nbs/50_train.ipynb, ON=tests/training
	@test -n "$(ON)" || { echo "name a notebook or a folder of nbs or tests: make check ON=nbs/50_train.ipynb" >&2; exit 1; }
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/ruff check birdsort tests bench
	@case "$(ON)" in tests*) $(PYTEST) $(ON) ;; *) $(ONE) $(BIN)/nbdev_test --path $(ON) ;; esac

check-house: $(VENV)/.installed
	@$(PYTEST) tests/test_architecture.py tests/test_style.py

check-tests: $(VENV)/.installed $(NODE)/.installed
	@$(PYTEST) tests --ignore tests/test_architecture.py --ignore tests/test_style.py -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10

check-notebooks: $(VENV)/.installed
	@$(ONE) $(BIN)/nbdev_test --n_workers 2 && echo "nbdev_test: every notebook ran"

check-newest: $(NEWEST)/.installed
	@PYTHONPATH=. $(ONE) $(NEWEST)/bin/python -m pytest -q tests/end_to_end/newest.py

readme: $(VENV)/.installed ## write README.md from nbs/index.ipynb
	@$(BIN)/python .ci/readme.py

$(VENV)/.docs: $(VENV)/.installed
	@$(BIN)/pip install --disable-pip-version-check --quiet -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs ## build the site into _docs/html, and look up every link in it
	@$(ONE) $(BIN)/python docs/build_site.py

screens: install ## step through a project's notebooks in JupyterLab, and photograph them for the site
	@$(BIN)/python docs/screens.py

lab: install ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab nbs

clean: ## remove the environments; your projects in data/ stay
	rm -rf $(VENV) $(NEWEST) $(NODE) _docs build dist *.egg-info
