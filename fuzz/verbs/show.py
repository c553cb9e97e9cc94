"""`midfolio show`: draw a case and what both sides make of it."""

import click

from .. import exits
from ..sources import Source, sources, use_interpreted
from . import options


@click.command()
@click.argument("what", nargs=-1, required=True)
@options.target
@click.option(
    "--kernel", type=click.Choice(options.KERNELS), help="Run the case as this kernel does."
)
@options.only_arch
@options.as_json
@options.quiet
def command(
    what: tuple[str, ...],
    target: str,
    kernel: str | None,
    arch: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw each case of WHAT: case files, atheris inputs, directories, numbers, case: lines.

    Letters of an entry: r present (powerpc: readable, x executable only,
    i invalid; n PROT_NONE), w writable, a accessed, d dirty in whichever bit,
    s soft-dirty (arm64: c, PTE_CONT, folded), u userfaultfd; none, swap,
    mig:r|rx|w migration, dev:r|w|x|xw device, m:wp|psn|grd markers, hwpsn
    hwpoison. block: B1 where block 1 of 16 entries begins (arm64).
    """
    use_interpreted()
    from harness.casefile import case_line, format_case
    from harness.kernels import check_kernel
    from harness.render import layout
    from harness.run import judge_case
    from harness.targets import load

    from ..report import judgement_record, print_json
    from ..terminal import print_lines

    shown = 0
    records = []
    for source in sources(what):
        case = source.case if kernel is None else source.case.replace(kernel=kernel)
        if arch not in (None, case.arch):
            continue
        check_kernel(target, case.kernel)
        legal = options.legal_batching(None, target)
        judgement = judge_case(case, load(target, case.arch), legal)
        shown += 1
        if as_json:
            records.append(judgement_record(judgement, source.name))
            continue
        if shown > 1:
            print()
        _print_heading(source)
        print_lines(layout(judgement))
        if not quiet:
            print()
            print(format_case(case), end="")
            print(f"# {case_line(case)}")
    if as_json:
        print_json(records)
    return exits.OK if shown else exits.TOO_LITTLE


def _print_heading(source: Source) -> None:
    print(source.name)
    for comment in source.comments:
        print(f"  # {comment}")
