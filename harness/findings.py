"""Findings: a divergence as a file that replays it, and the lines that say how.

Findings go to `.midfolio/findings/`; `corpus/` changes by human hand only.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mm.jit import ROOT

from .case import Case
from .casefile import Expect, case_id, case_line, format_case
from .differences import primary, red
from .render import finding, plain
from .run import Judgement


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


def directory() -> Path:
    """Where findings are written: MIDFOLIO_FINDINGS, else in the checkout."""
    return Path(os.environ.get("MIDFOLIO_FINDINGS", ROOT / ".midfolio" / "findings"))


def save(judgement: Judgement, number: Number | None, denied: int = 0) -> Path:
    """Write the finding's case file and return its path.

    The file is written beside and renamed, so that none is ever half there.
    """
    name = primary(red(judgement, denied))
    path = directory() / f"{name}-{case_id(judgement.case)}.case"
    drawing = plain(finding(judgement, denied)).splitlines()
    # Comments lose their indent, so the row of marks would point nowhere.
    comments = [line for line in drawing if line.strip("^ ")]
    if number is not None:
        comments = [f"Random case {number}.", *comments]
    text = format_case(
        judgement.case,
        comments=tuple(comments),
        expect=(Expect(target=judgement.target, divergence=name),),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)
    return path


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
