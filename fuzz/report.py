"""Results as JSON: the same records for every verb."""

import sys
from typing import Any

import msgspec

from harness import classes
from harness.casefile import case_line
from harness.differences import CASE, differences
from harness.run import Judgement


def judgement_record(judgement: Judgement, name: str) -> dict[str, Any]:
    """A judgement as plain data: words as 0x strings, because JSON numbers lose bits."""
    return {
        "case": name,
        "line": case_line(judgement.case),
        "target": judgement.target,
        "kernel": judgement.case.kernel,
        "sane": judgement.sane,
        "classes": classes.names(judgement.union),
        "red": classes.names(judgement.union & int(classes.RED_BITS)),
        "differences": [
            {
                "pte": None if d.pte == CASE else d.pte,
                "class": d.name,
                "kind": d.kind,
                "before": f"{d.before:#x}",
                "reference": f"{d.reference:#x}",
                "merged": f"{d.merged:#x}",
                "target": f"{d.target:#x}",
            }
            for d in differences(judgement)
        ],
        "reference": _outcome(judgement.ours),
        "outcome": _outcome(judgement.theirs),
    }


def _outcome(outcome: Any) -> dict[str, Any]:
    return {
        "pages": outcome.pages,
        "ptes": [f"{word:#x}" for word in outcome.ptes],
        "flush": [[f"{address:#x}", pages] for address, pages in outcome.flushes],
        "bad_map": outcome.bad_map,
        "warns": ["no_vm_write"] * outcome.no_vm_write,
        "access_time": [f"{pfn:#x}" for pfn in outcome.access_time],
    }


def print_json(value: Any) -> None:
    """Print `value` as one JSON value, indented, on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
