"""A gate as Markdown, for the summary page of a CI job."""

from .. import exits
from .checks import STAGES, Check, Result


def markdown(result: Result) -> str:
    """The page."""
    plan, code = result.plan, result.exit_code()
    against = f", compared with `{plan.baseline}`" if plan.baseline else ""
    lines = [
        f"## midfolio gate: {'passed' if code == exits.OK else f'failed, exit code {code}'}",
        "",
        f"Target `{plan.target}`{against} on {', '.join(plan.arches)}, kernel {plan.kernel}, "
        f"seed {plan.seed}. {_capital(result.ending())}.",
        "",
        "| stage | checks | as expected | seconds | |",
        "|---|--:|--:|--:|---|",
        *(_row(result, stage) for stage in STAGES),
        "",
    ]
    fuzz = result.of("fuzz")
    lines += [f"* fuzz {_cell(c.name)}: {_cell(c.words)}" for c in fuzz if not c.path]
    bad = result.bad()
    if bad:
        lines += ["", "### Not as expected", ""]
        lines += [line for check in bad for line in _item(check)]
    return "\n".join(lines).rstrip() + "\n"


def _row(result: Result, stage: str) -> str:
    if stage not in result.seconds:
        return f"| {stage} | not run | | | {STAGES[stage]} |"
    checks = result.of(stage)
    good = sum(check.good for check in checks)
    mark = "" if good == len(checks) else "**"
    count = f"{mark}{good}{mark}"
    seconds = result.seconds[stage]
    return f"| {stage} | {len(checks)} | {count} | {seconds:.1f} | {STAGES[stage]} |"


def _item(check: Check) -> list[str]:
    """A check, its drawing folded away."""
    lines = [f"* {check.stage}, `{check.name}`: {_cell(check.words)}"]
    if check.drawing or check.replay:
        lines += ["", "  <details><summary>drawing and replay</summary>", "", "  ```text"]
        lines += [f"  {line}".rstrip() for line in (*check.drawing, "", *check.replay)]
        lines += ["  ```", "", "  </details>", ""]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
