"""What a campaign tried and found, as lines and as a record."""

from typing import TYPE_CHECKING, Any

from harness import classes
from harness.census import (
    ACTIVE,
    CASES,
    CLASS_CASES,
    CLASS_ENTRIES,
    ENTRIES,
    INVALIDATIONS,
    KIND_CASES,
    KINDS,
    REQUESTS,
    TRAIT_CASES,
    TRAITS,
)

if TYPE_CHECKING:
    from .runner import Campaign


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:6.2f} %" if whole else "     - "


def _log_line(name: str, tally: Any, place: int, less: int | None) -> str:
    """How many rows of the logs each side wrote; `less` are counted apart."""
    ours, theirs = (
        int(tally[place + side]) - (0 if less is None else int(tally[less + side]))
        for side in (0, 1)
    )
    return f"{name:<17}{theirs:>12,}   by the target, {ours:,} by the reference"


def summary(campaign: "Campaign") -> list[str]:
    """The lines at the end of a campaign."""
    tally = campaign.tally
    cases, entries = int(tally[CASES]), int(tally[ENTRIES])
    speed = cases / campaign.elapsed if campaign.elapsed else 0.0
    lines = [
        "",
        f"{campaign.plan.arch}, kernel {campaign.plan.kernel}, target {campaign.plan.target}",
        f"cases            {cases:>12,}   in {campaign.elapsed:.1f} s, {speed:,.0f} cases/s, "
        f"{campaign.plan.jobs} job{'s' if campaign.plan.jobs > 1 else ''}",
        f"entries          {entries:>12,}   {_share(int(tally[ACTIVE]), entries).strip()} changed or flushed",
        _log_line("flush requests", tally, REQUESTS, INVALIDATIONS),
        _log_line("sent at once", tally, INVALIDATIONS, None),
        "",
        "cases with",
    ]
    for number, (name, means) in enumerate(TRAITS):
        count = int(tally[TRAIT_CASES + number])
        lines.append(f"  {name:<24}{count:>10,} {_share(count, cases)}  {means}")
    lines += ["", "cases with an entry that is"]
    for number, name in enumerate(KINDS):
        count = int(tally[KIND_CASES + number])
        lines.append(f"  {name:<24}{count:>10,} {_share(count, cases)}")
    lines += ["", "classes                        cases      entries"]
    for number, c in enumerate(classes.CLASSES):
        count = int(tally[CLASS_CASES + number])
        if count or c.kind == classes.EXPLAINED or c.name.startswith("flush-"):
            inside = int(tally[CLASS_ENTRIES + number])
            lines.append(f"  {c.name:<24}{count:>10,} {inside:>12,}  {c.kind}: {c.means}")
    red = sum(
        int(tally[CLASS_CASES + number])
        for number, c in enumerate(classes.CLASSES)
        if c.kind != classes.EXPLAINED
    )
    if not red:
        lines.append("  no divergence, no invariant rung")
    if campaign.paths:
        lines += ["", "findings"]
        lines += [f"  {path}" for path in campaign.paths]
    lines.append("")
    return lines


def _log_record(tally: Any, place: int, less: int | None) -> dict[str, int]:
    return {
        side: int(tally[place + at]) - (0 if less is None else int(tally[less + at]))
        for at, side in enumerate(("reference", "target"))
    }


def record(campaign: "Campaign") -> dict[str, Any]:
    """The same as plain data."""
    tally = campaign.tally
    return {
        "target": campaign.plan.target,
        "arch": campaign.plan.arch,
        "kernel": campaign.plan.kernel,
        "seed": campaign.plan.seed,
        "cases": int(tally[CASES]),
        "entries": int(tally[ENTRIES]),
        "entries_changed_or_flushed": int(tally[ACTIVE]),
        "flush_requests": _log_record(tally, REQUESTS, INVALIDATIONS),
        "sent_at_once": _log_record(tally, INVALIDATIONS, None),
        "seconds": round(campaign.elapsed, 3),
        "first_finding_seconds": campaign.first_finding,
        "diverging": campaign.diverging(),
        "traits": {n: int(tally[TRAIT_CASES + i]) for i, (n, _) in enumerate(TRAITS)},
        "kinds": {n: int(tally[KIND_CASES + i]) for i, n in enumerate(KINDS)},
        "classes": {
            c.name: {
                "kind": c.kind,
                "cases": int(tally[CLASS_CASES + i]),
                "entries": int(tally[CLASS_ENTRIES + i]),
            }
            for i, c in enumerate(classes.CLASSES)
            if tally[CLASS_CASES + i]
        },
        "findings": [str(path) for path in campaign.paths],
        "ending": campaign.ending(),
    }
