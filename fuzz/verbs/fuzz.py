"""`midfolio fuzz`: a campaign of random cases."""

from typing import TYPE_CHECKING

import click

from .. import exits
from . import options

HISTORICAL = "first-page-is-folio-head"

if TYPE_CHECKING:
    from ..runner import Campaign


@click.command()
@options.arch
@options.kernel
@options.target
@options.batching
@options.deny
@click.option("--cases", type=click.IntRange(min=1), help="Stop after so many cases.")
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many seconds.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 64) - 1),
    default=1,
    show_default=True,
    help="Which cases.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes."
)
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Findings kept per class; all are counted.",
)
@click.option("--show-canary", is_flag=True, help="Show what the historical bug looks like first.")
@options.as_json
@options.quiet
def command(
    arch: str,
    kernel: str,
    target: str,
    batching: str,
    deny: tuple[str, ...],
    cases: int | None,
    seconds: float | None,
    seed: int,
    jobs: int,
    per_class: int,
    show_canary: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run generated cases through the reference and the target and judge them.

    Every PTE must be explained by the reference, every flush be needed, and no
    invariant ring. Before the campaign, one canary per judge must be caught.
    Without --cases and --time it runs 1,000,000 cases. Findings are written to
    .midfolio/findings/. A first Ctrl-C ends the campaign cleanly.
    """
    denied = options.denied_bits(deny)
    from harness import zoo
    from harness.kernels import check_kernel

    check_kernel(target, kernel)
    from ..warmup import compile_parts

    if target.startswith("zoo:"):
        # Loaded later; here only to say at once that there is no such mutant.
        zoo.find(target.removeprefix("zoo:"))
    planted = {HISTORICAL, target.removeprefix("zoo:")}
    compile_parts(target, tuple(sorted(planted)) if target.startswith("zoo:") else (HISTORICAL,))
    from ..runner import Campaign, Plan

    plan = Plan(
        arch=arch,
        kernel=kernel,
        target=target,
        seed=seed,
        tolerant=batching == "any",
        denied=denied,
        cap=per_class,
        cases=cases if cases is not None or seconds is not None else 1_000_000,
        seconds=seconds,
        jobs=jobs,
    )
    campaign = Campaign(plan, quiet=quiet or as_json)
    if not campaign.hunter.target.compiled and ":" in target and not target.startswith("zoo:"):
        click.echo(
            f"midfolio: {target} is not compiled for the documented signature; it runs "
            f"interpreted (docs/design.md says how to compile it)",
            err=True,
        )
    if show_canary and not as_json:
        _show_canary(arch, kernel)
    missed = campaign.missed_canaries()
    if missed:
        click.echo(f"fuzz: canary missed: {', '.join(missed)}; the fuzzer is broken", err=True)
        return exits.CANARY_MISSED
    if not (quiet or as_json):
        print(campaign.canary_line)
    campaign.run()
    code = campaign.exit_code()
    _print(campaign, code, as_json, quiet)
    return code


def _show_canary(arch: str, kernel: str) -> None:
    """Print the historical bug's first finding, as the campaign would."""
    from harness import classes
    from harness.render import finding
    from harness.targets import load

    from ..hunter import Hunter
    from ..terminal import print_lines

    hunter = Hunter(load(f"zoo:{HISTORICAL}", arch), kernel, seed=1)
    # The dangerous half of the bug: it also leaves entries needlessly read-only.
    index = hunter.hunt(0, 10_000, red=1 << classes.NUMBER["cow-write"])
    print(f"the historical bug, zoo:{HISTORICAL}, as this fuzzer shows it:\n")
    print_lines(finding(hunter.found(index).judgement))
    print()


def _print(campaign: "Campaign", code: int, as_json: bool, quiet: bool) -> None:
    from ..report import print_json
    from ..summary import record, summary

    if as_json:
        print_json({**record(campaign), "exit": code})
        return
    if not quiet:
        for line in summary(campaign):
            print(line)
    print(f"fuzz: {campaign.ending()}; exit {code}")
