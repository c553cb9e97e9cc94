"""`midfolio fuzz`: a campaign of random cases."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import engines, exits
from ..sources import use_interpreted
from . import options

HISTORICAL = "first-page-is-folio-head"

if TYPE_CHECKING:
    from ..runner import Campaign, Plan
    from ..store.work import WorkDirectory
    from ..sweep import Sweep


@click.command()
@click.option(
    "--engine",
    type=click.Choice(engines.NAMES),
    default="random",
    show_default=True,
    help="How cases are made: at random, also from those that showed something new, drawn by "
    "Hypothesis, or by atheris, guided by coverage.",
)
@options.arch
@options.kernel
@options.target
@options.batching
@options.deny
@click.option(
    "--cases", type=click.IntRange(min=1), help="Stop after so many cases, earlier runs included."
)
@click.option(
    "--time",
    "seconds",
    type=options.Seconds(),
    help="Stop after so many seconds.",
)
@click.option(
    "--plateau",
    type=options.Seconds(),
    help="Stop when so many seconds brought nothing new.",
)
@options.seed
@options.campaign_jobs
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Findings kept per class; all are counted.",
)
@click.option(
    "--hang-seconds",
    type=options.Seconds(),
    help="A native target that takes so much CPU time for one case hangs [default: 10].",
)
@options.work
@click.option("--fresh", is_flag=True, help="Begin anew; findings that were written stay.")
@click.option("--show-canary", is_flag=True, help="Show what the historical bug looks like first.")
@options.as_json
@options.quiet
def command(
    engine: str,
    arch: str | None,
    kernel: str,
    target: str,
    batching: str | None,
    deny: tuple[str, ...],
    cases: int | None,
    seconds: float | None,
    plateau: float | None,
    seed: int,
    jobs: int,
    per_class: int,
    hang_seconds: float | None,
    work: Path | None,
    fresh: bool,
    show_canary: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run generated cases through the reference and the target and judge them.

    Every PTE must be explained by the reference, every flush be needed, and no
    invariant ring. Before the campaign, one canary per judge must be caught.
    Without --arch the architectures take equal shares of --cases and --time, one
    after the other; without any of --cases, --time and --plateau it is 1,000,000 cases,
    5,000 of hypothesis, 10,000 of atheris. A first Ctrl-C ends the campaign cleanly. The
    same command goes on where an earlier run of it ended, unless that had done all its
    --cases: then they are run again. Findings are written to the work directory's
    findings/; midfolio report sums it up.
    """
    why = engines.missing(engine)
    if why:
        click.echo(f"fuzz: {why}", err=True)
        return exits.LANE_MISSING
    if engine == "atheris":
        use_interpreted()
    if engine == "hypothesis" and jobs > 1:
        raise click.BadParameter("the hypothesis engine runs in one process", param_hint="--jobs")
    denied = options.denied_bits(deny)
    from harness.contain import hang_seconds as hang_default
    from harness.kernels import check_kernel

    check_kernel(target, kernel)
    arches = options.arches_of(target, arch)
    from ..runner import Plan
    from ..sweep import shares

    if cases is None and seconds is None and plateau is None:
        cases = engines.DEFAULT_CASES[engine]
    plans = [
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
            plateau=plateau,
            jobs=jobs,
            hang=hang_default() if hang_seconds is None else hang_seconds,
            engine=engine,
        )
        for name, budget in zip(arches, shares(cases, len(arches)), strict=True)
        if budget != 0
    ]
    _load(plans[0])
    from ..store.work import WorkDirectory

    with WorkDirectory(work) as directory:
        return _run(plans, directory, fresh, show_canary, as_json, quiet or as_json)


def _load(plan: "Plan") -> None:
    """Load a target of one's own before anything is written: it tells bad usage."""
    if ":" in plan.target or plan.target.endswith(".so"):
        from harness.targets import load

        load(plan.target, plan.arch)


def _run(
    plans: "list[Plan]",
    work: "WorkDirectory",
    fresh: bool,
    show_canary: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a campaign for each of `plans`; the exit code."""
    from ..store.journal import Journal, is_complete
    from ..sweep import Sweep

    sweep = Sweep(quiet=quiet)
    # A budget that is used up is no reason to run nothing: its cases are run again.
    repeat = not fresh and all(is_complete(work, plan) for plan in plans)
    for plan in plans:
        _warm_up(plan.arch, plan.target, plan.engine)
        journal = Journal(work, plan, fresh=fresh, repeat=repeat)
        campaign = sweep.add(plan, journal, engines.campaign_of(plan.engine))
        if not campaign.hunter.target.compiled:
            _say_interpreted(plan.target)
        if show_canary and not as_json:
            _show_canary(plan.arch, plan.kernel)
        missed = campaign.missed_canaries()
        if missed:
            click.echo(
                f"fuzz: {plan.arch}: canary missed: {', '.join(missed)}; the fuzzer is broken",
                err=True,
            )
            return exits.CANARY_MISSED
        if not quiet:
            print(campaign.canary_line)
            if campaign.before:
                print(campaign.resume_line())
        campaign.run()
        if not quiet:
            _print(campaign)
        if campaign.interrupted:
            break
    return _end(sweep, as_json)


def _warm_up(arch: str, target: str, engine: str) -> None:
    from ..warmup import GUIDED, compile_parts

    mutants = {HISTORICAL}
    if target.startswith("zoo:"):
        mutants.add(target.removeprefix("zoo:"))
    compile_parts(arch, target, tuple(sorted(mutants)))
    if engine == "guided":
        compile_parts(arch, target, parts=GUIDED, last=(), entry="mutate")


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
