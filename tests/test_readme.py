"""The screens in README and docs are what the commands print: run again, compared literally.

A screen is a fenced block below a comment `<!-- midfolio ARGS... -->`. After a
change that is meant, `python -m tests.test_readme` writes them anew.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/design.md",
    "docs/fidelity.md",
    "docs/findings.md",
    "docs/relation.md",
)
SCREEN = re.compile(r"<!-- midfolio (?P<arguments>.+?) -->\n```\n(?P<text>.*?)```\n", re.DOTALL)


def screens() -> list[tuple[str, str, str]]:
    """Page, arguments and text of each screen."""
    return [
        (page, match["arguments"], match["text"])
        for page in PAGES
        for match in SCREEN.finditer((ROOT / page).read_text())
    ]


def printed(arguments: str) -> str:
    """What the command prints on stdout, without blanks at line ends."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.cli", *shlex.split(arguments)],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(arguments, text) for _, arguments, text in screens()],
    ids=[f"{page} {arguments[:24]}" for page, arguments, _ in screens()],
)
def test_screen_is_what_the_command_prints(arguments: str, text: str) -> None:
    assert printed(arguments) == text


def test_no_screen_is_overlooked() -> None:
    """Each comment that names a command has a block below it, and README has its screens."""
    for page in PAGES:
        comments = (ROOT / page).read_text().count("<!-- midfolio ")
        assert comments == sum(p == page for p, _, _ in screens()), page
    verbs = {arguments.split()[0] for page, arguments, _ in screens() if page == "README.md"}
    assert verbs == {"replay", "show", "zoo"}


def test_the_first_screen_shows_the_bug_both_ways() -> None:
    """One entry that must not be writable, one that must be, and the replay says so."""
    text = screens()[0][2]
    assert "UNEXPLAINED  cow-write" in text
    assert "UNEXPLAINED  write-lost" in text
    assert text.endswith("replay: 1 runs, 0 as expected; exit 1\n")


def _rewrite() -> None:
    """Write each screen anew."""
    for page in PAGES:
        path = ROOT / page
        old = path.read_text()
        new = SCREEN.sub(
            lambda m: f"<!-- midfolio {m['arguments']} -->\n```\n{printed(m['arguments'])}```\n",
            old,
        )
        if new != old:
            path.write_text(new)
            print(f"rewrote {page}")


if __name__ == "__main__":
    _rewrite()
