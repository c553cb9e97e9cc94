"""Each canary is caught by the loop that runs a campaign, and is missed if its judge is mute."""

import numpy as np
import pytest

import fuzz.runner
from fuzz.hunter import Hunter
from fuzz.runner import Campaign, Plan
from harness import classes, invariants, judge, relation
from harness.canaries import CANARIES, Canary, number_of
from harness.targets import load
from harness.words import x86_64 as words

JUDGES = (relation, invariants, judge, words)
# Each was caught within 30 cases when it was planted.
ENOUGH = 300


def hunt(canary: Canary, last: int) -> int:
    """The index of the first random case on which `canary` is caught, or `last`."""
    hunter = Hunter(load("batched", "x86_64"), "7.3", seed=1, cap=1, window=16)
    return hunter.hunt(0, last, number_of(canary), 1 << classes.NUMBER[canary.shows])


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


@pytest.mark.parametrize("canary", CANARIES, ids=lambda c: f"{c.name}-{c.shows}")
def test_canary_is_caught_by_its_judge_alone(canary: Canary, monkeypatch: pytest.MonkeyPatch):
    index = hunt(canary, ENOUGH)
    assert index < ENOUGH
    # A sound outcome does not show the class, so it is the canary that was seen.
    hunter = Hunter(load("batched", "x86_64"), "7.3", seed=1, cap=1, window=16)
    assert hunter.hunt(index, index + 1) == index + 1
    assert silence(monkeypatch, canary.shows)
    assert hunt(canary, index + 1) == index + 1


def test_every_judge_has_a_canary():
    """Classes of words share one judge; each of the others needs one of its own."""
    words_of_entries = {
        *("write-gained", "entry-lost", "pfn-changed", "dirty-lost", "dirty-gained"),
        *("accessed-lost", "accessed-gained", "soft-dirty-lost", "soft-dirty-gained"),
        *("uffd-changed", "protection-changed", "bits-changed", "skipped-changed"),
        *("none-changed", "log-overflow"),
    }
    shown = {canary.shows for canary in CANARIES}
    assert shown == set(classes.names(int(classes.RED_BITS))) - words_of_entries


def test_campaign_reports_a_missed_canary(monkeypatch: pytest.MonkeyPatch):
    two = [c for c in CANARIES if c.shows in ("pages-wrong", "flush-unneeded")]
    monkeypatch.setattr(fuzz.runner, "CANARIES", two)
    monkeypatch.setattr(fuzz.runner, "CANARY_CASES", 60)
    campaign = Campaign(Plan("x86_64", "7.3", "batched", seed=1), quiet=True)
    assert campaign.missed_canaries() == []
    silence(monkeypatch, "pages-wrong")
    assert campaign.missed_canaries() == ["pages (pages-wrong)"]
