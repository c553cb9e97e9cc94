"""Targets in Python that misbehave: what they raise, and what compiled code does to its process."""

import os
import subprocess
from pathlib import Path

import pytest

from fuzz.fates import fate
from harness import zoo
from mm.jit import ROOT
from tests import test_cli


def midfolio(where: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command; its targets and its findings are in `where`."""
    environment = {
        "MIDFOLIO_FINDINGS": str(where / "findings"),
        "MIDFOLIO_HANG_SECONDS": "1",
        "PYTHONPATH": os.pathsep.join((str(where), str(ROOT))),
        **variables,
    }
    return test_cli.midfolio(*arguments, **environment)


RAISES = """
from batched.x86_64 import change_pte_range as sound

def change_pte_range(state):
    if state.facts[0].end - state.facts[0].start == 37:
        raise ValueError("not seven and thirty")
    return sound(state)

def nothing(state):
    pass
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_target_in_python_that_raises_is_a_finding(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "raises.py").write_text(RAISES)
    run = ("fuzz", "--arch", "x86_64", "--cases", "150", "--jobs", jobs)
    done = midfolio(tmp_path, *run, "--target", "raises:change_pte_range")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fuzz: 150 cases, 2 cases diverge" in done.stdout
    assert "ValueError: not seven and thirty" in done.stdout
    assert "in change_pte_range" in done.stdout  # the traceback
    findings = list((tmp_path / "findings").glob("target-raised-*.case"))
    assert len(findings) == 2
    replayed = midfolio(tmp_path, "replay", str(findings[0]))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    replayed = midfolio(tmp_path, "replay", "x86_64:7.3:3:1:0", "--target", "raises:nothing")
    assert replayed.returncode == 1
    assert "diverges: target-raised" in replayed.stdout
    assert "TypeError" in replayed.stdout


COMPILED = """
import numpy as np
from mm.jit import entry
from mm.state import numba_target
from batched.x86_64 import change_pte_range as sound

@entry(numba_target)
def leaves(state):
    facts, pages = state.facts[0], sound(state)
    if facts.end - facts.start == 37:
        state.ptes[np.int64(facts.table_addr)] = np.uint64(pages)
    return pages

@entry(numba_target)
def loops(state):
    facts, pages = state.facts[0], sound(state)
    while facts.end - facts.start == 37:
        facts.end = state.facts[0].start + 37
    return pages

@entry(numba_target)
def raises(state):
    facts, pages = state.facts[0], sound(state)
    if facts.end - facts.start == 37:
        raise ValueError("not seven and thirty")
    return pages
"""


@pytest.mark.parametrize(
    ("name", "shows", "cases", "ending"),
    [
        ("leaves", "target-crash", 1000, "1000 cases, 13 cases diverge; case budget reached"),
        ("raises", "target-raised", 1000, "1000 cases, 13 cases diverge; case budget reached"),
        ("loops", "target-hang", 150, "150 cases, 2 cases diverge; case budget reached"),
    ],
)
def test_a_campaign_outlives_compiled_code_of_others(
    tmp_path: Path, name: str, shows: str, cases: int, ending: str
) -> None:
    """Which leaves its arrays unseen, where interpreted code raises."""
    (tmp_path / "compiled_targets.py").write_text(COMPILED)
    target = f"compiled_targets:{name}"
    compiled = {"MIDFOLIO_MODE": "compiled"}
    run = ("fuzz", "--arch", "x86_64", "--cases", str(cases), "--target", target)
    done = midfolio(tmp_path, *run, "--per-class", "1", **compiled)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"fuzz: {ending}; exit 1"
    (found,) = (tmp_path / "findings").glob(f"{shows}-*.case")
    # Interpreted.
    replayed = midfolio(tmp_path, "replay", str(found))
    assert f"diverges as expected: {shows}" in replayed.stdout, replayed.stdout + replayed.stderr
    assert "replay: 1 runs, 1 as expected; exit 0" in replayed.stdout


def test_a_mutant_that_never_returns_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that somebody plants may do anything."""
    mutant = zoo.Mutant(
        name="never-returns",
        file="walk.py",
        find="        index += nr\n",
        replace="        index += nr - ONE_ENTRY\n",
        why="stays where it is",
        origin="this test",
        shows="target-hang",
    )
    monkeypatch.setattr(zoo, "all_mutants", lambda: (mutant,))
    monkeypatch.setenv("MIDFOLIO_HANG_SECONDS", "1")
    done = fate(mutant.name, "x86_64", "7.3", 100, 1)
    assert (done.by, done.cases) == ("target-hang", 1)
    assert done.problem == "has no case corpus/mutants/never-returns.case"
