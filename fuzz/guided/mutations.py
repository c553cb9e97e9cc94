"""Mutations of a case: each changes one thing that batching depends on, and leaves a legal case.

Legal is what `Case.check()` asks. Whether a kernel could still make the case is
not known afterwards, so a mutated case counts as wild.

Each takes the architecture's words as the oracles read them (`words`) and as the
generator makes them (`arch`), the choices `dice`, and the state to change in place. One
that finds nothing to change leaves the state as it is.
"""

import numpy as np

from harness.batches import page_row
from mm.flags import (
    FOLIO_FLAGS,
    MM_CP_TRY_CHANGE_WRITABLE,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_WRITE,
)
from mm.jit import rule

from ..choices import draw, mix
from .corpus import ONE, ZERO, roll
from .splice import splice

ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_FOLIO_FLAG = np.array([int(flag) for flag in FOLIO_FLAGS.values()], np.uint64)
_NR_FOLIO_FLAGS = len(FOLIO_FLAGS)
_MOST_JOINED = 32
_MOST_TIMES = 6


@rule
def entry_in_range(dice, state):
    """Some entry of the range."""
    facts = state.facts[0]
    return np.int64(facts.start) + roll(dice, np.int64(facts.end) - np.int64(facts.start))


@rule
def joined(words, state, left):
    """Whether entries `left` and `left` + 1 map consecutive pages with equal bits."""
    word, behind = state.ptes[left], state.ptes[left + 1]
    if not words.present(word) or not words.present(behind):
        return False
    return words.advance(state, words.batch_key(word), ONE) == words.batch_key(behind)


@rule
def run_begin(words, state, index):
    """The first entry of the run of joined entries around `index`."""
    while index > 0 and joined(words, state, index - 1):
        index -= 1
    return index


@rule
def run_end(words, state, index):
    """The entry behind the run of joined entries around `index`."""
    last = np.int64(state.facts[0].nr_ptes) - 1
    while index < last and joined(words, state, index):
        index += 1
    return index + 1


@rule
def some_of(dice, length):
    """Which of 64 entries: all, one, those from one on, those before it, or any half."""
    form = roll(dice, 6)
    place = np.uint64(roll(dice, min(length, np.int64(64))))
    if form == 0:
        return ALL
    if form == 1 or form == 2:
        return ONE << place
    if form == 3:
        return ALL << place
    return ~(ALL << place) if form == 4 else draw(dice)


@rule
def move_range(dice, state):
    """Move one end of the range, or both."""
    facts = state.facts[0]
    start, end, nr = np.int64(facts.start), np.int64(facts.end), np.int64(facts.nr_ptes)
    form = roll(dice, 6)
    if form == 0:
        start = roll(dice, end)
    elif form == 1:
        end = start + 1 + roll(dice, nr - start)
    elif form == 2:
        start = min(start + 1, end - 1)
    elif form == 3:
        start = max(start - 1, np.int64(0))
    elif form == 4:
        end = max(end - 1, start + 1)
    else:
        end = min(end + 1, nr)
    facts.start = start
    facts.end = end


@rule
def shift_folio(words, dice, state):
    """Let a run map other pages of its folio, or rotate the folio's exclusive bits by one."""
    index = entry_in_range(dice, state)
    word = state.ptes[index]
    if not words.present(word):
        return
    row = page_row(words, state, word)
    if row < 0 or state.folios[row].nr_pages == 1:
        return
    folio = state.folios[row]
    first, pages = np.int64(folio.first_page), np.int64(folio.nr_pages)
    if roll(dice, 3) == 0:
        carried = state.exclusive[first + pages - 1]
        for page in range(first, first + pages):
            here = state.exclusive[page]
            state.exclusive[page] = carried
            carried = here
        return
    begin, end = run_begin(words, state, index), run_end(words, state, index)
    offset = np.int64(words.pfn(state, state.ptes[begin]) - folio.pfn)
    # The run may reach into the folio before.
    if offset < 0 or words.folded(word):
        return
    delta = np.uint64(roll(dice, pages) - offset)
    for i in range(begin, end):
        state.ptes[i] = words.advance(state, state.ptes[i], delta)


@rule
def flip_exclusive(words, dice, state):
    """Flip the exclusivity of the page of an entry, or of some pages of the run from it on."""
    index = entry_in_range(dice, state)
    word = state.ptes[index]
    if not words.present(word):
        return
    row = page_row(words, state, word)
    if row < 0:
        return
    folio = state.folios[row]
    page = np.int64(words.pfn(state, word) - folio.pfn)
    length = min(np.int64(folio.nr_pages) - page, np.int64(64))
    chosen = ONE
    if roll(dice, 2) == 0:
        chosen = some_of(dice, length)
    for i in range(length):
        at = np.int64(folio.first_page) + page + i
        state.exclusive[at] ^= np.uint8((chosen >> np.uint64(i)) & ONE)


@rule
def split_run(words, dice, state):
    """End a run earlier: by a hole, or by entries that map one page further on."""
    index = entry_in_range(dice, state)
    if words.folded(state.ptes[index]):
        return
    if roll(dice, 2) == 0:
        state.ptes[index] = ZERO
        return
    for i in range(index, run_end(words, state, index)):
        if words.present(state.ptes[i]):
            state.ptes[i] = words.advance(state, state.ptes[i], ONE)


@rule
def join_runs(words, dice, state):
    """Let a run go on over the entries behind it, to the end of its folio at most."""
    index = entry_in_range(dice, state)
    word = state.ptes[index]
    if not words.present(word) or words.folded(word):
        return
    row = page_row(words, state, word)
    if row < 0:
        return
    left = np.int64(state.folios[row].pfn + np.uint64(state.folios[row].nr_pages))
    left -= np.int64(words.pfn(state, word))
    length = min(left, np.int64(state.facts[0].nr_ptes) - index, np.int64(_MOST_JOINED))
    length = 1 + roll(dice, length)
    for i in range(1, length):
        if words.present(state.ptes[index + i]) and words.folded(state.ptes[index + i]):
            return
        state.ptes[index + i] = words.advance(state, word, np.uint64(i))


@rule
def change_bit(words, dice, state, flips):
    """Set, clear or flip one bit in some entries of a run."""
    index = entry_in_range(dice, state)
    begin = index
    if roll(dice, 2) == 0:
        begin = run_begin(words, state, index)
    end = run_end(words, state, index)
    chosen = some_of(dice, end - begin)
    what = roll(dice, 4)
    put = roll(dice, 2) == 0
    flip = flips[roll(dice, flips.shape[0])]
    for i in range(begin, end):
        word = state.ptes[i]
        place = np.uint64(i - begin) & np.uint64(63)
        if (chosen >> place) & ONE == ZERO or not words.present(word):
            continue
        if what == 0:
            word = words.merge_accessed(word) if put else words.clear_accessed(word)
        elif what == 1:
            word = words.merge_dirty_only(word) if put else words.clear_dirty(word)
        elif not words.folded(word):
            word ^= flip
        state.ptes[i] = word


@rule
def change_call(dice, corpus, donor, state):
    """Take call and VMA of another case, or flip a flag of either."""
    facts = state.facts[0]
    form = roll(dice, 6)
    if form <= 2:
        other = corpus.facts[donor]
        facts.cp_flags = other.cp_flags
        facts.newprot = other.newprot
        if form <= 1:
            facts.vma_flags = other.vma_flags
            facts.vma_anon = other.vma_anon
            facts.uffd_wp_unpopulated = other.uffd_wp_unpopulated
    elif form == 3:
        facts.cp_flags ^= MM_CP_TRY_CHANGE_WRITABLE
    elif form == 4:
        facts.vma_flags ^= VM_SHARED if roll(dice, 2) == 0 else VM_SOFTDIRTY
    else:
        facts.vma_flags ^= VM_WRITE


@rule
def change_facts(words, dice, corpus, donor, state):
    """Change the mm and the machine's nodes, or a flag of a folio."""
    facts = state.facts[0]
    form = roll(dice, 4)
    if form == 0:
        other = corpus.facts[donor]
        facts.mm_users = other.mm_users
        facts.numa_node = other.numa_node
        facts.numa_balancing_mode = other.numa_balancing_mode
        facts.toptier_nodes = other.toptier_nodes
        return
    word = state.ptes[entry_in_range(dice, state)]
    if not words.present(word):
        return
    row = page_row(words, state, word)
    if row < 0:
        return
    if form == 1:
        state.folios[row].nid = roll(dice, 4)
    else:
        state.folios[row].folio_flags ^= _FOLIO_FLAG[roll(dice, _NR_FOLIO_FLAGS)]


@rule
def change_walker(arch, dice, state):
    """Let the page walker flip bits of other entries."""
    facts = state.facts[0]
    rarity = np.uint64((1 << roll(dice, 4)) - 1)
    choice = draw(dice)
    for i in range(np.int64(facts.start), np.int64(facts.end)):
        noise = mix(choice + np.uint64(i))
        flipped = ZERO
        if noise & rarity == ZERO:
            flipped = arch.walker(state.ptes[i], noise >> np.uint64(32))
        state.hardware[i] = flipped


@rule
def copy_entries(words, dice, corpus, donor, state):
    """Write entries of this case, or the other one's that are not present, over others of it."""
    facts = state.facts[0]
    to = entry_in_range(dice, state)
    if roll(dice, 2) == 0:
        other = roll(dice, np.int64(corpus.facts[donor].nr_ptes))
        word = corpus.ptes[donor, other]
        if not words.present(word) and not words.folded(state.ptes[to]):
            state.ptes[to] = word
        return
    nr = np.int64(facts.nr_ptes)
    source = roll(dice, nr)
    length = min(1 + roll(dice, 16), nr - max(source, to))
    for i in range(length):
        if words.folded(state.ptes[to + i]) or words.folded(state.ptes[source + i]):
            return
        state.ptes[to + i] = state.ptes[source + i]


@rule
def odd_entry(words, arch, dice, state):
    """Make one entry a word that no kernel makes."""
    index = entry_in_range(dice, state)
    word = state.ptes[index]
    if not words.folded(word):
        state.ptes[index] = arch.odd_word(state.facts[0], word, draw(dice))


# How often which, out of 32.
_KINDS = np.array(
    [0] * 4
    + [1] * 4
    + [2] * 4
    + [3] * 2
    + [4] * 2
    + [5] * 5
    + [6] * 4
    + [7] * 2
    + [8] * 1
    + [9] * 1
    + [10] * 1
    + [11] * 2,
    np.int64,
)
assert len(_KINDS) == 32


@rule
def mutate(words, arch, flips, dice, corpus, donor, state):
    """Change one thing in `state`; `donor` is the slot of another case."""
    kind = _KINDS[roll(dice, 32)]
    if kind == 0:
        move_range(dice, state)
    elif kind == 1:
        shift_folio(words, dice, state)
    elif kind == 2:
        flip_exclusive(words, dice, state)
    elif kind == 3:
        split_run(words, dice, state)
    elif kind == 4:
        join_runs(words, dice, state)
    elif kind == 5:
        change_bit(words, dice, state, flips)
    elif kind == 6:
        change_call(dice, corpus, donor, state)
    elif kind == 7:
        change_facts(words, dice, corpus, donor, state)
    elif kind == 8:
        change_walker(arch, dice, state)
    elif kind == 9:
        copy_entries(words, dice, corpus, donor, state)
    elif kind == 10:
        odd_entry(words, arch, dice, state)
    else:
        splice(words, arch, dice, corpus, donor, state)


@rule
def mutate_some(words, arch, flips, dice, corpus, donor, state):
    """Change one thing, or a few; the hardware then flips only what it can in the entries."""
    times = 1
    while times < _MOST_TIMES and roll(dice, 2) == 0:
        times += 1
    for _ in range(times):
        mutate(words, arch, flips, dice, corpus, donor, state)
    for i in range(np.int64(state.facts[0].nr_ptes)):
        if state.hardware[i] != ZERO:
            state.hardware[i] = arch.flips(state.ptes[i], state.hardware[i])
