"""`fuzz --engine hypothesis`: finds, shrinks, goes on to other classes, and replays what it found."""

import dataclasses
import os
from pathlib import Path

import pytest

from fuzz import exits
from fuzz.engines import with_hypothesis
from fuzz.engines.with_hypothesis import PROFILE, HypothesisCampaign
from fuzz.runner import Plan
from fuzz.strategies import cases
from harness.casefile import read_case
from harness.differences import red
from harness.run import judge_case
from harness.targets import load

from .test_cli import HISTORICAL, midfolio

TWO_BUGS = """\
from batched.x86_64 import change_pte_range
from mm.state import BAD_MAP

def two_bugs(state):
    pages = change_pte_range(state)
    if state.facts[0].nr_ptes % 2:
        return pages + 1
    state.counts[BAD_MAP] += 1
    return pages

CALLS = [0]

def now_and_then(state):
    CALLS[0] += 1
    return change_pte_range(state) + (CALLS[0] % 20 == 0)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for findings and the database, where a CI is seen."""
    monkeypatch.setenv("MIDFOLIO_FINDINGS", str(tmp_path / "findings"))
    monkeypatch.setenv("CI", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "h_bugs.py").write_text(TWO_BUGS)
    return tmp_path


# Half of them find it in 150 cases. What is drawn depends on the modules that happen to be
# loaded, too: Hypothesis draws the constants that it reads there.
SEEDS = 20


def campaign(
    target: str, cases: int, *, seed: int = 1, own_files: bool = False
) -> HypothesisCampaign:
    """A campaign that ran, without canaries."""
    plan = Plan("x86_64", "7.3", target, seed=seed, cases=cases)
    made = HypothesisCampaign(plan, quiet=True, own_files=own_files)
    made.run()
    return made


def test_the_historical_bug_is_found_shrunk_and_found_again(place: Path, capsys) -> None:
    runs = (campaign(HISTORICAL, 150, seed=seed) for seed in range(1, SEEDS + 1))
    found = (run for run in runs if run.exit_code() == exits.DIVERGENCE)
    # Of eight runs that found it seven shrank it to five entries or fewer, one to ten: now and
    # then no step makes a case any smaller, and the runs after it find others.
    cases = ((run, read_case(path).case) for run in found for path in run.paths)
    first, smallest = next(pair for pair in cases if len(pair[1].ptes) <= 4)
    assert red(judge_case(smallest, load(HISTORICAL, "x86_64")))
    # The database is kept, whatever CI says; nothing is left under the default name.
    assert any(first.place.rglob("*"))
    assert first.place.is_relative_to(place / "hypothesis")

    again = HypothesisCampaign(Plan("x86_64", "7.3", HISTORICAL, seed=2, cases=1), quiet=False)
    again.run()
    assert set(first.paths) <= set(again.paths)
    assert "found before, diverges still" in capsys.readouterr().out


def test_each_class_is_shrunk_without_slipping_to_the_other(place: Path) -> None:
    made = campaign("h_bugs:two_bugs", 60)
    names = {path.name.rpartition("-")[0]: read_case(path).case for path in made.paths}
    assert set(names) == {"pages-wrong", "bad-map-wrong"}
    assert len(names["pages-wrong"].ptes) == 1
    assert len(names["bad-map-wrong"].ptes) == 2
    # Both are closed: another round finds neither, and leaves what Hypothesis keeps of them.
    kept = [path for path in made.place.rglob("*") if path.is_file()]
    made.plan = dataclasses.replace(made.plan, cases=None)
    assert made._round(30, first=False) == []
    assert set(kept) <= set(made.place.rglob("*"))


def test_what_does_not_come_again_is_flaky(place: Path) -> None:
    made = campaign("h_bugs:now_and_then", 60)
    assert made.flaky
    assert made.exit_code() == exits.FLAKY


def test_a_blind_engine_misses_its_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_hypothesis, "CANARY_CASES", 25)
    monkeypatch.setattr(with_hypothesis, "cases", lambda *a, **k: cases("x86_64", max_ptes=1))
    missed = HypothesisCampaign(Plan("x86_64", "7.3", "batched", seed=1), quiet=True)
    # A window of one entry has none outside the range.
    assert "outside (outside-changed)" in missed.missed_canaries()
    assert missed.canary_line == ""


def test_the_profile_does_not_bend_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_hypothesis.profile(Path("nowhere"))
    assert settings.database is not None
    assert settings.deadline is None
    assert not settings.derandomize
    assert PROFILE == "midfolio-fuzz"


def test_the_command_ends_with_a_line_that_says_why(place: Path) -> None:
    done = midfolio(
        *("fuzz", "--engine", "hypothesis", "--arch", "x86_64", "--cases", "120"),
        MIDFOLIO_FINDINGS=os.environ["MIDFOLIO_FINDINGS"],
    )
    assert done.returncode == 0, done.stderr
    assert "canaries: 25 of 25 caught" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("fuzz: 1")
    assert last.endswith("cases, nothing unexplained; case budget reached; exit 0")
    assert list(place.glob("findings/*")) == []


def test_more_than_one_process_is_refused() -> None:
    done = midfolio("fuzz", "--engine", "hypothesis", "--jobs", "2")
    assert done.returncode == 2
    assert "one process" in done.stderr
