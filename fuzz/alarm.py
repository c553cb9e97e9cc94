"""The alarm of a campaign: outcomes spoiled on purpose, which its loop must catch before it runs."""

from harness import classes
from harness.canaries import canaries_of, number_of
from harness.conform import HISTORICAL
from harness.relation import NONE
from harness.targets import load

from .hunter import Hunter

# A canary is due within so many cases; each took fewer than ten when it was planted.
CANARY_CASES = 3_000


def missed_canaries(
    arch: str, kernel: str, window: int = 0, kind: type[Hunter] = Hunter
) -> list[str]:
    """The names of canaries that the loop of `kind` did not catch; empty if the alarm works.

    Each goes through the loop that the campaign will run, with the reference
    as the sound target whose outcome is spoiled. `window`: its entries, 0 as it comes.
    """
    missed = []
    hunter = kind(load("reference", arch), kernel, seed=1, batching=NONE, cap=1, window=window)
    for canary in canaries_of(arch):
        hunter.seen[:] = 0
        wanted = 1 << classes.NUMBER[canary.shows]
        if hunter.hunt(0, CANARY_CASES, number_of(canary), wanted) == CANARY_CASES:
            missed.append(f"{canary.name} ({canary.shows})")
    # The one that only a batch that starts in the middle of a folio can show.
    mid_folio = kind(load(HISTORICAL, arch), kernel, seed=1, cap=1, window=window)
    if mid_folio.hunt(0, CANARY_CASES) == CANARY_CASES:
        missed.append(HISTORICAL)
    return missed


def nr_canaries(arch: str) -> int:
    """How many there are."""
    return len(canaries_of(arch)) + 1
