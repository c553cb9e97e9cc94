"""The loop in C for x86_64, as far as it is there: generate, copy, reference, target.

The same cases as the Python loop's, case by case. It has no judge and no counts: what it costs is
to be compared with `bench.loops.staged` up to the same phase, and with no whole campaign.
"""

import ctypes
import functools
import time
from typing import Any, NamedTuple

import numpy as np

from fuzz.choices import WINDOW, empty_choices
from fuzz.generator import NR_FOLIOS, NR_PAGES
from harness.case import layout_of
from harness.native import NativeState
from harness.workspace import Workspace, workspace_for
from mm.state import MAX_PTES, State, empty_state, set_kernel
from mm.version import VERSIONS

from .native_sides import SIDES, build

ARCH = "x86_64"

# `enum phase` of bench/native/loop.h; the numbers are those of bench.loops.PHASES.
PHASES = ("generate", "copy", "reference", "target")
GENERATE, COPY, REFERENCE, TARGET = range(len(PHASES))

_ARRAYS = ("facts", "ptes", "hardware", "folios", "exclusive", "flushes", "stamps", "counts")
_WITH_ROOM = ("ptes", "folios", "exclusive", "flushes", "stamps")


class NativeWorkspace(ctypes.Structure):
    """`struct workspace` of bench/native/loop.h."""

    _fields_ = (
        ("input", NativeState),
        ("ours", NativeState),
        ("theirs", NativeState),
        ("our_pages", ctypes.c_int64),
        ("their_pages", ctypes.c_int64),
    )


class Run(NamedTuple):
    """What was run, and the last case of it."""

    seconds: float  # of CPU time
    wild: int  # cases that were made wild
    workspace: Workspace
    our_pages: int
    their_pages: int


def native_state(state: State) -> NativeState:
    """`state` as C sees it; it lives as long as the arrays do."""
    pointers = {name: getattr(state, name).ctypes.data for name in _ARRAYS}
    room = {f"{name}_room": len(getattr(state, name)) for name in _WITH_ROOM}
    return NativeState(**pointers, **room)


@functools.cache
def _libraries() -> tuple[Any, Any, Any]:
    """The reference and the target, as pointers, and `midfolio_staged`; NoCompiler if they cannot be built."""
    directory = build()
    sides = [ctypes.CDLL(str(directory / f"{side}_{ARCH}.so")) for side in SIDES]
    pointers = [ctypes.cast(side.midfolio_change_pte_range, ctypes.c_void_p) for side in sides]
    staged = ctypes.CDLL(str(directory / f"loop_{ARCH}.so")).midfolio_staged
    staged.restype = ctypes.c_int64
    staged.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_uint64] * 3 + [ctypes.c_int64]
    return pointers[0], pointers[1], staged


def run_staged(
    seed: int, first: int, last: int, window: int, kernel: str, phase: int = TARGET
) -> Run:
    """Run the random cases [first, last) of `seed` up to `phase`; NoCompiler where C cannot be built.

    `window`: entries of each window; 0 leaves them to the choices.
    """
    reference, target, staged = _libraries()
    case = empty_state(MAX_PTES, NR_FOLIOS, NR_PAGES)
    set_kernel(case.facts[0], VERSIONS[kernel], layout_of(ARCH).config)
    workspace = workspace_for(case)
    native = NativeWorkspace(*(native_state(state) for state in workspace[:3]))
    choices = empty_choices()
    choices[WINDOW] = np.uint64(window)
    pointer = choices.ctypes.data
    begin = time.process_time()
    wild = staged(reference, target, ctypes.byref(native), pointer, seed, first, last, phase)
    seconds = time.process_time() - begin
    return Run(seconds, wild, workspace, native.our_pages, native.their_pages)
