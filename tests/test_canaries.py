"""Each canary is caught by the loop that runs a campaign, and is missed if its judge is mute.

The reference is the sound target, as in a campaign: nothing that it leaves is a divergence.
"""

import numpy as np
import pytest

import fuzz.alarm
from fuzz.hunter import Hunter
from fuzz.runner import Campaign, Plan
from harness import classes, coverage, demand, invariants, judge, relation
from harness.canaries import CANARIES, Canary, canaries_of, number_of
from harness.case import ARCHES
from harness.contpte import blocks, invalidations
from harness.contpte import relation as contpte_relation
from harness.relation import NONE
from harness.targets import load
from harness.words import arm64, powerpc, x86_64

JUDGES = (
    *(relation, coverage, demand, invariants, judge, blocks, invalidations, contpte_relation),
    *(x86_64, arm64, powerpc),
)
ALL = [(arch, canary) for arch in ARCHES for canary in canaries_of(arch)]
# Each was caught within 30 cases when it was planted.
ENOUGH = 300


def hunter_of(arch: str) -> Hunter:
    """A hunter that runs small windows of the reference, as a campaign's canaries do."""
    return Hunter(load("reference", arch), "7.3", seed=1, batching=NONE, cap=1, window=16)


def hunt(arch: str, canary: Canary, last: int) -> int:
    """The index of the first random case on which `canary` is caught, or `last`."""
    return hunter_of(arch).hunt(0, last, number_of(canary), 1 << classes.NUMBER[canary.shows])


def silence(monkeypatch: pytest.MonkeyPatch, name: str) -> int:
    """Take the bit of class `name` from every judge; how many places had it."""
    bit = classes.bit(name)
    places = [
        (module, attribute)
        for module in JUDGES
        for attribute, value in vars(module).items()
        if isinstance(value, np.uint64) and value == bit and attribute.isupper()
    ]
    # Constants that merely have the same value are masks of words, in lower places.
    places = [p for p in places if p[1] in constants_of(name)]
    for module, attribute in places:
        monkeypatch.setattr(module, attribute, np.uint64(0))
    return len(places)


def constants_of(name: str) -> set[str]:
    """What a module may call the bit of class `name`: `flush-missing` or a letter."""
    letter = name.removeprefix("invariant-")
    return {name.upper().replace("-", "_"), letter}


@pytest.mark.parametrize(
    ("arch", "canary"), ALL, ids=lambda x: "-".join(x[:2]) if x in CANARIES else x
)
def test_canary_is_caught_by_its_judge_alone(
    arch: str, canary: Canary, monkeypatch: pytest.MonkeyPatch
):
    index = hunt(arch, canary, ENOUGH)
    assert index < ENOUGH
    # A sound outcome shows nothing, so it is the canary that was seen.
    assert hunter_of(arch).hunt(index, index + 1) == index + 1
    assert silence(monkeypatch, canary.shows)
    assert hunt(arch, canary, index + 1) == index + 1


def test_every_judge_has_a_canary():
    """Classes of words share one judge; each of the others needs one of its own."""
    words_of_entries = {
        *("write-gained", "entry-lost", "pfn-changed", "dirty-lost", "dirty-gained"),
        *("accessed-lost", "accessed-gained", "soft-dirty-lost", "soft-dirty-gained"),
        *("uffd-changed", "protection-changed", "bits-changed", "skipped-changed"),
        *("none-changed", "log-overflow"),
    }
    # tests/test_native.py shows each class of a run without an outcome.
    shown = {canary.shows for canary in CANARIES}
    assert (
        shown == set(classes.names(int(classes.RED_BITS))) - words_of_entries - classes.OF_THE_RUN
    )


BLOCKS = {"unfold-missing", "unfold-unneeded", "fold-missing", "fold-unneeded", "invariant-B"}
# Classes that need a bit, a block or coprocessors that the architecture has not.
NOT_THERE = {
    "x86_64": {*BLOCKS, "nmmu-missing"},
    "arm64": {"invariant-S", "nmmu-missing"},
    "powerpc": {*BLOCKS, "invariant-U"},
}


@pytest.mark.parametrize("arch", ARCHES)
def test_every_judge_of_an_architecture_has_a_canary_there(arch: str):
    shown = {canary.shows for canary in CANARIES}
    assert {canary.shows for canary in canaries_of(arch)} == shown - NOT_THERE[arch]


@pytest.mark.parametrize("arch", ARCHES)
def test_campaign_reports_a_missed_canary(arch: str, monkeypatch: pytest.MonkeyPatch):
    two = tuple(c for c in CANARIES if c.shows in ("pages-wrong", "flush-unneeded"))
    monkeypatch.setattr(fuzz.alarm, "canaries_of", {arch: two}.__getitem__)
    monkeypatch.setattr(fuzz.alarm, "CANARY_CASES", 60)
    campaign = Campaign(Plan(arch, "7.3", "batched", seed=1, window=16), quiet=True)
    assert campaign.missed_canaries() == []
    silence(monkeypatch, "pages-wrong")
    assert campaign.missed_canaries() == ["pages (pages-wrong)"]
