"""Cases as a kernel meets them: what the generator of random cases makes, drawn by the decision.

Each decision of the generator (`fuzz.choice_table`) is a number of its own, and zero
is the dullest, so what Hypothesis shrinks to is dull: decisions that a failure does
not need are zero, runs that it does not need are gone. Drawing whole words instead
is faster, but a word that holds fourteen decisions shrinks as one number, which
leaves most of them as they were.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from harness.case import ARCHES, Case
from mm.state import MAX_PTES
from mm.version import DEFAULT_VERSION, VERSIONS

from ..choice_table import BREAKS, RUN, WALKER, Word, call_place, opening_of
from ..given import case_of_words, words_drawn
from ..scene import CALL_CHOICE, WILD_FROM

# Runs that are drawn; entries behind them map one small page each.
MAX_RUNS = 3
_NOISE = st.integers(0, 2**64 - 1)


def cases(
    arch: str = ARCHES[0],
    kernel: str = DEFAULT_VERSION,
    *,
    sane: bool = True,
    max_ptes: int = 16,
) -> st.SearchStrategy[Case]:
    """Cases of `arch` and `kernel` with at most `max_ptes` entries; on arm64 whole blocks of 16.

    `sane`: only cases that keep what a kernel keeps (`harness.sane`). Without it one
    case in four is made wild, and most of these break some rule.

        cases()                         what mprotect() and its kin meet on x86_64
        cases("arm64", max_ptes=48)     three contpte blocks
        cases("powerpc", sane=False)    odd words and flags too

    Raises ValueError for an architecture or kernel that is not known, or no entry.
    """
    if arch not in ARCHES:
        raise ValueError(f"unknown arch {arch!r}; known: {', '.join(ARCHES)}")
    if kernel not in VERSIONS:
        raise ValueError(f"unknown kernel {kernel!r}; known: {', '.join(VERSIONS)}")
    if not 1 <= max_ptes <= MAX_PTES:
        raise ValueError(f"max_ptes must be 1..{MAX_PTES}, got {max_ptes}")
    opening = st.tuples(*map(_words, opening_of(arch)))
    runs = st.lists(st.tuples(*map(_words, RUN)), max_size=MAX_RUNS)
    return st.builds(
        lambda *drawn: _case_of(arch, kernel, *drawn),
        st.integers(1, max_ptes),
        opening,
        runs,
        _words(WALKER),
        st.none() if sane else st.one_of(*[st.none()] * 3, st.tuples(_words(BREAKS), _NOISE)),
    )


def _case_of(
    arch: str,
    kernel: str,
    nr_ptes: int,
    opening: Sequence[int],
    runs: list[Any],
    walker: int,
    broken: tuple[int, int] | None,
) -> Case:
    """The case that these words give."""
    words = list(opening)
    place, part = call_place(arch), CALL_CHOICE[0]
    words[place] &= ~(int(part.mask) << int(part.shift))
    if broken is not None:
        words[place] |= WILD_FROM << int(part.shift)
    for run in runs:
        words += run
    last = (walker, *(broken or ()))
    if any(last):
        # What comes last stands where the generator looks for it: behind the run that
        # fills the window, whichever that is.
        nr_words = words_drawn(arch, kernel, words, nr_ptes)
        words = [*words, *[0] * nr_words][: nr_words - len(last)] + list(last)
    return case_of_words(arch, kernel, words, 0, nr_ptes)


def _words(word: Word) -> st.SearchStrategy[int]:
    """Words of these decisions, each drawn and shrunk alone."""
    shifts = [int(part.shift) for part in word]
    return st.tuples(*(st.integers(0, int(part.mask)) for part in word)).map(
        lambda values: _joined(values, shifts)
    )


def _joined(values: Any, shifts: list[int]) -> int:
    return sum(value << shift for value, shift in zip(values, shifts, strict=True))
