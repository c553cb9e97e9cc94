"""A gate as JUnit XML, in the shape that pytest writes: one suite per stage, one case per check."""

import socket
from datetime import UTC, datetime
from xml.etree import ElementTree as Tree

from .. import exits
from .checks import STAGES, Check, Result
from .text import check_lines

# What XML 1.0 cannot hold, line ends aside.
_CONTROLS = {code: "?" for code in range(32) if code not in (9, 10)}


def junit(result: Result) -> str:
    """The document."""
    root = Tree.Element("testsuites", name="midfolio gate")
    now, host = datetime.now(UTC).isoformat(), socket.gethostname()
    for stage in STAGES:
        checks = result.of(stage)
        if not checks and stage in result.seconds:
            continue
        errors = sum(c.code == exits.INTERNAL for c in checks)
        suite = Tree.SubElement(
            root,
            "testsuite",
            name=stage,
            errors=str(errors),
            failures=str(sum(not c.good for c in checks) - errors),
            skipped=str(int(not checks)),
            tests=str(max(len(checks), 1)),
            time=f"{result.seconds.get(stage, 0.0):.3f}",
            timestamp=now,
            hostname=host,
        )
        if not checks:
            case = Tree.SubElement(suite, "testcase", classname=f"gate.{stage}", name=stage)
            case.set("time", "0.000")
            why = result.stopped or "not run"
            Tree.SubElement(case, "skipped", type="pytest.skip", message=why).text = why
        for check in checks:
            _case(suite, check)
    if result.stopped:
        _stop(root, result)
    Tree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Tree.tostring(root, "unicode") + "\n"


def _case(suite: Tree.Element, check: Check) -> None:
    case = Tree.SubElement(
        suite,
        "testcase",
        classname=f"gate.{check.stage}",
        name=_plain(check.name),
        time=f"{check.seconds:.3f}",
    )
    if check.good:
        return
    kind = "error" if check.code == exits.INTERNAL else "failure"
    problem = Tree.SubElement(case, kind, message=_plain(check.words))
    problem.text = _plain("\n".join(check_lines(check)))


def _stop(root: Tree.Element, result: Result) -> None:
    """A gate that was stopped is not green, whatever its checks say."""
    suite = Tree.SubElement(
        root, "testsuite", name="gate", errors="1", failures="0", skipped="0", tests="1"
    )
    case = Tree.SubElement(suite, "testcase", classname="gate", name="ran to its end", time="0.000")
    Tree.SubElement(case, "error", message=result.stopped).text = result.ending()


def _plain(text: str) -> str:
    return text.translate(_CONTROLS)
