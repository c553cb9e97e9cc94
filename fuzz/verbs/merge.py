"""`midfolio merge`: into one corpus, what others show besides."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from .. import exits
from ..sources import use_interpreted
from . import options

if TYPE_CHECKING:
    from ..corpus import CorpusFile


class Addition(NamedTuple):
    """A file that is added."""

    file: "CorpusFile"
    to: Path
    features: int  # that nothing before it brings


class Plan(NamedTuple):
    """What is to be added, and the features before and after."""

    additions: list[Addition]
    before: int
    after: int


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.argument("what", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--target", default="batched", show_default=True, help="On what features are looked for."
)
@options.only_arch
@options.jobs
@options.as_json
@options.quiet
def command(
    out: Path,
    what: tuple[str, ...],
    target: str,
    arch: str | None,
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Copy to OUT the case files of DIR... that show a feature which no file of OUT shows.

    The files of DIR... are tried one after the other, those with the fewest
    entries first, then by name. Nothing is deleted or written over: where OUT has
    another file of that name, the copy's has the case's id, too. It may be more
    than the smallest addition; `midfolio cmin` finds that. Exit code 0 if all that
    was new was added, 5 if DIR... hold no case or it was interrupted.
    """
    use_interpreted()
    from ..corpus import check_kernels, copy_whole, read_corpus

    there = read_corpus((out,), arch) if out.exists() else []
    files = read_corpus(what, arch)
    if not files:
        return _end(f"no case in {', '.join(what)}", as_json)
    check_kernels([*there, *files], target)
    done: list[Addition] = []
    try:
        plan = _plan(out, there, files, target, jobs, quiet=quiet or as_json)
        for addition in plan.additions:
            copy_whole(addition.file, addition.to)
            done.append(addition)
            if not (quiet or as_json):
                print(
                    f"added {addition.file.path} as {addition.to}: {addition.features} new features"
                )
    except KeyboardInterrupt:
        return _end(f"interrupted, {len(done)} files added to {out}", as_json)
    if as_json:
        _print_json(plan, len(files))
    else:
        print(
            f"merge: {len(done)} of {len(files)} files added to {out}, features {plan.before} -> "
            f"{plan.after}; exit {exits.OK}"
        )
    return exits.OK


def _plan(
    out: Path,
    there: "list[CorpusFile]",
    files: "list[CorpusFile]",
    target: str,
    jobs: int,
    *,
    quiet: bool,
) -> Plan:
    from harness.corpus.jury import Jury

    from ..corpus import names_for
    from ..terminal import Progress

    # Each case once, whatever is expected of it: no copy of one shows anything new.
    first = {file.case: file for file in reversed([*there, *files])}
    progress = Progress(quiet=quiet)
    legal = options.legal_batching(None, target)
    features = {}
    try:
        with Jury(list(first), target, legal, jobs) as jury:
            for case, found in zip(first, jury.features(), strict=True):
                features[case] = found
                progress.update(f"merge: features of {len(features)} of {len(first)} cases")
    finally:
        progress.clear()
    known = set().union(*(features[file.case] for file in there))
    before, new = len(known), []
    for file in sorted(files, key=lambda file: (len(file.case.ptes), file.path.name, file.path)):
        count = len(features[file.case] - known)
        if count:
            known |= features[file.case]
            new.append((file, count))
    taken = [path.name for path in out.iterdir()] if out.exists() else []
    names = names_for([file for file, _ in new], taken)
    additions = [
        Addition(file, out / name, count) for (file, count), name in zip(new, names, strict=True)
    ]
    return Plan(additions, before, len(known))


def _print_json(plan: Plan, files: int) -> None:
    from ..report import print_json

    print_json(
        {
            "files": files,
            "added": [
                {"file": str(a.file.path), "as": str(a.to), "features": a.features}
                for a in plan.additions
            ],
            "features_before": plan.before,
            "features_after": plan.after,
            "exit": exits.OK,
        }
    )


def _end(why: str, as_json: bool) -> int:
    """Say why too little was done."""
    if as_json:
        from ..report import print_json

        print_json({"why": why, "exit": exits.TOO_LITTLE})
    else:
        print(f"merge: {why}; exit {exits.TOO_LITTLE}")
    return exits.TOO_LITTLE
