"""The fuzz budget: the campaigns whose canaries were caught, and their findings as checks."""

from collections.abc import Iterator
from pathlib import Path

from harness import classes
from harness.casefile import read_case
from harness.census import CASES
from harness.findings import replay_lines

from .. import exits
from ..runner import Campaign
from .checks import Check
from .recorded import shown


def fuzz_checks(campaigns: list[Campaign]) -> Iterator[Check]:
    """One check per campaign and one per finding that is kept; KeyboardInterrupt after the first Ctrl-C."""
    for campaign in campaigns:
        campaign.run()
        cases = int(campaign.tally[CASES])
        speed = cases / max(campaign.elapsed, 1e-9)
        code = campaign.exit_code()
        if code == exits.TOO_LITTLE:
            code = exits.OK  # the floors say so
        yield Check(
            "fuzz",
            f"{campaign.plan.arch} {campaign.plan.target}",
            code,
            f"{campaign.ending()}, {speed:.0f} cases/s",
            campaign.elapsed,
        )
        yield from (_finding(campaign, path) for path in campaign.paths)
        if campaign.interrupted:
            raise KeyboardInterrupt


def _finding(campaign: Campaign, path: Path) -> Check:
    """A finding, read from its file, which has all that there is to say."""
    parsed = read_case(path)
    name = parsed.expect[0].divergence
    return Check(
        stage="fuzz",
        name=f"{campaign.plan.arch} {path.stem}",
        code=exits.DIVERGENCE,
        words=f"{name}: {classes.CLASSES[classes.NUMBER[name]].means}",
        divergence=name,
        path=shown(path),
        line=1,
        drawing=parsed.comments,
        replay=tuple(replay_lines(parsed.case, campaign.plan.target, path)),
    )
