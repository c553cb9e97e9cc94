"""Hypothesis as the tests use it: the same examples in each run, on each machine.

`--hypothesis-profile search` looks for new ones instead.
"""

import os

# Single rules can be called in interpreted mode only (mm.jit); what is compiled is
# run in processes of its own. Set before anything imports `mm`.
os.environ["MIDFOLIO_MODE"] = "interpreted"

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No database: an example that a run of long ago left behind must not decide this one.
settings.register_profile("pinned", derandomize=True, database=None, deadline=None)
settings.register_profile("search", database=None, deadline=None, max_examples=2000)
settings.load_profile("pinned")


@pytest.fixture(scope="session")
def work_directories() -> Iterator[Path]:
    """A place for the work directories of campaigns."""
    with tempfile.TemporaryDirectory(prefix="midfolio-work-") as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def _own_work_directory(
    work_directories: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A work directory for each test: none goes on with what another one, or a user, began."""
    name = f"{abs(hash(request.node.nodeid)):x}"
    monkeypatch.setenv("MIDFOLIO_WORK", str(work_directories / name))
