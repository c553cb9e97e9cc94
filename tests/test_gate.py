"""What a gate makes of recorded cases, targets and reports; tests/test_gate_canaries.py breaks the fuzzer."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest

import fuzz.runner
from fuzz import exits
from fuzz.gate import recorded, reports
from fuzz.gate.checks import STAGES, Result
from fuzz.gate.recorded import Replays, read_jobs
from harness import classes
from harness.case import ARCHES, CaseError
from harness.conform import HISTORICAL
from mm.jit import ROOT
from tests.gates import ONE_CASE, run_gate, small_plan
from tests.test_cli import assert_one_line, midfolio

TINY = ("--cases", "20", "--floor-cases", "1", "--mutants", "1")
ONE_ARCH = ("--arch", "x86_64", *TINY)


def case_with(where: Path, name: str, expect: str) -> Path:
    """The one case, recorded to do something else."""
    kept = [x for x in Path(ONE_CASE).read_text().splitlines() if not x.startswith("expect:")]
    path = where / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*kept, f"expect: {expect}"]) + "\n")
    return path


def bad_names(result: Result) -> list[str]:
    return [f"{check.stage} {check.name}" for check in result.bad()]


# Recorded cases.


@pytest.mark.parametrize(
    ("expect", "stage"),
    [
        ("diverge cow-write target=batched", "corpus"),
        ("diverge cow-write target=zoo:flush-one-page", "expectations"),
    ],
)
def test_a_stale_expectation_is_3(
    expect: str, stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = case_with(tmp_path, "stale.case", expect)
    result = run_gate(monkeypatch, tmp_path, small_plan(corpus=(str(path),)))
    assert result.exit_code() == exits.STALE
    assert bad_names(result) == [f"{stage} {path} on {expect.split('=')[-1]}"]
    assert "expected cow-write, but it agrees" in result.bad()[0].words
    assert path.read_text().splitlines()[result.bad()[0].line - 1] == f"expect: {expect}"


def test_a_witness_that_shows_its_class_no_more_is_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = case_with(tmp_path / "witnesses", "extra-flush.case", "agree target=batched")
    result = run_gate(monkeypatch, tmp_path, small_plan(corpus=(str(path),)))
    assert result.exit_code() == exits.STALE
    assert result.bad()[0].words == "is a witness of extra-flush, but no longer shows it"
    done = midfolio("replay", str(path))
    assert done.returncode == exits.STALE


def test_a_witness_of_nothing_is_refused(tmp_path: Path) -> None:
    path = case_with(tmp_path / "witnesses", "cow-write.case", "agree target=batched")
    with pytest.raises(CaseError, match=r"'cow-write' is none"):
        read_jobs(small_plan(corpus=(str(path),)))


def test_each_explained_class_has_a_witness_and_each_is_run() -> None:
    """Whatever corpus is asked for, and a class that is denied is shown all the same."""
    jobs = [
        job
        for arch in ARCHES
        for plan in [small_plan(arch, denied=int(classes.EXPLAINED_BITS))]
        for job in read_jobs(plan)[0]
        if job.stage == "witnesses"
    ]
    assert sorted(job.shows for job in jobs) == sorted(classes.names(int(classes.EXPLAINED_BITS)))
    assert {(job.target, job.denied) for job in jobs} == {("batched", 0)}


def test_every_case_of_the_corpus_is_run_where_it_belongs() -> None:
    plans = [small_plan(arch, corpus=()) for arch in ARCHES]
    jobs = [job for plan in plans for job in read_jobs(plan)[0]]
    files = {Path(job.source.name).resolve() for job in jobs}
    assert files == set((ROOT / "corpus").rglob("*.case"))
    mutants = {job.target for job in jobs if job.stage == "expectations"}
    assert {f"zoo:{path.stem}" for path in (ROOT / "corpus/mutants").iterdir()} <= mutants
    folders = {Path(j.source.name).parent.name for j in jobs if j.stage == "regressions"}
    assert folders == {"regressions"}


def test_a_case_of_another_kernel_is_left_to_who_models_it(tmp_path: Path) -> None:
    path = tmp_path / "old.case"
    path.write_text(Path(ONE_CASE).read_text().replace("kernel: 7.3", "kernel: 6.12"))
    plan = small_plan(corpus=(str(path),))
    assert [j for j in read_jobs(plan)[0] if j.source.name == str(path)] == []
    plan = small_plan(corpus=(str(path),), target="reference")
    assert [j.stage for j in read_jobs(plan)[0] if j.source.name == str(path)] == ["corpus"]


def test_an_empty_corpus_is_5(tmp_path: Path) -> None:
    done = midfolio("gate", str(tmp_path), *ONE_ARCH)
    assert done.returncode == exits.TOO_LITTLE, done.stderr
    assert "no case that the target can run" in done.stdout


def test_processes_run_the_same_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do beside a compiled gate."""
    plan = small_plan(corpus=(str(ROOT / "corpus" / "mutants" / "stale-nr.case"),))
    jobs = read_jobs(plan)[0][:3]
    here = [c.words for c in Replays(1).checks(jobs)]
    monkeypatch.setattr(recorded, "COMPILED", True)
    monkeypatch.setenv("MIDFOLIO_MODE", "compiled")
    replays = Replays(1)
    try:
        assert [c.words for c in replays.checks(jobs)] == here
    finally:
        replays.close()
    assert os.environ["MIDFOLIO_MODE"] == "compiled"


# Targets.

MINE = """
from batched.x86_64 import change_pte_range

def wrong(state):
    return change_pte_range(state) + 1

def worse(state):
    if state.facts[0].nr_ptes > 8:
        raise ValueError("too long")
    return wrong(state)

calls = 0

def now_and_then(state):
    global calls
    calls += 1
    return change_pte_range(state) + calls % 2
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, where the user is."""
    name = f"mine_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_divergence_is_1_and_replays(
    mine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run_gate(monkeypatch, tmp_path / "f", small_plan(target=f"{mine}:wrong"))
    assert result.exit_code() == exits.DIVERGENCE
    findings = [check for check in result.of("fuzz") if check.path]
    assert {check.divergence for check in findings} == {"pages-wrong"}
    assert (tmp_path / findings[0].path).exists()
    assert findings[0].drawing
    assert findings[0].replay[0] == f"midfolio replay {findings[0].path} --target {mine}:wrong"
    assert [c.name for c in result.bad() if c.stage == "regressions"] == [
        f"{ONE_CASE} on {mine}:wrong"
    ]


def test_a_baseline_takes_away_what_it_shows_too(
    mine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = small_plan(target=f"{mine}:wrong", baseline=f"{mine}:wrong")
    result = run_gate(monkeypatch, tmp_path, plan)
    assert bad_names(result) == []
    assert [c.words for c in result.of("regressions")] == [f"diverges as {mine}:wrong does"]
    # Each case diverges; only that nothing is added may be said.
    assert f"nothing unexplained that {mine}:wrong does not show, too" in result.of("fuzz")[0].words
    plan = small_plan(target=f"{mine}:worse", baseline=f"{mine}:wrong")
    result = run_gate(monkeypatch, tmp_path, plan)
    assert result.exit_code() == exits.DIVERGENCE
    assert {c.divergence for c in result.bad() if c.path} == {"target-raised"}
    plan = small_plan(target=f"{mine}:wrong", baseline=HISTORICAL)
    result = run_gate(monkeypatch, tmp_path, plan)
    assert {c.divergence for c in result.bad() if c.path} == {"pages-wrong"}


def test_a_target_that_changes_its_mind_is_7(
    mine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run_gate(monkeypatch, tmp_path, small_plan(target=f"{mine}:now_and_then"))
    assert result.exit_code() == exits.FLAKY
    assert "two runs differ" in {check.words for check in result.bad()}


def test_an_error_of_ours_is_8_and_the_reports_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fuzz.runner.Campaign, "run", lambda self: 1 / 0)
    monkeypatch.setattr("fuzz.gate.canaries.caught", lambda *_: True)
    result = run_gate(monkeypatch, tmp_path, small_plan())
    assert result.exit_code() == exits.INTERNAL
    assert result.bad()[0].words.startswith("ZeroDivisionError")
    assert result.not_run() == ["floors", "lanes"]
    suites = Tree.fromstring(reports.junit(result).split("\n", 1)[1])
    assert suites.find("testsuite[@name='fuzz']/testcase/error") is not None


# The command.


def test_a_lane_that_is_absent_is_4() -> None:
    done = midfolio("gate", ONE_CASE, *ONE_ARCH, "--require", "arm64", "--require", "x86_64")
    assert done.returncode == exits.LANE_MISSING, done.stderr
    assert "lanes: arm64: arm64 is not among x86_64" in done.stdout
    assert done.stdout.endswith("1 lane absent; exit 4\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--require", "mips"), ("unknown lane 'mips'", "compiled")),
        (("--floor", "mid-folio=3"), ("unknown floor 'mid-folio'", "mid-folio-start")),
        (("--floor", "wild=1e9"), ("'wild=1e9' must be NAME=PERCENT",)),
        (("no-such-file",), ("no-such-file", "expected a case file")),
        (("--baseline", "nope"), ("unknown target 'nope'",)),
        (("--kernel", "6.12"), ("kernel 6.12 does not batch",)),
    ],
)
def test_bad_usage_is_one_line_and_2(arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_one_line(midfolio("gate", *ONE_ARCH, *arguments), exits.BAD_INPUT, *parts)


def test_a_report_that_cannot_be_written_is_8_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = midfolio("gate", *ONE_ARCH, "--junit", str(tmp_path / "file" / "gate.xml"))
    assert_one_line(done, exits.INTERNAL, "cannot write", "gate.xml")
    assert done.stdout == ""
    done = midfolio("gate", *ONE_ARCH, "--sarif", str(tmp_path))
    assert_one_line(done, exits.INTERNAL, "is a directory; expected a file")


def test_an_interrupted_gate_is_5_and_still_reports(tmp_path: Path) -> None:
    report = tmp_path / "gate.xml"
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "fuzz.cli", "gate", ONE_CASE, "--arch", "x86_64"),
            *("--time", "200", "--mutants", "1", "--junit", str(report)),
        ],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    # What comes next is the campaign.
    while not running.stdout.readline().startswith("expectations"):
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == exits.TOO_LITTLE, err
    assert out.endswith("interrupted; exit 5\n")
    suites = Tree.parse(report).getroot()
    assert [s.get("name") for s in suites if s.get("skipped") == "1"][-2:] == ["floors", "lanes"]
    assert suites.findall("testsuite/testcase/error[@message='interrupted']")


# Reports.


@pytest.fixture(scope="module")
def red_gate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """The directory with the reports of a gate on a broken target, and its --json."""
    where = tmp_path_factory.mktemp("red")
    wanted = ("--junit", "deep/gate.xml", "--sarif", "gate.sarif", "--markdown", "gate.md")
    stale = case_with(where, "stale.case", "diverge cow-write target=reference")
    done = midfolio(
        *("gate", ONE_CASE, str(stale), "--target", "zoo:flush-always", *ONE_ARCH, "--json"),
        *wanted,
        cwd=where,
        MIDFOLIO_FINDINGS=str(where / "findings"),
    )
    assert done.returncode == exits.DIVERGENCE, done.stderr
    return where, json.loads(done.stdout)


def test_json_has_it_all(red_gate: tuple[Path, dict[str, object]]) -> None:
    _, record = red_gate
    checks = record["checks"]
    assert isinstance(checks, list)
    assert record["exit"] == exits.DIVERGENCE
    assert list(dict.fromkeys(c["stage"] for c in checks)) == [s for s in STAGES if s != "lanes"]
    assert str(record["ending"]).startswith(f"{len(checks)} checks, ")


def test_junit_has_one_case_per_check(red_gate: tuple[Path, dict[str, object]]) -> None:
    where, record = red_gate
    checks = record["checks"]
    assert isinstance(checks, list)
    root = Tree.parse(where / "deep" / "gate.xml").getroot()
    assert root.tag == "testsuites"
    assert len(root.findall("testsuite/testcase")) == len(checks)
    for suite in root:
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("errors") == suite.get("skipped") == "0"
        assert float(suite.get("time") or -1) >= 0
        assert all(set(case.attrib) == {"classname", "name", "time"} for case in cases)
    bad = [c for c in checks if c["code"]]
    failures = root.findall("testsuite/testcase/failure")
    assert [f.get("message") for f in failures] == [c["words"] for c in bad]
    drawn = [f.text or "" for f in failures if "replay:" in (f.text or "")]
    assert drawn
    assert all("midfolio replay" in text and "flush-unneeded" in text for text in drawn)


def test_sarif_places_each_finding(red_gate: tuple[Path, dict[str, object]]) -> None:
    where, _ = red_gate
    document = json.loads((where / "gate.sarif").read_text())
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "midfolio"
    rules = [rule["id"] for rule in driver["rules"]]
    assert set(rules) == {"flush-unneeded", "stale-expectation"}
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        path = where / place["artifactLocation"]["uri"].removeprefix("file://")
        assert 1 <= place["region"]["startLine"] <= len(path.read_text().splitlines())
    assert len({str(r["partialFingerprints"]) for r in run["results"]}) == len(run["results"])
    (invocation,) = run["invocations"]
    assert invocation["exitCode"] == exits.DIVERGENCE
    assert invocation["executionSuccessful"]
    # The campaign as a whole has no place.
    (notification,) = invocation["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith("fuzz: x86_64 zoo:flush-always: ")


def test_markdown_has_stages_findings_and_replay(
    red_gate: tuple[Path, dict[str, object]],
) -> None:
    where, _ = red_gate
    text = (where / "gate.md").read_text()
    assert text.startswith("## midfolio gate: failed, exit code 1\n")
    for stage, means in STAGES.items():
        assert f"| {stage} |" in text
        assert means in text
    assert "  midfolio replay findings/flush-unneeded-" in text
    assert text.count("```") % 2 == 0


def test_nothing_is_left_beside_the_reports(red_gate: tuple[Path, dict[str, object]]) -> None:
    where, _ = red_gate
    names = {path.name for path in where.iterdir()}
    assert names == {"deep", "gate.sarif", "gate.md", "findings", "stale.case"}
    assert [path.name for path in (where / "deep").iterdir()] == ["gate.xml"]
