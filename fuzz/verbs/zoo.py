"""`midfolio zoo`: let every known bug be found, and no equivalent one."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import engines as all_engines
from .. import exits
from ..sources import use_interpreted
from . import options

if TYPE_CHECKING:
    from harness.zoo import Mutant

    from ..fates import Fate


# Of `zoo bench`, compiled or not.
DEFAULT_CASES = {True: 200_000, False: 500}


class _WithBench(click.Command):
    """The command, or its sub-command `bench`: no mutant is called so."""

    @property
    def commands(self) -> dict[str, click.Command]:
        """The sub-commands by name, as a group has them."""
        return {"bench": bench}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of whichever of both `args` ask for."""
        if args and args[0] in self.commands:
            return self.commands[args[0]].make_context(
                f"{info_name} {args[0]}", args[1:], parent, **extra
            )
        return super().make_context(info_name, args, parent, **extra)


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[MUTANT]...")
@click.option(
    "--engine",
    "engines",
    type=click.Choice(all_engines.NAMES),
    multiple=True,
    default=("random", "guided"),
    show_default=True,
    help="Which engine; may be given more than once. With hypothesis or atheris all run interpreted.",
)
@click.option(
    "--seeds", type=click.IntRange(2, 1000), default=20, show_default=True, help="Runs of each."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 1 << 63),
    default=1,
    show_default=True,
    help="The first of them. The engines were tuned on 1 to 20 and 201 to 260.",
)
@click.option(
    "--cases",
    type=click.IntRange(min=1),
    help="Cases after which a run is given up [default: 200,000; interpreted 500].",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw what is left after so many cases into FILE (.svg or .png), too.",
)
@options.arch
@options.kernel
@options.as_json
@options.quiet
def bench(
    names: tuple[str, ...],
    engines: tuple[str, ...],
    seeds: int,
    seed: int,
    cases: int | None,
    plot: Path | None,
    arch: str | None,
    kernel: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Measure how many cases each engine takes to detect each mutant, beside random ones.

    Medians with bootstrap intervals; engines are compared by Mann-Whitney tests that
    Holm corrects. Interpreted, cases to reach the mutated code and to change an outcome
    come first, guided grows its corpus on fewer cases, and a run may detect nothing; else
    that is exit code 6. It is 4 if an engine cannot run here, after the others ran.
    """
    if plot is not None:
        options.picture(plot)
    missing = {engine: why for engine in engines if (why := all_engines.missing(engine))}
    if any(engine in all_engines.SLOW for engine in engines):
        use_interpreted()
    from harness import zoo
    from mm.jit import COMPILED

    from ..terminal import Progress
    from ..warmup import GUIDED, compile_parts

    mutants = [zoo.find(name) for name in names] if names else list(zoo.all_mutants())
    arch = arch or options.ARCHES[0]
    mutants = [mutant for mutant in mutants if arch in mutant.arches and mutant.shows]
    compile_parts(arch, "zoo")
    if "guided" in engines:
        compile_parts(arch, "zoo", parts=GUIDED, last=(), entry="mutate")
    from .. import zoobench

    progress = Progress(quiet=quiet or as_json)
    runs: list[zoobench.Runs] = []
    chosen = [engine for engine in dict.fromkeys(engines) if engine not in missing]
    cases = cases or DEFAULT_CASES[COMPILED]
    wanted = range(seed, seed + seeds)
    for done in zoobench.bench(mutants, arch, kernel, chosen, wanted, cases):
        runs.append(done)
        progress.update(f"zoo bench: {len(runs)} of {len(mutants) * len(chosen)}")
    progress.clear()
    missed = sum(done.missed for done in runs)
    codes = [exits.LANE_MISSING] if missing else []
    if missed and COMPILED:
        codes.append(exits.CANARY_MISSED)
    code = exits.worst(codes if runs or missing else [exits.TOO_LITTLE])
    if plot is not None:
        zoobench.draw(runs, chosen, cases, plot)
    if as_json:
        from ..report import print_json

        result = {**zoobench.record(runs, chosen), "arch": arch, "missing": missing, "exit": code}
        print_json(result)
        return code
    for line in zoobench.lines(runs, chosen) if runs else ():
        print(line)
    for engine, why in missing.items():
        print(f"{engine}: NOT MEASURED: {why}")
    print(
        f"zoo bench: {len(mutants)} mutants of {arch}, {seeds} seeds, {missed} runs without a "
        f"finding; exit {code}"
    )
    return code


@click.command(cls=_WithBench)
@click.argument("names", nargs=-1, metavar="[MUTANT]...")
@click.option("--list", "listing", is_flag=True, help="Name the mutants, run nothing.")
@click.option(
    "--cases",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Random cases within which each must be found.",
)
@click.option("--seed", type=click.IntRange(0, (1 << 64) - 1), default=1, show_default=True)
@options.jobs
@options.arch
@options.kernel
@options.as_json
@options.quiet
def command(
    names: tuple[str, ...],
    listing: bool,
    cases: int,
    seed: int,
    jobs: int,
    arch: str | None,
    kernel: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Let each mutant (all, without names) be found from scratch and by its case in corpus/mutants.

    A mutant is batched/ with a known bug planted in it. Equivalent ones change
    nothing that a judge may see, and must not be killed. Exit code 6 if one
    survives or an equivalent one is killed, 3 if a mutant's text is gone.
    `zoo bench` measures how soon each engine detects them (`zoo bench --help`).
    """
    from harness import zoo

    mutants = [zoo.find(name) for name in names] if names else list(zoo.all_mutants())
    if listing:
        return _list(mutants, as_json)
    from ..terminal import Progress
    from ..warmup import compile_parts

    try:
        for mutant in mutants:
            zoo.mutated(mutant)
    except zoo.StaleMutant as error:
        click.echo(f"midfolio: {error}", err=True)
        return exits.STALE
    if arch is not None:
        mutants = [mutant for mutant in mutants if arch in mutant.arches]
    for name in options.ARCHES if arch is None else (arch,):
        if any(name in mutant.arches for mutant in mutants):
            compile_parts(name, "zoo")
    from ..fates import fates

    progress = Progress(quiet=quiet or as_json)
    done: list[Fate] = []
    for fate in fates(mutants, arch, kernel, cases, seed, jobs):
        done.append(fate)
        progress.update(f"zoo: {len(done)} runs of {len(mutants)} mutants")
    progress.clear()
    return _report(done, as_json, quiet)


def _list(mutants: "list[Mutant]", as_json: bool) -> int:
    if as_json:
        from ..report import print_json

        print_json([{**m._asdict(), "equivalent": m.equivalent} for m in mutants])
        return exits.OK
    for mutant in mutants:
        kind = mutant.shows or "equivalent"
        print(f"{mutant.name:<34} {kind:<20} {mutant.why}")
    return exits.OK


def _report(done: "list[Fate]", as_json: bool, quiet: bool) -> int:
    bad = [fate for fate in done if fate.problem]
    code = exits.CANARY_MISSED if bad else exits.OK
    if not done:
        code = exits.TOO_LITTLE
    if as_json:
        from ..report import print_json

        result: dict[str, Any] = {"mutants": [asdict(fate) for fate in done], "exit": code}
        print_json(result)
        return code
    if not quiet:
        print(f"{'mutant':<34} {'arch':<8} {'its case':<20} {'found after':>11}  by")
        for fate in done:
            after = "-" if fate.cases is None else f"{fate.cases:,}"
            print(f"{fate.name:<34} {fate.arch:<8} {fate.by_case:<20} {after:>11}  {fate.by}")
    for fate in bad:
        print(f"{fate.name} on {fate.arch}: {fate.problem}")
    killed = sum(1 for fate in done if fate.shows and not fate.problem)
    spared = sum(1 for fate in done if not fate.shows and not fate.problem)
    print(
        f"zoo: {len({fate.name for fate in done})} mutants in {len(done)} runs, {killed} killed, "
        f"{spared} equivalent and not killed, "
        f"{len(bad)} wrong; exit {code}"
    )
    return code
