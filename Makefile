# make run      a working mail server in this directory, with a demo account
# make test     all tests (what .ci/run calls)
# make check    lint, types, then all tests: what a change must pass
# The rest: venv lock docs bench crash fuzz suites install clean

PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
VENV := .venv/bin
LOCKS := requirements.lock requirements-dev.lock
WORKERS ?= 3

.PHONY: run test check lint venv lock docs bench crash fuzz suites install clean
.SUFFIXES:
MAKEFLAGS += --no-print-directory

run: venv
	@exec bin/lanmail demo --root .

test: venv
	@$(VENV)/python -m pytest -q -n $(WORKERS) --dist loadfile --cache-clear $(ARGS) || { [ $$? = 1 ] && $(VENV)/python -m tests.again; }

check: lint test

lint: venv
	@$(VENV)/ruff check .
	@$(VENV)/mypy

# Compared by content, not by time, so that a checkout of another branch does not install anything again.
venv:
	@cat $(LOCKS) | cmp -s - .venv/installed.lock || $(MAKE) .venv

.PHONY: .venv
.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lanmail needs Python 3.11 or newer ($(PYTHON) is older); say: make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing the pinned dependencies into .venv"
	@[ -x $(VENV)/python ] || $(PYTHON) -m venv .venv || { echo "no venv: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(VENV)/python -m pip install -qq --disable-pip-version-check --require-hashes $(addprefix -r ,$(LOCKS))
	@cat $(LOCKS) > .venv/installed.lock

# uv resolves for every platform and Python at once; it lives only as long as this target.
lock:
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	$(PYTHON) -m venv "$$tmp" && "$$tmp/bin/pip" install -qq --disable-pip-version-check uv && \
	for name in requirements requirements-dev; do \
	  "$$tmp/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --no-header $(UPGRADE) -o $$name.lock $$name.in || exit 1; \
	done
	@! grep -nE '://|--(extra-)?index|--find-links' $(LOCKS)

docs: venv
	@$(VENV)/python -m docs.build

bench: venv
	@$(VENV)/python -m bench

# All kills and power cuts; `make test` does some of those that come at random.
crash: venv
	@LANMAIL_ROUNDS=1 $(VENV)/python -m pytest -q -rP tests/crash $(ARGS)

fuzz: venv
	@HYPOTHESIS_PROFILE=fuzz $(VENV)/python -m pytest -q -n $(WORKERS) tests/fuzz tests/test_web_api_described.py

# Other people's test suites and clients; tests/suites/README.md says how each is named. None named: all skip.
suites: venv
	@$(VENV)/python -m pytest -q -rs tests/suites $(ARGS)

# The programs with a .venv of their own in $(PREFIX)/lib/lanmail, links to them in bin/, units, users and manual pages.
# Packagers set DESTDIR. What is in /etc/lanmail and /var/lib/lanmail is not touched: `lanmail init` makes it.
LIB := $(DESTDIR)$(PREFIX)/lib/lanmail
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system
install: venv
	@install -d $(LIB)/bin $(DESTDIR)$(PREFIX)/bin $(UNITS)/lanmail-.service.d $(DESTDIR)$(PREFIX)/lib/sysusers.d \
	  $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	@$(PYTHON) -m venv $(LIB)/.venv
	@$(LIB)/.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@rm -rf $(LIB)/lanmail && cp -R lanmail $(LIB)/ && find $(LIB)/lanmail -name __pycache__ -prune -exec rm -rf {} +
	@$(LIB)/.venv/bin/python -m compileall -q -s '$(DESTDIR)' $(LIB)/lanmail
	@for name in $(notdir $(wildcard bin/*)); do \
	  cp -P bin/$$name $(LIB)/bin/ && ln -sf ../lib/lanmail/bin/$$name $(DESTDIR)$(PREFIX)/bin/$$name || exit 1; done
	@install -d $(LIB)/share && rm -rf $(LIB)/share/php && cp -R share/php $(LIB)/share/
	@install -m 644 systemd/*.target systemd/*.socket $(UNITS)/
	@install -m 644 systemd/lanmail-.service.d/* $(UNITS)/lanmail-.service.d/
	@for unit in $(notdir $(wildcard systemd/*.service)); do \
	  sed 's|/usr/local/|$(PREFIX)/|' systemd/$$unit > $(UNITS)/$$unit || exit 1; done
	@install -m 644 systemd/lanmail.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/lanmail.conf
	@install -m 644 systemd/lanmail.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/lanmail.conf
	@! command -v lowdown >/dev/null || [ ! -x $(VENV)/python ] || \
	  $(VENV)/python -m docs.build --man $(DESTDIR)$(PREFIX)/share/man
	@[ -n '$(DESTDIR)' ] || { systemd-sysusers; systemd-tmpfiles --create; systemctl daemon-reload || true; } 2>&1

clean:
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	@find lanmail tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
