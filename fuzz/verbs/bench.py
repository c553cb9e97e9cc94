"""`midfolio bench`: how fast the loop and both sides are, and what they cost."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import exits
from . import options

if TYPE_CHECKING:
    from bench.cost import Memory, Row


@click.group(invoke_without_command=True)
@click.option(
    "--arch",
    type=click.Choice(options.ARCHES),
    default="x86_64",
    show_default=True,
    help="Architecture.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw the cost against window size and folio order into FILE (.svg or .png) instead.",
)
@options.as_json
@options.quiet
@click.pass_context
def command(
    ctx: click.Context, arch: str, plot: Path | None, as_json: bool, quiet: bool
) -> int | None:
    """Measure the phases of a campaign, both sides, C, interpreted mode, two jobs and the series' benchmark.

    CPU time, medians, back to back: what runs beside it slows all alike, and still
    is better stopped. Last come the seconds that a campaign of each engine takes to
    find the historical bug.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if plot is not None:
        return _plot(arch, plot)
    from bench.report import lines, measure

    from ..terminal import Progress
    from ..warmup import GUIDED, compile_parts

    compile_parts(arch, "batched")
    compile_parts(arch, "batched", parts=GUIDED, last=(), entry="mutate")
    progress = Progress(quiet=quiet or as_json)
    record = measure(arch, lambda what: progress.update(f"bench: {what}"))
    progress.clear()
    if as_json:
        from ..report import print_json

        print_json(record)
    else:
        for line in lines(record):
            print(line)
    return exits.OK


def _plot(arch: str, path: Path) -> int:
    from importlib.util import find_spec

    options.picture(path)
    if find_spec("matplotlib") is None:
        print("midfolio bench: --plot needs matplotlib: pip install matplotlib", file=sys.stderr)
        return exits.LANE_MISSING
    from bench.plot import draw

    draw(arch, path)
    print(f"bench: wrote {path}")
    return exits.OK


@command.command("cost")
@click.option(
    "--arch", type=click.Choice(options.ARCHES), help="Architecture; without it, each of them."
)
@options.as_json
@options.quiet
def cost(arch: str | None, as_json: bool, quiet: bool) -> int:
    """Count reads, writes and invalidations for the series' benchmark: 1 GiB, T1, T2 and T3.

    The reference runs as Linux 6.12, one entry at a time, the batched side as
    7.3. Each number is counted while every table is run.
    """
    os.environ["MIDFOLIO_TRACE"] = "1"
    from bench.cost import MEMORIES, NOTES, page_shifts, rows

    from ..terminal import Progress

    progress = Progress(quiet=quiet or as_json)
    records: list[dict[str, Any]] = []
    for name in options.ARCHES if arch is None else (arch,):
        for shift in page_shifts(name):
            progress.update(f"bench cost: {name}, {1 << shift - 10}K pages")
            found = list(rows(name, shift))
            progress.clear()
            if as_json:
                records += [_record(row, shift) for row in found]
            else:
                _print(name, shift, found, MEMORIES)
                if name in NOTES:
                    print(f"  reads: {NOTES[name]}\n")
    if as_json:
        from ..report import print_json

        print_json(records)
    return exits.OK


# Heads of the columns, and the fields of `bench.cost.Count` below them.
COLUMNS = {
    "reads": "reads",
    "writes": "writes",
    "exchanges": "exchanges",
    "unfolds": "unfolds",
    "folds": "folds",
    "requests": "flush_requests",
    "pages": "flushed_pages",
}


def _print(arch: str, shift: int, found: "list[Row]", memories: "tuple[Memory, ...]") -> None:
    print(f"{arch}, {1 << shift - 10}K pages, 1 GiB: the reference as 6.12, batched as 7.3")
    print()
    print(f"  {'':<30}" + "".join(f"{name:>11}" for name in COLUMNS))
    for memory in memories:
        for start in dict.fromkeys(row.start for row in found if row.memory == memory.name):
            print(f"  {memory.name}, {memory.means}" + (f", {start} at first" if start else ""))
            for row in found:
                if (row.memory, row.start) == (memory.name, start):
                    _print_row(row)
        if arch == "arm64":
            (before4, after4), (before5, after5) = memory.v4, memory.v5
            print(
                f"    published for read-only and back, seconds: {before4} before, {after4} after "
                f"(series v4); {before5}, {after5} (v5)"
            )
        print()


def _print_row(row: "Row") -> None:
    for call, side, count in (
        (row.call, "reference", row.reference),
        ("", "batched", row.batched),
    ):
        numbers = "".join(f"{getattr(count, field):>11,}" for field in COLUMNS.values())
        print(f"    {call:<18} {side:<9}{numbers}")


def _record(row: "Row", shift: int) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **{name: value for name, value in row._asdict().items() if isinstance(value, str)},
        "page_shift": shift,
        "reference": asdict(row.reference),
        "batched": asdict(row.batched),
    }
