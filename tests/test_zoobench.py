"""The zoo as a measure: how engines are compared."""

import json
from pathlib import Path

import pytest

from fuzz.zoobench import Runs, compare, draw, gain, hardest, holm, lines, record

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
