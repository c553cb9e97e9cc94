"""The generator of random cases, one module for each architecture: importing one compiles it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mm.state import numba_state


def generator_of(arch: str) -> Callable[..., Any]:
    """`generate_case(choices, state, seed, index)` of `arch`; compiled, if it is, only now."""
    generate_case: Callable[..., Any] = import_module(f".{arch}", __name__).generate_case
    return generate_case


def signature() -> Any:
    """The numba signature of a `generate_case`."""
    from numba import int64, uint64

    return int64(uint64[::1], numba_state(), uint64, uint64)
