"""The matrix: a row of measured properties for each kernel, kept as JSON and shown as Markdown.

Rows of several kernels come together in one file, by whoever measured them: a row replaces
an older one of the same kernel and architecture.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..case import CaseError
from ..whole import write_whole
from .properties import NOT_SHOWN, PROPERTIES, UNCLEAR

FORMAT = "midfolio-matrix 1"
JSON, MARKDOWN = "matrix.json", "matrix.md"
# In the table; what it stands for is below it.
DASH = "-"

Row = dict[str, Any]


def key(row: Row) -> tuple[str, tuple[int, ...], str]:
    """Where a row stands: by architecture, then by the version of its kernel."""
    numbers = re.match(r"[\d.]+", row["kernel"])
    parts = numbers[0].strip(".").split(".") if numbers else []
    return row["arch"], tuple(int(part) for part in parts if part), row["kernel"]


def check_row(row: Any) -> Row:
    """`row`, if it is one; CaseError with what is wrong with it."""
    if not isinstance(row, dict) or not isinstance(row.get("properties"), dict):
        raise CaseError(f"no row of a matrix; expected kernel, arch, version, properties: {row!r}")
    for name in ("kernel", "arch", "version"):
        if not isinstance(row.get(name), str):
            raise CaseError(f"a row without {name}; expected a string, found {row.get(name)!r}")
    for name, answer in row["properties"].items():
        parts = (
            [answer.get(part) for part in ("value", "detail")] if isinstance(answer, dict) else []
        )
        if not parts or not all(isinstance(part, str) for part in parts):
            raise CaseError(f"property {name!r} is {answer!r}; expected a value and a detail")
    return row


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is none. CaseError for what is no matrix."""
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise CaseError(f"{path}: format is {found['format']!r}; expected {FORMAT!r}")
        return [check_row(row) for row in found["rows"]]
    except CaseError as error:
        text = str(error)
        raise CaseError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{path}: no matrix ({error!r}); expected {FORMAT!r} as JSON") from None


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """All rows, ascending, each kernel once: `new` replaces `old`."""
    return sorted({key(row): row for row in (*old, *new)}.values(), key=key)


def add(directory: Path, rows: list[Row]) -> list[Row]:
    """Put `rows` into the files of `directory`, and return all that are there.

    CaseError if there is something else by that name; OSError leaves what was there.
    """
    found = merged(read(directory / JSON), rows)
    text = json.dumps({"format": FORMAT, "rows": found}, indent=1, sort_keys=True)
    write_whole(directory / JSON, f"{text}\n")
    write_whole(directory / MARKDOWN, "\n".join(["# What kernels do", "", *markdown(found), ""]))
    return found


def _names(rows: Iterable[Row]) -> list[str]:
    """The properties of `rows`, in the order of PROPERTIES, others behind them."""
    known = [one.name for one in PROPERTIES]
    there = {name for row in rows for name in row["properties"]}
    return [name for name in known if name in there] + sorted(there - set(known))


def _cell(row: Row, name: str) -> str:
    answer = row["properties"].get(name, {"value": NOT_SHOWN})
    return DASH if answer["value"] == NOT_SHOWN else str(answer["value"])


def markdown(rows: list[Row]) -> list[str]:
    """The lines of the table, and below it why each dash is one and what was counted."""
    names = _names(rows)
    lines = [
        f"| {' | '.join(('kernel', 'arch', *names))} |",
        f"|{'---|' * (2 + len(names))}",
    ]
    for row in rows:
        cells = (row["kernel"], row["arch"], *(_cell(row, name) for name in names))
        lines.append(f"| {' | '.join(cells)} |")
    for title, values in (("Not shown", (NOT_SHOWN,)), ("Unclear", (UNCLEAR,)), ("Counted", ())):
        told = list(_told(rows, names, values))
        if told:
            lines += ["", f"{title}:", "", *told]
    return lines


def _told(rows: list[Row], names: list[str], values: tuple[str, ...]) -> Iterable[str]:
    """A line for each answer of `values`; without any, for all that are an answer."""
    for row in rows:
        for name in names:
            answer = row["properties"].get(name)
            if answer is None:
                continue
            wanted = answer["value"] in values
            if not values:
                wanted = answer["value"] not in (NOT_SHOWN, UNCLEAR)
            if wanted:
                yield f"* {row['kernel']} {row['arch']}, {name}: {answer['detail']}"
