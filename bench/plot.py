"""A picture of what an entry costs: against the size of the window, and of the folios."""

from functools import partial
from pathlib import Path
from typing import Any

from harness.case import layout_of
from harness.relation import reference_side
from harness.targets import load
from harness.whole import write_figure
from mm.state import empty_state, set_kernel
from mm.version import VERSIONS

from .cost import BATCHED, UNBATCHED, lay_out
from .loops import cycle
from .rounds import back_to_back
from .series import calls_of
from .speed import phases_of

WINDOWS = (4, 8, 16, 32, 64, 128, 256, 512)
ROUNDS = 5


def by_window(arch: str) -> dict[str, list[float]]:
    """Cost of each entry of the window, ns: the parts of a campaign's loop, for each of WINDOWS."""
    found: dict[str, list[float]] = {}
    for window in WINDOWS:
        measured = phases_of(arch, window, ROUNDS)
        for speed in (*measured.phases, measured.whole):
            found.setdefault(speed.name, []).append(speed.ns)
    return found


def by_order(arch: str) -> tuple[list[int], dict[str, list[float]]]:
    """Orders, and ns for each entry and call of both sides where all folios have that order."""
    layout = layout_of(arch)
    entries = layout.entries_per_table
    calls = calls_of(layout)
    orders = list(range(entries.bit_length()))
    found: dict[str, list[float]] = {"reference": [], "batched": []}
    for order in orders:
        tasks = {}
        for name, function, kernel in (
            ("reference", reference_side(arch), UNBATCHED),
            ("batched", load("batched", arch).function, BATCHED),
        ):
            state = empty_state(entries, entries, entries)
            set_kernel(state.facts[0], VERSIONS[kernel], layout.config)
            lay_out(state, layout, 0, 1 << order, False)
            tasks[name] = partial(cycle, function, state, calls, 40, 1)
        for name, taken in back_to_back(tasks, ROUNDS).items():
            found[name].append(1e9 * taken.median / (40 * len(calls) * entries))
    return orders, found


def draw(arch: str, path: Path) -> None:
    """Write the picture to `path`, whose ending says in which format: .svg or .png."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    windows = by_window(arch)
    orders, sides = by_order(arch)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name, line in windows.items():
        left.plot(WINDOWS, line, marker=".", label=name, linewidth=2 if name == "whole" else 1)
    left.set_xscale("log", base=2)
    _label(left, "entries in the window", "a campaign's loop")
    for name, line in sides.items():
        right.plot(orders, line, marker=".", label=name)
    _label(right, "order of all folios", "one call on a whole table")
    figure.suptitle(f"{arch}: CPU time for each entry")
    write_figure(path, figure)
    pyplot.close(figure)


def _label(axes: Any, across: str, title: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel("ns")
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
