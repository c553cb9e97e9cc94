"""Splicing: the end of another case's window in place of this one's, with the folios behind it."""

import numpy as np

from mm.jit import rule

from .corpus import ONE, TAIL, ZERO, pages_of, roll

# Folios are moved by multiples of this, so that each stays aligned to its size.
_STEP = np.uint64(4096)
# What has been spliced again and again would be slow to run.
_MOST_FOLIOS = 64
_MOST_PAGES = 1024


@rule
def _distance(corpus, donor, state):
    """How far the folios of `donor` must be moved (uint64) to stand behind those of `state`."""
    row, more = np.int64(state.facts[0].nr_folios), np.int64(corpus.facts[donor].nr_folios)
    if row == 0 or more == 0:
        return ZERO
    last = state.folios[row - 1]
    free = last.pfn + np.uint64(last.nr_pages)
    free = (free + _STEP - ONE) // _STEP * _STEP
    low = corpus.folios[donor, 0].pfn // _STEP * _STEP
    # They may stay where they are if that is behind already.
    return free - low if low < free else ZERO


@rule
def _has_room(corpus, donor, state, distance):
    """Whether `state` can take the folios of `donor`, moved by `distance`, too."""
    row, more = np.int64(state.facts[0].nr_folios), np.int64(corpus.facts[donor].nr_folios)
    if more == 0:
        return True
    moved = np.int64(0)
    for i in range(more):
        moved += np.int64(corpus.folios[donor, i].nr_pages)
    last = corpus.folios[donor, more - 1]
    top = last.pfn + np.uint64(last.nr_pages) - ONE + distance
    return (
        top <= state.facts[0].highest_memmap_pfn
        and row + more <= _MOST_FOLIOS
        and pages_of(state) + moved <= _MOST_PAGES
    )


@rule
def _moved(words, corpus, donor, state, word, distance):
    """The present `word` of `donor` as it maps its page once that one's folio is moved."""
    pfn = words.pfn(state, word)
    for row in range(np.int64(corpus.facts[donor].nr_folios)):
        folio = corpus.folios[donor, row]
        if pfn - folio.pfn < np.uint64(folio.nr_pages):
            return words.advance(state, word, distance)
    return word


@rule
def _add_folios(corpus, donor, state, distance):
    """Append the folios of `donor`, moved by `distance`."""
    facts = state.facts[0]
    row, more = np.int64(facts.nr_folios), np.int64(corpus.facts[donor].nr_folios)
    page = pages_of(state)
    for i in range(more):
        state.folios[row + i] = corpus.folios[donor, i]
        folio = state.folios[row + i]
        source = np.int64(folio.first_page)
        folio.pfn = folio.pfn + distance
        folio.first_page = page
        for _ in range(np.int64(folio.nr_pages)):
            state.exclusive[page] = corpus.exclusive[donor, source]
            page += 1
            source += 1
    for i in range(TAIL):
        state.exclusive[page + i] = 0
    facts.nr_folios = row + more


@rule
def splice(words, arch, dice, corpus, donor, state):
    """Replace the end of the window by entries of the case in slot `donor`, up to as many.

    That case's folios come along, moved behind this one's. Entries of it that are not
    present keep their word, whatever page they point to.
    """
    facts, other = state.facts[0], corpus.facts[donor]
    distance = _distance(corpus, donor, state)
    if facts.page_shift != other.page_shift or not _has_room(corpus, donor, state, distance):
        return
    # Blocks are taken whole.
    at = roll(dice, np.int64(facts.nr_ptes)) // arch.block * arch.block
    source = roll(dice, np.int64(other.nr_ptes)) // arch.block * arch.block
    length = min(np.int64(facts.nr_ptes) - at, np.int64(other.nr_ptes) - source)
    for i in range(length):
        word = corpus.ptes[donor, source + i]
        if words.present(word) and not words.special(word):
            word = _moved(words, corpus, donor, state, word, distance)
        state.ptes[at + i] = word
        state.hardware[at + i] = corpus.hardware[donor, source + i]
    _add_folios(corpus, donor, state, distance)
