"""What a campaign tried and found, as lines and as a record."""

from typing import TYPE_CHECKING, Any

from harness import classes
from harness.census import (
    ACTIVE,
    CASES,
    CLASS_CASES,
    CLASS_ENTRIES,
    DESCRIBE_EVERY,
    DESCRIBED,
    DESCRIBED_ENTRIES,
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

# Widths of the columns: the longest name, and the counts of a campaign of weeks.
_NAMES = 1 + max(len(name) for name in [c.name for c in classes.CLASSES] + [t[0] for t in TRAITS])
_TOTALS = 20
_COUNTS = 15
_ENTRIES = 20


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:6.2f} %" if whole else "     - "


def _logged(tally: Any, place: int) -> dict[str, int]:
    """How many rows each side wrote to its log, counted from `place` on."""
    return {side: int(tally[place + at]) for at, side in enumerate(("reference", "target"))}


def _log_line(name: str, rows: dict[str, int]) -> str:
    return f"{name:<17}{rows['target']:>{_TOTALS},}   by the target, {rows['reference']:,} by the reference"


def _corpus_lines(campaign: "Campaign") -> list[str]:
    if not campaign.corpus:
        return []
    return [
        f"kept cases       {campaign.corpus:>{_TOTALS},}   {campaign.taken_up:,} of earlier runs"
    ]


def summary(campaign: "Campaign") -> list[str]:
    """The lines at the end of a campaign."""
    tally = campaign.tally
    cases, entries = int(tally[CASES]), int(tally[ENTRIES])
    described, inside = int(tally[DESCRIBED]), int(tally[DESCRIBED_ENTRIES])
    speed = cases / campaign.elapsed if campaign.elapsed else 0.0
    lines = [
        "",
        f"{campaign.plan.arch}, kernel {campaign.plan.kernel}, target {campaign.plan.target}"
        + ("" if campaign.plan.engine == "random" else f", engine {campaign.plan.engine}"),
        f"cases            {cases:>{_TOTALS},}   in {campaign.elapsed:.1f} s, {speed:,.0f} cases/s, "
        f"{campaign.plan.jobs} job{'s' if campaign.plan.jobs > 1 else ''}",
        f"entries          {entries:>{_TOTALS},}",
        *_corpus_lines(campaign),
        "",
        f"one case in {DESCRIBE_EVERY} is described, which are {described:,}; all are judged, and classes counted in all",
        f"entries          {inside:>{_TOTALS},}   {_share(int(tally[ACTIVE]), inside).strip()} changed or flushed",
        _log_line("flush requests", _logged(tally, REQUESTS)),
        _log_line("sent at once", _logged(tally, INVALIDATIONS)),
        "",
        "described cases with",
    ]
    for number, (name, means) in enumerate(TRAITS):
        count = int(tally[TRAIT_CASES + number])
        lines.append(f"  {name:<{_NAMES}}{count:>{_COUNTS},} {_share(count, described)}  {means}")
    lines += ["", "described cases with an entry that is"]
    for number, name in enumerate(KINDS):
        count = int(tally[KIND_CASES + number])
        lines.append(f"  {name:<{_NAMES}}{count:>{_COUNTS},} {_share(count, described)}")
    lines += ["", f"{'classes':<{_NAMES + 2}}{'cases':>{_COUNTS}} {'entries':>{_ENTRIES}}"]
    for number, c in enumerate(classes.CLASSES):
        count = int(tally[CLASS_CASES + number])
        if count or c.kind == classes.EXPLAINED or c.name.startswith("flush-"):
            in_entries = int(tally[CLASS_ENTRIES + number])
            lines.append(
                f"  {c.name:<{_NAMES}}{count:>{_COUNTS},} {in_entries:>{_ENTRIES},}  {c.kind}: {c.means}"
            )
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


def record(campaign: "Campaign") -> dict[str, Any]:
    """The same as plain data."""
    tally = campaign.tally
    return {
        "target": campaign.plan.target,
        "arch": campaign.plan.arch,
        "kernel": campaign.plan.kernel,
        "seed": campaign.plan.seed,
        "engine": campaign.plan.engine,
        "cases": int(tally[CASES]),
        "cases_before": campaign.before,
        "entries": int(tally[ENTRIES]),
        "described": int(tally[DESCRIBED]),
        "described_entries": int(tally[DESCRIBED_ENTRIES]),
        "entries_changed_or_flushed": int(tally[ACTIVE]),
        "flush_requests": _logged(tally, REQUESTS),
        "sent_at_once": _logged(tally, INVALIDATIONS),
        "seconds": round(campaign.elapsed, 3),
        "first_finding_seconds": campaign.first_finding,
        "diverging": campaign.diverging(),
        "corpus": campaign.corpus,
        "corpus_before": campaign.taken_up,
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
