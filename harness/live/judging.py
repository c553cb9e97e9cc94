"""What the kernel did, held against a model of it, and against the relation."""

import contextlib
from typing import Any, NamedTuple

import numpy as np

from harness import classes
from harness.contain import contained_workspace, run_contained
from harness.handle import handle_of, set_up_at
from harness.judge import judges_of
from harness.relation import EXACT, NONE, reference_side
from harness.targets import Target
from mm.jit import COMPILED
from mm.state import NR_FLUSHES

from .window import Window

RED = int(classes.RED_BITS)


class Verdict(NamedTuple):
    """What one call of change_pte_range() came to."""

    same: bool  # the kernel left exactly the words that the model leaves
    union: int  # classes of the relation and the invariants
    flushes: bool  # the model asks for a flush
    differing: int  # bits in which any word differs

    @property
    def wrong(self) -> bool:
        """Whether the model, or the relation, is contradicted."""
        return not self.same or bool(self.union & RED)


class Model:
    """One target, as the model of the running kernel."""

    def __init__(self, target: Target, window: Window) -> None:
        """Load what judges; `window` is where the cases are."""
        self.target, self.window = target, window
        workspace = window.workspace
        self.workspace = contained_workspace(workspace) if target.contained else workspace
        self._handle = handle_of(self.workspace)
        self._judge = judges_of(window.arch).judge
        self._reference = reference_side(window.arch)
        self.batching = NONE if target.name == "reference" else EXACT
        self.workspace.whole[0] = 0

    def _run(self) -> int:
        function = self.target.function
        if self.target.contained:
            return run_contained(function, self.workspace.theirs).pages
        return int(function(self.workspace.theirs))

    def judge(self, after: Any) -> Verdict:
        """The verdict on the words `after`, which the kernel made of the case in the window.

        The kernel keeps no log. So the flushes that the relation asks about are the
        model's; whether the kernel flushed at all is compared by the caller.
        """
        workspace = self.workspace
        nr = len(after)
        # Compiled code wraps around silently.
        with contextlib.nullcontext() if COMPILED else np.errstate(over="ignore"):
            set_up_at(self._handle)
            pages = self._run()
            words = workspace.theirs.ptes[:nr]
            flushes = int(workspace.theirs.counts[NR_FLUSHES]) > 0
            same = words.tobytes() == after.tobytes()
            differing = 0
            if not same:
                differing = int(np.bitwise_or.reduce(words ^ after))
                words[:] = after
            ours = int(self._reference(workspace.ours))
            union = int(self._judge(self._handle, ours, pages, True, self.batching))
        return Verdict(same, union, flushes, differing)
