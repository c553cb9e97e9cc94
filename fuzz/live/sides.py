"""`midfolio live --against both`: the same layouts for both sides, and which one the kernel is like."""

from typing import TYPE_CHECKING, Any

from mm.version import VERSIONS

from .. import exits
from .run import Run, Shown
from .telling import record

if TYPE_CHECKING:
    from harness.live.session import Finding, Session
    from harness.targets import Target

SIDES = ("reference", "batched")


def own_side(version: str) -> str:
    """The side that models kernel `version`."""
    return "batched" if VERSIONS[version].batched else "reference"


def verdict(mismatches: dict[str, int], own: str) -> tuple[int, str]:
    """Exit code and words for how often each side was contradicted; `own` models the kernel."""
    like = [name for name, count in mismatches.items() if not count]
    if not like:
        return exits.DIVERGENCE, f"the kernel matches neither {' nor '.join(mismatches)}"
    if len(like) > 1:
        return exits.TOO_LITTLE, "nothing that was tried tells the sides apart"
    other = next(name for name in mismatches if name not in like)
    words = f"the kernel matches {like[0]}; {other} is contradicted {mismatches[other]} times"
    if like[0] != own:
        return exits.DIVERGENCE, f"{words}, though its version says {own}"
    return exits.OK, words


def run_both(run: Run, models: list["Target"], *, as_json: bool) -> int:
    """Run each of `models` on the same layouts, report, and return the exit code.

    A time budget is halved. What contradicts a side is shown and saved only if it
    contradicts both: one of them is wrong about any kernel.
    """
    budget = run.asked.budget
    if budget.seconds is not None:
        budget.seconds /= len(models)
    if not run.quiet:
        print(run.machine(f"models {' and '.join(m.name for m in models)}"))
        print(run.control, flush=True)
    done: dict[str, Session] = {}
    found: dict[str, list[Finding]] = {}
    for model in models:
        if run.interrupted:
            break
        found[model.name] = []
        done[model.name] = run.session(model, found[model.name].append, budget)
    return _end(run, models, done, found, as_json)


def _end(
    run: Run,
    models: list["Target"],
    done: dict[str, "Session"],
    found: dict[str, list["Finding"]],
    as_json: bool,
) -> int:
    own = own_side(run.live.version)
    mismatches = {name: one.oracle.tally.mismatches for name, one in done.items()}
    paths: dict[str, list[str]] = {name: [] for name in done}
    if len(done) < len(models):
        code, words = exits.TOO_LITTLE, "interrupted before both sides were tried"
    else:
        code, words = verdict(mismatches, own)
    if done and all(mismatches.values()):
        paths.update(_show(run, models, found))
    codes = [code]
    for one in done.values():
        # That one of them is contradicted is the answer, not a failure.
        codes += [c for c in run.codes(one) if c != exits.DIVERGENCE]
        codes += [exits.DIVERGENCE] if one.oracle.tally.marked else []
    code = exits.worst(codes)
    records = {name: record(run, one, paths[name]) for name, one in done.items()}
    if as_json:
        _print_json(run, mismatches, own, records, words, code)
        return code
    if not run.quiet:
        for name, found_of in records.items():
            print(_line(name, found_of))
    total = sum(one["operations"] for one in records.values())
    print(f"live: {total} operations; {words}; exit {code}")
    return code


def _show(
    run: Run, models: list["Target"], found: dict[str, list["Finding"]]
) -> dict[str, list[str]]:
    paths = {}
    for model in models:
        if found.get(model.name):
            shown = Shown(model, run.live.release, quiet=run.quiet)
            for finding in found[model.name]:
                shown.show(finding)
            paths[model.name] = shown.paths
    return paths


def _line(name: str, one: dict[str, Any]) -> str:
    """What one side came to."""
    line = (
        f"{name}: {one['operations']} operations, {one['ptes']} PTEs, {one['mismatches']} "
        f"mismatches, noise {sum(one['noise'].values())}; {one['why']}"
    )
    if one["mismatches"]:
        classes = ", ".join(f"{n} {count}" for n, count in one["mismatches_by_class"].items())
        line += f"; the first after {one['first_mismatch']:.2f} s; {classes}"
    return line


def _print_json(
    run: Run,
    mismatches: dict[str, int],
    own: str,
    records: dict[str, dict[str, Any]],
    words: str,
    code: int,
) -> None:
    from ..report import print_json

    print_json(
        {
            "kernel": run.live.release,
            "version": run.live.version,
            "arch": run.live.machine.arch,
            "against": "both",
            "expected": own,
            "like": [name for name, count in mismatches.items() if not count],
            "control": run.control,
            "models": records,
            "why": words,
            "exit": code,
        }
    )
