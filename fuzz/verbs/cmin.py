"""`midfolio cmin`: the fewest files of a corpus that still show all that it shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .. import exits
from ..sources import use_interpreted
from . import options

if TYPE_CHECKING:
    from harness.corpus.minimize import Minimum

    from ..corpus import CorpusFile


class Result(NamedTuple):
    """What was read, and what stays of it."""

    read: "list[CorpusFile]"  # all files
    files: "list[CorpusFile]"  # without copies; the minimum's numbers are places in it
    minimum: "Minimum"
    nodes: int

    @property
    def kept(self) -> "list[CorpusFile]":
        """The files that stay."""
        return [self.files[number] for number in self.minimum.chosen]

    @property
    def rest(self) -> "list[CorpusFile]":
        """The files that do not."""
        kept = {file.path for file in self.kept}
        return [file for file in self.read if file.path not in kept]


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="A new or empty directory for copies of the files that stay.",
)
@click.option("--in-place", is_flag=True, help="Delete all other files instead.")
@click.option(
    "--target",
    default="batched",
    show_default=True,
    help="On what features are looked for; mutants of the zoo are tried in any case.",
)
@options.only_arch
@click.option(
    "--nodes",
    type=click.IntRange(min=0),
    default=1_000,
    show_default=True,
    help="Nodes of the search for a smaller set, for each independent part.",
)
@options.jobs
@options.as_json
@options.quiet
def command(
    what: tuple[str, ...],
    output: Path | None,
    in_place: bool,
    target: str,
    arch: str | None,
    nodes: int,
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Choose the fewest case files of DIR... that bring every feature and kill every mutant.

    The set is the smallest there is, of these the one with the fewest entries,
    of these the first by name; where the search met its limit of nodes, the last
    line says how many files may be too many. Copies of the files go to OUT,
    under their names; --in-place deletes the others instead. A file that a
    directory holds twice counts once. Exit code 0 if the files were written, 5 if
    there was none or it was interrupted, 6 if a kill or a feature was lost, which
    is a bug of midfolio; nothing is written then.
    """
    use_interpreted()
    if in_place == (output is not None):
        raise click.UsageError("expected one of --output DIR and --in-place")
    from ..corpus import check_kernels, free_directory, read_corpus

    if output is not None:
        free_directory(output)
    read = read_corpus(what, arch)
    if not read:
        return _end(f"no case in {', '.join(what)}", exits.TOO_LITTLE, as_json)
    check_kernels(read, target)
    try:
        result, missing = _minimize(read, target, nodes, jobs, quiet=quiet or as_json)
        if missing:
            why = f"lost {', '.join(missing)}; nothing written"
            return _end(why, exits.CANARY_MISSED, as_json)
        names = _write(result, output)
    except KeyboardInterrupt:
        left = "no file that stays was touched" if in_place else "nothing written"
        return _end(f"interrupted, {left}", exits.TOO_LITTLE, as_json)
    if as_json:
        _print_json(result, names, output)
    else:
        _print(result, names, output, quiet)
    return exits.OK


def _minimize(
    read: "list[CorpusFile]", target: str, nodes: int, jobs: int, *, quiet: bool
) -> tuple[Result, list[str]]:
    """What stays, and what it would lose."""
    from harness.corpus.jury import Jury
    from harness.corpus.kills import quarries
    from harness.corpus.minimize import lost, minimize

    from ..corpus import without_copies
    from ..terminal import Progress

    files = without_copies(read)
    progress = Progress(quiet=quiet)
    features = []
    legal = options.legal_batching(None, target)
    try:
        with Jury([file.case for file in files], target, legal, jobs) as jury:
            for found in jury.features():
                features.append(found)
                progress.update(f"cmin: features of {len(features)} of {len(files)} cases")
            minimum = minimize(
                jury,
                features,
                [file.expect for file in files],
                quarries(frozenset(file.case.arch for file in files)),
                nodes,
                lambda text: progress.update(f"cmin: {text}"),
            )
            missing = lost(jury, features, minimum)
    finally:
        progress.clear()
    return Result(read, files, minimum, nodes), missing


def _write(result: Result, output: Path | None) -> list[str]:
    """Write what stays to `output`, or delete the rest; the names of what stays."""
    from ..corpus import copy_whole, names_for, new_directory, unchanged

    kept = result.kept
    if output is None:
        for file in kept:
            unchanged(file, file.path)
        for file in result.rest:
            file.path.unlink(missing_ok=True)
        return [str(file.path) for file in kept]
    names = list(names_for(kept))
    with new_directory(output) as partial:
        for file, name in zip(kept, names, strict=True):
            copy_whole(file, partial / name)
    return [str(output / name) for name in names]


def _print(result: Result, names: list[str], output: Path | None, quiet: bool) -> None:
    minimum, cases = result.minimum, len({file.case for file in result.files})
    if not quiet:
        for file, name in zip(result.kept, names, strict=True):
            if str(file.path) != name:
                print(f"kept     {file.path} as {name}")
            else:
                print(f"kept     {name}")
        if output is None:
            for file in result.rest:
                print(f"deleted  {file.path}")
        print(
            f"read: {len(result.read)} files, {cases} different cases; {minimum.features} features, "
            f"{len(minimum.killed)} of {len(minimum.killed) + len(minimum.spared)} mutants killed"
        )
    how = "no fewer do"
    if minimum.gap:
        how = f"{minimum.least} at least are needed, gap {minimum.gap} at {result.nodes} nodes"
    where = f"{len(result.rest)} deleted" if output is None else f"written to {output}"
    print(
        f"cmin: {len(names)} of {len(result.read)} files bring all {minimum.features} features "
        f"and kill all {len(minimum.killed)} mutants; {how}; {where}; exit {exits.OK}"
    )


def _print_json(result: Result, names: list[str], output: Path | None) -> None:
    from ..report import print_json

    minimum = result.minimum
    record: dict[str, Any] = {
        "files": len(result.read),
        "cases": len({file.case for file in result.files}),
        "features": minimum.features,
        "killed": [str(quarry) for quarry in minimum.killed],
        "survived": [str(quarry) for quarry in minimum.spared],
        "kept": [
            {"file": str(file.path), "as": name}
            for file, name in zip(result.kept, names, strict=True)
        ],
        "deleted": [str(file.path) for file in result.rest] if output is None else [],
        "least": minimum.least,
        "gap": minimum.gap,
        "nodes": result.nodes,
        "exit": exits.OK,
    }
    print_json(record)


def _end(why: str, code: int, as_json: bool) -> int:
    """Say why nothing was minimized."""
    if as_json:
        from ..report import print_json

        print_json({"why": why, "exit": code})
    else:
        print(f"cmin: {why}; exit {code}")
    return code
