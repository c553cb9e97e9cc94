"""`midfolio live`: the running kernel against a model of it, page table by page table."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import exits
from ..sources import use_interpreted
from . import options

if TYPE_CHECKING:
    from harness.live.probes import Live
    from harness.live.settings import Settings
    from harness.targets import Target

    from ..live.run import Asked

KINDS = ("anon", "uffd", "file", "shmem")
SIDES = ("reference", "batched")
BESIDE_MATRIX = ("out", "allow_sysfs", "as_json", "quiet")
# A mutant for each sort of memory, which each kernel contradicts within some operations.
# Shared pages are never exclusive, so the historical bug cannot show there.
CONTROLS = {"private": "zoo:first-page-is-folio-head", "shared": "zoo:no-range-clip"}


@click.command()
@click.option(
    "--time",
    "seconds",
    type=options.Seconds(),
    help="Stop after so many seconds [default: 10].",
)
@click.option(
    "--ops",
    type=click.IntRange(min=1),
    help="Stop after so many mprotect operations; with --against both, so many for each side.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 64) - 1),
    default=1,
    show_default=True,
    help="Which layouts and steps.",
)
@click.option("--layout", type=click.IntRange(min=0), help="Only this layout of the seed.")
@click.option(
    "--pages",
    type=click.IntRange(16, 512),
    help="Entries of each window [default: 256, or 64 for a model that is not compiled].",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Memory to try: private anon, under userfaultfd, MAP_SHARED file, shmem; all by default. "
    "May be given more than once.",
)
@click.option(
    "--against",
    type=click.Choice((*SIDES, "both")),
    help="The side that is the model: batched for a kernel that batches (since 6.17), else "
    "reference, by default; both says which of them the kernel is like.",
)
@click.option(
    "--target",
    help="Another model: batched, reference, zoo:NAME, mine.so or package.module:function.",
)
@click.option(
    "--matrix",
    is_flag=True,
    help="Measure what this kernel's walk does, property by property, and add the row to a table.",
)
@options.matrix_out
@click.option(
    "--allow-sysfs",
    is_flag=True,
    help="Switch sizes of large folios on for the run, and back to what they were.",
)
@options.as_json
@options.quiet
def command(
    seconds: float | None,
    ops: int | None,
    seed: int,
    layout: int | None,
    pages: int | None,
    kinds: tuple[str, ...],
    against: str | None,
    target: str | None,
    matrix: bool,
    out: Path | None,
    allow_sysfs: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Change protections of this process's own memory and read back what the kernel made of it.

    Random layouts, random sequences of mprotect(); each entry before and after, read
    raw, becomes a case that a model of this kernel and the relation judge. First a
    known bug as the model must be contradicted. Needs root, BTF, bpf(2) and large
    folios; what lacks is named, exit code 4. Exit code 1 if the kernel and the model
    disagree, 5 if too little ran or the machine was too noisy.

    With --matrix instead: what the walk of this kernel does, measured by fixed operations.
    """
    if against is not None and target is not None:
        raise click.UsageError("--against and --target both name the model; give one of them")
    if out is not None and not matrix:
        raise click.UsageError("--out is where the table of --matrix goes; give both")
    if matrix:
        options.refuse_beside("--matrix", BESIDE_MATRIX, click.get_current_context())
        # No model is run, so none is compiled.
        use_interpreted()
    from harness.lane import LaneMissing
    from harness.live.settings import Interrupted, Settings

    from ..live.run import Asked

    _check_target(target)
    chosen = tuple(kind for kind in KINDS if kind in kinds) or KINDS
    asked = Asked(chosen, seed, layout, pages, ops, seconds)
    try:
        with Settings(work_directory() / "settings.json") as settings:
            if matrix:
                return _matrix(settings, out, allow_sysfs, as_json, quiet)
            return _measured(settings, asked, against, target, allow_sysfs, as_json, quiet)
    except LaneMissing as error:
        click.echo(f"midfolio: live: {error}", err=True)
        return exits.LANE_MISSING
    except Interrupted as error:
        print(f"live: ended by {error} before its end; exit {exits.TOO_LITTLE}")
        return exits.TOO_LITTLE


def _measured(
    settings: "Settings",
    asked: "Asked",
    against: str | None,
    target: str | None,
    allow_sysfs: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Probe, compile, change settings, run; the exit code."""
    from harness.live.probes import Places, need_large_folios, need_root, probe

    from ..live.run import Run
    from ..live.sides import own_side, run_both
    from ..live.single import run_one
    from ..terminal import Progress

    places = Places()
    need_root(places)
    put_back(settings)
    live = probe(places, asked.kinds)
    need_large_folios(places, settings, asked.kinds, allowed=allow_sysfs, dry=True)
    names = SIDES if against == "both" else (target or against or own_side(live.version),)
    # Compiled before any setting is changed: that takes longer than the run.
    control, *models = _models(live, names, asked.kinds)
    need_large_folios(places, settings, asked.kinds, allowed=allow_sysfs)
    progress = Progress(quiet=quiet or as_json)
    run = Run(live, asked, work_directory(), quiet=quiet or as_json, progress=progress)
    if not run.catches(control, control_of(asked.kinds)[1]):
        print(f"live: canary missed: {run.control}; exit {exits.CANARY_MISSED}")
        return exits.CANARY_MISSED
    if against == "both":
        return run_both(run, models, as_json=as_json)
    return run_one(run, models[0], as_json=as_json)


def _matrix(
    settings: "Settings", out: Path | None, allow_sysfs: bool, as_json: bool, quiet: bool
) -> int:
    from ..live.matrix import run_matrix

    put_back(settings)
    return run_matrix(
        settings,
        options.matrix_directory(out),
        work_directory(),
        allowed=allow_sysfs,
        as_json=as_json,
        quiet=quiet,
    )


def work_directory() -> Path:
    """Where the journal of settings is, and files that are mapped."""
    from mm.jit import ROOT

    return ROOT / ".midfolio" / "live"


def put_back(settings: "Settings") -> None:
    """Undo what a killed run left, and say so."""
    back = settings.undo_leftovers()
    if back:
        what = f"{len(back)} settings that a killed run left ({back[0]}, ...)"
        click.echo(f"midfolio: live: put back {what}", err=True)


def _check_target(name: str | None) -> None:
    """Refuse a mutant that does not exist, before anything is asked of the machine (CaseError)."""
    if name is not None and name.startswith("zoo:"):
        from harness import zoo

        zoo.find(name.removeprefix("zoo:"))


def control_of(kinds: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The mutant that proves the alarm, and the kinds of memory that show it."""
    private = tuple(kind for kind in kinds if kind in ("anon", "uffd"))
    return (CONTROLS["private"], private) if private else (CONTROLS["shared"], kinds)


def _models(live: "Live", names: tuple[str, ...], kinds: tuple[str, ...]) -> "list[Target]":
    """The control and the models, loaded, and compiled with all else that the run needs."""
    from harness.targets import load, trusted

    from ..warmup import JUDGES, compile_parts

    arch = live.machine.arch
    control = control_of(kinds)[0]
    mutants = {control, *(name for name in names if name.startswith("zoo:"))}
    compile_parts(
        arch,
        names[-1],
        tuple(sorted(name.removeprefix("zoo:") for name in mutants)),
        parts=(JUDGES,),
        last=(),
    )
    loaded = [load(name, arch) for name in (control, *names)]
    # A fork takes longer than the call, and shares the pages that are tested.
    return [trusted(target) for target in loaded]
