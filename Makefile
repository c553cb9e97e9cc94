# Every target sets up what it needs. `make test` on a fresh checkout is enough.

PYTHON := .venv/bin/python
MIDFOLIO := .venv/bin/midfolio

.PHONY: help setup test test-vm check fuzz clean
.SILENT:

help:
	echo "make setup   create .venv with everything in it (the other targets do so, too)"
	echo "make test    run the tests"
	echo "make test-vm boot other kernels under qemu and compare both sides with them (minutes)"
	echo "make check   lint, formatting, types"
	echo "make fuzz    fuzz the built-in batched implementation"
	echo "make clean   remove what was built; findings in .midfolio/findings stay"

setup:
	.ci/setup

test: setup
	# Stealing evens out the workers: few tests take most of the time.
	$(PYTHON) -m pytest -q -n 2 --dist worksteal

# Wants qemu and a Debian machine with a network, so it is no part of `make test`.
test-vm: setup
	$(PYTHON) -m pytest -q -s tests/vm_boots.py tests/vm_exports.py

check: setup
	$(PYTHON) -m ruff check --quiet . && echo "lint: ok"
	$(PYTHON) -m ruff format --quiet --check . && echo "format: ok"
	$(PYTHON) -m mypy --no-error-summary && echo "types: ok"

fuzz: setup
	$(MIDFOLIO) fuzz --show-canary

clean:
	rm -rf .venv .midfolio/cache .midfolio/setup.log build *.egg-info
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
