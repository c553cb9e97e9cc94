"""What a run of a case means beside what its file records: one reading for replay, gate and pytest."""

from pathlib import Path
from typing import TYPE_CHECKING

from . import exits

if TYPE_CHECKING:
    from harness.casefile import Expect
    from harness.run import Judgement

    from .sources import Source

# A file in a directory of this name is called after the explained class that it shows.
WITNESSES = "witnesses"


def planned(source: "Source", target: str | None) -> "list[tuple[str, Expect | None]]":
    """The targets to run a case on, each with what it is recorded to do there.

    Without `target`, those that the case's own `expect:` lines name, else batched.
    """
    if target is not None:
        return [(target, recorded(source, target))]
    if not source.expect:
        return [("batched", None)]
    return [(expect.target or "batched", expect) for expect in source.expect]


def recorded(source: "Source", target: str) -> "Expect | None":
    """What the case is recorded to do on `target`, None if nothing is."""
    for expect in source.expect:
        if expect.target in ("", target):
            return expect
    return None


def witnessed(source: "Source") -> str:
    """The explained class that a witness file is named for, "" for any other case.

    Raises CaseError for a file in a directory of witnesses that is named otherwise.
    """
    path = Path(source.name)
    if path.parent.name != WITNESSES:
        return ""
    from harness import classes
    from harness.case import CaseError

    if path.stem.removeprefix("wild-") not in classes.names(int(classes.EXPLAINED_BITS)):
        raise CaseError(
            f"{path}:1: a witness is named for the explained class that it shows, as "
            f"accessed-merged.case and wild-dirty-moved.case are; {path.stem!r} is none"
        )
    return path.stem.removeprefix("wild-")


def verdict(
    judgement: "Judgement", expected: "Expect | None", denied: int = 0, shows: str = ""
) -> tuple[int, str]:
    """Exit code and words for one run: `expected` is what is recorded, `shows` a class to be seen.

    `shows` is asked for only where the run is recorded to agree.
    """
    from harness import classes
    from harness.differences import red

    found = red(judgement, denied)
    if expected is not None and expected.divergence:
        if expected.divergence in classes.names(found):
            return exits.OK, f"diverges as expected: {expected.divergence}"
        # Interpreted code raises where the same code, compiled, ends its process.
        raised = classes.OF_THE_RUN.intersection(classes.names(found))
        if raised and expected.divergence in classes.OF_THE_RUN:
            words = f"diverges as expected: {expected.divergence}, here by {', '.join(raised)}"
            return exits.OK, words
        if found:
            return exits.DIVERGENCE, f"diverges, but not by {expected.divergence}"
        return exits.STALE, f"expected {expected.divergence}, but it agrees"
    if found:
        return exits.DIVERGENCE, "diverges: " + ", ".join(classes.names(found))
    explained = classes.names(judgement.union & int(classes.EXPLAINED_BITS))
    if expected is not None and shows and shows not in explained:
        return exits.STALE, f"is a witness of {shows}, but no longer shows it"
    return exits.OK, "agrees" + (f" ({', '.join(explained)})" if explained else "")
