"""A gate as SARIF 2.1.0: divergences as results, what else is wrong as notifications of the tool."""

import importlib.metadata
from pathlib import Path
from typing import Any

import msgspec

from harness import classes

from .. import exits
from .checks import NAMES, Check, Result

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# What has a place in a file: the rest is about the gate itself.
RESULTS = {exits.DIVERGENCE, exits.STALE, exits.FLAKY}


def sarif(result: Result) -> str:
    """The document."""
    bad = result.bad()
    # A campaign that diverges is told by its findings.
    results = [check for check in bad if check.code in RESULTS and check.path]
    rules = sorted({_rule(check) for check in results})
    code = result.exit_code()
    document = {
        "version": "2.1.0",
        "$schema": SCHEMA,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "midfolio",
                        "semanticVersion": importlib.metadata.version("midfolio"),
                        "rules": [_described(rule) for rule in rules],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": code in (exits.OK, *RESULTS),
                        "exitCode": code,
                        "exitCodeDescription": result.ending(),
                        "toolExecutionNotifications": [
                            _notification(check) for check in bad if check not in results
                        ],
                    }
                ],
                "results": [_result(check, rules) for check in results],
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _rule(check: Check) -> str:
    return check.divergence or {exits.STALE: "stale-expectation"}.get(check.code, "flaky")


def _described(rule: str) -> dict[str, Any]:
    if rule in classes.NUMBER:
        text = classes.CLASSES[classes.NUMBER[rule]].means
    elif rule == "stale-expectation":
        text = "a case no longer does what it is recorded to do"
    else:
        text = "the same case gave two outcomes"
    return {"id": rule, "shortDescription": {"text": text}}


def _result(check: Check, rules: list[str]) -> dict[str, Any]:
    rule = _rule(check)
    path = Path(check.path)
    uri = path.as_uri() if path.is_absolute() else path.as_posix()
    lines = [check.words, *check.replay]
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": "error",
        "message": {"text": "\n".join([f"{check.name}: {lines[0]}", *lines[1:]])},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": check.line},
                }
            }
        ],
        # Names that outlive a move of lines: GitHub goes by them to tell new from known.
        "partialFingerprints": {"midfolioCase/v1": f"{rule}:{path.stem}:{check.stage}"},
    }


def _notification(check: Check) -> dict[str, Any]:
    return {
        "level": "error",
        "descriptor": {"id": NAMES[check.code].replace(" ", "-")},
        "message": {"text": f"{check.stage}: {check.name}: {check.words}"},
    }
