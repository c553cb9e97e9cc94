"""`midfolio vm`: run `midfolio live` on another kernel, booted under qemu."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import exits
from ..sources import use_interpreted
from . import options

if TYPE_CHECKING:
    from harness.vm.session import Session

ARCHES = ("x86_64", "arm64")
# How long a guest may take beside the run itself: emulated, on a busy machine.
BOOT_SECONDS = 300.0


@click.command()
@click.option(
    "--kernel",
    "specs",
    required=True,
    multiple=True,
    metavar="VERSION",
    help="Debian's newest kernel of VERSION (6.12, 6.18.9, 7), or the path of a kernel image. With "
    "--matrix may be given more than once.",
)
@click.option("--arch", type=click.Choice(ARCHES), help="Architecture; this machine's by default.")
@click.option(
    "--time",
    "seconds",
    type=options.Seconds(1),
    default=120.0,
    show_default=True,
    help="Seconds that midfolio live runs in the guest.",
)
@click.option(
    "--limit",
    type=options.Seconds(1),
    help=f"Seconds after which the guest is ended; {BOOT_SECONDS:g} more than --time by default.",
)
@click.option(
    "--python",
    type=click.Choice(["own", "debian"]),
    help="The guest's Python: the running one (default where it fits) or Debian's.",
)
@click.option(
    "--matrix",
    is_flag=True,
    help="Run midfolio live --matrix in each kernel's guest, and add the rows to one table.",
)
@options.matrix_out
@options.as_json
@options.quiet
@click.argument("arguments", nargs=-1, metavar="[-- ARGS OF LIVE]")
def command(
    specs: tuple[str, ...],
    arch: str | None,
    seconds: float,
    limit: float | None,
    python: str | None,
    matrix: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    arguments: tuple[str, ...],
) -> int:
    """Boot another kernel, emulated, and run midfolio live in it.

    Fetches Debian's package of that kernel through apt, with lists and downloads of
    its own below .midfolio/vm; nothing is installed. The exit code is that of
    midfolio live; 2 for an unknown version, 4 if qemu, Debian's archive or a tool
    is absent, 5 if the guest sent no report.
    """
    _check_usage(specs, matrix, out)
    use_interpreted()
    from harness.lane import LaneMissing
    from harness.vm import machine, report, session

    from ..terminal import Progress

    progress = Progress(quiet=quiet)
    live = ["live", "--allow-sysfs"]
    live += ["--matrix", "--json"] if matrix else [f"--time={seconds:g}", *arguments]
    if as_json and not matrix:
        live.append("--json")

    def boot(spec: str) -> "Session":
        try:
            return session.run(
                spec,
                board,
                live,
                session.python_for(board, python),
                limit or BOOT_SECONDS + (0 if matrix else seconds),
                lambda line: progress.update(f"vm: {line}"),
            )
        finally:
            progress.clear()

    try:
        board = machine.machine_of(arch)
        if matrix:
            from ..live.guests import run_guests

            place = options.matrix_directory(out)
            return run_guests(specs, boot, place, as_json=as_json, quiet=quiet)
        done = boot(specs[0])
    except LaneMissing as error:
        print(f"midfolio: vm: {error}", file=sys.stderr)
        return exits.LANE_MISSING
    except report.BadReport as error:
        print(f"midfolio: vm: {error}", file=sys.stderr)
        return exits.TOO_LITTLE
    except KeyboardInterrupt:
        print("vm: interrupted")
        return exits.TOO_LITTLE
    if done.note:
        print(f"midfolio: vm: {done.note}", file=sys.stderr)
    if as_json:
        from ..report import print_json

        print_json(record(done, board.arch))
    else:
        _print(done, board.arch)
    return exit_code(done)


def _check_usage(specs: tuple[str, ...], matrix: bool, out: Path | None) -> None:
    """Refuse what makes no sense (a usage error)."""
    if matrix:
        beside = ("specs", "arch", "limit", "python", "out", "as_json", "quiet")
        options.refuse_beside("--matrix", beside, click.get_current_context())
        return
    if len(specs) > 1:
        raise click.UsageError("several --kernel are for --matrix; give one, or --matrix")
    if out is not None:
        raise click.UsageError("--out is where the table of --matrix goes; give both")


def exit_code(done: "Session") -> int:
    """The guest's exit code, if it is one of ours; a Python that broke down ends with 1, too."""
    code = done.report.exit_code
    broke = code == exits.DIVERGENCE and not done.report.stdout
    return exits.INTERNAL if broke or code not in exits.PRECEDENCE else code


def _print(done: "Session", arch: str) -> None:
    sys.stdout.write(done.report.stdout)
    sys.stderr.write(done.report.stderr)
    for path in done.findings:
        print(f"vm: copied {_shown(path)}")
    print(
        f"vm: {done.report.release} {arch}: booted in {done.report.boot_seconds:.0f} s, ran "
        f"{done.report.run_seconds:.0f} s, live ended with {exit_code(done)}; "
        f"logs in {_shown(done.folder)}"
    )


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def record(done: "Session", arch: str) -> dict[str, Any]:
    """What `--json` prints; `live` is what midfolio live printed, None if it did not get so far."""
    import json

    try:
        live = json.loads(done.report.stdout)
    except ValueError:
        # It ended before it had anything to say.
        live = None
    return {
        "arch": arch,
        "kernel": done.report.release,
        "exit": exit_code(done),
        "boot_seconds": done.report.boot_seconds,
        "run_seconds": done.report.run_seconds,
        "live": live,
        "stderr": done.report.stderr,
        "findings": [str(path) for path in done.findings],
        "logs": str(done.folder),
    }
