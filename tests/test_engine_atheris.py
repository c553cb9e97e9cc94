"""The atheris engine and its fuzz target, by what they leave behind, never by exit codes alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import exits
from fuzz.choices import FIRST, expand, given_choices
from fuzz.engines import again
from fuzz.engines.raw_input import Input, encode, read
from harness.case import CaseError
from harness.casefile import read_case
from harness.differences import red
from harness.run import judge_case
from harness.targets import load
from mm.jit import ROOT

from .test_cli import HISTORICAL, midfolio

pytest.importorskip("atheris", reason="ATHERIS IS NOT INSTALLED: its engine is not tested")


def target(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzz target in `place`."""
    return subprocess.run(
        [sys.executable, "-m", "fuzz.atheris_target", *arguments],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MIDFOLIO_FINDINGS": str(place / "findings"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("atheris")


@pytest.fixture(scope="module")
def campaign(place: Path) -> subprocess.CompletedProcess[str]:
    """A campaign on the historical bug."""
    return midfolio(
        *("fuzz", "--engine", "atheris", "--arch", "x86_64", "--target", HISTORICAL),
        *("--cases", "120", "--per-class", "1", "--seed", "4", "--work", str(place)),
        cwd=place,
        MIDFOLIO_FINDINGS=str(place / "findings"),
    )


def corpus(place: Path) -> list[Path]:
    return again.inputs_in(next((place / "atheris").glob("*/corpus")))


def diverges(path: Path) -> bool:
    return bool(red(judge_case(read(path), load(HISTORICAL, "x86_64"))))


@pytest.fixture(scope="module")
def crash(place: Path) -> Path:
    """An input that shows the historical bug, a word longer than it need be."""
    key = next(k for k in range(1, 200) if _shows(Input("x86_64", "7.3", 12, k)))
    word = int(expand(given_choices((), key), 1)[FIRST])
    path = place / "crash"
    path.write_bytes(encode(Input("x86_64", "7.3", 12, key, (word,))))
    assert diverges(path)
    return path


def _shows(what: Input) -> bool:
    return bool(red(judge_case(what.case(), load(HISTORICAL, "x86_64"))))


def test_the_historical_bug_is_found(place: Path, campaign) -> None:
    assert campaign.returncode == exits.DIVERGENCE, campaign.stderr
    assert "canaries: 26 of 26 caught" in campaign.stdout
    assert "case budget reached; exit 1" in campaign.stdout.splitlines()[-1]
    found = list((place / "findings").glob("*.case"))
    assert found
    for path in found:
        case = read_case(path).case
        assert red(judge_case(case, load(HISTORICAL, "x86_64")))
        assert f"replay {path.relative_to(place)} --target {HISTORICAL}" in campaign.stdout


def test_its_corpus_is_kept_and_nothing_else(place: Path, campaign) -> None:
    kept = corpus(place)
    # It covers: a blind fuzzer keeps one input.
    assert len(kept) > 10
    assert sum(read(path).arch == "x86_64" for path in kept if path.stat().st_size >= 32) > 10
    assert list((place / "atheris").glob("*/artefacts/*")) == []


def test_a_merge_keeps_what_covers(place: Path, campaign) -> None:
    (place / "merged").mkdir()
    source = corpus(place)[0].parent
    # On a target that agrees: each divergence would cost the merge a start.
    done = target(place, "-merge=1", "merged", str(source))
    merged = again.inputs_in(place / "merged")
    assert f"merged: {len(merged)} of" in done.stdout
    assert 5 < len(merged) <= len(corpus(place))
    assert {path.read_bytes() for path in merged} <= {p.read_bytes() for p in corpus(place)}


def test_a_minimized_input_is_smaller_and_diverges(place: Path, crash: Path) -> None:
    done = target(
        place,
        *(f"--target={HISTORICAL}", "-minimize_crash=1", "-runs=40", f"-artifact_prefix={place}/"),
        str(crash),
    )
    assert done.returncode == exits.OK, done.stderr[-2000:]
    (smaller,) = place.glob("minimized-from-*")
    assert smaller.stat().st_size < crash.stat().st_size
    assert diverges(smaller)
    assert f"minimized: {smaller} (40 bytes, now 32), which diverges" in done.stdout


def test_jobs_and_forks_judge_cases(tmp_path: Path) -> None:
    for folder, flags in (("jobs", ("-jobs=2", "-workers=2")), ("fork", ("-fork=1",))):
        (tmp_path / folder).mkdir()
        done = target(tmp_path, *flags, "-runs=25", "-max_total_time=2", folder)
        assert done.returncode == exits.OK, done.stderr[-2000:]
        assert len(again.inputs_in(tmp_path / folder)) > 3


def test_a_divergence_is_drawn_with_its_replay_line(place: Path, crash: Path) -> None:
    done = target(place, f"--target={HISTORICAL}", f"-artifact_prefix={place}/", str(crash))
    assert done.returncode == 77
    assert "UNEXPLAINED" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "replay:" in line)
    words = line.split()
    assert words[1:3] == ["midfolio", "replay"]
    assert midfolio(*words[2:]).returncode == exits.DIVERGENCE
    # What is known is not raised.
    known = [f"--known={name}" for name in ("cow-write", "write-lost")]
    assert target(place, f"--target={HISTORICAL}", *known, str(crash)).returncode == 0


# Modes that fail and call it a success.


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The options of the target, where what libFuzzer starts again does nothing."""
    monkeypatch.setattr(again, "launcher", lambda: Path("/bin/true"))
    return {"target": HISTORICAL, "arch": "x86_64", "batching": 0, "deny": []}


def test_a_merge_that_keeps_nothing_is_no_success(options, crash, tmp_path, capsys) -> None:
    for name in ("to", "from"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "one").write_bytes(crash.read_bytes())
    arguments = ["-merge=1", str(tmp_path / "to"), str(tmp_path / "from")]
    assert again.supervised(options, arguments) == exits.TOO_LITTLE
    assert "the merge kept none of 1 inputs" in capsys.readouterr().err


def test_jobs_that_judge_nothing_are_no_success(options, capsys) -> None:
    assert again.supervised(options, ["-jobs=2"]) == exits.TOO_LITTLE
    assert "no process judged a case" in capsys.readouterr().err


def test_an_input_that_agrees_is_not_minimized(options, tmp_path, capsys) -> None:
    path = tmp_path / "agrees"
    path.write_bytes(encode(Input("x86_64", "7.3", 3)))
    assert again.supervised(options, ["-minimize_crash=1", str(path)]) == exits.STALE
    assert f"{path} does not diverge" in capsys.readouterr().err


def test_a_name_that_a_shell_garbles_is_refused() -> None:
    with pytest.raises(CaseError, match="quotes nothing, so 'my corpus'"):
        again.files_of(["-merge=1", "my corpus"])


def test_only_what_is_to_be_covered_is_instrumented() -> None:
    code = (
        "from fuzz.atheris_target import Lane, functions_of, parse; "
        f"options, _ = parse(['--target', {HISTORICAL!r}]); lane = Lane(options); "
        "print(*sorted({f.__module__.split('_')[0].replace('.x86', '') "
        "for f in functions_of(lane.covered)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = set(done.stdout.split())
    assert {"harness.relation", "reference.walk", "reference.rules"} <= names
    assert any(name.startswith("zoo") for name in names)
    assert {n.split(".")[0] for n in names if not n.startswith("zoo")} == {"harness", "reference"}
    assert not {n for n in names if n.startswith("harness.")} - {
        n for n in names if n.startswith(("harness.relation", "harness.contpte"))
    }
