"""`midfolio bench`: what both sides cost."""

import os
from typing import TYPE_CHECKING, Any

import click

from .. import exits
from . import options

if TYPE_CHECKING:
    from bench.cost import Memory, Row


@click.group()
def command() -> None:
    """Measure and count what both sides cost."""


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
