"""What the judges say of a hand-made outcome of arm64, both drawn as in `tests/blocks.py`.

`-0` and `+1` in a list of invalidations: block 0 unfolded, block 1 folded. A verdict
names each class that was found and where: `8-15,20`, or `case` for the case as a whole.
"""

from typing import Any

from harness import classes
from harness.case import Case
from harness.relation import EXACT
from harness.run import Judgement, judge_case
from harness.targets import load
from mm.state import FOLD, UNFOLD

from .blocks import case_of, drawn, words_of
from .drawing import judged

ALL = (classes.EXPLAINED, classes.DIVERGENCE, classes.INVARIANT)
RED = (classes.DIVERGENCE, classes.INVARIANT)


def drawn_case(before: str, *, pfn: int = 0x12340, **arguments: Any) -> Case:
    """The case of a call on the range of `before`."""
    case = case_of(*words_of(before, pfn), **arguments)
    assert case.check() is None
    return case


def rows(tlbi: str) -> tuple[tuple[int, int], ...]:
    """(kind, first entry) of each drawn invalidation."""
    kinds = {"-": int(UNFOLD), "+": int(FOLD)}
    return tuple((kinds[drawn[0]], 16 * int(drawn[1:])) for drawn in tlbi.split())


def places(entries: list[set[str]], case: set[str]) -> dict[str, str]:
    """Where each class was found: ranges of entries, or `case`."""
    found: dict[str, list[str]] = {name: ["case"] for name in sorted(case)}
    for name in sorted(set().union(*entries)):
        hits = [i for i, names in enumerate(entries) if name in names]
        starts = [i for i in hits if i - 1 not in hits]
        ends = [i for i in hits if i + 1 not in hits]
        ranges = [f"{a}-{b}" if a != b else f"{a}" for a, b in zip(starts, ends, strict=True)]
        found.setdefault(name, []).extend(ranges)
    return {name: ",".join(where) for name, where in found.items()}


def verdict(
    before: str,
    after: str,
    tlbi: str = "",
    flush: Any = "",
    *,
    batching: int = EXACT,
    kinds: tuple[str, ...] = ALL,
    pfn: int = 0x12340,
    touch: Any = None,
    **arguments: Any,
) -> dict[str, str]:
    """What the judges find in the outcome that `after`, `tlbi` and `flush` draw."""
    case = drawn_case(before, pfn=pfn, **arguments)
    words = words_of(after, pfn)[0]
    found = judged(
        case, words, flush, kinds=kinds, batching=batching, touch=touch, implicit=rows(tlbi)
    )
    return places(found.entries, found.case)


def found_by(judgement: Judgement, kinds: tuple[str, ...] = ALL) -> dict[str, str]:
    """What the judges found in the outcome of a target."""
    mask = sum(int(classes.bits_of(kind)) for kind in kinds)
    entries = [set(classes.names(bits & mask)) for bits in judgement.found]
    return places(entries, set(classes.names(judgement.found_case & mask)))


def left_by(target: str, case: Case, batching: int = EXACT) -> tuple[str, str, dict[str, str]]:
    """What `target` leaves of `case`: the words, the invalidations, and the judges' verdict."""
    judgement = judge_case(case, load(target, "arm64"), batching)
    signs = {"unfold": "-", "fold": "+"}
    tlbi = " ".join(
        f"{signs[why]}{(address - case.table_addr) >> 16}"
        for address, _, why in judgement.theirs.invalidations
    )
    pfn = (case.ptes[0] & (1 << 50) - (1 << 12)) >> 12
    return drawn(judgement.theirs.ptes, pfn), tlbi, found_by(judgement)
