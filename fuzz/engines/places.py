"""Where an engine keeps what the next run of the same plan goes on from."""

from pathlib import Path

from harness.findings import directory

from ..runner import Plan
from ..store.journal import Journal


def place_of(engine: str, plan: Plan, journal: Journal | None) -> Path:
    """The place of `engine` for the target, kernel and architecture of `plan`.

    In the work directory; without a journal beside the findings.
    """
    home = journal.work.path if journal else directory().parent
    target = "".join(letter if letter.isalnum() else "-" for letter in plan.target)
    return home / engine / f"{plan.arch}-{plan.kernel}-{target}"
