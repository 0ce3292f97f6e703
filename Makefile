# What a person types; .ci/run types the same.
PYTHON ?= python3
SECONDS ?= 0
PREFIX ?= /opt/maintd
RUNTIME := .venv
EXTRAS := .venv-extras
DEV := .venv-dev
BUILD := .venv-build
PIP_FLAGS := --disable-pip-version-check --no-input --quiet --require-hashes --no-deps

# The program is tried as it runs, from compiled modules; without them each start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check format bench faults lock schema man docs wheel install uninstall clean setup

setup: $(RUNTIME)/.ready $(EXTRAS)/.ready $(DEV)/.ready

# Of what tests and tools import, little is ever run: to compile all of it took longer than to install it (--no-compile).

# The daemon runs, also in tests, from an environment that holds the runtime lock and nothing else; what needs an extra
# (object stores, alert channels, Redis, PostgreSQL, encryption) from one that holds those as well.
$(RUNTIME)/.ready: requirements.lock $(DEV)/.ready
	$(PYTHON) -m venv --clear $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install $(PIP_FLAGS) -r requirements.lock
	$(RUNTIME)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-index --force-reinstall dist/editable/*.whl
	touch $@

$(EXTRAS)/.ready: requirements-extras.lock $(DEV)/.ready
	$(PYTHON) -m venv --clear $(EXTRAS)
	$(EXTRAS)/bin/python -m pip install $(PIP_FLAGS) --no-compile -r requirements-extras.lock
	$(EXTRAS)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-index --force-reinstall dist/editable/*.whl
	touch $@

$(DEV)/.ready: requirements-dev.lock pyproject.toml maintd/__init__.py
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_FLAGS) --no-compile -r requirements-dev.lock
	rm -rf dist/editable && mkdir -p dist/editable
	$(DEV)/bin/python -c 'import hatchling.build; hatchling.build.build_editable("dist/editable")'
	$(DEV)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-index --force-reinstall dist/editable/*.whl
	touch $@

# All that building the wheel takes, so that installing does not need the tools of development.
$(BUILD)/.ready: requirements-build.lock
	$(PYTHON) -m venv --clear $(BUILD)
	$(BUILD)/bin/python -m pip install $(PIP_FLAGS) -r requirements-build.lock
	touch $@

run: $(RUNTIME)/.ready $(DEV)/.ready
	$(DEV)/bin/python deploy/demo.py --seconds $(SECONDS)

test: setup
	$(DEV)/bin/python -m pytest -n 5 --dist worksteal

check: $(DEV)/.ready
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

format: $(DEV)/.ready
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

# Every figure of docs/benchmarks.md, about ten minutes. MAINTD_BENCH_LOGS names a folder of real logs to start from.
bench: setup
	$(DEV)/bin/python bench/startup.py
	$(DEV)/bin/python bench/compress.py
	$(DEV)/bin/python bench/archive.py
	$(DEV)/bin/python bench/tree.py
	$(DEV)/bin/python bench/daemon.py
	$(DEV)/bin/python bench/growth.py
	$(DEV)/bin/python bench/collapse.py
	$(DEV)/bin/python bench/logrotate.py
	$(DEV)/bin/python bench/logs.py
	$(DEV)/bin/python bench/walk.py
	$(DEV)/bin/python bench/guard.py
	$(DEV)/bin/python bench/checks.py
	$(DEV)/bin/python bench/alerts.py
	$(DEV)/bin/python bench/backup.py
	$(DEV)/bin/python bench/sqlite.py

# Every campaign of faults at its full size, up to 45 minutes; a part of each is in `make test`. Needs root for most.
faults: setup
	$(DEV)/bin/python -m tests.faults

# uv resolves for every Python and platform at once; it is needed to write the locks only.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate pyproject.toml --all-extras -c requirements.lock -o requirements-extras.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate pyproject.toml --all-extras --group dev -c requirements-extras.lock -o requirements-dev.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --no-header --no-annotate --group build -c requirements-dev.lock -o requirements-build.lock

schema: setup
	$(RUNTIME)/bin/maintd schema > config/maintd.schema.json.new
	mv config/maintd.schema.json.new config/maintd.schema.json

# docs/man/*.1, from the text of --help; the wheel carries them.
man: setup
	$(DEV)/bin/python docs/man.py

docs: setup
	$(DEV)/bin/python docs/generate.py

wheel: $(BUILD)/.ready
	$(BUILD)/bin/python -c 'import hatchling.build; print("dist/" + hatchling.build.build_wheel("dist"))'

# A version beside those that are there, and the link `current` to it; touches nothing outside PREFIX.
install: $(BUILD)/.ready
	$(BUILD)/bin/python deploy/install.py --prefix $(PREFIX)

uninstall:
	$(PYTHON) deploy/install.py --prefix $(PREFIX) --uninstall

clean:
	rm -rf $(RUNTIME) $(EXTRAS) $(DEV) $(BUILD) dist .run
