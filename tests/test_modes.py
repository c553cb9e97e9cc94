"""One source, two speeds: compiled and interpreted give the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Random cases, and the least number of case files of the corpus.
SIZES = {"x86_64": (20_000, 60), "arm64": (1_000, 10), "powerpc": (2_000, 5)}


def start(mode: str, arch: str, first: int, last: int) -> subprocess.Popen[str]:
    """A process that prints the lines of tests/outcome_stream.py in `mode`."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "outcome_stream.py"), arch, str(first), str(last)],
        env={**os.environ, "MIDFOLIO_MODE": mode, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    """What the process printed; it must have ended well."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.splitlines()


@pytest.mark.parametrize("arch", SIZES)
def test_both_modes_leave_the_same_bytes(arch: str) -> None:
    """Of the corpus and of random cases: entries, logs, counts, every class bit, features.

    One process compiles, as each that finds no cache would do so for itself.
    """
    cases, files = SIZES[arch]
    compiled = start("compiled", arch, 0, cases)
    halves = [
        start("interpreted", arch, 0, cases // 2),
        start("interpreted", arch, cases // 2, cases),
    ]
    lines = [line for half in halves for line in lines_of(half)]
    assert lines_of(compiled) == lines
    assert len(lines) == 1 + cases // 500
    assert int(lines[0].split()[1]) >= files


def compiled_fuzz(place: Path, *options: str) -> str:
    """The last line of a compiled `fuzz` with these options, which must end with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.cli", "fuzz", *options],
        cwd=place,
        env={**os.environ, "MIDFOLIO_MODE": "compiled", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_python_target_runs_in_a_compiled_campaign(tmp_path: Path) -> None:
    """A rule that Python calls by mistake takes a compiled process down, and no other test sees it."""
    (tmp_path / "plain.py").write_text(
        "from batched.x86_64 import change_pte_range\n"
        "def target(state):\n"
        "    return change_pte_range(state)\n"
    )
    last = compiled_fuzz(tmp_path, "--target", "plain:target", "--cases", "40")
    assert last.startswith("fuzz: 40 cases, nothing unexplained")


def test_drawn_cases_run_compiled(tmp_path: Path) -> None:
    """As above, of the engine whose cases Python makes."""
    last = compiled_fuzz(tmp_path, "--engine", "hypothesis", "--arch", "x86_64", "--cases", "120")
    assert "nothing unexplained; case budget reached; exit 0" in last
