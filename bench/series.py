"""The benchmark of the batching series on our own two sides: 1 GiB made read-only and writable again."""

from functools import partial
from typing import NamedTuple

import numpy as np

from harness.case import layout_of
from harness.relation import reference_side
from harness.targets import load
from mm.flags import VM_MAYEXEC, VM_MAYREAD, VM_MAYWRITE, VM_SOFTDIRTY
from mm.layout import Layout
from mm.state import empty_state, set_kernel
from mm.version import VERSIONS

from .cost import BATCHED, GIB, MEMORIES, PASSES, UNBATCHED, lay_out
from .loops import cycle
from .rounds import back_to_back


class Side(NamedTuple):
    """One side on one make-up of memory: ns for each entry and call, seconds for the 1 GiB and both calls."""

    ns: float
    seconds: float


class Row(NamedTuple):
    """One make-up of memory."""

    memory: str
    means: str
    sides: dict[str, Side]


def calls_of(layout: Layout) -> np.ndarray:
    """Read-only, then read-write again: uint64[2, 3], what `cycle` takes."""
    return np.array(
        [
            (
                layout.protection_map[prot],
                cp_flags,
                access | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_SOFTDIRTY,
            )
            for _, prot, access, cp_flags in PASSES[:2]
        ],
        np.uint64,
    )


def rows(arch: str, *, with_c: bool) -> list[Row]:
    """T1, T2 and T3 of `arch`, CPU time, medians, the sides in turn; `with_c`: our C batched too."""
    sides = {
        "reference": (reference_side(arch), UNBATCHED),
        "batched": (load("batched", arch).function, BATCHED),
    }
    if with_c:
        from .native_sides import native_sides

        native = native_sides(arch)
        sides["reference in C"] = (native["reference"].function, UNBATCHED)
        sides["batched in C"] = (native["batched"].function, BATCHED)
    layout = layout_of(arch)
    entries = layout.entries_per_table
    tables = GIB // (entries << layout.page_shift)
    calls = calls_of(layout)
    found = []
    for memory in MEMORIES:
        pages = max(1, min(entries, memory.folio_bytes >> layout.page_shift))
        tasks = {}
        for name, (function, kernel) in sides.items():
            state = empty_state(entries, entries, entries)
            set_kernel(state.facts[0], VERSIONS[kernel], layout.config)
            lay_out(state, layout, 0, pages, layout.block > 1 and bool(memory.folio_bytes))
            tasks[name] = partial(cycle, function, state, calls, tables, 1)
        taken = back_to_back(tasks)
        each = len(calls) * tables * entries
        found.append(
            Row(
                memory.name,
                memory.means,
                {n: Side(1e9 * t.median / each, t.median) for n, t in taken.items()},
            )
        )
    return found
