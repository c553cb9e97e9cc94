"""A gate on screen: one line per stage, and all that there is to say of what is not as expected."""

from .checks import STAGES, Check, Result


def stage_lines(result: Result, stage: str) -> list[str]:
    """What a stage came to; of the fuzz budget also what each campaign did."""
    checks = result.of(stage)
    bad = [check for check in checks if not check.good]
    words = f"{len(checks)} checks" if checks else "nothing to check"
    words += f", {len(bad)} not as expected" if bad else ""
    lines = [f"{stage:<13}{words:<32}{result.seconds[stage]:6.1f} s   {STAGES[stage]}"]
    if stage == "fuzz":
        lines += [f"    {check.name}: {check.words}" for check in checks if not check.path]
    return lines


def check_lines(check: Check) -> list[str]:
    """A check that is not as expected, with its drawing and how to run it again."""
    lines = [f"{check.stage}: {check.name}: {check.words}"]
    if check.drawing:
        lines += ["", *check.drawing, ""]
    if check.replay:
        lines += [f"    replay:  {line}" for line in check.replay] + [""]
    return lines
