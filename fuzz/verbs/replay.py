"""`midfolio replay`: run cases again and compare with what they are recorded to do."""

from typing import TYPE_CHECKING

import click

from .. import exits
from ..sources import Source, sources, use_interpreted
from ..verdict import planned, verdict, witnessed
from . import options

if TYPE_CHECKING:
    from harness.run import Judgement


@click.command()
@click.argument("what", nargs=-1, required=True)
@click.option(
    "--target",
    help="What is judged. Without it, the targets that a file's expect lines name, else batched.",
)
@click.option(
    "--kernel", type=click.Choice(options.KERNELS), help="Run the cases as this kernel does."
)
@options.only_arch
@options.batching
@options.deny
@options.as_json
@options.quiet
def command(
    what: tuple[str, ...],
    target: str | None,
    kernel: str | None,
    arch: str | None,
    batching: str | None,
    deny: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run each case of WHAT again: case files, atheris inputs, directories, numbers, case: lines.

    A case agrees unless an `expect: diverge CLASS target=NAME` line says otherwise.
    Exit code 0 if all did what is expected, 1 if one diverges unexpectedly, 3 if
    an expected divergence is gone, 5 if there was no case.
    """
    use_interpreted()
    from harness.kernels import check_kernel
    from harness.run import judge_case
    from harness.targets import isolated, load

    from ..report import judgement_record, print_json

    denied = options.denied_bits(deny)
    codes = []
    records = []
    for source in sources(what):
        case = source.case if kernel is None else source.case.replace(kernel=kernel)
        if arch not in (None, case.arch):
            continue
        shows = witnessed(source)
        for name, expected in planned(source, target):
            check_kernel(name, case.kernel)
            loaded = isolated(load(name, case.arch), expected.divergence if expected else "")
            legal = options.legal_batching(batching, name)
            judgement = judge_case(case, loaded, legal)
            again = judge_case(case, loaded, legal)
            code, words = verdict(judgement, expected, denied, shows)
            if (again.theirs, again.union) != (judgement.theirs, judgement.union):
                code, words = exits.FLAKY, "two runs differ"
            codes.append(code)
            if as_json:
                record = judgement_record(judgement, source.name)
                records.append({**record, "verdict": words, "exit": code})
            else:
                _print(source, judgement, code, words, denied, quiet)
    if as_json:
        print_json(records)
    if not codes:
        click.echo("midfolio: replay: no case in " + ", ".join(what), err=True)
        return exits.TOO_LITTLE
    code = exits.worst(codes)
    if not as_json:
        expected_ones = sum(c == exits.OK for c in codes)
        print(f"replay: {len(codes)} runs, {expected_ones} as expected; exit {code}")
    return code


def _print(
    source: Source, judgement: "Judgement", code: int, words: str, denied: int, quiet: bool
) -> None:
    from harness.render import finding

    from ..terminal import print_lines

    if not quiet or code != exits.OK:
        print(f"{source.name} on {judgement.target}: {words}")
    if code in (exits.DIVERGENCE, exits.FLAKY):
        print()
        print_lines(finding(judgement, denied))
        print()
