"""The corpus of a guided campaign: what was kept, in arrays, and how often each feature was seen.

A feature is counted in a slot of a table, by a hash of its identity. A case that
has a feature of an empty slot is kept for that feature: how often it was seen
since says how much the case is still worth as a parent.
"""

from typing import Any, NamedTuple

import numpy as np

from mm.jit import jit, rule
from mm.state import FACTS, FOLIO, MAX_PTES, NR_COUNTS

from ..choices import POSITION, draw, mix

ZERO = np.uint64(0)
ONE = np.uint64(1)

SLOTS = 1024
# Choices of a case that are kept; of a case that drew more, the rest is drawn anew.
WORDS_KEPT = 512
NR_HITS = 1 << 17
_HITS_MASK = np.uint64(NR_HITS - 1)
# Candidates among which the parent with the rarest feature is taken.
TOURNAMENT = 4
# Bytes of `exclusive` behind the last page that are copied too, because sides copy whole words.
TAIL = 7
_HALF_WORD = np.uint64(32)
_UNBRED = 16

# Columns of `meta`.
RAREST = 0  # slot of the feature it was kept for
PICKED = 1  # how often it was a parent
NR_WORDS = 2  # choices that make it; 0 if none do
NR_META = 3
# Places of `sums`.
USED = 0  # slots in use
KEPT = 1  # cases kept so far, replaced ones included
SEEN = 2  # slots of `hits` in use
ORIGIN = 3  # how the last case was made: fuzz.guided.breeding
NR_SUMS = 4


class Corpus(NamedTuple):
    """Cases that were kept, by slot.

    `kernel`     record[1] of FACTS, what kernel and configuration say; the rest is of no account
    `facts`      record[slots] of FACTS
    `ptes`       uint64[slots, entries]
    `hardware`   uint64[slots, entries]
    `folios`     record[slots, folios] of FOLIO
    `exclusive`  uint8[slots, pages]
    `words`      uint64[slots, WORDS_KEPT], the choices that made it
    `meta`       int64[slots, NR_META]
    `hits`       int64[NR_HITS], cases that had a feature of the slot
    `sums`       int64[NR_SUMS]
    """

    kernel: Any
    facts: Any
    ptes: Any
    hardware: Any
    folios: Any
    exclusive: Any
    words: Any
    meta: Any
    hits: Any
    sums: Any


def empty_corpus(nr_folios: int, nr_pages: int, slots: int = SLOTS) -> Corpus:
    """A corpus with nothing in it. Memory is taken as it is written to."""
    return Corpus(
        kernel=np.zeros(1, FACTS),
        facts=np.zeros(slots, FACTS),
        ptes=np.zeros((slots, MAX_PTES), np.uint64),
        hardware=np.zeros((slots, MAX_PTES), np.uint64),
        folios=np.zeros((slots, nr_folios), FOLIO),
        exclusive=np.zeros((slots, nr_pages + MAX_PTES), np.uint8),
        words=np.zeros((slots, WORDS_KEPT), np.uint64),
        meta=np.zeros((slots, NR_META), np.int64),
        hits=np.zeros(NR_HITS, np.int64),
        sums=np.zeros(NR_SUMS, np.int64),
    )


def numba_corpus() -> Any:
    """The numba type of `Corpus`, for eager signatures."""
    from numba import typeof

    return typeof(empty_corpus(1, 1, 1))


@rule
def roll(dice, limit):
    """A number in [0, limit) (int64) out of the next of the choices `dice`."""
    return np.int64(((draw(dice) >> _HALF_WORD) * np.uint64(limit)) >> _HALF_WORD)


@rule
def pages_of(state):
    """The pages of all folios together."""
    pages = np.int64(0)
    for row in range(np.int64(state.facts[0].nr_folios)):
        pages += np.int64(state.folios[row].nr_pages)
    return pages


@jit
def restore(corpus, slot, state):
    """Make the inputs of `state` those in `slot`, and empty its logs."""
    for i in range(NR_COUNTS):
        state.counts[i] = 0
    state.facts[0] = corpus.facts[slot]
    for i in range(np.int64(state.facts[0].nr_ptes)):
        state.ptes[i] = corpus.ptes[slot, i]
        state.hardware[i] = corpus.hardware[slot, i]
    for row in range(np.int64(state.facts[0].nr_folios)):
        state.folios[row] = corpus.folios[slot, row]
    for i in range(pages_of(state) + TAIL):
        state.exclusive[i] = corpus.exclusive[slot, i]


@jit
def _keep(corpus, slot, state, choices, nr_words, rarest):
    """Put a case into `slot`, kept for the feature in slot `rarest` of `hits`."""
    corpus.facts[slot] = state.facts[0]
    for i in range(np.int64(state.facts[0].nr_ptes)):
        corpus.ptes[slot, i] = state.ptes[i]
        corpus.hardware[slot, i] = state.hardware[i]
    for row in range(np.int64(state.facts[0].nr_folios)):
        corpus.folios[slot, row] = state.folios[row]
    pages = pages_of(state)
    for i in range(pages):
        corpus.exclusive[slot, i] = state.exclusive[i]
    for i in range(pages, pages + TAIL):
        corpus.exclusive[slot, i] = 0
    choices[POSITION] = ZERO
    for i in range(nr_words):
        corpus.words[slot, i] = draw(choices)
    corpus.meta[slot, RAREST] = rarest
    corpus.meta[slot, PICKED] = 0
    corpus.meta[slot, NR_WORDS] = nr_words


@rule
def worth(corpus, slot):
    """How often its feature was seen and the case itself used; the less, the better a parent.

    One that no choices make cannot be bred, and would soon be most of what is picked.
    """
    used = corpus.hits[corpus.meta[slot, RAREST]] + corpus.meta[slot, PICKED]
    return used if corpus.meta[slot, NR_WORDS] > 0 else used * _UNBRED


@rule
def pick(corpus, dice):
    """The slot of a parent, which is counted; there must be one."""
    used = corpus.sums[USED]
    best = roll(dice, used)
    for _ in range(TOURNAMENT - 1):
        other = roll(dice, used)
        if worth(corpus, other) < worth(corpus, best):
            best = other
    corpus.meta[best, PICKED] += 1
    return best


@rule
def _free_slot(corpus, dice):
    """A slot for one more case: an unused one, else of a few the one that is worth least."""
    used = corpus.sums[USED]
    if used < corpus.facts.shape[0]:
        corpus.sums[USED] = used + 1
        return used
    slot = roll(dice, used)
    for _ in range(TOURNAMENT - 1):
        other = roll(dice, used)
        if worth(corpus, other) > worth(corpus, slot):
            slot = other
    return slot


@rule
def consider(corpus, dice, choices, state, features, count):
    """Count the first `count` of `features`, and keep the case if one of them is new.

    `choices` are those that made it, unless ORIGIN says that a mutation of its state did.
    """
    new = np.int64(-1)
    for i in range(count):
        slot = np.int64(mix(features[i]) & _HITS_MASK)
        if corpus.hits[slot] == 0:
            new = slot
            corpus.sums[SEEN] += 1
        corpus.hits[slot] += 1
    if new < 0:
        return
    corpus.sums[KEPT] += 1
    drawn = min(np.int64(choices[POSITION]), np.int64(WORDS_KEPT))
    _keep(corpus, _free_slot(corpus, dice), state, choices, drawn, new)
