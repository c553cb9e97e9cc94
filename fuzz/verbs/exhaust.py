"""`midfolio exhaust`: every case of a few entries, and a certificate."""

from pathlib import Path

import click

from .. import exits
from . import options

HISTORICAL = "first-page-is-folio-head"


@click.command()
@click.option(
    "--ptes",
    "k",
    type=click.IntRange(1, 5),
    default=2,
    show_default=True,
    help="Entries of the range: the number of cases grows by a factor of about 60 with each.",
)
@click.option(
    "--arch",
    type=click.Choice(options.ARCHES),
    default="x86_64",
    show_default=True,
    help="Architecture.",
)
@options.kernel
@options.target
@options.batching
@click.option(
    "--flags", "asks", multiple=True, metavar="NAME", help="Only these calls; may be repeated."
)
@click.option("--raw", is_flag=True, help="Enumerate every state instead of canonical ones.")
@options.campaign_jobs
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where state and certificate are kept [default: exhaust/ in MIDFOLIO_WORK, else in "
    ".midfolio/ of the checkout].",
)
@click.option("--restart", is_flag=True, help="Begin anew where an earlier run was interrupted.")
@options.as_json
@options.quiet
def command(
    k: int,
    arch: str,
    kernel: str,
    target: str,
    batching: str | None,
    asks: tuple[str, ...],
    raw: bool,
    jobs: int,
    work: Path | None,
    restart: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run every case of --ptes entries and end with a certificate.

    The certificate says what was enumerated, by which symmetries cases were left out,
    what was not varied, every class that was seen, and a hash over all verdicts that
    does not depend on --jobs. A run that is interrupted goes on when it is called again.
    """
    from harness.kernels import check_kernel

    check_kernel(target, kernel)
    options.arches_of(target, arch)
    from ..exhaust.scope import Scope

    # Before anything compiles: it tells bad usage.
    Scope(arch, kernel, k, raw, asks)
    _warm_up(arch, target)
    from ..exhaust.certificate import lines
    from ..exhaust.runner import Exhaust, Plan

    quiet = quiet or as_json
    plan = Plan(
        arch=arch,
        kernel=kernel,
        target=target,
        k=k,
        raw=raw,
        asks=asks,
        batching=options.legal_batching(batching, target),
        jobs=jobs,
        work=work,
        restart=restart,
    )
    run = Exhaust(plan, quiet=quiet)
    if run.canary_is_missed():
        click.echo(f"exhaust: canary missed: {HISTORICAL}; the loop is broken", err=True)
        return exits.CANARY_MISSED
    if not quiet:
        print(f"canary: zoo:{HISTORICAL} caught")
        if run.resumed:
            print(f"going on after {run.sums.cases} of {run.scope.total} cases")
    run.run()
    code = run.exit_code()
    if as_json:
        from ..report import print_json

        print_json({**run.certificate(), "exit": code})
    elif run.complete:
        print("\n".join(lines(run.certificate())))
    if run.complete:
        path = run.write_certificate()
        if not quiet:
            print(f"\nwritten to {path} and, as JSON, beside it")
    if not as_json:
        print(f"exhaust: {run.ending()}; exit {code}")
    return code


def _warm_up(arch: str, target: str) -> None:
    """Compile in processes of their own, as a campaign does; the judges are for what is shown."""
    from ..warmup import EXHAUST, JUDGES, compile_parts

    mutants = {HISTORICAL}
    if target.startswith("zoo:"):
        mutants.add(target.removeprefix("zoo:"))
    last = () if target == "batched" else (JUDGES,)
    compile_parts(arch, target, tuple(sorted(mutants)), parts=(EXHAUST,), last=last, entry="loop")
