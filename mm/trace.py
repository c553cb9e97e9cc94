"""Records of batches and commits, for comparison with golden vectors only.

Compiled to nothing unless the build is traced (`mm.jit`). No judge reads them:
the oracles work on the case alone, never on what a side says of its batches.
"""

from .jit import TRACED, rule
from .state import NR_TRACE, TRACE_BATCH, TRACE_COMMIT


@rule
def _record(state, kind, index, length, set_write):
    row = state.counts[NR_TRACE]
    if row < state.trace.shape[0]:
        state.trace[row, 0] = kind
        state.trace[row, 1] = index
        state.trace[row, 2] = length
        state.trace[row, 3] = set_write
    state.counts[NR_TRACE] = row + 1


@rule
def batch(state, index, length):
    """Entries [index, index + length) are changed as one batch: change_present_ptes()."""
    if TRACED:
        _record(state, TRACE_BATCH, index, length, 0)


@rule
def commit(state, index, length, set_write):
    """A (sub-)batch is committed: prot_commit_flush_ptes(); `set_write` 0 or 1."""
    if TRACED:
        _record(state, TRACE_COMMIT, index, length, set_write)
