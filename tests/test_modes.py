"""One source, two speeds: compiled and interpreted give the same bytes."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@cache
def stream(mode: str, first: int, last: int) -> str:
    """What tests/outcome_stream.py prints in `mode`."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "outcome_stream.py"), str(first), str(last)],
        env={**os.environ, "MIDFOLIO_MODE": mode, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("first", range(0, 20_000, 5_000))
def test_both_modes_leave_the_same_bytes(first: int) -> None:
    """The corpus and 20,000 random cases: entries, logs, counts and every class bit."""
    compiled = stream("compiled", first, first + 5_000)
    assert compiled == stream("interpreted", first, first + 5_000)
    assert compiled.split()[2] == "5000"
    if first == 0:
        assert int(compiled.split()[1]) >= 60
