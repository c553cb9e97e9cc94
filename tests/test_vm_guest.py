"""What a guest is made of and what it sends: the archive that its kernel unpacks, and its report."""

import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.lane import LaneMissing
from harness.vm import cpio, init, initramfs, userland
from harness.vm.report import BadReport, parse

from .guests import SENT, tool

ROOT = Path(__file__).resolve().parent.parent


# The archive that a kernel unpacks.


def entries_of(packed: bytes) -> dict[str, cpio.Entry]:
    return {entry.path: entry for entry in cpio.read(io.BytesIO(packed))}


def packed(*entries: cpio.Entry) -> bytes:
    out = io.BytesIO()
    assert cpio.write(out, entries) == len(out.getvalue())
    return out.getvalue()


EVERY_KIND = (
    cpio.file("b/c/run", b"abc", executable=True),
    cpio.file("a", b""),
    cpio.link("b/link", "../a"),
    cpio.folder("empty"),
    cpio.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
    cpio.Entry("time", stat.S_IFREG | 0o644, b"12345", mtime=1_700_000_000),
)


def test_what_is_written_is_read() -> None:
    found = entries_of(packed(*EVERY_KIND))
    assert {path: found[path] for path in sorted(found) if path not in ("b", "b/c", "dev")} == {
        entry.path: entry for entry in EVERY_KIND
    }
    # A kernel unpacks nothing into a folder that does not come before.
    assert list(found) == sorted(found)
    for path in ("b", "b/c", "dev"):
        assert stat.S_ISDIR(found[path].mode)
    # A later entry of a path wins, so that a layer can replace what is below.
    assert entries_of(packed(cpio.file("a", b"1"), cpio.file("a", b"2")))["a"].read() == b"2"


def test_cpio_reads_it(tmp_path: Path) -> None:
    """Another reader, where there is one: ours could be wrong in the way of our writer."""
    try:
        done = subprocess.run(
            ["cpio", "-i", "--quiet", "-d", "-m"],
            input=packed(*(e for e in EVERY_KIND if not stat.S_ISCHR(e.mode))),
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("cpio is not installed: apt-get install cpio")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "b" / "c" / "run").read_bytes() == b"abc"
    assert os.access(tmp_path / "b" / "c" / "run", os.X_OK)
    assert (tmp_path / "b" / "link").readlink() == Path("../a")
    assert (tmp_path / "time").stat().st_mtime == 1_700_000_000
    assert (tmp_path / "empty").is_dir()


@pytest.mark.parametrize("at", [0, 50, 110, 300])
def test_a_cut_archive_is_refused(at: int) -> None:
    with pytest.raises(ValueError, match=r"no newc header|ends early"):
        list(cpio.read(io.BytesIO(packed(*EVERY_KIND)[:at])))


# What is in it.


def test_the_running_python_comes_with_what_it_links() -> None:
    """Nothing but the guest can start it, but every library that it links must be there."""
    land = userland.own()
    paths = {f"/{entry.path}" for entry in land.entries}
    assert land.python in paths
    assert Path(land.python).is_absolute()
    links = subprocess.run(["ldd", land.python], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"(/\S+) \(0x", links)
    assert needed
    assert [path for path in needed if path not in paths] == []
    assert f"/{userland.SITE}/numpy/__init__.py" in paths
    assert f"/{userland.SITE}/click/__init__.py" in paths
    assert any(path.endswith("/json/__init__.py") for path in paths)
    # Half of a Python's size is what no guest runs.
    unused = {p for p in paths if "/test/" in p or "/tests/" in p or "/idlelib/" in p}
    assert unused == set()
    assert not any(path.startswith(f"/{userland.SITE}/numba/") for path in paths)
    assert all(entry.path[0] != "/" for entry in land.entries)


def test_a_python_that_misses_a_library_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, "ldd", "echo '	libgone.so.1 => not found'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LaneMissing, match=r"does not find its own libgone\.so\.1"):
        userland.linked([Path(sys.executable)])
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(LaneMissing, match="ldd is not installed; --python debian"):
        userland.linked([Path(sys.executable)])


LAND = userland.Userland("/usr/bin/python3", {"PYTHONPATH": "/site"}, [cpio.file("site/x", b"")])


def test_an_initramfs_has_the_first_process_and_its_orders(tmp_path: Path) -> None:
    path = tmp_path / "initramfs"
    size = initramfs.build(path, LAND, ["live", "--time=5"], disk=True)
    assert path.stat().st_size == size
    found = entries_of(path.read_bytes())
    assert found["init"].read().startswith(b"#!/usr/bin/python3 -I\n")
    assert found["init"].mode & 0o111
    assert found["dev/console"].device == (5, 1)
    assert "site/x" in found
    orders = json.loads(found[str(init.ORDERS)[1:]].read())
    assert orders["command"] == ["/usr/bin/python3", "-m", "fuzz.cli", "live", "--time=5"]
    assert orders["environment"]["PYTHONPATH"] == "/midfolio:/site"
    assert orders["environment"]["MIDFOLIO_MODE"] == "interpreted"
    # On the disk, else findings would share the memory with what is measured.
    assert orders["files"].startswith(orders["disk"] + "/")
    # All sources, and not the compiled files of another Python.
    for package in ("mm", "reference", "batched", "harness", "fuzz"):
        for source in (ROOT / package).rglob("*.py"):
            assert f"midfolio/{source.relative_to(ROOT)}" in found
    assert not any(name.endswith(".pyc") for name in found)


def test_the_sources_run_from_the_archive(tmp_path: Path) -> None:
    """Unpacked, without this checkout, without numba: a verb does its work, from compiled files."""
    for entry in initramfs.sources(compiled=True):
        place = tmp_path / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(entry.read())
    there = tmp_path / initramfs.CHECKOUT
    # What was compiled is what runs: a source that is not looked at may say anything.
    (there / "fuzz" / "exits.py").write_text("raise SystemExit('not compiled')\n")
    script = (
        "import sys; sys.modules['numba'] = None; sys.argv[1:] = ['replay', 'corpus/regressions/"
        "dirty-merged.case']; from fuzz.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=there,
        env={**os.environ, "PYTHONPATH": str(there), "MIDFOLIO_MODE": "interpreted"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("replay: 1 runs, 1 as expected; exit 0\n")


# What comes back.


def report_of(script: str, tmp_path: Path) -> dict[str, object]:
    """The report of the first process's own code, about a command that is a Python script."""
    (tmp_path / "left").mkdir()
    orders = {
        "command": [sys.executable, "-c", script],
        "environment": {"GIVEN": "yes"},
        "folder": str(tmp_path),
        "files": str(tmp_path / "left"),
    }
    return init.run(orders)


def test_a_report_comes_through_a_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "import os, sys; print('out', os.environ['GIVEN'], 'ä'); print('err', file=sys.stderr)\n"
        "open('left/a.case', 'w').write('text'); open('left/.partial', 'w'); sys.exit(3)"
    )
    sent = report_of(script, tmp_path)
    # It is seen while it runs, too.
    assert "out yes ä\n" in capsys.readouterr().out
    console = "BIOS\n[ 1.0] boot\n" + init.STARTED + "\nout yes\n" + init.frame(sent) + "\n[ 9] end"
    report = parse(console.replace("\n", "\r\n"))
    assert report._asdict() == sent
    assert (report.exit_code, report.stdout, report.stderr) == (3, "out yes ä\n", "err\n")
    assert report.files == {"a.case": "text"}
    assert report.release == os.uname().release


def test_a_line_of_the_kernel_inside_the_frame_is_no_part_of_it() -> None:
    lines = init.frame(SENT).split("\n")
    lines.insert(2, "[   12.000000] clocksource: Long readout interval")
    assert parse("\n".join(lines))._asdict() == SENT


def test_of_two_reports_the_last_counts() -> None:
    """What the command itself prints could look like one."""
    fake = init.frame({**SENT, "exit_code": 9})
    assert parse(f"{fake}\n{init.frame(SENT)}\n").exit_code == 0


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ("", "the guest did not start"),
        (
            "SeaBIOS\n\x1bc\x1b[?7l\x1b[2JBooting\n\x1b[2J\n",
            "did not start; its last words: Booting$",
        ),
        (f"{init.STARTED}\nlive: 3 operations\n", "no report; its last words: live: 3 operations"),
        (
            f"x\n[ 1] Kernel panic - not syncing: oops\n{init.STARTED}\n[ 2] Rebooting\n",
            "gave up: .* Kernel panic - not syncing: oops",
        ),
        (init.frame(SENT)[:90], "in the middle of its report"),
        (re.sub("[0-9a-f]{4}$", "0000", init.frame(SENT)), "damaged: its checksum"),
        (f"{init.BEGIN}\nabc\n{init.END}abc\n", "damaged"),
        (init.frame({"exit_code": 0}), "damaged: .*missing"),
    ],
)
def test_a_guest_without_a_report_is_told_by_its_last_words(console: str, said: str) -> None:
    with pytest.raises(BadReport, match=said):
        parse(console)
