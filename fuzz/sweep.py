"""A sweep: one campaign for each architecture, one after the other, and what they add up to."""

from dataclasses import dataclass, field
from typing import Any

from harness.census import CASES, ENTRIES

from . import exits
from .runner import Campaign, Plan
from .store.journal import Journal
from .summary import record


def shares(cases: int | None, parts: int) -> list[int | None]:
    """`cases` in `parts` shares that differ by one at most; no budget stays none."""
    if cases is None:
        return [None] * parts
    return [cases // parts + (1 if part < cases % parts else 0) for part in range(parts)]


@dataclass
class Sweep:
    """The campaigns so far."""

    quiet: bool
    campaigns: list[Campaign] = field(default_factory=list)

    def add(
        self, plan: Plan, journal: Journal | None = None, make: type[Campaign] = Campaign
    ) -> Campaign:
        """A campaign for `plan`, of the kind that `make` is, not run yet, that `journal` keeps."""
        campaign = make(plan, quiet=self.quiet, journal=journal)
        self.campaigns.append(campaign)
        return campaign

    def exit_code(self) -> int:
        """The worst of the campaigns' exit codes."""
        return exits.worst([campaign.exit_code() for campaign in self.campaigns])

    def ending(self) -> str:
        """Why the sweep ended, in one line."""
        if len(self.campaigns) == 1:
            return self.campaigns[0].ending()
        cases = sum(int(campaign.tally[CASES]) for campaign in self.campaigns)
        earlier = sum(campaign.before for campaign in self.campaigns)
        before = f" ({earlier} of them before)" if earlier else ""
        names = ", ".join(campaign.plan.arch for campaign in self.campaigns)
        found = sum(campaign.diverging() for campaign in self.campaigns)
        what = f"{found} cases diverge" if found else "nothing unexplained"
        flaky = sum(len(campaign.flaky) for campaign in self.campaigns)
        if flaky:
            what += f", {flaky} do so only sometimes"
        return f"{cases} cases of {names}{before}, {what}; {self.campaigns[-1].why()}"

    def record(self) -> dict[str, Any]:
        """The sums, and each campaign's record, as plain data."""
        plan = self.campaigns[0].plan
        first = [c.first_finding for c in self.campaigns if c.first_finding is not None]
        return {
            "target": plan.target,
            "kernel": plan.kernel,
            "seed": plan.seed,
            "arches": [campaign.plan.arch for campaign in self.campaigns],
            "cases": sum(int(campaign.tally[CASES]) for campaign in self.campaigns),
            "cases_before": sum(campaign.before for campaign in self.campaigns),
            "entries": sum(int(campaign.tally[ENTRIES]) for campaign in self.campaigns),
            "seconds": round(sum(campaign.elapsed for campaign in self.campaigns), 3),
            "first_finding_seconds": first[0] if first else None,
            "diverging": sum(campaign.diverging() for campaign in self.campaigns),
            "findings": [str(path) for campaign in self.campaigns for path in campaign.paths],
            "campaigns": [record(campaign) for campaign in self.campaigns],
            "ending": self.ending(),
        }
