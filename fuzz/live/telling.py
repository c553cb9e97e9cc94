"""What a run of `midfolio live` came to, as data and as lines."""

from typing import Any

from harness import classes
from harness.live.session import Session

from .run import Run


def record(run: Run, done: Session, findings: list[str]) -> dict[str, Any]:
    """What `--json` prints of one model."""
    tally = done.oracle.tally
    return {
        "kernel": run.live.release,
        "version": run.live.version,
        "arch": run.live.machine.arch,
        "target": done.oracle.model.target.name,
        "control": run.control,
        "seed": run.asked.seed,
        "layouts": tally.layouts,
        "operations": tally.operations,
        "userfaultfd": tally.userfaultfd,
        "calls": tally.calls,
        "ptes": tally.ptes,
        "mismatches": tally.mismatches,
        "mismatches_by_class": dict(sorted(done.counts.items())),
        "first_mismatch": done.first_mismatch,
        "noise": dict(sorted(tally.noise.items())),
        "apart": dict(sorted(tally.apart.items())),
        "unsteady": tally.unsteady,
        "exclusive_changed": tally.marked,
        "flushes": tally.flushes,
        "flushes_not_judged": run.live.no_flushes,
        "sane": tally.sane,
        "kinds": dict(sorted(tally.by_kind.items())),
        "folios": {str(n): count for n, count in sorted(tally.folios.items())},
        "explained": {
            classes.CLASSES[number].name: int(count)
            for number, count in enumerate(tally.explained)
            if count
        },
        "findings": sorted(findings),
        "seconds": round(done.elapsed, 3),
        "why": run.why(done),
    }


def summary(found: dict[str, Any]) -> list[str]:
    """The lines before the last one, of a `record`."""
    text = {
        key: ", ".join(f"{name} {count}" for name, count in found[key].items()) or "none"
        for key in ("kinds", "folios", "explained", "noise", "apart", "mismatches_by_class")
    }
    lines = [
        f"layouts: {found['layouts']}, calls of change_pte_range: {found['calls']}, "
        f"{found['userfaultfd']} of them by userfaultfd, left out: {found['unsteady']}",
        f"operations: {text['kinds']}",
        f"folios by pages: {text['folios']}",
        f"explained: {text['explained']}",
        f"noise: {text['noise']}; counted apart: {text['apart']}",
        f"flushes compared: {found['flushes']}; held against the rules of sane cases: "
        f"{found['sane']}",
    ]
    if found["mismatches"]:
        lines.append(
            f"mismatches: {text['mismatches_by_class']}; the first after "
            f"{found['first_mismatch']:.2f} s"
        )
    if found["exclusive_changed"]:
        lines.append(f"layouts whose exclusive pages changed: {found['exclusive_changed']}")
    return lines


def last_line(found: dict[str, Any], code: int) -> str:
    """The last line of a run with one model."""
    speed = found["operations"] / max(found["seconds"], 1e-9)
    return (
        f"live: {found['operations']} operations, {found['ptes']} PTEs, {found['mismatches']} "
        f"mismatches, noise {sum(found['noise'].values())}, {speed:.0f} operations/s; "
        f"{found['why']}; exit {code}"
    )
