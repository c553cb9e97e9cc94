"""`midfolio export`: a case as a stand-alone program."""

from pathlib import Path

import click

from .. import exits
from ..sources import sources, use_interpreted


@click.command()
@click.argument("what")
@click.option(
    "--c", "as_c", is_flag=True, required=True, help="As a C program; there is no other form."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there, not to stdout.")
def command(what: str, as_c: bool, output: Path | None) -> int:
    """Write the case WHAT as a C program that builds its layout and checks what user space sees.

    WHAT is a case file, a case number or a case: line. The program speaks TAP 13, and exits with
    0 pass, 1 fail, 4 skip. A case that user space cannot build is refused.
    """
    del as_c  # required: another form may come
    use_interpreted()
    from harness.case import CaseError
    from harness.export.text import program

    found = list(sources((what,)))
    if len(found) != 1:
        raise CaseError(f"{what}: {len(found)} cases; export takes one")
    text = program(found[0].case, found[0].name)
    if output is None:
        print(text, end="")
        return exits.OK
    partial = output.with_name(f".{output.name}.partial")
    try:
        partial.write_text(text)
        partial.replace(output)
    except OSError as error:
        raise CaseError(f"{output}: cannot be written: {error.strerror}") from None
    print(f"export: wrote {output}")
    return exits.OK
