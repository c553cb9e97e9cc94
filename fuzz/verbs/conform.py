"""`midfolio conform`: both sides against golden vectors of compiled kernel code."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import exits
from . import options

if TYPE_CHECKING:
    from harness.conform import Report
    from harness.vectors import Vector


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--max", "limit", type=click.IntRange(min=0), help="At most this many cases in all.")
@click.option(
    "--target",
    default="batched",
    show_default=True,
    help="What takes the place of the batched side.",
)
@click.option(
    "--kernel",
    type=click.Choice(["6.12", "7.3"]),
    help="Only the expectations of this kernel.",
)
@options.only_arch
@options.as_json
@options.quiet
def command(
    files: tuple[Path, ...],
    limit: int | None,
    target: str,
    kernel: str | None,
    arch: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the golden vectors (pte-vectors/1) of FILES, plain, .gz or .xz.

    The reference at 6.12 must equal expect_6_12, the batched side at 7.3
    expect_7_3, the historical mutant expect_7_3_bug; the relation must explain
    every golden outcome of 7.3, and the invariants ring on no sane one. Exit
    code 0 if all holds, 1 if not, 5 if there was no case.
    """
    # Batches and commits are compared too: a traced build of the same source.
    os.environ["MIDFOLIO_TRACE"] = "1"
    from harness import conform
    from harness.vectors import read

    from ..terminal import Progress

    progress = Progress(quiet=quiet)
    report = conform.Report()

    def vectors() -> Iterator["Vector"]:
        for path in files:
            for vector in read(path):
                if arch not in (None, vector.case.arch):
                    continue
                progress.update(f"conform: {report.cases} cases, {report.mismatched} mismatches")
                yield vector

    try:
        conform.conform(itertools.islice(vectors(), limit), target, kernel, report)
    except KeyboardInterrupt:
        progress.clear()
        _print(report, as_json, quiet)
        print("conform: interrupted")
        return exits.TOO_LITTLE
    progress.clear()
    _print(report, as_json, quiet)
    if report.cases == 0:
        return exits.TOO_LITTLE
    return exits.DIVERGENCE if report.mismatched else exits.OK


def _print(report: "Report", as_json: bool, quiet: bool) -> None:
    if as_json:
        from ..report import print_json

        print_json(_record(report))
        return
    for m in report.mismatches:
        print(
            f"{m.path}:{m.line}: id {m.id} {m.expectation} {m.field}: expected {m.expected}, got {m.got}"
        )
    if not quiet:
        print(f"relation against the golden outcomes of 7.3, {report.related} of them:")
        for name, cases in sorted(report.class_cases.items(), key=lambda item: -item[1]):
            if cases:
                print(f"  {name:<28}{cases:>8} cases{report.class_entries[name]:>10} entries")
        print(f"historical bug seen by the relation in {report.bug_revealed} cases")
        if report.raw_checks:
            print(
                f"raw reads, writes and exchanges of entries: {report.raw_checks} checks, "
                f"{report.raw_mismatched} mismatches"
            )
    print(f"conform: {report.cases} cases, {report.checks} checks, {report.mismatched} mismatches")


def _record(report: "Report") -> dict[str, Any]:
    return {
        "cases": report.cases,
        "checks": report.checks,
        "mismatches": report.mismatched,
        "raw_checks": report.raw_checks,
        "raw_mismatches": report.raw_mismatched,
        "first": [m._asdict() for m in report.mismatches],
        "classes": {
            name: {"cases": cases, "entries": report.class_entries[name]}
            for name, cases in sorted(report.class_cases.items())
            if cases
        },
        "bug_revealed": report.bug_revealed,
    }
