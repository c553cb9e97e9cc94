"""`midfolio shrink`: the simplest case that still shows the same class of divergence."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .. import exits
from ..sources import Source, sources
from . import options

if TYPE_CHECKING:
    from harness.run import Judgement
    from harness.shrink.shrinker import Certificate, Shrinker


class Asked(NamedTuple):
    """What a finding is shrunk for: on which target, and for which class, None for its first."""

    target: str
    keep: str | None


class Result(NamedTuple):
    """What came of it."""

    source: Source
    shrinker: "Shrinker"
    certificate: "Certificate | None"  # None: it was interrupted
    path: Path | None  # None: nothing was written
    slips: list[Path]


@click.command()
@click.argument("what")
@click.option(
    "--target",
    help="What is judged. Without it, the target that the file is expected to diverge on, else batched.",
)
@click.option(
    "--keep",
    metavar="CLASS",
    help="The class that must stay; without it the expected one, else the first that is found.",
)
@click.option(
    "--kernel", type=click.Choice(options.KERNELS), help="Run the case as this kernel does."
)
@options.batching
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Where to.")
@click.option("--in-place", is_flag=True, help="Write over the file that is shrunk.")
@click.option(
    "--pairs",
    type=click.IntRange(min=0),
    default=2_500,
    show_default=True,
    help="Pairs of edits that are tried where no single one helps.",
)
@options.as_json
@options.quiet
def command(
    what: str,
    target: str | None,
    keep: str | None,
    kernel: str | None,
    batching: str | None,
    output: Path | None,
    in_place: bool,
    pairs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Make the case WHAT simpler, as long as it diverges by the same class.

    WHAT is a case file, a case number or a case: line. A smaller FILE goes to
    FILE.min.case beside it, of a number or a line to .midfolio/findings/, with a
    certificate that no single edit and no pair of edits would have made it any
    simpler; comments and other expectations stay behind. What showed another
    class on the way is saved as a finding of its own, one per class. Exit code 0
    if a simpler case was written or there is none, 3 if the case does not
    diverge, 7 if two runs of a case differ.
    """
    source = _the_only_case(what, kernel)
    place = _place(what, output, in_place)
    asked = _asked(source, target, keep)
    options.class_bits((asked.keep,) if asked.keep else (), "--keep")
    options.arches_of(asked.target, source.case.arch)
    from harness.kernels import check_kernel

    check_kernel(asked.target, source.case.kernel)
    _warm_up(source.case.arch, asked.target)
    from harness.run import judge_case
    from harness.targets import load

    loaded = load(asked.target, source.case.arch)
    legal = options.legal_batching(batching, asked.target)
    first = judge_case(source.case, loaded, legal)
    again = judge_case(source.case, loaded, legal)
    if (again.theirs, again.union) != (first.theirs, first.union):
        return _end(f"two runs of {source.name} differ", exits.FLAKY, as_json)
    name, lacks = _class_to_keep(first, asked.keep)
    if lacks:
        return _end(f"{source.name} on {asked.target}: {lacks}", exits.STALE, as_json)

    from harness.shrink.shrinker import Flaky, Shrinker

    progress = _Progress(quiet=quiet or as_json)
    shrinker = Shrinker(
        first,
        loaded,
        name,
        legal,
        pairs,
        any_kernel=asked.target == "batched" or asked.target.startswith("zoo:"),
        watch=progress.update,
    )
    certificate = None
    try:
        certificate = shrinker.run()
    except Flaky:
        return _end(f"two runs of a case made of {source.name} differ", exits.FLAKY, as_json)
    except KeyboardInterrupt:
        if not shrinker.kept:
            raise
    finally:
        progress.clear()
    slips = _save_slips(shrinker)
    path = _write(source, shrinker, certificate, place, always=output is not None)
    result = Result(source, shrinker, certificate, path, slips)
    if as_json:
        _print_json(result)
    else:
        _print(result, quiet)
    return exits.OK


def _the_only_case(what: str, kernel: str | None) -> Source:
    from harness.case import CaseError

    from ..warmup import interpret_if_cold

    # A line is no path, and longer than one may be.
    is_line = what.startswith("case:")
    if not is_line and Path(what).is_dir():
        raise CaseError(f"{what} is a directory; expected one case: a file, a number or a line")
    if not is_line and not Path(what).exists() and ":" in what:
        # A number: making its case takes compiled code, too.
        interpret_if_cold(what.split(":")[0])
    source = next(sources((what,)))
    interpret_if_cold(source.case.arch)
    return source if kernel is None else source._replace(case=source.case.replace(kernel=kernel))


def _place(what: str, output: Path | None, in_place: bool) -> Path | None:
    """Where the result goes; None if its name decides. CaseError where it would go over its input."""
    from harness.case import CaseError

    given = Path(what)
    is_file = not what.startswith("case:") and given.exists()
    if in_place:
        if output is not None:
            raise click.UsageError("--output and --in-place exclude each other")
        if not is_file:
            raise CaseError(f"--in-place needs a case file, not {what[:40]!r}; use --output")
        return given
    if output is None:
        return given.with_name(f"{given.name.removesuffix('.case')}.min.case") if is_file else None
    if is_file and output.exists() and output.samefile(given):
        raise CaseError(f"{output} is what is shrunk; use --in-place to write over it")
    return output


def _asked(source: Source, target: str | None, keep: str | None) -> Asked:
    """Target and class, as far as options and expectations tell."""
    from harness.case import CaseError

    diverging = [expect for expect in source.expect if expect.divergence]
    if target is None:
        named = sorted({expect.target for expect in diverging})
        if len(named) > 1:
            raise CaseError(
                f"{source.name} is expected to diverge on {', '.join(named)}; choose one by --target"
            )
        target = named[0] if named else "batched"
    recorded = [expect.divergence for expect in diverging if expect.target == target]
    return Asked(target, keep or (recorded[0] if recorded else None))


def _class_to_keep(first: "Judgement", keep: str | None) -> tuple[str, str]:
    """The class to keep, and what is wrong if there is none."""
    from harness import classes
    from harness.differences import primary, red

    found = red(first)
    if keep is None:
        return (primary(found), "") if found else ("", "it agrees, so there is nothing to shrink")
    if first.union >> classes.NUMBER[keep] & 1:
        return keep, ""
    if found:
        return "", f"it diverges by {', '.join(classes.names(found))}, not by {keep}"
    return "", f"it agrees, and does not diverge by {keep}"


def _warm_up(arch: str, target: str) -> None:
    from ..warmup import JUDGES, compile_parts

    mutants = (target.removeprefix("zoo:"),) if target.startswith("zoo:") else ()
    loop = "import harness.shrink.loop"
    compile_parts(arch, target, mutants, parts=(JUDGES,), last=(loop,))


def _save_slips(shrinker: "Shrinker") -> list[Path]:
    from harness.findings import save

    return [save(judgement, None) for judgement in shrinker.slipped()]


def _write(
    source: Source,
    shrinker: "Shrinker",
    certificate: "Certificate | None",
    place: Path | None,
    *,
    always: bool,
) -> Path | None:
    """Write the result, unless it is the input and `always` is not asked for."""
    if not shrinker.kept and not always:
        return None
    from harness import classes
    from harness.casefile import case_id
    from harness.findings import directory, text_of
    from harness.whole import write_whole

    # The name of a file, not where it was on this machine.
    remarks = [f"Shrunk from {Path(source.name).name}.", *_tried(shrinker, certificate)]
    bit = 1 << classes.NUMBER[shrinker.keep]
    text = text_of(shrinker.current, shrinker.keep, remarks, bit)
    if place is None:
        place = directory() / f"{shrinker.keep}-{case_id(shrinker.current.case)}.min.case"
    write_whole(place, text)
    return place


def _tried(shrinker: "Shrinker", certificate: "Certificate | None") -> list[str]:
    if certificate is None:
        return ["Interrupted: not known to be minimal."]
    return [*certificate.lines(), f"Candidates tried: {shrinker.tried}."]


def _print(result: Result, quiet: bool) -> None:
    from harness import classes
    from harness.findings import replay_lines
    from harness.render import finding

    from ..terminal import print_lines

    shrinker = result.shrinker
    now = shrinker.current
    if not quiet:
        print_lines(finding(now, 1 << classes.NUMBER[shrinker.keep]))
        print()
        for line in replay_lines(now.case, now.target, result.path):
            print(f"    replay:  {line}")
        print()
        for line in _tried(shrinker, result.certificate):
            print(line)
    for path in result.slips:
        print(f"Another class was met on the way: {path}")
    print(f"shrink: {_summary(result)}; exit {exits.OK}")


def _summary(result: Result) -> str:
    shrinker = result.shrinker
    if not shrinker.kept:
        where = f", written to {result.path}" if result.path else ""
        return f"{result.source.name} is minimal for {shrinker.keep}{where}"
    sizes = ", ".join(
        f"{what} {old} -> {new}"
        for (what, old), new in zip(
            _sizes(shrinker.first).items(), _sizes(shrinker.current).values(), strict=True
        )
    )
    how = "interrupted" if result.certificate is None else "minimal"
    return f"{shrinker.keep}: {sizes}; {how}, written to {result.path}"


def _sizes(judgement: "Judgement") -> dict[str, int]:
    """What a reader has to look at."""
    case = judgement.case
    return {
        "entries": len(case.ptes),
        "in range": case.call.end - case.call.start,
        "not empty": sum(word != 0 for word in case.ptes),
        "folios": len(case.folios),
    }


def _print_json(result: Result) -> None:
    from harness.casefile import case_line

    from ..report import judgement_record, print_json

    shrinker, certificate = result.shrinker, result.certificate
    tried: dict[str, Any] | None = None
    if certificate is not None:
        tried = {
            "single": certificate.singles,
            "pairs": certificate.pairs,
            "pairs_limit": certificate.limit,
            "all_pairs": certificate.whole,
        }
    print_json(
        {
            "case": result.source.name,
            "line": case_line(shrinker.first.case),
            "keep": shrinker.keep,
            "shrunk": judgement_record(shrinker.current, result.source.name),
            "path": None if result.path is None else str(result.path),
            "candidates": shrinker.tried,
            "kept": shrinker.kept,
            "certificate": tried,
            "slips": [str(path) for path in result.slips],
            "exit": exits.OK,
        }
    )


def _end(why: str, code: int, as_json: bool) -> int:
    """Say why nothing was shrunk."""
    if as_json:
        from ..report import print_json

        print_json({"why": why, "exit": code})
    else:
        print(f"shrink: {why}; exit {code}")
    return code


class _Progress:
    """How far the shrinker is, in one line."""

    def __init__(self, *, quiet: bool) -> None:
        from ..terminal import Progress

        self.line = Progress(quiet=quiet)

    def update(self, shrinker: "Shrinker") -> None:
        """Say so if it is time to."""
        entries = len(shrinker.current.case.ptes)
        self.line.update(f"shrink: {shrinker.tried} candidates, {entries} entries left")

    def clear(self) -> None:
        """Take the line away."""
        self.line.clear()
