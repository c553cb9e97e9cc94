"""`midfolio gate`: one verdict for CI, which cannot be green for nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import exits
from . import options

if TYPE_CHECKING:
    from ..gate.checks import Check, GatePlan, Result

_REPORT = click.Path(path_type=Path)


@click.command()
@click.argument("corpus", nargs=-1, metavar="[CORPUS]...")
@options.arch
@options.kernel
@options.target
@options.batching
@options.deny
@click.option("--baseline", metavar="TARGET", help="Report only what TARGET does not show, too.")
@click.option(
    "--time",
    "seconds",
    type=options.Seconds(),
    help="Seconds of fuzzing, in all [default: 60, if --cases is not given].",
)
@click.option("--cases", type=click.IntRange(min=1), help="Fuzz so many cases, in all.")
@options.seed
@options.campaign_jobs
@click.option(
    "--mutants",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Planted bugs per architecture that must be found first; the seed picks them.",
)
@click.option(
    "--floor-cases",
    type=click.IntRange(min=1),
    default=2_000,
    show_default=True,
    help="The least number of cases per architecture.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    metavar="NAME=PERCENT",
    help="The least share of cases with a trait, a kind of entry or an explained class.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="LANE",
    help="Exit code 4 unless LANE was run: an architecture, or compiled.",
)
@click.option("--junit", type=_REPORT, metavar="FILE", help="Write JUnit XML.")
@click.option("--sarif", type=_REPORT, metavar="FILE", help="Write SARIF 2.1.0.")
@click.option("--markdown", type=_REPORT, metavar="FILE", help="Write a Markdown summary.")
@options.as_json
@options.quiet
def command(
    corpus: tuple[str, ...],
    arch: str | None,
    kernel: str,
    target: str,
    batching: str | None,
    deny: tuple[str, ...],
    baseline: str | None,
    seconds: float | None,
    cases: int | None,
    seed: int,
    jobs: int,
    mutants: int,
    floor_cases: int,
    floors: tuple[str, ...],
    require: tuple[str, ...],
    junit: Path | None,
    sarif: Path | None,
    markdown: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Say whether the target may pass: canaries, recorded cases, random cases, floors.

    CORPUS are case files and directories, our own corpus without any. First every
    judge and the fuzzer as a whole must catch what was broken on purpose (else exit
    code 6, and nothing else is run). Then come regressions, all other cases, a
    witness of each explained class, what cases are recorded to do on other targets
    (3 if that is gone), and random cases (1 for a divergence). Too few cases, or too
    few of a sort, are 5, and so is an interrupted gate.
    """
    from harness.contain import hang_seconds
    from harness.kernels import check_kernel

    for name in (target, baseline or target):
        check_kernel(name, kernel)
    from ..gate.checks import GatePlan, Sizes
    from ..gate.reports import problem

    reports = {"junit": junit, "sarif": sarif, "markdown": markdown}
    plan = GatePlan(
        target=target,
        arches=options.arches_of(target, arch),
        kernel=kernel,
        corpus=corpus,
        baseline=baseline or "",
        batching=options.legal_batching(batching, target),
        denied=options.denied_bits(deny),
        seconds=60.0 if seconds is None and cases is None else seconds,
        cases=cases,
        seed=seed,
        jobs=jobs,
        hang=hang_seconds(),
        required=_lanes(require),
        floor_cases=floor_cases,
        floors=tuple(_floor(text) for text in floors),
        sizes=Sizes(mutants=mutants),
    )
    for wanted in filter(None, reports.values()):
        if wrong := problem(wanted):
            return _unwritable(wrong)
    result = _run(plan, quiet=quiet, silent=as_json)
    code = result.exit_code()
    for kind, path in reports.items():
        if path is not None:
            from ..gate.reports import write

            if wrong := write(result, kind, path):
                code = _unwritable(wrong)
    if as_json:
        from ..gate.reports import record
        from ..report import print_json

        print_json({**record(result), "exit": code})
    else:
        print(f"gate: {result.ending()}; exit {code}")
    return code


def _run(plan: "GatePlan", *, quiet: bool, silent: bool) -> "Result":
    """Run the gate; `quiet`: say only what is not as expected, `silent`: nothing."""
    from ..gate.run import Gate
    from ..gate.text import check_lines, stage_lines

    def tell(result: "Result", stage: str, check: "Check | None") -> None:
        if silent:
            return
        if check is None:
            if not quiet:
                print("\n".join(stage_lines(result, stage)), flush=True)
        elif not check.good:
            for line in check_lines(check):
                print(line, flush=True)

    return Gate(plan, tell).run()


def _unwritable(wrong: str) -> int:
    click.echo(f"midfolio: gate: cannot write {wrong}", err=True)
    return exits.INTERNAL


def _lanes(names: tuple[str, ...]) -> tuple[str, ...]:
    from ..gate.lanes import LANES

    for name in names:
        if name not in LANES:
            raise click.BadParameter(
                f"unknown lane {name!r}; known: {', '.join(LANES)}", param_hint="--require"
            )
    return names


def _floor(text: str) -> tuple[str, float]:
    """The name and the percentage in NAME=PERCENT."""
    from ..gate.floors import NAMES

    name, _, number = text.rpartition("=")
    try:
        percent = float(number)
    except ValueError:
        percent = -1.0
    if not name or not 0 <= percent <= 100:
        raise click.BadParameter(
            f"{text!r} must be NAME=PERCENT, as wild=5 is", param_hint="--floor"
        )
    if name not in NAMES:
        import difflib

        near = difflib.get_close_matches(name, NAMES, n=3) or ["mid-folio-start", "wild"]
        raise click.BadParameter(
            f"unknown floor {name!r}; did you mean {', '.join(near)}?", param_hint="--floor"
        )
    return name, percent
