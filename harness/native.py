"""Native targets: a shared library with the C ABI of `midfolio_target.h`.

The library works on the arrays of a `State` in place. From compiled code it is
reached through a small wrapper of the signature of all targets, compiled once
per library and process, which hands it one struct of pointers; interpreted
code calls it through ctypes.
"""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mm.jit import COMPILED, ROOT
from mm.state import State

from .case import CaseError
from .contain import OVERRUN_STATUS

ABI = 2
HEADER = ROOT / "harness" / "midfolio_target.h"
SYMBOL = "midfolio_change_pte_range"

# Written behind the window before each call and compared after it.
GUARD = np.uint64(0x6D69_6466_6F6C_696F)
GUARDS = 8
NO_WORD = np.uint64(0)


class NativeState(ctypes.Structure):
    """`struct midfolio_state`."""

    _fields_ = (
        ("facts", ctypes.c_void_p),
        ("ptes", ctypes.c_void_p),
        ("hardware", ctypes.c_void_p),
        ("folios", ctypes.c_void_p),
        ("exclusive", ctypes.c_void_p),
        ("flushes", ctypes.c_void_p),
        ("stamps", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("ptes_room", ctypes.c_int64),
        ("folios_room", ctypes.c_int64),
        ("exclusive_room", ctypes.c_int64),
        ("flushes_room", ctypes.c_int64),
        ("stamps_room", ctypes.c_int64),
    )


def is_native(name: str) -> bool:
    """Whether the target `name` is a shared library."""
    return name.endswith(".so")


@functools.cache
def load_native(name: str, arch: str) -> Callable[[State], int]:
    """The function of library `name`, for `arch`; CaseError with what would have been right."""
    path = Path(name).resolve()
    if not path.is_file():
        raise CaseError(f"no such file: {name!r}; expected a shared library")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CaseError(f"cannot load {name!r}: {error}; expected a shared library") from None
    _check(library, name, arch)
    native = _symbol(library, name)
    address = ctypes.cast(native, ctypes.c_void_p).value
    assert address is not None
    # The libraries' pages must stay: ctypes never unloads them.
    return _compiled(address) if COMPILED else _interpreted(address)


def _check(library: ctypes.CDLL, name: str, arch: str) -> None:
    try:
        abi = ctypes.c_uint64.in_dll(library, "midfolio_abi").value
    except ValueError:
        raise CaseError(
            f"{name!r} has no midfolio_abi; expected MIDFOLIO_TARGET({arch!r}) of {HEADER.name} in it"
        ) from None
    if abi != ABI:
        raise CaseError(
            f"{name!r} is built for ABI {abi}; expected {ABI}: compile it with this {HEADER.name}"
        )
    try:
        # Bounded: a library that says something else entirely must not run us out of it.
        built_for = bytes((ctypes.c_char * 16).in_dll(library, "midfolio_arch"))
    except ValueError:
        return
    known = built_for.split(b"\0")[0].decode("ascii", "replace")
    if known != arch:
        raise CaseError(f"{name!r} is of {known}; expected --arch {known}, not {arch}")


def _symbol(library: ctypes.CDLL, name: str) -> Any:
    try:
        return getattr(library, SYMBOL)
    except AttributeError:
        raise CaseError(
            f"{name!r} has no {SYMBOL}; expected int64_t {SYMBOL}(struct midfolio_state *)"
        ) from None


def _struct_of(state: State) -> NativeState:
    def at(array: Any) -> int:
        return int(array.ctypes.data)

    return NativeState(
        at(state.facts),
        at(state.ptes),
        at(state.hardware),
        at(state.folios),
        at(state.exclusive),
        at(state.flushes),
        at(state.stamps),
        at(state.counts),
        len(state.ptes),
        len(state.folios),
        len(state.exclusive),
        len(state.flushes),
        len(state.stamps),
    )


def _interpreted(address: int) -> Callable[[State], int]:
    native = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.POINTER(NativeState))(address)

    def change_pte_range(state: State) -> int:
        """Call the library; the number of changed entries."""
        nr = int(state.facts[0].nr_ptes)
        behind = state.ptes[nr : nr + GUARDS]
        kept = behind.copy()
        behind[:] = GUARD
        pages = int(native(ctypes.byref(_struct_of(state))))
        if (behind != GUARD).any():
            os._exit(OVERRUN_STATUS)
        behind[:] = kept
        return pages

    return change_pte_range


def _compiled(address: int) -> Callable[[State], int]:
    """The wrapper that compiled code calls as a target."""
    import numba
    from numba import extending
    from numba.core import cgutils, types

    from mm.state import numba_target

    # Its stubs know the decorated function with the typing context only.
    intrinsic: Any = extending.intrinsic
    libc_exit = ctypes.cast(ctypes.CDLL(None)._exit, ctypes.c_void_p).value

    @intrinsic
    def call_native(typing: Any, words: Any) -> Any:
        """Hand the words to the library as one struct; what it returns."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            from llvmlite import ir

            word = ir.IntType(64)
            struct = cgutils.alloca_once(builder, ir.ArrayType(word, len(words)))
            for place, value in enumerate(cgutils.unpack_tuple(builder, args[0])):
                builder.store(value, cgutils.gep_inbounds(builder, struct, 0, place))
            kind = ir.FunctionType(word, [struct.type])
            function = builder.inttoptr(word(address), kind.as_pointer())
            return builder.call(function, [struct])

        return types.int64(words), codegen

    @intrinsic
    def give_up(typing: Any) -> Any:
        """End the process so that the parent sees an overrun."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            from llvmlite import ir

            word, status = ir.IntType(64), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [status])
            function = builder.inttoptr(word(libc_exit), kind.as_pointer())
            builder.call(function, [status(OVERRUN_STATUS)])
            return context.get_dummy_value()

        return types.void(), codegen

    def change_pte_range(state):
        """Call the library; the number of changed entries."""
        first = state.facts[0].nr_ptes
        last = min(first + GUARDS, state.ptes.shape[0])
        kept = state.ptes[first] if first < last else GUARD
        for i in range(first, last):
            state.ptes[i] = GUARD
        pages = call_native(
            (
                np.int64(state.facts.ctypes.data),
                np.int64(state.ptes.ctypes.data),
                np.int64(state.hardware.ctypes.data),
                np.int64(state.folios.ctypes.data),
                np.int64(state.exclusive.ctypes.data),
                np.int64(state.flushes.ctypes.data),
                np.int64(state.stamps.ctypes.data),
                np.int64(state.counts.ctypes.data),
                np.int64(state.ptes.shape[0]),
                np.int64(state.folios.shape[0]),
                np.int64(state.exclusive.shape[0]),
                np.int64(state.flushes.shape[0]),
                np.int64(state.stamps.shape[0]),
            )
        )
        for i in range(first, last):
            if state.ptes[i] != GUARD:
                give_up()
            # What stands there for others to look at (harness.workspace.lay_bait).
            state.ptes[i] = kept if i == first else NO_WORD
        return pages

    # Without reference counting, as everything in mm.jit; numba's stubs do not know it.
    options: Any = {"_nrt": False}
    compiled: Callable[[State], int] = numba.njit(numba_target(), **options)(change_pte_range)
    return compiled
