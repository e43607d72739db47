# Needs Python 3.11 or newer and make; everything else is installed into .venv by the targets that need it.

# The first interpreter that runs and can make virtual environments (pyenv leaves names that do not run).
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
# Which Airflow: 3.3, or the oldest supported one.
AIRFLOW ?= 3.3
WORKERS ?= 2

VENV := $(if $(filter 3.3,$(AIRFLOW)),.venv,.venv-$(AIRFLOW))
BIN := $(VENV)/bin
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
INSTALLED := $(VENV)/.installed
REPORTS := build/reports

# Nothing here may read or write the Airflow of whoever runs it.
export AIRFLOW_HOME := $(CURDIR)/build/airflow

.PHONY: help venv demo browser wheel test test-celery test-all bench torture screenshots lint format docs clean

help:
	@echo "make demo      a picture message through a real Airflow to a sandbox MMSC, and who got it (KEEP=1 stays up)"
	@echo "make test      the whole suite (AIRFLOW=3.2 for the oldest supported Airflow)"
	@echo "make test-celery  two Celery workers over Redis and PostgreSQL: their common rate, and one of them killed"
	@echo "make wheel     the wheel holds every file of the package, and Airflow sees what is in it"
	@echo "make screenshots  pictures of the pages for the documentation, by Chromium"
	@echo "make test-all  the suite on every supported Airflow"
	@echo "make bench     how fast it is, against other ways to send; about 18 minutes (SUITE=name,... or all; ROUNDS=5)"
	@echo "make torture   kill -9 at 300 random moments on each database, then count; about 25 minutes (KILLS=20 SEED=1 ONLY=SQLite)"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make docs      the documentation, warnings are errors"
	@echo "make clean     remove what the other targets made"

venv: $(INSTALLED)

# No cache: nothing is written outside the clone, nor by the pip that pip starts to build a package.
$(INSTALLED): export PIP_NO_CACHE_DIR = 1
$(INSTALLED): export PIP_DISABLE_PIP_VERSION_CHECK = 1
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv was found; name one: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python -m demo.demo $(if $(KEEP),--keep)

# What pages are tested in: the system's Chromium. In a container of CI, which is root on Debian, it is installed; where it
# is not, its tests skip and say so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| echo "There is no Chromium: tests in a browser will be skipped"

# The real Airflow comes last and alone: its four processes want both cores.
test: $(INSTALLED) browser
	@mkdir -p $(REPORTS)
	@rm -f $(REPORTS)/*.xml .coverage
	$(BIN)/python -m pytest -m 'not e2e' -n $(WORKERS) --dist loadscope --cov --cov-report= \
		--junitxml=$(REPORTS)/suite.xml
	$(BIN)/python -m pytest -m 'e2e and not celery' --cov --cov-append --cov-report=term:skip-covered --junitxml=$(REPORTS)/e2e.xml
	$(BIN)/python -m coverage report --include='airflow_provider_mm7/protocol/*' --fail-under=100 --skip-covered

# Nothing is fetched but what builds the package, as for .venv.
wheel: export PIP_NO_CACHE_DIR = 1
wheel: export PIP_DISABLE_PIP_VERSION_CHECK = 1
wheel: $(INSTALLED)
	@$(BIN)/python .ci/wheel.py

# For itself: it takes about three minutes, and wants both cores too. First of all it says if there is no Redis.
test-celery: $(INSTALLED)
	@$(BIN)/python -m tests.support.redis_server
	@mkdir -p $(REPORTS)
	$(BIN)/python -m pytest -m celery -s --junitxml=$(REPORTS)/celery.xml

test-all:
	$(MAKE) test AIRFLOW=3.3
	$(MAKE) test AIRFLOW=3.2

# Its exit status does not tell whether targets are met: figures of a busy machine say nothing.
bench: $(INSTALLED)
	@$(BIN)/python -m tests.benchmarks run $(if $(SUITE),--suite $(SUITE)) $(if $(ROUNDS),--rounds $(ROUNDS))

# Full disks need the right to mount one (root); without it they are not run, and the table says so.
torture: $(INSTALLED)
	@$(BIN)/python -m tests.torture $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only "$(ONLY)")

# Of the running product, kept small; to be looked at and committed.
screenshots: $(INSTALLED) browser
	@$(BIN)/python -m docs.screenshots
	@$(BIN)/python -m docs.sandbox_screenshots

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(INSTALLED)
	$(BIN)/sphinx-build -n -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv .venv-* .demo build dist docs/_build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find airflow_provider_mm7 demo example_dags tests -name __pycache__ -type d -prune -exec rm -rf {} +
