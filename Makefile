# RasterFuse workshop. `make` lists the targets. Everything that is made lies in build/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The Python that Debian's QGIS runs on; other Pythons cannot import qgis.
PYTHON := /usr/bin/python3
# Where pip takes torch from; empty is PyPI, whose build for Linux brings CUDA (several GB).
TORCH_INDEX ?=
# More options for pytest, e.g. make test ARGS="-k starfm -x".
ARGS ?=
# What test-matrix runs, and in which releases of Debian.
TARGETS ?= unit test-qgis
SUITES ?= trixie sid

PACKAGES := qgis python3-qgis python3-venv git
SCREEN_PACKAGES := xvfb xauth openbox
WORKER := build/worker/bin/python
QGIS := build/qgis/bin/python
PIP := -m pip install --quiet --no-cache-dir --disable-pip-version-check
TORCH := $(shell sed -n '/^torch==/p' tools/worker-requirements.txt)
# Runs a command as `make env` says; the worker's Python must not see QGIS and keeps its caches here.
IN_QGIS := eval "$$(tools/environment)" &&
IN_WORKER := mkdir -p build/tmp && TMPDIR="$$PWD/build/tmp" XDG_CACHE_HOME="$$PWD/build/xdg/cache" \
	GOMP_SPINCOUNT=1000
TYPED := -p rasterfuse.models -p rasterfuse.plugin.engine -p rasterfuse.plugin.runtime \
	-m rasterfuse.plugin.job -m rasterfuse.plugin.training_job -m rasterfuse.plugin.checks \
	-m rasterfuse.plugin.grid \
	-m rasterfuse.plugin.paths -m rasterfuse.plugin.recent_errors -m rasterfuse.plugin.diagnostics

.PHONY: help setup packages demo run env test test-slow test-install lint type qt6 unit test-qgis \
	test-matrix package train-net evaluate bench bench-gpu screenshots clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: build/worker/.ready build/qgis/.ready ## install what is missing: packages, build/worker, build/qgis
	@$(IN_QGIS) true

packages:
	@tools/packages $(PACKAGES)

build/worker/.ready: tools/worker-requirements.txt | packages
	@echo "Setting up build/worker (torch is large; this takes some minutes)" >&2
	@$(PYTHON) -m venv build/worker
	@$(WORKER) $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@$(WORKER) $(PIP) -r tools/worker-requirements.txt
	@touch $@

build/qgis/.ready: tools/qgis-requirements.txt | packages
	@echo "Setting up build/qgis" >&2
	@$(PYTHON) -m venv --system-site-packages build/qgis
	@$(QGIS) $(PIP) -r tools/qgis-requirements.txt
	@touch $@

demo: setup ## simulate a scene and fuse it through the plugin; look into build/demo
	@$(IN_QGIS) $(QGIS) tools/demo.py build/demo

run: setup ## open QGIS with the plugin and the demo project
	@test -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" || { echo "QGIS needs a screen and there is none:" \
		"DISPLAY is not set. Log in on a desktop, or with ssh -X." >&2; exit 1; }
	@test -e build/demo/demo.qgz || $(MAKE) --no-print-directory demo
	@$(IN_QGIS) env -u QT_QPA_PLATFORM qgis --nologo --noversioncheck build/demo/demo.qgz

env: ## print shell lines for work by hand: eval "$(make env)"
	@$(MAKE) --no-print-directory setup >&2
	@tools/environment

test: lint type unit test-qgis ## all checks and tests but the slow ones

lint: setup ## ruff, bandit, and what Qt 6 would refuse
	@$(WORKER) -m ruff check .
	@$(WORKER) -m ruff format --check .
	@$(IN_WORKER) $(WORKER) -m bandit --quiet --recursive --configfile pyproject.toml plugin models __init__.py
	@$(PYTHON) tools/qt6_check.py plugin tools tests

type: setup ## mypy on all parts without Qt
	@cd build/plugins && MYPYPATH=. ../worker/bin/python -m mypy --config-file ../../pyproject.toml \
		--cache-dir ../mypy $(TYPED)

build/qt6/.ready: tools/qt6-requirements.txt
	@echo "Setting up build/qt6" >&2
	@$(PYTHON) -m venv build/qt6
	@build/qt6/bin/python $(PIP) -r tools/qt6-requirements.txt
	@touch $@

qt6: setup build/qt6/.ready ## mypy on the QGIS side with the types of PyQt6 (a download)
	@tools/qt6

unit: setup ## tests of the worker's side, without QGIS
	@$(IN_WORKER) $(WORKER) -m pytest tests/unit tests/engine tests/real $(ARGS)

test-qgis: setup ## tests in a headless QGIS, without torch
	@$(IN_QGIS) $(QGIS) -m pytest tests/qgis $(ARGS)

test-slow: setup ## tests that take long or load the machine
	@$(IN_WORKER) $(WORKER) -m pytest tests/unit tests/engine tests/real -m slow $(ARGS)

test-install: setup ## install the managed Python from nothing, also interrupted, and fuse with it
	@$(IN_WORKER) $(WORKER) -m pytest tests/unit/test_install_steps.py \
		tests/engine/test_install_for_real.py -m slow $(ARGS)

test-matrix: export TARGETS := $(TARGETS)
test-matrix: ## the tests in the QGIS of other Debian releases (needs root), kept in build/matrix
	@tools/matrix $(SUITES)

package: ## ZIP for plugins.qgis.org in build/dist; STRICT=1 fails on open questions
	@$(PYTHON) tools/package.py $(if $(STRICT),--strict)

train-net: setup ## train the weights of rasterfuse_net anew, from simulated scenes (under an hour)
	@$(IN_WORKER) PYTHONPATH=build/plugins $(WORKER) tools/train_net.py \
		models/weights/rasterfuse_net.safetensors $(ARGS)

evaluate: setup ## accuracy on real and simulated scenes; writes docs/evaluation.md
	@$(IN_WORKER) PYTHONPATH=build/plugins $(WORKER) tools/evaluate docs/evaluation.md

bench: setup ## speed and memory on this machine; writes docs/benchmarks.md
	@$(IN_WORKER) $(WORKER) tools/bench docs/benchmarks.md

bench-gpu: setup ## the same on a GPU, which it adds to the page
	@$(IN_WORKER) $(WORKER) tools/bench --gpu docs/benchmarks.md

screenshots: demo ## make the pictures in docs/images
	@tools/packages $(SCREEN_PACKAGES)
	@mkdir -p docs/images && cp build/demo/demo.png docs/images/demo.png
	@$(PYTHON) tools/screenshots.py

clean: ## remove all that was made
	rm -rf build .hypothesis .qgis-settings .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
