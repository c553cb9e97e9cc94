"""`midfolio vm --matrix`: the rows of several kernels, each measured in a guest, in one table."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.case import CaseError
from harness.lane import LaneMissing
from harness.live import matrix
from harness.vm.report import BadReport
from harness.vm.session import Session

from .. import exits
from ..report import print_json
from .matrix import code_of, last_line, written

Boot = Callable[[str], Session]


def row_of(done: Session) -> dict[str, Any]:
    """The row that `midfolio live --matrix --json` printed in a guest; BadReport if there is none."""
    try:
        return matrix.check_row(json.loads(done.report.stdout)["row"])
    except (ValueError, KeyError, TypeError, CaseError):
        said = " ".join(done.report.stderr.split()) or "nothing"
        raise BadReport(f"no row came back; the guest said: {said}") from None


def run_guests(specs: tuple[str, ...], boot: Boot, out: Path, *, as_json: bool, quiet: bool) -> int:
    """`boot` each kernel of `specs`, add its row to the table in `out` as it comes; the exit code.

    A guest that gives none is told and passed over.
    """
    rows: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    codes = []
    for spec in dict.fromkeys(specs):
        try:
            row = row_of(boot(spec))
        except (BadReport, LaneMissing) as error:
            print(f"midfolio: vm: kernel {spec}: {error}", file=sys.stderr)
            missing = isinstance(error, LaneMissing)
            codes.append(exits.LANE_MISSING if missing else exits.TOO_LITTLE)
            continue
        rows.append(row)
        codes.append(code_of([row]))
        table = written(out, [row])
    code = exits.worst(codes)
    if as_json:
        print_json({"rows": rows, "out": str(out), "exit": code})
        return code
    if not quiet and table:
        for line in matrix.markdown(table):
            print(line)
        print()
    print(last_line("vm", rows, out, code))
    return code
