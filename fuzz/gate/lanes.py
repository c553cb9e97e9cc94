"""Lanes that `--require` asks for: a gate that cannot run one is not green."""

from collections.abc import Iterator

from harness.case import ARCHES

from .. import exits
from ..runner import Campaign
from .checks import Check, GatePlan

LANES = (*ARCHES, "compiled")


def lane_checks(plan: GatePlan, campaigns: list[Campaign]) -> Iterator[Check]:
    """One check per lane that is required."""
    for lane in plan.required:
        if lane == "compiled":
            slow = [c.plan.arch for c in campaigns if not c.hunter.target.compiled]
            absent = f"{plan.target} runs interpreted" if slow else ""
        else:
            absent = "" if lane in plan.arches else f"{lane} is not among {', '.join(plan.arches)}"
        yield Check("lanes", lane, exits.LANE_MISSING if absent else exits.OK, absent or "was run")
