"""The files of a corpus: read, each case once, and copied without ever writing over one."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.case import Case, CaseError
from harness.casefile import Expect, case_id, read_case
from harness.kernels import check_kernel

from .sources import case_files


class CorpusFile(NamedTuple):
    """A case file."""

    path: Path
    case: Case
    expect: tuple[Expect, ...]


def read_corpus(words: Sequence[str | Path], arch: str | None = None) -> list[CorpusFile]:
    """The case files that `words` name, directories walked; each file once, by name, then by path.

    Only those of `arch`, if one is given. CaseError for what is neither, and for a file that does
    not parse.
    """
    paths: dict[Path, Path] = {}
    for word in words:
        given = Path(word)
        if not given.exists():
            raise CaseError(f"{word}: no such file; expected a directory or a case file")
        for path in case_files(given) if given.is_dir() else [given]:
            paths.setdefault(path.resolve(), path)
    files = []
    for path in sorted(paths.values(), key=lambda path: (path.name, str(path))):
        parsed = read_case(path)
        if arch in (None, parsed.case.arch):
            files.append(CorpusFile(path, parsed.case, parsed.expect))
    return files


def without_copies(files: Sequence[CorpusFile]) -> list[CorpusFile]:
    """`files` in their order, without those whose case and expectations another one has, too."""
    by_case: dict[Case, list[CorpusFile]] = {}
    for file in files:
        by_case.setdefault(file.case, []).append(file)
    kept = set()  # of paths
    for same in by_case.values():
        expected: list[frozenset[Expect]] = []
        for file in sorted(same, key=lambda file: -len(file.expect)):
            if not any(frozenset(file.expect) <= other for other in expected):
                expected.append(frozenset(file.expect))
                kept.add(file.path)
    return [file for file in files if file.path in kept]


def check_kernels(files: Iterable[CorpusFile], target: str) -> None:
    """Raise CaseError for a file of a kernel that `target` does not model."""
    for file in files:
        try:
            check_kernel(target, file.case.kernel)
        except CaseError as wrong:
            raise CaseError(f"{file.path}: {wrong}") from None


def names_for(files: Iterable[CorpusFile], taken: Iterable[str] = ()) -> Iterator[str]:
    """A name for a copy of each file: its own; where that is `taken`, with the case's id, then a number."""
    used = set(taken)
    for file in files:
        name, stem = file.path.name, f"{file.path.stem}-{case_id(file.case)}"
        number = 1
        while name in used:
            name = f"{stem}.case" if number == 1 else f"{stem}-{number}.case"
            number += 1
        used.add(name)
        yield name


def copy_whole(file: CorpusFile, to: Path) -> None:
    """Copy `file` beside `to` and rename it; CaseError if it is another case by now."""
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f".{to.name}.{os.getpid()}")
    content = file.path.read_bytes()
    try:
        partial.write_bytes(content)
        unchanged(file, partial)
        partial.replace(to)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(to)) from None
    finally:
        partial.unlink(missing_ok=True)


def unchanged(file: CorpusFile, place: Path) -> None:
    """Raise CaseError unless what stands at `place` is still what was read of `file`."""
    parsed = read_case(place)
    if (parsed.case, parsed.expect) != (file.case, file.expect):
        raise CaseError(f"{file.path} was changed while it was looked at; try again")


def free_directory(path: Path) -> None:
    """Raise CaseError unless a directory can be made at `path` without touching what is there."""
    if path.exists() and not path.is_dir():
        raise CaseError(f"{path} is a file; expected a directory that is new or empty")
    if path.is_dir() and any(path.iterdir()):
        raise CaseError(
            f"{path} is not empty; expected a new directory (midfolio merge adds to one)"
        )


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `path` when all went well and else never was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.mkdir()
        yield partial
        partial.rename(path)
    except OSError as error:
        if not str(error.filename).startswith(str(partial)):
            raise
        # Whoever reads it knows nothing of the directory beside.
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
