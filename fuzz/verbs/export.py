"""`midfolio export`: cases as a stand-alone program."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import exits
from ..sources import Source, sources, use_interpreted

if TYPE_CHECKING:
    from harness.export.text import Layout


@click.command()
@click.argument("what", nargs=-1, required=True)
@click.option(
    "--c", "as_c", is_flag=True, required=True, help="As a C program; there is no other form."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there, not to stdout; directories on the way are made.",
)
def command(what: tuple[str, ...], as_c: bool, output: Path | None) -> int:
    """Write the cases WHAT as one C program that builds their layouts and checks what user space sees.

    WHAT are case files, directories of them, case numbers or case: lines. The program speaks TAP
    13, a test for each case, and exits with 0 pass, 1 fail, 4 skip. A case that user space cannot
    build is refused; one that was found in a directory is left out, and a line says why.
    """
    del as_c  # required: another form may come
    use_interpreted()
    from harness.case import CaseError
    from harness.export.text import program

    layouts, refused = _layouts(what)
    if not layouts and not refused:
        print(f"midfolio: export: no case in {', '.join(what)}", file=sys.stderr)
        return exits.TOO_LITTLE
    for why in refused:
        print(why, file=sys.stderr)
    if not layouts:
        raise CaseError(f"{', '.join(what)}: none of {len(refused)} cases can be exported")
    text = program(layouts)
    if output is None:
        print(text, end="")
        return exits.OK
    from harness.whole import write_whole

    try:
        write_whole(output, text)
    except OSError as error:
        raise CaseError(f"{output}: cannot be written: {error.strerror}") from None
    print(f"export: wrote {output}: {_summary(layouts, len(refused))}")
    return exits.OK


def _layouts(what: tuple[str, ...]) -> "tuple[list[Layout], list[str]]":
    """What can be exported, and why the rest of what stands in directories cannot."""
    from harness.case import CaseError

    layouts, refused = [], []
    for word in what:
        found_there = not word.startswith("case:") and Path(word).is_dir()
        for source in sources((word,)):
            try:
                layouts.append(_layout(source))
            except CaseError as error:
                if not found_there:
                    raise
                refused.append(str(error))
    return layouts, refused


def _layout(source: Source) -> "Layout":
    from harness.case import CaseError
    from harness.export.text import layout_of

    try:
        return layout_of(source.case, _name(source), source.comments, source.expect)
    except CaseError as error:
        raise CaseError(f"{source.name}: {error}") from None


def _name(source: Source) -> str:
    """What the test is called: not where its file was on this machine."""
    name = source.name.removesuffix(".case")
    return Path(name).name if Path(name).is_absolute() else name


def _summary(layouts: "list[Layout]", refused: int) -> str:
    told = {target for layout in layouts for target, shows in layout.apart if shows}
    parts = [f"{len(layouts)} case{'s' if len(layouts) > 1 else ''}"]
    if refused:
        parts.append(f"{refused} left out")
    if told:
        parts.append(f"fails on a kernel like {', '.join(sorted(told))}")
    return "; ".join(parts)
