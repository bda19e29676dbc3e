# fer_nb: `make help` lists the targets
SHELL := /bin/bash -o pipefail
PYTHON ?= python3
BIN := .venv/bin
MIN_PYTHON := $(shell sed -n 's/^min_python = //p' settings.ini)
SOURCE ?= synthetic
MODEL ?= baseline
NAME ?= $(if $(filter synthetic,$(SOURCE)),drawn,my)-$(MODEL)

# README.md stands one folder above the notebooks and pictures that it links to.
readme = $(BIN)/jupyter nbconvert --log-level ERROR --to markdown --output-dir $(1) --output README nbs/index.ipynb && \
	sed -i.bak -E 's,\]\(([a-z]+\.png|[0-9]{2}[a-z]?_),](nbs/\1,g' $(1)/README.md && rm $(1)/README.md.bak

.PHONY: help setup constraints browser dashboard pipeline test check notebooks-tested \
	bare notebooks docs readme clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: .venv/.installed ## a virtual environment with the tested versions

.venv/.installed: settings.ini setup.py pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fer_nb needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

# Pins that still fit stay as they are: without the file, everything is the newest.
# One version for as many Pythons as can be, so that what was tested is what is used.
# The resolver has an environment of its own: pins that contradict each other end `setup`.
constraints: ## resolve the pins in constraints.txt anew, for every Python
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.6'
	build/uv/bin/uv pip compile --quiet --universal --fork-strategy fewest \
		--python-version $(MIN_PYTHON).0 --all-extras --no-annotate --no-header \
		--output-file constraints.txt setup.py

pipeline: setup ## data to evaluated model: SOURCE=synthetic, kaggle, or a folder or zip of the release
	$(BIN)/fer_nb prepare --source '$(SOURCE)'
	$(BIN)/fer_nb eda
	$(BIN)/fer_nb train $(MODEL) --name $(NAME)
	$(BIN)/fer_nb evaluate $(NAME)

dashboard: setup ## recognise faces in your camera and pictures: opens http://localhost:8866
	$(BIN)/fer_nb dashboard

test: setup browser check notebooks-tested ## everything that CI checks
	$(BIN)/pytest -q tests

# A minimal Debian lacks the browser, and a library of the program that drives it.
browser: setup
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } > /dev/null && $(BIN)/playwright --version > /dev/null 2>&1 && exit; \
	if [ $$(id -u) = 0 ] && command -v apt-get > /dev/null; then apt-get -qq update && apt-get -qq install -y chromium libatomic1 > /dev/null; else $(BIN)/playwright install chromium; fi || \
	{ echo 'The dashboard and the site are tested in a browser: install Chromium and run make test again'; exit 1; }

# Mounts and processes of its own, which end with it, however it ends.
bare: ## the dashboard and make test in a new minimal Debian 12, as root
	unshare --mount --pid --fork --kill-child $(PYTHON) tools/bare.py build/bare

# Both are done in a copy, so that a working tree with changes can be checked and stays as it is.
check: setup
	rm -rf build/check && mkdir -p build/check/fer_nb
	cp -rL nbs settings.ini setup.py pyproject.toml build/check/
	cp fer_nb/__init__.py build/check/fer_nb/
	cd build/check && ../../$(BIN)/nbdev_clean && ../../$(BIN)/nbdev_export
	diff -r -x .ipynb_checkpoints nbs build/check/nbs || { echo 'Notebooks are not clean: run nbdev_clean'; exit 1; }
	diff -r -x __pycache__ -x static fer_nb build/check/fer_nb || { echo 'Package and notebooks differ: edit notebooks, then run nbdev_export'; exit 1; }
	$(call readme,build/check)
	diff README.md build/check/README.md || { echo 'README.md is made from nbs/index.ipynb: run make readme'; exit 1; }

# nbdev_test succeeds as well where it finds nothing, so what it ran is counted.
notebooks-tested: setup
	mkdir -p build && $(BIN)/nbdev_test --do_print 2>&1 | tee build/nbdev_test.log
	test $$(grep -c -- '- Completed' build/nbdev_test.log) -eq $$(ls nbs/*.ipynb | wc -l)

notebooks: setup ## run every notebook: on drawn faces, or on SOURCE=..., which keeps the outputs
	$(BIN)/python tools/notebooks.py '$(SOURCE)'

# nbdev_docs has Quarto rewrite a README.md that is older than index.ipynb, so ours is made first.
docs: setup readme ## the site in _docs, by Quarto where it is installed
	$(BIN)/python tools/docs.py

readme: setup ## README.md from nbs/index.ipynb
	$(call readme,.)

clean: ## remove what can be made again (data, models and results stay)
	rm -rf build dist *.egg-info _docs _proc nbs/nbdev.yml .venv
