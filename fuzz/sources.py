"""Where a verb gets cases from: files, directories, numbers of random cases, `case:` lines.

A file is a case file, or an input of atheris.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harness.case import Case
    from harness.casefile import Expect

# What an input of atheris begins with; here, because looking for it must not import numpy.
RAW_MAGIC = b"mfz1"
_NUMBER = re.compile(r"([a-z0-9_]+):([0-9.]+):([0-9]+):([0-9]+):([0-9]+)")


class Source(NamedTuple):
    """A case and where it came from."""

    name: str
    case: "Case"
    expect: "tuple[Expect, ...]"
    comments: tuple[str, ...]


def use_interpreted() -> None:
    """Run everything interpreted: a few cases start at once and never compile.

    Must come before anything imports `mm`.
    """
    assert "mm.jit" not in sys.modules, "the mode is fixed when mm.jit is imported"
    os.environ["MIDFOLIO_MODE"] = "interpreted"


def sources(words: tuple[str, ...]) -> Iterator[Source]:
    """The cases that `words` name, in order; directories are walked, sorted.

    Raises CaseError for what is none of a file, a directory, a number and a line.
    """
    from harness.case import CaseError

    for word in words:
        path = Path(word)
        if word.startswith("case:"):
            yield _from_line(word)
        elif path.is_dir():
            for inside in case_files(path):
                yield from_file(inside)
        elif path.exists():
            yield from_file(path)
        elif _NUMBER.fullmatch(word):
            yield _from_number(word)
        else:
            raise CaseError(
                f"{word}: no such file; expected a case file, a directory, a number "
                f"arch:kernel:version:seed:index or a case: line"
            )


def case_files(directory: Path) -> list[Path]:
    """The case files below `directory`, sorted; CaseError for a directory that cannot be read."""
    from harness.case import CaseError

    found: list[Path] = []

    def fail(error: OSError) -> None:
        raise CaseError(f"{error.filename}: {error.strerror}; expected a readable directory")

    for base, folders, files in os.walk(directory, onerror=fail):
        folders.sort()
        found += [Path(base) / name for name in sorted(files) if name.endswith(".case")]
    return found


def from_file(path: Path) -> Source:
    """The case in the file at `path`; CaseError if it has none."""
    from harness.casefile import read_case

    if is_raw(path):
        from .engines.raw_input import read

        return Source(str(path), read(path), (), ())
    parsed = read_case(path)
    return Source(str(path), parsed.case, parsed.expect, parsed.comments)


def is_raw(path: Path) -> bool:
    """Whether file `path` is an input of atheris (fuzz.engines.raw_input)."""
    try:
        with path.open("rb") as file:
            return file.read(len(RAW_MAGIC)) == RAW_MAGIC
    except OSError:
        return False


def _from_line(text: str) -> Source:
    from harness.casefile import case_id, parse_case_line

    parsed = parse_case_line(text)
    return Source(f"case {case_id(parsed.case)}", parsed.case, parsed.expect, parsed.comments)


def _from_number(word: str) -> Source:
    return Source(word, case_of_number(word), (), ())


def check_stream(name: str, arch: str, kernel: str, version: int, instead: str) -> None:
    """CaseError, with `name`, unless this checkout makes the same case of the same choices.

    `instead`: what of the case replays in any checkout.
    """
    from harness.case import ARCHES, CaseError
    from mm.version import VERSIONS

    from .choices import GENERATOR_VERSION

    if arch not in ARCHES:
        raise CaseError(f"{name}: unknown arch {arch!r}; known: {', '.join(ARCHES)}")
    if kernel not in VERSIONS:
        raise CaseError(f"{name}: unknown kernel {kernel!r}; known: {', '.join(VERSIONS)}")
    if version != GENERATOR_VERSION:
        raise CaseError(
            f"{name}: generator version {version} is not this checkout's {GENERATOR_VERSION}; "
            f"replay its {instead} instead"
        )


def case_of_number(word: str) -> "Case":
    """The random case that a number names; CaseError for one of another generator version."""
    import numpy as np

    from harness.arrays import case_of
    from harness.case import CaseError

    from .choices import empty_choices
    from .generator import empty_case
    from .generators import generator_of

    match = _NUMBER.fullmatch(word)
    assert match, word
    arch, kernel = match[1], match[2]
    version, seed, index = int(match[3]), int(match[4]), int(match[5])
    check_stream(word, arch, kernel, version, "case file or case: line")
    if seed >= 1 << 64 or index >= 1 << 63:
        raise CaseError(f"{word}: seed must fit in 64 bits and index in 63")
    state = empty_case(arch, kernel)
    with np.errstate(over="ignore"):
        generator_of(arch)(empty_choices(), state, np.uint64(seed), np.uint64(index))
    return case_of(state, arch, kernel)
