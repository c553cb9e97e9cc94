"""pytest collects `*.case` files: `pytest corpus/` runs each as a test, against what it is recorded to do.

Loaded by pytest in every session of this environment, so it imports nothing of ours
until it meets a case file. The cases run interpreted, as all of pytest does here.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..sources import Source


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the target."""
    parser.getgroup("midfolio").addoption(
        "--midfolio-target",
        metavar="TARGET",
        help="What the *.case files are run on, as `midfolio replay --target` has it; "
        "without it, the targets that their expect lines name.",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "CaseFile | None":
    """A collector for a case file, None for any other."""
    if file_path.suffix != ".case":
        return None
    file: CaseFile = CaseFile.from_parent(parent, path=file_path)
    return file


class CaseFailed(Exception):
    """A case did not do what it is recorded to do; the text is what pytest shows."""


class CaseFile(pytest.File):
    """A case file: one test, named for the file."""

    def collect(self) -> Iterator[pytest.Item]:
        """The one test."""
        yield CaseItem.from_parent(self, name=self.path.stem)


class CaseItem(pytest.Item):
    """One case, on each target that it has an expectation for."""

    def runtest(self) -> None:
        """Run it; CaseFailed if it does not do what is recorded, skipped on what models no such case."""
        if "mm.jit" not in sys.modules:
            os.environ.setdefault("MIDFOLIO_MODE", "interpreted")
        from harness.case import CaseError

        from ..sources import from_file
        from .recorded import models

        target = self.config.getoption("--midfolio-target")
        try:
            source = from_file(self.path)
            if target is not None and not models(target, source.case):
                case = source.case
                pytest.skip(f"{target} does not model {case.arch}, kernel {case.kernel}")
            problems = list(_problems(source, target))
        except CaseError as error:
            raise CaseFailed(str(error)) from None
        if problems:
            raise CaseFailed("\n".join(problems))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, without a traceback; that of an error of ours is kept."""
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case is."""
        return self.path, 0, f"case {self.name}"


def _problems(source: "Source", target: str | None) -> Iterator[str]:
    """What is wrong on each target, with drawing and replay lines; nothing if all is as recorded."""
    from harness.findings import replay_lines
    from harness.relation import EXACT, NONE
    from harness.render import finding, plain
    from harness.run import judge_case
    from harness.targets import load

    from .. import exits
    from ..verdict import planned, verdict, witnessed

    shows = witnessed(source)
    for name, expected in planned(source, target):
        legal = NONE if name == "reference" else EXACT
        judgement = judge_case(source.case, load(name, source.case.arch), legal)
        code, words = verdict(judgement, expected, shows=shows)
        if code == exits.OK:
            continue
        yield f"{source.name} on {name}: {words}\n"
        yield plain(finding(judgement)) + "\n"
        for line in replay_lines(source.case, name, Path(source.name)):
            yield f"    replay:  {line}"
