"""A gate on a tree in which something was switched off on purpose is red, by the code that says what."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fuzz.hunter
from fuzz import exits
from fuzz.gate.canaries import sampled
from fuzz.gate.checks import STAGES, Sizes
from fuzz.gate.floors import EXPLAINED, FLOORS, NAMES, counted, floors_of, too_few, trait_name
from fuzz.generators import generator_of
from harness import census, classes, relation, zoo
from harness.arrays import case_of
from harness.canaries import CANARIES
from harness.case import ARCHES
from harness.census import empty_tally
from harness.conform import HISTORICAL
from tests.gates import run_gate, small_plan
from tests.test_canaries import silence
from tests.test_zoo import only_from_page_0

AFTER_CANARIES = [stage for stage in STAGES if stage != "canaries"]
# Each judge once, on an architecture that has it.
JUDGES = {canary.shows: canary.arches[0] for canary in reversed(CANARIES)}


@pytest.mark.parametrize("shows", sorted(JUDGES))
def test_with_any_one_judge_off_it_is_6(
    shows: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert silence(monkeypatch, shows)
    result = run_gate(monkeypatch, tmp_path, small_plan(JUDGES[shows]))
    assert result.exit_code() == exits.CANARY_MISSED
    assert {check.name.split("(")[-1] for check in result.bad()} >= {f"{shows})"}
    assert result.not_run() == AFTER_CANARIES
    assert result.ending().endswith("nothing else was run")


def test_every_judge_is_switched_off_once() -> None:
    assert set(JUDGES) == {canary.shows for canary in CANARIES}


def from_page_0(arch: str) -> Callable[..., Any]:
    """The generator without what only a batch that starts in the middle of its folio can show."""
    generate = generator_of(arch)

    def generate_dull(choices: Any, state: Any, seed: Any, index: Any) -> Any:
        wild = generate(choices, state, seed, index)
        dull, _ = only_from_page_0(case_of(state, arch, "7.3"))
        state.ptes[: len(dull.ptes)] = np.array(dull.ptes, np.uint64)
        return wild

    return generate_dull


@pytest.mark.parametrize("arch", ["x86_64", "powerpc"])
def test_without_mid_folio_starts_it_is_6(
    arch: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fuzz.hunter, "generator_of", from_page_0)
    # With less in each case, the other canaries need a few more.
    result = run_gate(monkeypatch, tmp_path, small_plan(arch), canary_cases=80)
    assert result.exit_code() == exits.CANARY_MISSED
    # Every judge still works: it is the generator that is broken.
    assert [check.name for check in result.bad()] == [f"{arch} {HISTORICAL}"]


def test_a_mutant_that_survives_is_6(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sampled ones go through the whole path, as the historical one does."""
    deaf = zoo.find("batch-of-one")
    monkeypatch.setattr(
        "fuzz.gate.canaries.sampled", lambda plan, arch: [HISTORICAL[4:], deaf.name]
    )
    result = run_gate(monkeypatch, tmp_path, small_plan())
    assert result.exit_code() == exits.CANARY_MISSED
    assert [check.name for check in result.bad()] == ["x86_64 zoo:batch-of-one"]


def test_the_sample_has_the_historical_mutant_and_is_the_seeds() -> None:
    for arch in ARCHES:
        names = sampled(small_plan(arch, sizes=Sizes(mutants=4)), arch)
        assert names[0] == HISTORICAL.removeprefix("zoo:")
        assert len(set(names)) == 4
        assert all(arch in zoo.find(name).arches and zoo.find(name).shows for name in names)
        assert names == sampled(small_plan(arch, sizes=Sizes(mutants=4)), arch)
    many = Sizes(mutants=9)
    assert sampled(small_plan(sizes=many), "x86_64") != sampled(
        small_plan(sizes=many, seed=2), "x86_64"
    )


def test_a_relation_that_explains_nothing_is_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge_changed, mark_loud = relation.judge_changed, relation.mark_loud

    def explains_nothing(
        words: Any, rules: Any, workspace: Any, batch: Any, end: Any, index: Any, *more: Any
    ) -> Any:
        found = judge_changed(words, rules, workspace, batch, end, index, *more)
        own, merged = workspace.ours.ptes[index], workspace.result[index]
        word = workspace.theirs.ptes[index]
        bad = relation.divergence_classes(words, workspace.case, own, merged, word)
        return found & ~classes.EXPLAINED_BITS | bad

    def mark_all(words: Any, workspace: Any) -> None:
        mark_loud(words, workspace)
        workspace.loud[:] = 1

    monkeypatch.setattr(relation, "judge_changed", explains_nothing)
    monkeypatch.setattr(relation, "mark_loud", mark_all)
    result = run_gate(monkeypatch, tmp_path, small_plan())
    assert result.exit_code() == exits.DIVERGENCE
    assert result.not_run() == []
    red = {check.stage for check in result.bad()}
    assert red >= {"regressions", "witnesses", "fuzz"}
    assert not result.of("canaries")[0].code


# Floors.


def only_sane(arch: str) -> Callable[..., Any]:
    """The generator without its wild cases."""
    generate = generator_of(arch)

    def generate_sane(choices: Any, state: Any, seed: Any, index: Any) -> Any:
        while generate(choices, state, seed, index):
            index = index + np.uint64(1 << 32)
        return 0

    return generate_sane


def test_a_share_below_its_floor_is_5(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (census, fuzz.hunter):
        monkeypatch.setattr(module, "DESCRIBE_EVERY", 1)
    plan = small_plan(cases=220)
    assert run_gate(monkeypatch, tmp_path, plan).exit_code() == exits.OK
    monkeypatch.setattr(fuzz.hunter, "generator_of", only_sane)
    result = run_gate(monkeypatch, tmp_path, plan)
    assert result.exit_code() == exits.TOO_LITTLE
    assert [check.name for check in result.bad()] == ["x86_64 wild"]
    assert result.bad()[0].words == "0.00 % of 220, below the floor of 5 %"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"floor_cases": 21}, "x86_64 cases"),
        ({"floors": (("unknown", 100.0),)}, "x86_64 unknown"),
    ],
)
def test_a_floor_of_ones_own_is_5(
    more: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run_gate(monkeypatch, tmp_path, small_plan(**more))
    assert result.exit_code() == exits.TOO_LITTLE
    assert [check.name for check in result.bad()] == [name]


def test_every_trait_kind_and_class_has_a_floor() -> None:
    """But for what is no merit: a case in which nothing changes, one that cannot be judged."""
    named = {floor.name for floor in FLOORS}
    assert named == set(NAMES) - {trait_name("no change"), "not-judged"}
    for floor in FLOORS:
        assert 0 < floor.percent < 100
    for arch in ARCHES:
        names = [floor.name for floor in FLOORS if arch in floor.arches]
        assert len(set(names)) == len(names)
    # Before 7.3 arm64 flushes whatever it changes, so merges bear on no flush.
    for kernel, asked in (("6.17", False), ("6.18", False), ("7.3", True)):
        floors = floors_of(dataclasses.replace(small_plan("arm64"), kernel=kernel), "arm64")
        assert {name in floors for name in ("extra-flush", "flush-elided")} == {asked}
        assert "flush-elided" in floors_of(
            dataclasses.replace(small_plan(), kernel=kernel), "x86_64"
        )


def test_each_floor_rings_on_a_campaign_that_has_nothing_of_it() -> None:
    tally = empty_tally()
    tally[census.CASES] = tally[census.DESCRIBED] = tally[census.DESCRIBED_ENTRIES] = 100_000
    not_judged = census.CLASS_CASES + classes.NUMBER["not-judged"]
    tally[not_judged] = 100_000
    for floor in FLOORS:
        count, whole = counted(tally, floor.name)
        assert (count, whole) == (0, 100_000), floor
        assert too_few(count, whole, floor.percent), floor
        assert not too_few(round(whole * floor.percent / 100), whole, floor.percent)


def test_a_target_that_merges_nothing_is_not_asked_for_merges() -> None:
    alone = floors_of(small_plan(batching=relation.NONE, floors=(("extra-flush", 1.0),)), "x86_64")
    assert set(alone) & set(EXPLAINED) == {"extra-flush"}
    assert set(floors_of(small_plan(), "x86_64")) > set(alone) - {"extra-flush"}
    assert floors_of(small_plan(floors=(("wild", 50.0),)), "x86_64")["wild"] == 50.0
