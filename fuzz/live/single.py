"""`midfolio live` with one model."""

from typing import TYPE_CHECKING

from .. import exits
from .run import Run, Shown
from .telling import last_line, record, summary

if TYPE_CHECKING:
    from harness.targets import Target


def run_one(run: Run, model: "Target", *, as_json: bool) -> int:
    """Run, show each finding as it comes, report, and return the exit code."""
    if not run.quiet:
        print(run.machine(f"model {model.name}"))
        print(run.control, flush=True)
    shown = Shown(model, run.live.release, quiet=run.quiet)
    done = run.session(model, shown.show, run.asked.budget)
    code = exits.worst(run.codes(done))
    found = record(run, done, shown.paths)
    if as_json:
        from ..report import print_json

        print_json({**found, "exit": code})
        return code
    if not run.quiet:
        for line in summary(found):
            print(line)
    print(last_line(found, code))
    return code
