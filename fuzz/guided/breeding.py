"""Breeding: the choices of kept cases crossed, for the generator to make a case of.

What comes out is as legal as any random case, and the generator knows whether it
is wild. The first words of a case choose its scene (call, VMA, window, mm), three
at most follow for each run of entries. What was tried and gained less than these:
new runs in a kept scene, and the scene of one case with the runs of another.
"""

import numpy as np

from mm.jit import rule

from ..choices import FIRST, KEY, NR_GIVEN, POSITION, draw
from .corpus import NR_WORDS, ONE, WORDS_KEPT, ZERO, pick, roll

# How a case was made; the number is what ORIGIN says and what `shares` holds.
RANDOM = -1
WAYS = (
    "words",  # one with a few words new
    "cross",  # the beginning of one, the end of another
    "bits",  # one with a few bits of a few words new
    "state",  # one whose entries, folios or call are changed in place (fuzz.guided.mutations)
)
WORDS, CROSS, BITS, STATE = range(len(WAYS))

# The choice of window and range is the last but one of a scene.
_WINDOW_BEFORE_RUNS = 2
_MOST_WORDS = 3
_MOST_BITS = 12
_LAST_SHIFT = 60


@rule
def _give(corpus, slot, first, last, at, choices):
    """Append the words [first, last) of `slot` to the `at` given ones; how many there are then."""
    for i in range(first, last):
        if at < WORDS_KEPT:
            choices[FIRST + at] = corpus.words[slot, i]
            at += 1
    return at


@rule
def breed(corpus, dice, choices, parent, way, scene):
    """Give `choices` words out of those of `parent`, by one of WAYS; a new stream follows them.

    `scene` is how many words choose the scene.
    """
    nr = corpus.meta[parent, NR_WORDS]
    at = np.int64(0)
    if way == WORDS:
        at = _give(corpus, parent, 0, nr, at, choices)
        for _ in range(1 + roll(dice, _MOST_WORDS)):
            choices[FIRST + roll(dice, at)] = draw(dice)
    elif way == CROSS:
        at = _give(corpus, parent, 0, 1 + roll(dice, nr), at, choices)
        other = pick(corpus, dice)
        behind = corpus.meta[other, NR_WORDS]
        first = min(scene + roll(dice, max(behind - scene, np.int64(1))), behind)
        at = _give(corpus, other, first, behind, at, choices)
    else:
        at = _give(corpus, parent, 0, nr, at, choices)
        for _ in range(1 + roll(dice, _MOST_WORDS)):
            mask = (ONE << np.uint64(1 + roll(dice, _MOST_BITS))) - ONE
            noise = (draw(dice) & mask) << np.uint64(roll(dice, _LAST_SHIFT))
            choices[FIRST + roll(dice, at)] ^= noise
    if at > scene - _WINDOW_BEFORE_RUNS:
        # Large cases have more of everything: with their size inherited, too, the corpus
        # drifted from 27 entries a case to 140, and what it gained was size.
        choices[FIRST + scene - _WINDOW_BEFORE_RUNS] = draw(dice)
    choices[POSITION] = ZERO
    choices[NR_GIVEN] = np.uint64(at)
    choices[KEY] = draw(dice) | ONE
