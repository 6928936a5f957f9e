# Needs Python 3.11 or later and make; everything else is installed into .venv and .cache, by hash.
# Recipes name their files relative to this folder, so that a path with spaces works.

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
# The stamps carry the folder's own path: a clone that was moved or copied is set up again.
HERE := $(shell pwd | cksum | cut -d ' ' -f 1)
RUNTIME := .venv/runtime.$(HERE)
DEV := .venv/dev.$(HERE)
BROWSER := kasuwa/web/static/vendor/.complete
PHOTOGRAPHS := .cache/demo-photographs/.complete
LOCKED := requirements/uv.txt requirements/runtime.txt tools/set_up.py pyproject.toml

.PHONY: help serve test check format lock bench clean

help:
	@echo 'make serve   run the shop on http://127.0.0.1:8000   (ARGS="--port 9000" is passed on)'
	@echo 'make test    every check and test, as the continuous integration runs them   (ARGS="tests/api -k picture": only those)'
	@echo 'make check   style, types, imports, locks, the rules of the project: no other tests'
	@echo 'make format  put the code into our style'
	@echo 'make lock    resolve requirements/*.in again   (ARGS=--upgrade: to the newest versions)'
	@echo 'make bench   the measurements that docs/ quotes   (ARGS are passed on)'
	@echo 'make clean   remove what was installed and built; data/ stays'

serve: $(RUNTIME) $(BROWSER) $(PHOTOGRAPHS)
	@exec $(BIN)/kasuwa serve --demo $(ARGS)

test: $(DEV) $(BROWSER) $(PHOTOGRAPHS)
	@$(BIN)/python -m tools.verify $(ARGS)

check: $(DEV)
	@$(BIN)/python -m tools.verify --only-checks

format: $(DEV)
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lock: $(DEV)
	@$(BIN)/python -m tools.lock $(ARGS)

bench: $(DEV) $(PHOTOGRAPHS)
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf .venv .cache build dist kasuwa.egg-info kasuwa/web/static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*

$(RUNTIME): $(LOCKED)
	@test -n '$(PYTHON)' || { echo 'Kasuwa needs Python 3.11 or later: install it, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m tools.set_up runtime --stamp $@

$(DEV): $(LOCKED) requirements/dev.txt
	@test -n '$(PYTHON)' || { echo 'Kasuwa needs Python 3.11 or later: install it, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m tools.set_up dev --stamp $@

# Order only: these files depend on their own list, not on the Python that fetches them.
$(BROWSER): requirements/browser.json | $(RUNTIME)
	@$(BIN)/python -m tools.browser_files

$(PHOTOGRAPHS): requirements/demo_photographs.json | $(RUNTIME)
	@$(BIN)/python -m tools.demo_photographs
