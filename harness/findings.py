"""Findings: a divergence as a file that replays it, and the lines that say how.

Findings go to `.midfolio/findings/`; `corpus/` changes by human hand only.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mm.jit import ROOT

from .case import Case
from .casefile import Expect, case_id, case_line, format_case
from .differences import primary, red
from .render import finding, plain
from .run import Judgement
from .whole import write_whole

VARIABLE = "MIDFOLIO_FINDINGS"


@dataclass(frozen=True)
class Number:
    """A random case as a number; `str` is `arch:kernel:generator-version:seed:index`."""

    arch: str
    kernel: str
    version: int
    seed: int
    index: int

    def __str__(self) -> str:
        return f"{self.arch}:{self.kernel}:{self.version}:{self.seed}:{self.index}"


def default_work() -> Path:
    """The work directory where no other is given: MIDFOLIO_WORK, else `.midfolio/` of the checkout."""
    return Path(os.environ.get("MIDFOLIO_WORK", ROOT / ".midfolio"))


def directory() -> Path:
    """Where findings are written: MIDFOLIO_FINDINGS, else in the default work directory."""
    return Path(os.environ.get(VARIABLE, default_work() / "findings"))


def save(
    judgement: Judgement, number: Number | None, denied: int = 0, folder: Path | None = None
) -> Path:
    """Write the finding's case file to `folder`, else `directory()`, and return its path.

    It is there in whole or not at all; OSError where it cannot be written.
    """
    name = primary(red(judgement, denied))
    path = (folder or directory()) / f"{name}-{case_id(judgement.case)}.case"
    remarks = [] if number is None else [f"Random case {number}."]
    write_whole(path, text_of(judgement, name, remarks, denied))
    return path


def text_of(judgement: Judgement, name: str, remarks: Sequence[str], denied: int = 0) -> str:
    """The case file of a finding of class `name`: `remarks`, its drawing, and what is expected of it."""
    drawing = plain(finding(judgement, denied)).splitlines()
    # Comments lose their indent, so the row of marks would point nowhere.
    comments = [*remarks, *(line for line in drawing if line.strip("^ "))]
    return format_case(
        judgement.case,
        comments=tuple(comments),
        expect=(Expect(target=judgement.target, divergence=name),),
    )


def replay_lines(
    case: Case, target: str, path: Path | None = None, number: Number | None = None
) -> list[str]:
    """The commands that replay `case` on `target`: by file, by number, and self-contained."""
    places = []
    if path is not None:
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        places.append(str(shown))
    if number is not None:
        places.append(str(number))
    places.append(case_line(case))
    return [f"midfolio replay {place} --target {target}" for place in places]
