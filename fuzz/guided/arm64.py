"""Mutations of cases of arm64, compiled for a campaign's loop."""

import numpy as np

from harness.words.arm64 import WORDS
from mm import arm64 as mmu
from mm.jit import entry

from ..words.arm64 import ARM64
from .loop import numba_mutate
from .mutations import mutate_some

_PKEY = np.uint64(1) << mmu.PO_IDX_SHIFT
# Bits of a present entry that a mutation flips; those that bear on batches more often.
FLIPS = np.array(
    [mmu.PTE_WRITE] * 3
    + [mmu.PTE_RDONLY] * 2
    + [mmu.PTE_UFFD] * 3
    + [mmu.PTE_USER, mmu.PTE_NG, mmu.PTE_PXN, mmu.PTE_UXN, mmu.PTE_GP, mmu.PTE_SPECIAL, _PKEY],
    np.uint64,
)


# Choices of a case that come before those of its runs: machine, call and VMA, window, mm.
SCENE_WORDS = 4


@entry(numba_mutate)
def mutate(dice, corpus, donor, state):
    """Change a few things in `state`; `donor` is the slot of another case."""
    mutate_some(WORDS, ARM64, FLIPS, dice, corpus, donor, state)
