"""Targets: what a case is run on, by name. The only importer of `batched`.

A target is a function of one `mm.state.State` that returns the number of pages:

`batched`                 the built-in implementation
`reference`               the reference itself: a self-check of the judges
`zoo:NAME`                a mutant of the zoo
`PATH.so`                 a shared library with the C ABI of `midfolio_target.h` (harness.native)
`PACKAGE.MODULE:FUNCTION` your own; compiled if it is a numba function of the
                          documented signature, else run interpreted
"""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mm.jit import COMPILED
from mm.state import State

from . import zoo
from .case import CaseError
from .classes import OF_THE_RUN
from .native import is_native, load_native
from .relation import reference_side

Function = Callable[[State], int]


@dataclass(frozen=True)
class Target:
    """A loaded target."""

    name: str
    arch: str
    function: Function
    # Can be called from the compiled campaign loop.
    compiled: bool
    # Can take its process down or never return, so it runs in one of its own (harness.contain).
    contained: bool = True
    # What it raises is a finding, not an error of ours.
    may_raise: bool = True


def load(name: str, arch: str) -> Target:
    """The target called `name` on `arch`; CaseError with what would have been right."""
    if name == "batched":
        return Target(name, arch, batched_side(arch), COMPILED, contained=False)
    if name == "reference":
        return Target(name, arch, reference_side(arch), COMPILED, False, may_raise=False)
    if name.startswith("zoo:"):
        mutant = zoo.find(name.removeprefix("zoo:"))
        return Target(name, arch, zoo.load(mutant, arch), COMPILED)
    if is_native(name):
        return Target(name, arch, load_native(name, arch), COMPILED)
    if ":" in name:
        return _own(name, arch)
    raise CaseError(
        f"unknown target {name!r}; expected batched, reference, zoo:NAME, "
        "path.so or package.module:function"
    )


def trusted(target: Target) -> Target:
    """`target` to be run in this process, unless it is a library.

    For what would fork at each case, or must see the target run.
    """
    return target if is_native(target.name) else replace(target, contained=False)


def isolated(target: Target, divergence: str) -> Target:
    """`target`, in a process of its own if `divergence`, a class, tells of one that did not come back."""
    return replace(target, contained=True) if divergence in OF_THE_RUN else target


def batched_side(arch: str) -> Function:
    """The built-in batched change_pte_range of `arch`."""
    # Importing compiles, and a campaign on a mutant does without.
    function: Function = importlib.import_module(f"batched.{arch}").change_pte_range
    return function


def _own(name: str, arch: str) -> Target:
    module_name, _, attribute = name.partition(":")
    # As `python -m` does: the user's modules are found where the user is.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # a module of the user's may raise whatever it likes
        raise CaseError(
            f"cannot load target {name!r}: {type(error).__name__}: {error}; "
            "expected package.module:function"
        ) from None
    if not callable(function):
        raise CaseError(f"target {name!r} is not callable; expected a function of one State")
    # What Python interprets may keep something between two runs, which a replay must see.
    compiled = _has_signature(function)
    return Target(name, arch, function, compiled, contained=compiled)


def _has_signature(function: Any) -> bool:
    """Whether `function` is compiled for exactly the documented signature."""
    if not COMPILED:
        return False
    from mm.state import numba_target

    signatures = getattr(function, "nopython_signatures", [])
    return any(s.args == numba_target().args for s in signatures)
