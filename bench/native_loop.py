"""A campaign's loop in C for x86_64: generate, copy, reference, target, judge, count.

The same cases, verdicts and tallies as the Python loop's, case by case, so that `run_c` can be timed
against `fuzz.campaign.hunt` or, up to the same phase, against `bench.loops.staged`.
"""

import ctypes
import functools
import time
from typing import Any, NamedTuple

import numpy as np

from fuzz.choices import WINDOW, empty_choices
from fuzz.generator import empty_case
from harness.census import empty_tally
from harness.native import NativeState
from harness.workspace import Workspace, workspace_for
from mm.state import MAX_PTES, State

from .native_sides import SIDES, build

ARCH = "x86_64"

# `enum phase` of bench/native/loop.h; the numbers are those of bench.loops.PHASES.
PHASES = ("generate", "copy", "reference", "target", "judge", "count")
GENERATE, COPY, REFERENCE, TARGET, JUDGE, COUNT = range(len(PHASES))

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


class NativeVerdict(ctypes.Structure):
    """`struct verdict` of bench/native/judge.h."""

    _fields_ = (
        ("found", ctypes.c_uint64 * MAX_PTES),
        ("found_case", ctypes.c_uint64),
        ("needed", ctypes.c_uint8 * MAX_PTES),
        ("covered", ctypes.c_uint8 * MAX_PTES),
        ("changed", ctypes.c_uint8 * MAX_PTES),
        ("first", ctypes.c_int64 * MAX_PTES),
        ("whole", ctypes.c_int64),
    )


class Run(NamedTuple):
    """What was run, and the last case of it."""

    seconds: float  # of CPU time
    wild: int  # cases that were made wild
    workspace: Workspace
    our_pages: int
    their_pages: int


class Counted(NamedTuple):
    """What was run and judged."""

    seconds: float  # of CPU time
    tally: Any  # harness.census
    diverging: int  # cases with a divergence or a broken invariant


class Judged(NamedTuple):
    """One outcome, judged and counted."""

    union: int
    verdict: NativeVerdict
    tally: Any  # of this case alone


def native_state(state: State) -> NativeState:
    """`state` as C sees it; it lives as long as the arrays do."""
    pointers = {name: getattr(state, name).ctypes.data for name in _ARRAYS}
    room = {f"{name}_room": len(getattr(state, name)) for name in _WITH_ROOM}
    return NativeState(**pointers, **room)


def native_workspace(workspace: Workspace) -> NativeWorkspace:
    """`workspace` as C sees it; it lives as long as the arrays do."""
    return NativeWorkspace(*(native_state(state) for state in workspace[:3]))


@functools.cache
def _loop() -> ctypes.CDLL:
    """The library of the loop; NoCompiler if it cannot be built."""
    library = ctypes.CDLL(str(build() / f"loop_{ARCH}.so"))
    pointer, word, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64
    for name, result, arguments in (
        ("midfolio_staged", number, [pointer] * 4 + [word] * 3 + [number]),
        ("midfolio_loop", number, [pointer] * 5 + [word] * 3 + [number, pointer]),
        ("midfolio_judge", word, [pointer, pointer, number]),
        ("midfolio_count_case", None, [pointer, pointer, word, pointer]),
        ("midfolio_describe_case", None, [pointer, pointer, pointer, number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@functools.cache
def _side(path: str) -> tuple[Any, ctypes.CDLL]:
    """The function of the library at `path` as a pointer, and the library, which must be kept."""
    library = ctypes.CDLL(path)
    return ctypes.cast(library.midfolio_change_pte_range, ctypes.c_void_p), library


def _sides(target: str) -> list[Any]:
    """The reference, and the library `target`, our own batched side if it is empty, as pointers."""
    own = [str(build() / f"{side}_{ARCH}.so") for side in SIDES]
    return [_side(path)[0] for path in (own[0], target or own[1])]


def _prepare(window: int, kernel: str) -> tuple[Workspace, Any]:
    """A workspace with room for any case, and choices for such windows."""
    case = empty_case(ARCH, kernel)
    choices = empty_choices()
    choices[WINDOW] = np.uint64(window)
    return workspace_for(case), choices


def run_staged(
    seed: int,
    first: int,
    last: int,
    window: int,
    kernel: str,
    phase: int = TARGET,
    target: str = "",
) -> Run:
    """Run the random cases [first, last) of `seed` up to `phase`, TARGET at the most.

    `window`: entries of each window; 0 leaves them to the choices. `target`: another library
    than our own batched side. NoCompiler where C cannot be built.
    """
    staged, sides = _loop().midfolio_staged, _sides(target)
    workspace, choices = _prepare(window, kernel)
    native = native_workspace(workspace)
    pointer = choices.ctypes.data
    begin = time.thread_time()
    wild = staged(*sides, ctypes.byref(native), pointer, seed, first, last, phase)
    seconds = time.thread_time() - begin
    return Run(seconds, wild, workspace, native.our_pages, native.their_pages)


class Loop:
    """The loop in C with its libraries and arrays, made once, so that runs can be timed.

    NoCompiler where C cannot be built.
    """

    def __init__(self, window: int, kernel: str, target: str = "") -> None:
        """Arguments as for `run_staged`."""
        self._function, self._sides = _loop().midfolio_loop, _sides(target)
        self._workspace, self._choices = _prepare(window, kernel)
        self._native, self._verdict = native_workspace(self._workspace), NativeVerdict()

    def run(self, seed: int, first: int, last: int, phase: int = COUNT) -> Counted:
        """Run, judge and, if `phase` is COUNT, tally the random cases [first, last) of `seed`.

        Up to JUDGE the tally stays empty.
        """
        tally = empty_tally()
        structs = ctypes.byref(self._native), ctypes.byref(self._verdict)
        choices = self._choices.ctypes.data
        begin = time.thread_time()
        diverging = self._function(
            *self._sides, *structs, choices, seed, first, last, phase, tally.ctypes.data
        )
        return Counted(time.thread_time() - begin, tally, diverging)


def run_c(
    seed: int,
    first: int,
    last: int,
    window: int,
    kernel: str,
    phase: int = COUNT,
    target: str = "",
) -> Counted:
    """`Loop.run`, on a loop made for this one run."""
    return Loop(window, kernel, target).run(seed, first, last, phase)


def judge_c(
    workspace: Workspace, our_pages: int, their_pages: int, sane: bool, whole: bool
) -> Judged:
    """The verdict of C on the outcomes in `workspace`; of each entry, and described, if `whole`."""
    library, tally = _loop(), empty_tally()
    native, verdict = native_workspace(workspace), NativeVerdict(whole=whole)
    native.our_pages, native.their_pages = our_pages, their_pages
    structs = ctypes.byref(native), ctypes.byref(verdict)
    union = library.midfolio_judge(*structs, sane)
    library.midfolio_count_case(*structs, union, tally.ctypes.data)
    if whole:
        library.midfolio_describe_case(*structs, tally.ctypes.data, not sane)
    return Judged(union, verdict, tally)
