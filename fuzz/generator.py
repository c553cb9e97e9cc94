"""Random layouts: one flat function from choices to a state, compiled and interpreted.

The order of decisions is the order of the files: what is called on which VMA
(`scene`), which runs the window is made of (`layout`, with `kinds`, `folios`,
`entries` and `patterns`), what the page walker does meanwhile, and, in wild
cases, what is broken on purpose (`wild`).

Sane cases keep what a kernel keeps: permissions, dirtiness, uffd and exclusivity
of entries are consistent with each other and with the VMA. Facts that `mm.state.
set_kernel` writes (version, configuration, swap types) are respected, not changed,
but for those that differ between machines of one kernel: a case of powerpc chooses
its page_shift, coprocessors, isa_31 and hash_mmu, one of arm64 its bbml3. And one
case in eleven is of a kernel that was configured without soft-dirty, uffd-wp or
NUMA balancing, where the architecture has it.
"""

import numpy as np

from harness.case import layout_of
from mm.jit import rule
from mm.state import MAX_PTES, NR_COUNTS, State, empty_state, set_kernel
from mm.version import VERSIONS

from .choices import bits, draw, mix, parts
from .layout.runs import lay_out
from .scene import set_scene
from .wild import break_rules

NONE = np.uint64(0)

# Room that a state needs for any case: folios, and pages of all folios together.
# A state with less room gets smaller windows, fewer folios or fewer pages.
NR_FOLIOS = 512
NR_PAGES = 8192

# Cases of 64 in which the page walker flips bits between detection and take.
_WALKER_CASES = 8
WALKER_CHOICE = parts(6, 2)
_WALKS, _RARITY = WALKER_CHOICE


def empty_case(arch: str, kernel: str) -> State:
    """A state of `arch` and `kernel`, configured as usual, with room for any case."""
    state = empty_state(MAX_PTES, NR_FOLIOS, NR_PAGES)
    set_kernel(state.facts[0], VERSIONS[kernel], layout_of(arch).config)
    return state


@rule
def generate(arch, choices, state):
    """Fill `state` with the case that `choices` give; 1 if it is wild, else 0.

    `arch` is the architecture's `Words`. Writes every input but what
    `mm.state.set_kernel` writes and no machine chooses, up to facts.nr_ptes entries
    and facts.nr_folios folios, and empties the logs; what was there before has no
    influence. `state` has room for at least one block of entries.
    """
    for i in range(NR_COUNTS):
        state.counts[i] = 0
    scene = set_scene(arch, choices, state)
    lay_out(arch, choices, state, scene)
    arch.finish(choices, state)
    _let_walker_flip(arch, choices, state)
    if scene.wild == 1:
        break_rules(arch, choices, state)
    return scene.wild


@rule
def _let_walker_flip(arch, choices, state):
    """Choose the bits that the page walker flips in entries of the range before they are taken."""
    facts = state.facts[0]
    choice = draw(choices)
    for i in range(np.int64(facts.nr_ptes)):
        state.hardware[i] = NONE
    if bits(choice, _WALKS) < 64 - _WALKER_CASES:
        return
    # One entry in 1, 2, 4 or 8.
    rarity = np.uint64((1 << bits(choice, _RARITY)) - 1)
    for i in range(np.int64(facts.start), np.int64(facts.end)):
        noise = mix(choice + np.uint64(i))
        if noise & rarity == NONE:
            state.hardware[i] = arch.walker(state.ptes[i], noise >> np.uint64(32))
