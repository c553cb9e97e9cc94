"""Work directories as a user meets them: refused, full, read-only, interrupted, killed, reported."""

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.store.work import WorkDirectory

from .test_cli import HISTORICAL, ROOT, assert_one_line, midfolio

FUZZ = ("fuzz", "--arch", "x86_64", "--target", HISTORICAL, "--per-class", "1")
# A user and a mount namespace of its own: no test needs to be root, or leaves a mount behind.
UNSHARED = ("unshare", "--map-root-user", "--mount", "sh", "-euc")


def can_mount() -> bool:
    """Whether a file system can be mounted here."""
    command = [*UNSHARED, "mount -t tmpfs none /tmp"]
    return (
        shutil.which("unshare") is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


needs_mount = pytest.mark.skipif(not can_mount(), reason="no mount namespace here")


def shell(script: str, **words: object) -> subprocess.CompletedProcess[str]:
    """Run `script` where it may mount; $midfolio is the command, $NAME what `words` say."""
    environment = {name: str(word) for name, word in words.items()}
    command = shlex.join([sys.executable, "-m", "fuzz.cli"])
    return subprocess.run(
        [*UNSHARED, f'midfolio() {{ {command} "$@"; }}\n{script}'],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_second_campaign_is_told_whose_the_directory_is(tmp_path: Path) -> None:
    with WorkDirectory(tmp_path):
        done = midfolio(*FUZZ, "--work", str(tmp_path), "--cases", "5")
        assert_one_line(done, 2, f"{tmp_path} is in use by process {os.getpid()} on ", " since 2")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
        assert command in done.stderr
        assert "another --work" in done.stderr
    with WorkDirectory(tmp_path):
        pass


def test_a_lock_is_not_inherited(tmp_path: Path) -> None:
    """A worker that outlives its campaign for a moment must not keep the directory."""
    ours, theirs = os.pipe()
    with WorkDirectory(tmp_path):
        command = [sys.executable, "-c", "input()"]
        waiting = subprocess.Popen(command, stdin=ours, close_fds=False)
    with WorkDirectory(tmp_path):
        assert waiting.poll() is None
    os.close(ours)
    os.write(theirs, b"\n")
    os.close(theirs)
    assert waiting.wait() == 0


def test_interrupted_it_goes_on(tmp_path: Path) -> None:
    work = ("--work", str(tmp_path / "work"))
    with subprocess.Popen(
        [sys.executable, "-m", "fuzz.cli", *FUZZ, *work, "--time", "60"],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        while "replay:" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        text = running.stdout.read()
        assert running.wait() == 1
    ending = text.splitlines()[-1]
    assert ending.endswith("; interrupted; exit 1")
    cases = int(ending.split()[1])
    report = json.loads(midfolio("report", *work, "--json").stdout)
    assert (report[0]["cases"], report[0]["done"]) == (cases, [[0, cases]])
    done = midfolio(*FUZZ, *work, "--cases", str(cases + 5))
    assert done.returncode == 1
    assert f"x86_64: goes on at case {cases}; {cases} cases done before, " in done.stdout
    assert "replay:" not in done.stdout, "its class has had its share"
    assert f"fuzz: {cases + 5} cases ({cases} of them before), " in done.stdout
    # What is done is run again, as it was the first time.
    again = midfolio(*FUZZ, *work, "--cases", str(cases + 5))
    assert again.returncode == 1
    assert "done before" not in again.stdout
    assert again.stdout.count("replay:") > 0
    assert again.stdout.splitlines()[-1].startswith(f"fuzz: {cases + 5} cases, ")


def test_a_report_names_classes_and_findings(tmp_path: Path) -> None:
    assert_one_line(midfolio("report", cwd=tmp_path), 5, "no campaign in ")
    work = ("--work", str(tmp_path / "work"))
    assert midfolio(*FUZZ, *work, "--cases", "40").returncode == 1
    done = midfolio("report", *work)
    assert done.returncode == 0, done.stderr
    heading = f"x86_64, kernel 7.3, target {HISTORICAL}, seed 1, random\n"
    assert done.stdout.startswith(heading)
    files = sorted((tmp_path / "work" / "findings").iterdir())
    assert files
    assert all(f"      {file}\n" in done.stdout for file in files)
    assert done.stdout.splitlines()[-1] == (
        f"report: 1 campaigns, 40 cases, {len(files)} findings written; exit 0"
    )
    quiet = midfolio("report", *work, "--quiet").stdout
    assert "cow-write" in quiet
    assert "accessed-merged" in done.stdout
    assert "accessed-merged" not in quiet
    assert_one_line(midfolio("report", *work, "--arch", "arm64"), 5, "no campaign of arm64 in ")


def test_a_place_that_cannot_be_is_2(tmp_path: Path) -> None:
    done = midfolio(*FUZZ, "--work", "/proc/midfolio", "--cases", "5")
    assert_one_line(done, 2, "cannot write /proc/midfolio: ", "expected a work directory")
    (tmp_path / "file").touch()
    assert_one_line(midfolio(*FUZZ, "--work", str(tmp_path / "file")), 2, "file")
    (tmp_path / "campaigns.sqlite").write_text("mine" * 1000)
    done = midfolio(*FUZZ, "--work", str(tmp_path), "--cases", "5")
    assert_one_line(done, 2, "campaigns.sqlite is no campaign store")
    assert (tmp_path / "campaigns.sqlite").read_text() == "mine" * 1000


READ_ONLY = """
midfolio "$@" fuzz --arch x86_64 --cases 5 --work $WORK/w >&2
mount --bind $WORK/w $WORK/w
mount -o remount,bind,ro $WORK/w
midfolio report --work $WORK/w
set +e
midfolio fuzz --arch x86_64 --cases 9 --work $WORK/w 2>&1
echo exit $?
"""


@needs_mount
def test_a_read_only_directory_is_2_and_can_be_reported(tmp_path: Path) -> None:
    done = shell(READ_ONLY, WORK=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, report, error, code = done.stdout.splitlines()
    assert report == "report: 1 campaigns, 5 cases, 0 findings written; exit 0"
    assert error.startswith(f"midfolio: cannot write {tmp_path}/w: Read-only file system")
    assert code == "exit 2"


FULL = """
mkdir $WORK/w
mount -t tmpfs -o size=$SIZE none $WORK/w
set +e
midfolio fuzz --arch x86_64 --target zoo:first-page-is-folio-head --per-class 1000 --work $WORK/w --time 60
echo exit $?
ls -A $WORK/w $WORK/w/findings 2>&1 | grep '^[.].' && echo left over
set -e
mount -o remount,size=9m $WORK/w
midfolio report --work $WORK/w --quiet || test $? = $REPORT
midfolio fuzz --arch x86_64 --target zoo:first-page-is-folio-head --per-class 1 --work $WORK/w --time 0.1 --quiet ||
    test $? = 1
"""


@needs_mount
@pytest.mark.parametrize(("size", "report"), [("64k", 5), ("160k", 0)])
def test_a_full_disk_is_8_and_nothing_is_torn(tmp_path: Path, size: str, report: int) -> None:
    """There is not even room for the tables; and there is for some findings."""
    done = shell(FULL, WORK=tmp_path, SIZE=size, REPORT=report)
    assert done.returncode == 0, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("midfolio: cannot")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("midfolio: cannot write ")
    assert "what was written before is whole" in errors[0]
    assert "exit 8\n" in done.stdout
    assert "left over" not in done.stdout
    # It goes on where there is room again.
    assert ("report: 1 campaigns, " in done.stdout) == (report == 0)
    assert done.stdout.splitlines()[-1].startswith("fuzz: ")


FULL_FOR_ALL = """
mount -t tmpfs -o size=32k none $WORK
head -c 32768 /dev/zero >$WORK/fill
set +e
for verb in 'shrink corpus/mutants/stale-nr.case -o $WORK/out' 'cmin corpus/regressions -o $WORK/out' \
    'merge $WORK/out corpus/regressions'; do
    eval midfolio $verb
    echo exit $?
    rmdir $WORK/out # of merge, empty
    ls -A $WORK
done
mount -o remount,ro $WORK
midfolio shrink corpus/mutants/stale-nr.case -o $WORK/out
echo exit $?
"""


@needs_mount
def test_a_full_disk_is_one_line_of_each_verb_that_writes_files(tmp_path: Path) -> None:
    """They name the file that was asked for, and leave nothing beside it."""
    done = shell(FULL_FOR_ALL, WORK=tmp_path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("midfolio: ")]
    full = "No space left on device"
    assert errors[:2] == [f"midfolio: cannot write {tmp_path}/out: {full}"] * 2
    assert errors[2].startswith(f"midfolio: cannot write {tmp_path}/out/")
    assert errors[2].endswith(f".case: {full}")
    assert errors[3:] == [f"midfolio: {tmp_path}/out: Read-only file system"]
    seen = [line for line in done.stdout.splitlines() if line.startswith("exit ") or line == "fill"]
    assert seen == ["exit 8", "fill"] * 3 + ["exit 2"]
    assert not [line for line in done.stdout.splitlines() if line.startswith(".")]


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("fuzz", "--help"), ("replay", "corpus/regressions"), ("zoo", "--list")],
)
def test_an_output_that_cannot_be_written_is_8(arguments: tuple[str, ...]) -> None:
    """Not 1, as of a traceback, nor 120, as of a Python that could not flush: README has neither."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.cli", *arguments],
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert_one_line(done, 8, "cannot write the output: No space left on device")


def limited(size: int) -> Callable[[], None]:
    """Let no file of the process that calls the result grow beyond `size` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_that_must_not_grow_is_8(tmp_path: Path) -> None:
    work = ("--work", str(tmp_path / "work"))
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.cli", *FUZZ, *work, "--seed", "3", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "MIDFOLIO_MODE": "interpreted"},
        preexec_fn=limited(50_000),
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(done, 8, "cannot write ", "campaigns.sqlite", "is whole")
    done = midfolio(*FUZZ, *work, "--cases", "5")
    assert done.returncode in (0, 1), done.stderr


def test_a_campaign_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """See the module that it starts: fifty kills at random moments."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed_campaigns", "50", str(tmp_path)],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "MIDFOLIO_FINDINGS"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 50
    assert min(found["shown"], found["worked"], found["entries"]) >= 10
