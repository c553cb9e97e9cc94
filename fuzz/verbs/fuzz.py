"""`midfolio fuzz`: a campaign of random cases."""

from typing import TYPE_CHECKING

import click

from .. import exits
from . import options

HISTORICAL = "first-page-is-folio-head"

if TYPE_CHECKING:
    from ..runner import Campaign
    from ..sweep import Sweep


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
@click.option(
    "--hang-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="A native target that takes so much CPU time for one case hangs [default: 10].",
)
@click.option("--show-canary", is_flag=True, help="Show what the historical bug looks like first.")
@options.as_json
@options.quiet
def command(
    arch: str | None,
    kernel: str,
    target: str,
    batching: str | None,
    deny: tuple[str, ...],
    cases: int | None,
    seconds: float | None,
    seed: int,
    jobs: int,
    per_class: int,
    hang_seconds: float | None,
    show_canary: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run generated cases through the reference and the target and judge them.

    Every PTE must be explained by the reference, every flush be needed, and no
    invariant ring. Before the campaign, one canary per judge must be caught.
    Without --arch the architectures take equal shares of --cases and --time, one
    after the other; without these it is 1,000,000 cases. Findings are written to
    .midfolio/findings/. A first Ctrl-C ends the campaign cleanly.
    """
    denied = options.denied_bits(deny)
    from harness.contain import hang_seconds as hang_default
    from harness.kernels import check_kernel

    check_kernel(target, kernel)
    arches = options.arches_of(target, arch)
    from ..sweep import Sweep, shares

    if cases is None and seconds is None:
        cases = 1_000_000
    sweep = Sweep(quiet=quiet or as_json)
    budgets = shares(cases, len(arches))
    for name, budget in zip(arches, budgets, strict=True):
        if budget == 0:
            continue
        _warm_up(name, target)
        from ..runner import Plan

        campaign = sweep.add(
            Plan(
                arch=name,
                kernel=kernel,
                target=target,
                seed=seed,
                batching=options.legal_batching(batching, target),
                denied=denied,
                cap=per_class,
                cases=budget,
                seconds=None if seconds is None else seconds / len(arches),
                jobs=jobs,
                hang=hang_default() if hang_seconds is None else hang_seconds,
            )
        )
        if not campaign.hunter.target.compiled:
            _say_interpreted(target)
        if show_canary and not as_json:
            _show_canary(name, kernel)
        missed = campaign.missed_canaries()
        if missed:
            click.echo(
                f"fuzz: {name}: canary missed: {', '.join(missed)}; the fuzzer is broken", err=True
            )
            return exits.CANARY_MISSED
        if not (quiet or as_json):
            print(campaign.canary_line)
        campaign.run()
        if not (quiet or as_json):
            _print(campaign)
        if campaign.interrupted:
            break
    return _end(sweep, as_json)


def _warm_up(arch: str, target: str) -> None:
    from ..warmup import compile_parts

    mutants = {HISTORICAL}
    if target.startswith("zoo:"):
        mutants.add(target.removeprefix("zoo:"))
    compile_parts(arch, target, tuple(sorted(mutants)))


def _say_interpreted(target: str) -> None:
    if ":" in target and not target.startswith("zoo:"):
        click.echo(
            f"midfolio: {target} is not compiled for the documented signature; it runs "
            f"interpreted (docs/design.md says how to compile it)",
            err=True,
        )


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


def _print(campaign: "Campaign") -> None:
    from ..summary import summary

    for line in summary(campaign):
        print(line)


def _end(sweep: "Sweep", as_json: bool) -> int:
    code = sweep.exit_code()
    if as_json:
        from ..report import print_json

        print_json({**sweep.record(), "exit": code})
    else:
        print(f"fuzz: {sweep.ending()}; exit {code}")
    return code
