"""`midfolio live --matrix`: the row of the running kernel, and the table that it is added to."""

from pathlib import Path
from typing import Any

from harness.live import matrix, properties
from harness.live.probes import SWITCH, Places, need_large_folios, need_root, probe
from harness.live.settings import Settings

from .. import exits
from ..report import print_json

KINDS = ("anon", "file")


def run_matrix(
    settings: Settings, out: Path, directory: Path, *, allowed: bool, as_json: bool, quiet: bool
) -> int:
    """Measure, add the row to the table in `out`, print it; the exit code.

    `directory`: for files that are mapped; `allowed`: settings may be changed.
    """
    from harness.lane import LaneMissing

    places = Places()
    need_root(places)
    live = probe(places, KINDS)
    lacks = {}
    try:
        need_large_folios(places, settings, ("anon",), allowed=allowed)
    except LaneMissing as error:
        if SWITCH in str(error):
            raise
        # A kernel without them has only this part that cannot be shown.
        lacks["anon"] = str(error)
    row = properties.row(live, directory, lacks)
    code = code_of([row])
    rows = written(out, [row])
    if as_json:
        print_json({"row": row, "out": str(out), "exit": code})
        return code
    if not quiet:
        for line in matrix.markdown(rows):
            print(line)
        print()
    print(last_line("live", [row], out, code))
    return code


def written(out: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows of the table in `out`, once `rows` are added; NotWritten if they cannot be."""
    try:
        return matrix.add(out, rows)
    except OSError as error:
        raise exits.NotWritten(f"{out}: {error.strerror}") from None


def code_of(rows: list[dict[str, Any]]) -> int:
    """TOO_LITTLE if a probe contradicted itself, or a kernel showed nothing at all."""
    for row in rows:
        values = [answer["value"] for answer in row["properties"].values()]
        if properties.UNCLEAR in values or set(values) <= {properties.NOT_SHOWN}:
            return exits.TOO_LITTLE
    return exits.OK


def last_line(verb: str, rows: list[dict[str, Any]], out: Path, code: int) -> str:
    """What was measured, and where it is."""
    values = [answer["value"] for row in rows for answer in row["properties"].values()]
    missing = values.count(properties.NOT_SHOWN)
    unclear = values.count(properties.UNCLEAR)
    return (
        f"{verb}: {len(rows)} kernels, {len(values) - missing - unclear} properties measured, "
        f"{missing} not shown, {unclear} unclear; {out / matrix.MARKDOWN} and {matrix.JSON}; "
        f"exit {code}"
    )
