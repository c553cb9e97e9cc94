"""Features: facts of a case and its outcome that do not depend on how a target was written.

How long its legal batches are and where they begin inside the folio, why each
ended, how exclusivity splits them, which entries are neighbours, what the call
asks, what must be flushed, which classes the judges found. Two cases with the
same features are much alike; one with a feature that no other has is worth
keeping. `families` lists them, `rules` computes them.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from mm.state import BAD_MAP, NO_VM_WRITE, NR_STAMPS

from ..handle import handle_of
from ..run import Judgement, prepare
from .families import FAMILIES, describe, parse
from .rules import MAX_FEATURES

__all__ = ["FAMILIES", "MAX_FEATURES", "describe", "features_of", "finder_of", "parse"]


def finder_of(arch: str) -> Callable[..., Any]:
    """`features(handle, out)` of `arch`: fills `out` (uint64[MAX_FEATURES]) and returns how many.

    The case in the workspace must have been judged. Repetitions are left in.
    Importing compiles, so it is done when asked.
    """
    features: Callable[..., Any] = import_module(f".{arch}", __name__).features
    return features


def features_of(judgement: Judgement) -> tuple[int, ...]:
    """The features of a judged case, ascending, each once."""
    workspace, _ = prepare(judgement.case)
    nr = len(judgement.case.ptes)
    workspace.found[:nr] = np.array(judgement.found, np.uint64)
    workspace.found_case[0] = judgement.found_case
    counts = workspace.theirs.counts
    counts[BAD_MAP] = judgement.theirs.bad_map
    counts[NO_VM_WRITE] = judgement.theirs.no_vm_write
    counts[NR_STAMPS] = len(judgement.theirs.access_time)
    out = np.zeros(MAX_FEATURES, np.uint64)
    with np.errstate(over="ignore"):
        count = int(finder_of(judgement.case.arch)(handle_of(workspace), out))
    return tuple(sorted({int(feature) for feature in out[:count]}))
