"""The recipe "An architecture" of CONTRIBUTING names every place, and each architecture is in all of them.

A file that names an architecture, as a module that it imports or in a string, must
stand in the recipe. A row of the recipe is a promise: its file exists for each
architecture, or the table that it names has an entry for each.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.case import ARCHES
from mm.jit import ROOT

FLOORS = ("mm", "reference", "batched", "harness", "fuzz", "bench")
NAMES = re.compile(rf"\b({'|'.join(ARCHES)})\b")
CHAPTER = (ROOT / "CONTRIBUTING.md").read_text().split("## An architecture")[1]
# Every architecture is in the places of the first table, some are in those of the second.
EVERYWHERE, SOMEWHERE = CHAPTER.split("What only one architecture has")


def rows(text: str) -> list[tuple[str, str]]:
    """Place and instruction of each row."""
    found = re.findall(r"^\| (`.+?) \| (.+?) \|$", text, re.MULTILINE)
    return [(place, what) for places, what in found for place in re.findall(r"`(.+?)`", places)]


def strings(tree: ast.Module) -> Iterator[str]:
    """Every string of a module that is no docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str):
            yield node.value


def imports(tree: ast.Module) -> Iterator[str]:
    """Every part of the names of modules, and of what is taken from them, that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                yield from alias.name.split(".")


def names_architecture(source: str) -> bool:
    """Whether a module imports one of an architecture, or names one in a string."""
    tree = ast.parse(source)
    return bool(set(imports(tree)) & set(ARCHES)) or any(map(NAMES.search, strings(tree)))


def is_named(path: str, places: list[str]) -> bool:
    """Whether `path` is one of `places`: itself, its folder, or as ARCH.py."""
    general = re.sub(rf"/({'|'.join(ARCHES)})\.py$", "/ARCH.py", path)
    return any(
        place in (path, general) or (place.endswith("/") and path.startswith(place))
        for place in places
    )


def unnamed(places: list[str]) -> list[str]:
    """The files of all floors that name an architecture, or are named after one, but not in `places`."""
    found = []
    for floor in FLOORS:
        for file in sorted((ROOT / floor).rglob("*.py")):
            path = str(file.relative_to(ROOT))
            about = file.stem in ARCHES or names_architecture(file.read_text())
            if about and not is_named(path, places):
                found.append(path)
    return found


def test_every_file_that_names_an_architecture_is_in_the_recipe() -> None:
    places = [place for place, _ in rows(CHAPTER)]
    assert unnamed(places) == []
    # And no place is left out by a rule that is too wide.
    assert unnamed([place for place in places if place != "harness/cells.py"]) == [
        "harness/cells.py"
    ]


def test_what_names_an_architecture() -> None:
    assert names_architecture("from mm import arm64\n")
    assert names_architecture("import mm.powerpc as ppc\n")
    assert names_architecture("from .x86_64 import ARCH\n")
    assert names_architecture("if arch == 'arm64':\n    pass\n")
    assert not names_architecture('"""Unlike arm64."""\n# powerpc\narm = 64\n')


def has_entry(table: Any, arch: str) -> bool:
    """Whether `table` has something for `arch`: a key, an item, or a record that applies to it."""
    return arch in table or any(arch in getattr(item, "arches", ()) for item in table)


def missing(place: str, what: str, arch: str) -> list[str]:
    """What `arch` lacks of one row."""
    path = place.replace("ARCH", arch)
    if not (ROOT / path).exists():
        return [path]
    tables = re.findall(r"`(_?[A-Z][A-Z_]+|[a-z]+_[a-z_]+|judge|count|spoil)`", what)
    if place.endswith("/"):
        return [] if any((ROOT / path).iterdir()) else [path]
    if place.endswith(".md"):
        return [] if re.search(rf"\b{arch}\b", (ROOT / path).read_text()) else [path]
    if "ARCH" in place:
        source = (ROOT / path).read_text()
        return [
            f"{path}: {name}"
            for name in tables
            if not re.search(rf"^(def )?{name}\b", source, re.MULTILINE)
        ]
    module = importlib.import_module(place.removesuffix(".py").replace("/", "."))
    found = []
    for name in tables:
        if not name.strip("_").isupper():
            continue
        if not has_entry(getattr(module, name), arch):
            found.append(f"{place}: {name}")
    return found


@pytest.mark.parametrize("arch", ARCHES)
def test_each_architecture_is_in_every_place(arch: str) -> None:
    lacks = [lack for place, what in rows(EVERYWHERE) for lack in missing(place, what, arch)]
    assert lacks == []


def test_an_architecture_that_is_not_there_is_missed_everywhere() -> None:
    """A row that is content with anything proves nothing."""
    for place, what in rows(EVERYWHERE):
        assert missing(place, what, "sparc"), place


def test_what_only_some_have_exists() -> None:
    places = [place for place, _ in rows(SOMEWHERE)]
    assert len(places) >= 10
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_the_named_tables_are_those_that_a_row_is_about() -> None:
    """Each row of code names at least one table or entry, so that it can be checked."""
    vague = [
        place
        for place, what in rows(EVERYWHERE)
        if place.endswith(".py") and not re.search(r"`[\w_]+`", what)
    ]
    assert vague == []


def test_rows_are_found() -> None:
    assert len(rows(EVERYWHERE)) >= 25
    assert all(
        Path(place.replace("ARCH", "x86_64")).suffix in ("", ".py", ".md")
        for place, _ in rows(CHAPTER)
    )
