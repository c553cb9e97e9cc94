"""The one source of choices: an array of words and a cursor, whoever fills it.

A generator draws words one after the other and cuts small decisions out of
each. Zero is always the dullest decision, so that a shrinker that lowers or
removes words makes a duller case.

Layout of the array (uint64):

    [POSITION]  words drawn so far
    [NR_GIVEN]  words that stand in the array
    [KEY]       what comes after them: 0 gives zeros, any other value a stream of
                pseudo-random words that is a function of KEY and the position
    [WINDOW]    entries that the window must have; 0 leaves it to the choices
    [FIRST..]   the given words

* A random case (`fill`) gives no word at all: its words are computed where they
  are drawn, so that a campaign writes no array. `expand` writes them out for
  mutation; the case stays the same.
* Hypothesis gives words and KEY 0: its shrinker expects zeros past the end.
* atheris and mutation give words and the KEY of `content_key`: zeros past the
  end would turn nearly every short input into the same dull case.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mm.jit import rule

# Part of every random case's number. Raise it whenever the stream of cases changes.
GENERATOR_VERSION = 3

POSITION = 0
NR_GIVEN = 1
KEY = 2
WINDOW = 3
FIRST = 4

# No case draws more words: 512 runs take at most three each, the rest of a case eight.
MAX_CHOICES = 3 * 512 + 8

NONE = np.uint64(0)
ONE = np.uint64(1)
# SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX_1 = np.uint64(0xBF58_476D_1CE4_E5B9)
_MIX_2 = np.uint64(0x94D0_49BB_1331_11EB)
_SHIFT_1 = np.uint64(30)
_SHIFT_2 = np.uint64(27)
_SHIFT_3 = np.uint64(31)
# What the words of a random case hang on besides its number. It stays while a new version
# makes other cases of few numbers only, so that figures can be compared.
_STREAM = np.uint64(2)


@rule
def mix(word):
    """A word in which each bit depends on each bit of `word`: the SplitMix64 finalizer."""
    word = (word ^ (word >> _SHIFT_1)) * _MIX_1
    word = (word ^ (word >> _SHIFT_2)) * _MIX_2
    return word ^ (word >> _SHIFT_3)


@rule
def _stream(key, position):
    return mix(key + (position + ONE) * _GOLDEN)


@rule
def draw(choices):
    """The next word (uint64)."""
    position = choices[POSITION]
    choices[POSITION] = position + ONE
    if position < choices[NR_GIVEN]:
        return choices[FIRST + np.int64(position)]
    if choices[KEY] == NONE:
        return NONE
    return _stream(choices[KEY], position)


class Part(NamedTuple):
    """Some neighbouring bits of a word: one decision."""

    shift: Any
    mask: Any
    width: Any


def parts(*widths: int) -> tuple[Part, ...]:
    """Parts of a word, side by side from bit 0 on.

    Named and not written as numbers at each place, so that no two decisions
    share bits by mistake. (numba would also compile `bits` once per number.)
    """
    assert sum(widths) <= 64, sum(widths)
    shifts = [sum(widths[:i]) for i in range(len(widths))]
    return tuple(
        Part(np.uint64(shift), np.uint64((1 << width) - 1), np.uint64(width))
        for shift, width in zip(shifts, widths, strict=True)
    )


@rule
def bits(word, part):
    """The number in a part of `word` (int64)."""
    return np.int64((word >> part.shift) & part.mask)


@rule
def scaled(word, part, limit):
    """A number in [0, limit) out of a part of `word` (int64); monotone in the part."""
    return np.int64((((word >> part.shift) & part.mask) * np.uint64(limit)) >> part.width)


@rule
def fill(choices, seed, index):
    """Make the choices those of random case `index` of `seed` (both uint64); WINDOW stays."""
    key = mix(mix(seed + _STREAM * _GOLDEN) + index)
    choices[POSITION] = NONE
    choices[NR_GIVEN] = NONE
    choices[KEY] = _GOLDEN if key == NONE else key


@rule
def rewind(choices):
    """Draw from the first word again."""
    choices[POSITION] = NONE


def empty_choices(nr_given: int = 0) -> Any:
    """An array with room for `nr_given` given words, none of them given yet, zeros past the end."""
    return np.zeros(FIRST + nr_given, np.uint64)


def given_choices(words: Sequence[int], key: int = 0) -> Any:
    """The array that gives `words`, then what `key` says."""
    choices = empty_choices(len(words))
    choices[NR_GIVEN] = len(words)
    choices[KEY] = key
    choices[FIRST:] = np.array(words, np.uint64)
    return choices


def content_key(words: Sequence[int]) -> int:
    """A non-zero key that is a function of `words` alone."""
    with np.errstate(over="ignore"):
        key = _STREAM
        for word in words:
            key = mix(key + np.uint64(word)) + _GOLDEN
    return int(key) or int(_GOLDEN)


def expand(choices: Any, nr_given: int) -> Any:
    """The same choices, with the first `nr_given` words given in the array, for mutation."""
    expanded = empty_choices(nr_given)
    expanded[: min(len(choices), len(expanded))] = choices[: len(expanded)]
    expanded[POSITION] = NONE
    with np.errstate(over="ignore"):
        for position in range(nr_given):
            expanded[NR_GIVEN] = choices[NR_GIVEN]
            expanded[POSITION] = position
            expanded[FIRST + position] = draw(expanded)
    expanded[POSITION] = NONE
    expanded[NR_GIVEN] = nr_given
    return expanded
