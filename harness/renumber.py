"""Translation of swap type numbers between kernel versions.

The numbers of non-swap "swap" entries moved between versions
(`mm.version.SwapTypes`), so the same word means two things. A case in the
numbers of one version is renumbered before a kernel of another runs it, and the
outcome is numbered back, for those entries only whose input was renumbered: a
word that another entry came to have must not be reinterpreted.
"""

from collections.abc import Collection, Iterable

from mm.layout import Layout, SwapLayout
from mm.version import VERSIONS

from .anatomy import is_present
from .case import Case


def type_numbers(old: str, new: str) -> dict[int, int]:
    """Number in kernel `old` to number in kernel `new`, for each kind that both have."""
    before, after = VERSIONS[old].swap_types, VERSIONS[new].swap_types
    return {b: a for b, a in zip(before, after, strict=True) if b >= 0 and a >= 0}


def swap_type(word: int, swap: SwapLayout) -> int:
    """The type field of a swap-like entry."""
    return word >> swap.type_shift & (1 << swap.type_bits) - 1


def renumber_word(word: int, layout: Layout, numbers: dict[int, int]) -> int:
    """`word` with its type translated by `numbers`; an entry of no such type as it is."""
    swap = layout.swap
    if is_present(layout, word):
        return word
    old = swap_type(word, swap)
    new = numbers.get(old, old)
    return word ^ (old ^ new) << swap.type_shift


def renumber(case: Case, layout: Layout, kernel: str) -> tuple[Case, frozenset[int]]:
    """`case` for `kernel`, in its type numbers, and the entries whose word changed by that."""
    numbers = type_numbers(case.kernel, kernel)
    ptes = tuple(renumber_word(word, layout, numbers) for word in case.ptes)
    entries = frozenset(i for i, word in enumerate(case.ptes) if word != ptes[i])
    return case.replace(ptes=ptes, kernel=kernel), entries


def number_back(
    ptes: Iterable[int], entries: Collection[int], layout: Layout, ran_on: str, kernel: str
) -> tuple[int, ...]:
    """The outcome `ptes` of a run on `ran_on`, in the type numbers of `kernel`.

    `entries` are those that `renumber` named; all others are as they are.
    """
    numbers = type_numbers(ran_on, kernel)
    return tuple(
        renumber_word(word, layout, numbers) if i in entries else word
        for i, word in enumerate(ptes)
    )
