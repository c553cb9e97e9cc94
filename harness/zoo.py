"""The zoo: known bugs, planted in copies of `batched/` by exact text substitution.

No `if BUG:` in the product: a mutant is a record of text to replace, applied to
a copy of the whole package under a name that carries the hash of its text. A
refactor that moves the text breaks the zoo loudly. The mutants themselves are
in `harness.mutants`.
"""

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from mm.jit import ROOT

from .case import ARCHES, CaseError

SIDE = ROOT / "batched"


class Mutant(NamedTuple):
    """A planted bug."""

    name: str
    file: str  # inside batched/
    find: str  # must occur exactly once
    replace: str
    why: str  # what goes wrong, in one line
    origin: str  # the commit or catalogue row that it comes from
    # The class of divergence that it must show, or "" for one that no judge may see.
    shows: str
    # Only a batch that starts in the middle of a folio shows it.
    mid_folio_only: bool = False
    # Where it changes something; code of one architecture, or of what only some have.
    arches: tuple[str, ...] = ARCHES
    # Of one that no judge may see: why none can. docs/zoo.md has the runs beside it.
    proof: str = ""

    @property
    def equivalent(self) -> bool:
        """Whether it changes nothing that a judge may see: it must not be killed."""
        return not self.shows


class StaleMutant(Exception):
    """The text that a mutant replaces is not in `batched/` exactly once."""


def all_mutants() -> tuple[Mutant, ...]:
    """Every mutant, the historical one first."""
    from .mutants import MUTANTS

    return MUTANTS


def find(name: str) -> Mutant:
    """The mutant called `name`; CaseError that names the nearest ones."""
    by_name = {mutant.name: mutant for mutant in all_mutants()}
    if name not in by_name:
        import difflib

        near = difflib.get_close_matches(name, by_name, n=3) or list(by_name)[:3]
        raise CaseError(
            f"unknown mutant {name!r}; did you mean {', '.join(near)}? (midfolio zoo --list)"
        )
    return by_name[name]


def mutated(mutant: Mutant) -> dict[str, str]:
    """The texts of the mutated package by file name; StaleMutant where the text moved."""
    texts = {path.name: path.read_text() for path in sorted(SIDE.glob("*.py"))}
    count = texts.get(mutant.file, "").count(mutant.find)
    if count != 1:
        raise StaleMutant(
            f"mutant {mutant.name}: its text occurs {count} times in batched/{mutant.file}, "
            f"expected once: {mutant.find.strip().splitlines()[0]!r}"
        )
    texts[mutant.file] = texts[mutant.file].replace(mutant.find, mutant.replace)
    return texts


def package_of(mutant: Mutant) -> Path:
    """The directory of the mutated package, written if it is not there yet."""
    return _written(mutated(mutant))


def _written(texts: dict[str, str]) -> Path:
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:12]
    base = Path(os.environ.get("MIDFOLIO_ZOO", ROOT / ".midfolio" / "zoo"))
    package = base / f"zoo_{digest}"
    if not (package / "__init__.py").exists():
        # Written beside and renamed, so that two processes never see half a package
        # (and an unchanged one keeps its time stamps: the compile cache goes by them).
        partial = base / f"partial-{digest}-{os.getpid()}"
        partial.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (partial / name).write_text(text)
        try:
            partial.rename(package)
        except OSError:
            for path in partial.iterdir():
                path.unlink()
            partial.rmdir()
    return package


def load(mutant: Mutant, arch: str) -> Any:
    """The mutant's change_pte_range for `arch`."""
    return _module(package_of(mutant), arch).change_pte_range


def load_traced(mutant: Mutant, arch: str) -> tuple[Any, list[bool]]:
    """The same, and a list of one that becomes True when the statement that was mutated runs.

    For interpreted mode. Of a constant that was mutated it is True from the start.
    """
    texts = mutated(mutant)
    original = (SIDE / mutant.file).read_text()
    pairs = zip(mutant.find, mutant.replace, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    line = original[: original.index(mutant.find) + same].count("\n") + 1
    texts[mutant.file] = _traced(texts[mutant.file], line)
    package = _written(texts)
    function = _module(package, arch).change_pte_range
    reached: list[bool] | None
    reached = getattr(_module(package, mutant.file.removesuffix(".py")), "REACHED", None)
    if reached is None:
        return function, [True]
    reached[0] = False  # another run of it may have left it
    return function, reached


def _traced(text: str, line: int) -> str:
    """`text` with a mark before the statement at `line`, if that is in a function."""
    tree = ast.parse(text)
    inside = [
        (stmt.lineno, body, place)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        for body in (getattr(node, name, None) for name in ("body", "orelse"))
        if isinstance(body, list)
        for place, stmt in enumerate(body)
        if stmt.lineno <= line <= (stmt.end_lineno or stmt.lineno)
    ]
    if not inside:
        return text
    _, body, place = max(inside, key=lambda found: found[0])
    body[place:place] = ast.parse("REACHED[0] = True").body
    return ast.unparse(tree) + "\n\n\nREACHED = [False]\n"


def _module(package: Path, stem: str) -> Any:
    """The module `stem` of a package of ours."""
    name = package.name
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, package / "__init__.py", submodule_search_locations=[str(package)]
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {package}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return importlib.import_module(f"{name}.{stem}")
