"""The lines at the end of a campaign."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from fuzz.summary import summary
from harness.census import empty_tally


@pytest.mark.parametrize("count", [0, 1, 12, 10_000_000_000])
def test_columns_are_straight_however_much_was_counted(count: int) -> None:
    """A name of 26 letters, and a campaign of ten minutes, pushed theirs to the right."""
    tally = empty_tally()
    tally[:] = count
    plan = SimpleNamespace(arch="x86_64", kernel="7.3", target="batched", engine="random", jobs=1)
    campaign: Any = SimpleNamespace(plan=plan, tally=tally, elapsed=1.0, corpus=count, paths=[])
    campaign.taken_up = count
    ends: dict[str, set[int]] = {"totals": set(), "described": set(), "classes": set()}
    table = "totals"
    for line in summary(campaign):
        table = "described" if line.startswith("described") else table
        table = "classes" if line.startswith("classes") else table
        found = re.match(r" *\S.*? {2,}([0-9,]+)(?= |$)", line)
        if found is not None and not line.startswith("one case"):
            ends[table].add(found.end())
    assert [len(places) for places in ends.values()] == [1, 1, 1], ends
