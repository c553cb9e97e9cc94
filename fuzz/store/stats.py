"""`fuzzer_stats`: how a campaign does, in the lines that AFL++'s dashboards read."""

import os
import time
from typing import TYPE_CHECKING

from harness.whole import write_whole

from .lock import command_line
from .standing import Standing

if TYPE_CHECKING:
    from pathlib import Path

    from ..runner import Plan

HANG = "target-hang"


def stats(
    plan: "Plan", standing: Standing, cases: int, seconds: float, corpus: int
) -> dict[str, str]:
    """The values by name. `cases` and `seconds` are of this run, all else of the whole campaign."""
    now = time.time()
    hangs = standing.kept_of(HANG)
    values: dict[str, object] = {
        "start_time": int(now - seconds),
        "last_update": int(now),
        "run_time": int(seconds),
        "total_run_time": int(standing.seconds),
        "fuzzer_pid": os.getpid(),
        # A stream of case numbers has no end to begin again at.
        "cycles_done": 0,
        "execs_done": standing.cases,
        "execs_per_sec": f"{cases / max(seconds, 1e-9):.2f}",
        "corpus_count": corpus,
        "saved_crashes": len(standing.kept) - hangs,
        "saved_hangs": hangs,
        "arch": plan.arch,
        "kernel": plan.kernel,
        "target": plan.target,
        "engine": plan.engine,
        "seed": plan.seed,
        "diverging": int(standing.seen.sum()),
    }
    values |= {f"diverging_{name}": count for name, count in standing.diverging().items()}
    values["command_line"] = command_line()
    return {name: str(value) for name, value in values.items()}


def write_stats(path: "Path", values: dict[str, str]) -> None:
    """Write the lines to `path`, in one piece."""
    write_whole(path, "".join(f"{name:<17} : {value}\n" for name, value in values.items()))
