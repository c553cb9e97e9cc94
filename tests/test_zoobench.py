"""The zoo as a measure: how engines are compared."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fuzz import exits
from fuzz.stages import staged
from fuzz.zoobench import Runs, bench, compare, draw, gain, hardest, holm, lines, record
from harness import zoo
from harness.casefile import read_case
from harness.differences import red
from harness.run import judge_case
from mm.jit import ROOT

MUTANT = "first-page-is-folio-head"

SLOW = tuple(range(100, 2100, 100))
FAST = tuple(range(10, 210, 10))


def runs_of(mutant: str, random: tuple[int, ...], guided: tuple[int, ...]) -> list[Runs]:
    return [
        Runs(mutant, "random", random, 0, 30 * sum(random)),
        Runs(mutant, "guided", guided, 0, 60 * sum(guided)),
    ]


RUNS = [*runs_of("slow", SLOW, FAST), *runs_of("worse", FAST, SLOW), *runs_of("same", FAST, FAST)]


def test_holm_corrects_the_least_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_engines_are_compared_by_cases_and_by_entries() -> None:
    by = {c.mutant: c for c in compare(RUNS, "guided")}
    assert by["slow"].ratio == pytest.approx(10)
    assert by["slow"].by_entries == pytest.approx(5)
    assert by["worse"].ratio == pytest.approx(0.1)
    assert by["slow"].p < 0.01 > by["worse"].p
    assert by["same"].p == 1
    assert hardest(RUNS)[0] == "slow"
    assert gain(RUNS, "guided")[0] == pytest.approx(1)


def test_a_median_lies_in_its_interval() -> None:
    low, high = RUNS[0].interval
    assert low < RUNS[0].median < high


def test_the_table_names_what_is_worse_and_what_was_missed(tmp_path: Path) -> None:
    text = "\n".join(
        lines(
            [*RUNS, Runs("lost", "random", SLOW, 3, 1), Runs("lost", "guided", SLOW, 0, 1)],
            ["random", "guided"],
        )
    )
    assert "worse on worse" in text
    assert " -3" in text
    assert json.loads(json.dumps(record(RUNS, ["random", "guided"])))["gain"]["guided"]
    draw(RUNS, ["random", "guided"], 2_000, tmp_path / "left.svg")
    assert (tmp_path / "left.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("part", range(4))
def test_the_case_of_each_mutant_reaches_and_triggers_it(part: int) -> None:
    mutants = [mutant for mutant in zoo.all_mutants() if mutant.shows][part::4]
    assert mutants
    for mutant in mutants:
        case = read_case(ROOT / "corpus" / "mutants" / f"{mutant.name}.case").case
        target, stages = staged(mutant, case.arch)
        assert red(judge_case(case, target)), mutant.name
        assert stages.counts.tolist() == [1, 1, 1], mutant.name


def test_a_stage_is_the_first_case_that_comes_to_it() -> None:
    target, stages = staged(zoo.find(MUTANT), "x86_64")
    # What does not come to the code, what does and changes nothing, and what shows it.
    for name in ("flush-always", "first-page-decides", MUTANT, "flush-always"):
        judge_case(read_case(ROOT / "corpus" / "mutants" / f"{name}.case").case, target)
    assert stages.counts.tolist() == [4, 2, 3]


ENGINES = ["random", "guided", "hypothesis", *(["atheris"] if find_spec("atheris") else [])]


def test_all_engines_are_measured_in_stages_within_one_limit(tmp_path: Path) -> None:
    limit = 25
    runs = list(bench([zoo.find("flush-always")], "x86_64", "7.3", ENGINES, range(1, 3), limit))
    assert [run.engine for run in runs] == ENGINES
    for run in runs:
        assert len(run.cases) == len(run.reached) == len(run.triggered) == 2
        assert run.missed == 0
        assert run.entries >= sum(run.cases)
        for stages in zip(run.reached, run.triggered, run.cases, strict=True):
            assert 1 <= stages[0] <= stages[1] <= stages[2] < limit
    table = list(lines(runs, ENGINES))
    assert table[0].split() == ["mutant", *ENGINES]
    assert table[1].count(" / ") == 2 * len(ENGINES)
    assert record(runs, ENGINES)["runs"][0]["stages"] == runs[0].stages
    draw(runs, ENGINES, limit, tmp_path / "left.svg")
    assert all(engine in (tmp_path / "left.svg").read_text() for engine in ENGINES)


def test_a_missing_engine_is_a_loud_line_and_the_others_are_measured() -> None:
    code = (
        "import fuzz.engines as e; e._ENGINES['atheris'] = ('with_atheris', 'not_there', 'atheris'); "
        "import sys; from fuzz.cli import main; sys.exit(main())"
    )
    bench_of = ("zoo", "bench", "--arch", "x86_64", "--seeds", "2", "--cases", "10")
    options = ("--engine", "random", "--engine", "atheris", "flush-always")
    done = subprocess.run(
        [sys.executable, "-c", code, *bench_of, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exits.LANE_MISSING, done.stderr
    assert "atheris: NOT MEASURED: the atheris engine needs the package not_there" in done.stdout
    assert done.stdout.splitlines()[1].startswith("flush-always")
    assert done.stdout.splitlines()[-1].endswith("exit 4")
