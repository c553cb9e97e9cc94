"""Floors: a campaign that hardly tries what matters must not be green.

Each is a share in percent, about a third of what 200,000 cases of seed 1 reached, so
that it rings when something is gone and not when the generator is tuned. Kinds of
entries and traits are shares of the described cases, classes of all.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from harness import classes
from harness.case import ARCHES
from harness.census import (
    ACTIVE,
    CASES,
    CLASS_CASES,
    DESCRIBED,
    DESCRIBED_ENTRIES,
    KIND_CASES,
    KINDS,
    TRAIT_CASES,
    TRAITS,
)
from harness.relation import NONE
from mm.version import VERSIONS

from .. import exits
from ..runner import Campaign
from .checks import Check, GatePlan


class Floor(NamedTuple):
    """The least share of cases, in percent, that have a trait, a kind of entry or a class."""

    name: str
    percent: float
    arches: tuple[str, ...] = ARCHES
    kernels: tuple[str, ...] = tuple(VERSIONS)


BLOCKS = ("arm64",)
COPROCESSORS = ("powerpc",)
SOFT_DIRTY = ("x86_64", "powerpc")
# Where entries differ in accessed within a batch that this architecture may still make.
MIXED_ACCESSED = ("x86_64", "arm64")

FLOORS = (
    Floor("judged", 90),
    Floor("entries-changed-or-flushed", 20),
    # Traits.
    Floor("wild", 5),
    Floor("mid-folio-start", 25),
    Floor("mixed-exclusivity", 6),
    Floor("batch>1", 25),
    Floor("sub-batches", 3.5),
    Floor("shifted-exclusivity", 4),
    Floor("hardware-bits", 2.5),
    Floor("folded-block", 14, BLOCKS),
    Floor("cut-block", 6, BLOCKS),
    # Kinds of entries.
    Floor("none", 6),
    Floor("anon", 20),
    Floor("file", 10),
    Floor("zero-page", 2),
    Floor("special", 1.8),
    Floor("ksm", 1.7),
    Floor("zone-device", 1.7),
    Floor("prot-none", 9),
    Floor("no-page", 0.7),
    Floor("swap", 3),
    Floor("migration-read", 1.4),
    Floor("migration-read-exclusive", 0.8),
    Floor("migration-write", 1.9),
    Floor("device-private-read", 0.8),
    Floor("device-private-write", 1.1),
    Floor("device-exclusive", 0.8),
    Floor("hwpoison", 1.2),
    Floor("marker-uffd-wp", 1.2),
    Floor("marker-poison", 0.8),
    Floor("marker-guard", 1),
    Floor("unknown", 0.05),
    # Classes that the relation explains: rules that were hit.
    Floor("accessed-merged", 11, MIXED_ACCESSED),
    Floor("accessed-merged", 0.1, COPROCESSORS),
    Floor("dirty-merged", 11),
    Floor("soft-dirty-merged", 6, SOFT_DIRTY),
    Floor("write-by-merged-dirty", 0.8),
    Floor("write-by-merged-soft-dirty", 0.4, SOFT_DIRTY),
    Floor("dirty-moved", 0.03, MIXED_ACCESSED),
    # arm64 flushes whatever it changes before 7.3, so merges bear on no flush.
    Floor("extra-flush", 0.9, ("x86_64",)),
    Floor("extra-flush", 0.5, BLOCKS, ("7.3",)),
    Floor("flush-elided", 0.07, SOFT_DIRTY),
    Floor("flush-elided", 0.2, BLOCKS, ("7.3",)),
    Floor("accessed-by-unfold", 5, BLOCKS),
    Floor("dirty-by-unfold", 4.5, BLOCKS),
    Floor("accessed-by-fold", 0.18, BLOCKS),
    Floor("dirty-by-fold", 0.18, BLOCKS),
    Floor("cont-set-without-tlbi", 3.5, BLOCKS),
    Floor("cont-cleared-without-tlbi", 0.9, BLOCKS),
    Floor("extra-nmmu", 0.2, COPROCESSORS),
)
# How far chance may push a share below what it is; one in 700 goes further.
DEVIATIONS = 3.0


def trait_name(trait: str) -> str:
    """What a floor calls a trait of the census."""
    return trait.replace(" > ", ">").replace(" ", "-")


EXPLAINED = tuple(c.name for c in classes.CLASSES if c.kind == classes.EXPLAINED)
_TRAITS = tuple(trait_name(trait) for trait, _ in TRAITS)
NAMES = ("judged", "entries-changed-or-flushed", *_TRAITS, *KINDS, *EXPLAINED)


def counted(tally: Any, name: str) -> tuple[int, int]:
    """How many cases (entries) of a tally have `name`, and of how many."""
    cases, described = int(tally[CASES]), int(tally[DESCRIBED])
    if name == "judged":
        return cases - int(tally[CLASS_CASES + classes.NUMBER["not-judged"]]), cases
    if name == "entries-changed-or-flushed":
        return int(tally[ACTIVE]), int(tally[DESCRIBED_ENTRIES])
    if name in _TRAITS:
        return int(tally[TRAIT_CASES + _TRAITS.index(name)]), described
    if name in KINDS:
        return int(tally[KIND_CASES + KINDS.index(name)]), described
    return int(tally[CLASS_CASES + classes.NUMBER[name]]), cases


def too_few(count: int, whole: int, percent: float) -> bool:
    """Whether `count` of `whole` is a smaller share than `percent`, and not by chance."""
    share = percent / 100
    slack = DEVIATIONS * math.sqrt(whole * share * (1 - share))
    return count < whole * share - slack


def floors_of(plan: GatePlan, arch: str) -> dict[str, float]:
    """The floors of a campaign on `arch`, by name.

    A target that changes one entry at a time merges nothing, so with --batching none
    no class is asked for, but for those that were named.
    """
    found = {
        floor.name: floor.percent
        for floor in FLOORS
        if arch in floor.arches and plan.kernel in floor.kernels
    }
    if plan.batching == NONE:
        found = {name: percent for name, percent in found.items() if name not in EXPLAINED}
    return {**found, **dict(plan.floors)}


def floor_checks(plan: GatePlan, campaigns: list[Campaign]) -> Iterator[Check]:
    """One check per floor and campaign."""
    for campaign in campaigns:
        arch, cases = campaign.plan.arch, int(campaign.tally[CASES])
        enough = cases >= plan.floor_cases
        yield Check(
            "floors",
            f"{arch} cases",
            exits.OK if enough else exits.TOO_LITTLE,
            f"{cases} cases, {'at least' if enough else 'fewer than'} {plan.floor_cases}",
        )
        for name, percent in floors_of(plan, arch).items():
            count, whole = counted(campaign.tally, name)
            low = too_few(count, whole, percent)
            share = f"{100 * count / whole:.2f} %" if whole else "nothing"
            yield Check(
                "floors",
                f"{arch} {name}",
                exits.TOO_LITTLE if low else exits.OK,
                f"{share} of {whole}, {'below' if low else 'not below'} the floor of {percent:g} %",
            )
