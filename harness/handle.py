"""A workspace in one argument: where its arrays are, for calls through a function pointer.

Compiled code hands a tuple of arrays over field by field. A `Workspace` has some 360
of them, which cost 120 ns in each such call, more than the judge takes for a small
case; one array of addresses costs 6. Interpreted code hands over the workspace itself.
"""

from typing import Any

import numpy as np

from mm.jit import COMPILED, entry, rule
from mm.state import State

from .workspace import Workspace, copy_case, numba_workspace


def _arrays(value: Any) -> list[Any]:
    """The arrays of a workspace or state, in the order of their fields."""
    if isinstance(value, (State, Workspace)):
        return [array for field in value for array in _arrays(field)]
    return [value]


def handle_of(workspace: Workspace) -> Any:
    """What stands for `workspace` in a call: uint64[arrays, 2], address and rows of each.

    Valid as long as the workspace is kept.
    """
    if not COMPILED:
        return workspace
    rows = [(array.ctypes.data, len(array)) for array in _arrays(workspace)]
    return np.array(rows, np.uint64)


def numba_handle() -> Any:
    """The numba type of a handle."""
    from numba import uint64

    return uint64[:, ::1]


if COMPILED:
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np.arrayobj import make_array, populate_array

    COLUMNS = {"flushes": 3, "trace": 4}

    def _maker(kind: Any, columns: int) -> Any:
        """A compiled function of address and rows that gives an array of type `kind`."""

        @intrinsic
        def array_at(typingctx: Any, address: Any, rows: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                array = make_array(kind)(context, builder)
                item = context.get_data_type(kind.dtype)
                size = context.get_abi_sizeof(item)

                def number(value: int) -> Any:
                    return context.get_constant(types.intp, value)

                whole_row = [number(columns)] if kind.ndim == 2 else []
                step = [number(size * columns)] if kind.ndim == 2 else []
                populate_array(
                    array,
                    data=builder.inttoptr(args[0], item.as_pointer()),
                    shape=cgutils.pack_array(builder, [args[1], *whole_row]),
                    strides=cgutils.pack_array(builder, [*step, number(size)]),
                    itemsize=number(size),
                    meminfo=None,
                )
                return array._getvalue()

            return kind(types.uint64, types.uint64), codegen

        return array_at

    def _makers(kind: Any) -> list[Any]:
        found = []
        for name, field in zip(kind.fields, kind.types, strict=True):
            if isinstance(field, types.Array):
                found.append(_maker(field, COLUMNS.get(name, 1)))
            else:
                found += _makers(field)
        return found

    _MAKE = tuple(_makers(numba_workspace()))
    assert len(_MAKE) == 3 * len(State._fields) + len(Workspace._fields) - 3
    # Named one by one: compiled code indexes no tuple of functions.
    (
        _case_facts,
        _case_ptes,
        _case_hardware,
        _case_folios,
        _case_exclusive,
        _case_flushes,
        _case_stamps,
        _case_counts,
        _case_trace,
        _ours_facts,
        _ours_ptes,
        _ours_hardware,
        _ours_folios,
        _ours_exclusive,
        _ours_flushes,
        _ours_stamps,
        _ours_counts,
        _ours_trace,
        _theirs_facts,
        _theirs_ptes,
        _theirs_hardware,
        _theirs_folios,
        _theirs_exclusive,
        _theirs_flushes,
        _theirs_stamps,
        _theirs_counts,
        _theirs_trace,
        _at_case_facts,
        _at_their_facts,
        _at_case_folios,
        _at_their_folios,
        _at_case_exclusive,
        _at_their_exclusive,
        _at_found,
        _at_found_case,
        _at_needed,
        _at_covered,
        _at_changed,
        _at_first,
        _at_merged,
        _at_result,
        _at_whole,
        _at_loud,
        _at_before,
        _at_own,
        _at_demand,
        _at_cut,
        _at_logged,
    ) = _MAKE

    @rule
    def workspace_of(handle):
        """The workspace that `handle` stands for."""
        return Workspace(
            case=State(
                facts=_case_facts(handle[0, 0], handle[0, 1]),
                ptes=_case_ptes(handle[1, 0], handle[1, 1]),
                hardware=_case_hardware(handle[2, 0], handle[2, 1]),
                folios=_case_folios(handle[3, 0], handle[3, 1]),
                exclusive=_case_exclusive(handle[4, 0], handle[4, 1]),
                flushes=_case_flushes(handle[5, 0], handle[5, 1]),
                stamps=_case_stamps(handle[6, 0], handle[6, 1]),
                counts=_case_counts(handle[7, 0], handle[7, 1]),
                trace=_case_trace(handle[8, 0], handle[8, 1]),
            ),
            ours=State(
                facts=_ours_facts(handle[9, 0], handle[9, 1]),
                ptes=_ours_ptes(handle[10, 0], handle[10, 1]),
                hardware=_ours_hardware(handle[11, 0], handle[11, 1]),
                folios=_ours_folios(handle[12, 0], handle[12, 1]),
                exclusive=_ours_exclusive(handle[13, 0], handle[13, 1]),
                flushes=_ours_flushes(handle[14, 0], handle[14, 1]),
                stamps=_ours_stamps(handle[15, 0], handle[15, 1]),
                counts=_ours_counts(handle[16, 0], handle[16, 1]),
                trace=_ours_trace(handle[17, 0], handle[17, 1]),
            ),
            theirs=State(
                facts=_theirs_facts(handle[18, 0], handle[18, 1]),
                ptes=_theirs_ptes(handle[19, 0], handle[19, 1]),
                hardware=_theirs_hardware(handle[20, 0], handle[20, 1]),
                folios=_theirs_folios(handle[21, 0], handle[21, 1]),
                exclusive=_theirs_exclusive(handle[22, 0], handle[22, 1]),
                flushes=_theirs_flushes(handle[23, 0], handle[23, 1]),
                stamps=_theirs_stamps(handle[24, 0], handle[24, 1]),
                counts=_theirs_counts(handle[25, 0], handle[25, 1]),
                trace=_theirs_trace(handle[26, 0], handle[26, 1]),
            ),
            case_facts=_at_case_facts(handle[27, 0], handle[27, 1]),
            their_facts=_at_their_facts(handle[28, 0], handle[28, 1]),
            case_folios=_at_case_folios(handle[29, 0], handle[29, 1]),
            their_folios=_at_their_folios(handle[30, 0], handle[30, 1]),
            case_exclusive=_at_case_exclusive(handle[31, 0], handle[31, 1]),
            their_exclusive=_at_their_exclusive(handle[32, 0], handle[32, 1]),
            found=_at_found(handle[33, 0], handle[33, 1]),
            found_case=_at_found_case(handle[34, 0], handle[34, 1]),
            needed=_at_needed(handle[35, 0], handle[35, 1]),
            covered=_at_covered(handle[36, 0], handle[36, 1]),
            changed=_at_changed(handle[37, 0], handle[37, 1]),
            first=_at_first(handle[38, 0], handle[38, 1]),
            merged=_at_merged(handle[39, 0], handle[39, 1]),
            result=_at_result(handle[40, 0], handle[40, 1]),
            whole=_at_whole(handle[41, 0], handle[41, 1]),
            loud=_at_loud(handle[42, 0], handle[42, 1]),
            before=_at_before(handle[43, 0], handle[43, 1]),
            own=_at_own(handle[44, 0], handle[44, 1]),
            demand=_at_demand(handle[45, 0], handle[45, 1]),
            cut=_at_cut(handle[46, 0], handle[46, 1]),
            logged=_at_logged(handle[47, 0], handle[47, 1]),
        )

else:

    def workspace_of(handle: Any) -> Any:
        """The workspace that `handle` stands for."""
        return handle


def _set_up_signature() -> Any:
    from numba import void

    return void(numba_handle())


@entry(_set_up_signature)
def set_up_at(handle):
    """`set_up` of the workspace that `handle` stands for: from Python 2 us instead of 15."""
    copy_case(workspace_of(handle))
