"""`midfolio vm` as far as no guest is needed: which kernel, how it is fetched and booted, what is missing.

`tests/test_vm_guest.py` has what goes into a guest, and `tests/vm_boots.py` boots some.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.verbs.vm import exit_code, record
from harness.case import CaseError
from harness.lane import LaneMissing
from harness.vm import boot, debian, init, kernel, machine, session
from harness.vm.report import BadReport, Report
from harness.vm.selection import check_spec, kernels, newest

from .guests import SENT, tool

ROOT = Path(__file__).resolve().parent.parent
FLAVOUR = "cloud-amd64"

# Cut down from Debian's, in an order of its own.
PACKAGES = """\
Package: linux-image-6.18.9+deb13-cloud-amd64
Source: linux-signed-amd64 (6.18.9+1~bpo13+1)
Version: 6.18.9-1~bpo13+1
Description: Linux 6.18 for x86-64 cloud
 Package: linux-image-9.9.9-cloud-amd64
 Version: 9

Package: linux-image-6.12.117+deb13-cloud-amd64
Version: 6.12.117-1

Package: linux-image-6.12.107+deb13-cloud-amd64
Version: 6.12.107-1

Package: linux-image-6.12.117+deb13-cloud-amd64-dbg
Version: 6.12.117-1

Package: linux-image-6.12.117+deb13-cloud-amd64-unsigned
Version: 6.12.117-1

Package: linux-image-6.12.118+deb13-amd64
Version: 6.12.118-1

Package: linux-image-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1

Package: linux-binary-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1

Package: linux-binary-unsigned-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1

Package: linux-image-cloud-amd64
Version: 6.12.117-1
"""


# Which kernel.


def test_kernels_are_those_of_the_flavour_in_order() -> None:
    found = kernels(PACKAGES, FLAVOUR)
    assert [k.version_text for k in found] == ["6.12.107", "6.12.117", "6.18.9", "7.3.4"]
    assert found[1].release == "6.12.117+deb13-cloud-amd64"
    assert found[2].version == "6.18.9-1~bpo13+1"
    # The image's package has been empty since 6.19.
    assert found[3].package == "linux-binary-7.3.4+deb13-cloud-amd64"
    assert kernels(PACKAGES.replace("linux-binary-7", "linux-x-7"), FLAVOUR)[3].package == (
        "linux-image-7.3.4+deb13-cloud-amd64"
    )


@pytest.mark.parametrize(
    ("spec", "version"),
    [("6.12", "6.12.117"), ("6.12.107", "6.12.107"), ("6", "6.18.9"), ("7", "7.3.4")],
)
def test_the_newest_that_begins_so_is_chosen(spec: str, version: str) -> None:
    assert newest(kernels(PACKAGES, FLAVOUR), spec, FLAVOUR).version_text == version


@pytest.mark.parametrize("spec", ["6.1", "6.12.1", "5.4", "8"])
def test_an_unknown_version_names_those_found(spec: str) -> None:
    with pytest.raises(
        CaseError, match=rf"no kernel {spec} .*found 6\.12\.117, 6\.18\.9, 7\.3\.4$"
    ):
        newest(kernels(PACKAGES, FLAVOUR), spec, FLAVOUR)


@pytest.mark.parametrize(
    "spec", ["", "six", "6.x", "6.12 ", "v6.12", "6.12;reboot", "-6", "7.3.4.1"]
)
def test_what_is_no_version_is_refused(spec: str) -> None:
    with pytest.raises(CaseError, match="expected a version as"):
        check_spec(spec)


def test_an_image_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(b"x")
    board = machine.MACHINES["x86_64"]
    archive = debian.Archive(tmp_path / "apt", "amd64")
    assert kernel.find(str(image), board, archive, tmp_path / "kernels").path == image
    with pytest.raises(CaseError, match="no such file; expected a kernel image"):
        kernel.find(str(tmp_path / "none"), board, archive, tmp_path / "kernels")
    assert sorted(tmp_path.iterdir()) == [image]


# Debian's archive.


DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'


def test_the_archive_is_that_of_the_machine() -> None:
    targets = "https://x.test/apt/|cloud-bookworm|main\nhttp://x.test/sec|bookworm-security|main\n"
    mirror = "http://mirror.test/debian/|bookworm|contrib\nhttp://mirror.test/deb/|bookworm|main\n"
    assert debian.archive_of(targets + mirror, DEBIAN) == "http://mirror.test/deb/"
    assert debian.archive_of("http://x.test/d|sid|main\n", DEBIAN) == "http://x.test/d"
    # A codename of another distribution is none of Debian's.
    for os_release in (DEBIAN.replace("ID=debian", "ID=devuan"), ""):
        with pytest.raises(LaneMissing, match="no archive of Debian"):
            debian.archive_of(targets + mirror, os_release)


def test_how_to_fetch_is_taken_over_and_what_is_not() -> None:
    dump = (
        'APT::Update::Post-Invoke:: "rm x";\nAcquire::http::Proxy "http://p.test";\n'
        'Acquire::IndexTargets::deb::Contents::X "y";\nDir::State "/var/lib/apt";\n'
    )
    assert debian.acquire_settings(dump) == 'Acquire::http::Proxy "http://p.test";\n'


def fake_apt(folder: Path, update: str) -> None:
    """An apt whose update does as told, and which has one kernel in its lists."""
    uri = "http://mirror.test/debian/|sid|main"
    tool(folder, "apt-get", f'case "$*" in indextargets*) echo "{uri}";; *update) {update};; esac')
    tool(folder, "apt-config", "echo 'Acquire::Retries \"3\";'")
    tool(
        folder,
        "apt-cache",
        'echo "$APT_CONFIG" >> "$0.log"\n'
        'case "$1" in pkgnames) echo linux-image-6.12.117+deb13-cloud-amd64; echo linux-doc;;\n'
        'show) shift 2; for p in "$@"; do printf "Package: %s\\nVersion: 1\\n\\n" $p; done;; esac',
    )
    tool(folder, "dpkg-deb", "exit 1")


NAMES = "linux-image-.*-cloud-amd64"


def test_apt_has_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path / "bin", "true")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    archive = debian.Archive(tmp_path / "apt", "amd64")
    assert [k.version_text for k in kernels(archive.packages(NAMES), FLAVOUR)] == ["6.12.117"]
    configured = set((tmp_path / "bin" / "apt-cache.log").read_text().split())
    assert configured == {str(tmp_path / "apt" / "apt.conf")}
    text = (tmp_path / "apt" / "apt.conf").read_text()
    assert 'Acquire::Retries "3";' in text
    # Nothing that apt writes or reads is the machine's, but for its keys.
    for name in ("Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache"):
        assert re.search(rf'^{name} "{re.escape(str(tmp_path))}/apt', text, re.MULTILINE), name
    for name in ("Parts", "main", "sourceparts", "preferences", "preferencesparts"):
        assert f'Dir::Etc::{name} "/dev/null";' in text
    sources = (tmp_path / "apt" / "debian.sources").read_text()
    assert "URIs: http://mirror.test/debian/\n" in sources
    assert "Architectures: amd64\n" in sources


def test_without_a_network_old_lists_serve_and_no_lists_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path / "bin", "echo 'E: Failed to fetch x' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    archive = debian.Archive(tmp_path / "apt", "amd64")
    with pytest.raises(LaneMissing, match="apt-get -q update failed: E: Failed to fetch x"):
        archive.packages(NAMES)
    stamp = tmp_path / "apt" / "updated"
    stamp.touch()
    # They are new enough to be taken without asking.
    assert archive.packages(NAMES) != ""
    assert archive.note == ""
    os.utime(stamp, (0, 0))
    assert archive.packages(NAMES) != ""
    assert "lists of packages are old: apt-get -q update failed" in archive.note


@pytest.mark.parametrize("missing", ["apt-get", "apt-cache", "apt-config", "dpkg-deb"])
def test_a_machine_that_is_no_debian_says_so(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path / "bin", "true")
    (tmp_path / "bin" / missing).unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(LaneMissing, match=f"{missing} is not installed"):
        debian.Archive(tmp_path / "apt", "amd64").packages(NAMES)
    assert not (tmp_path / "apt").exists()


# Booting: a script takes qemu's place.


def guest(tmp_path: Path, script: str) -> boot.Guest:
    tool(tmp_path / "bin", "qemu-system-x86_64", script)
    return boot.Guest(machine.MACHINES["x86_64"], Path("/k"), Path("/i"), None)


def test_a_run_keeps_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said").write_text(init.frame(SENT))
    booted = guest(tmp_path, f'echo "$@" > {tmp_path}/arguments\necho early\ncat {tmp_path}/said')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    heard: list[str] = []
    report = boot.run(booted, tmp_path / "run", 30, heard.append)
    assert report._asdict() == SENT
    logs = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()}
    assert logs.pop("console.log").startswith("early\n")
    assert logs == {"kernel.log": "log", "stdout.txt": "x" * 500, "stderr.txt": ""}
    arguments = (tmp_path / "arguments").read_text()
    for part in ("-accel tcg", "-no-reboot", "-serial stdio", "-kernel /k", "-initrd /i"):
        assert part in arguments
    assert "console=ttyS0" in arguments


def test_a_guest_that_hangs_is_ended_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted = guest(tmp_path, f"echo $$ > {tmp_path}/pid\necho {init.STARTED}\nexec sleep 600")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(BadReport, match=r"not done within 0.5 s, so ended; .*no report"):
        boot.run(booted, tmp_path / "run", 0.5)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert init.STARTED in (tmp_path / "run" / "console.log").read_text()


def test_old_runs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "KEPT_RUNS", 3)
    for number in range(5):
        # The last one still runs: it is this process.
        pid = os.getpid() if number == 4 else 1 << 30
        (tmp_path / f"2000010{number}-0-{pid}-run" / boot.IMAGES).mkdir(parents=True)
    new = boot.new_folder(tmp_path, "6.12")
    kept = sorted(tmp_path.iterdir())
    assert [path.name[:8] for path in kept[:2]] == ["20000103", "20000104"]
    assert kept[2:] == [new]
    # A killed run leaves a hundred megabytes.
    assert [(path / boot.IMAGES).exists() for path in kept] == [False, True, False]


def test_only_case_files_come_out_of_a_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDFOLIO_FINDINGS", str(tmp_path / "findings"))
    files = {"a.case": "1", "../b.case": "2", "/c.case": "3", "d.py": "4", "x/e.case": "5"}
    assert session.copy_findings(files) == (tmp_path / "findings" / "a.case",)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.case"]


def test_the_running_python_fits_its_own_architecture_only() -> None:
    own = machine.own_arch()
    for board in machine.MACHINES.values():
        fits = board.arch == own
        assert session.python_for(board, None) == ("own" if fits else "debian")
        assert session.python_for(board, "debian") == "debian"
        if not fits:
            with pytest.raises(CaseError, match="expected --python debian"):
                session.python_for(board, "own")


# The command.


def midfolio(*arguments: str, path: str, work: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fuzz.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "MIDFOLIO_VM": str(work)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 4, "qemu-system-x86_64 is not installed; on Debian: apt-get install qemu-system-x86"),
        (("--arch", "arm64"), 4, "on Debian: apt-get install qemu-system-arm"),
        (("--arch", "powerpc"), 2, "powerpc"),
        (("--time", "0"), 2, "--time"),
    ],
)
def test_without_qemu_or_sense_one_line_and_nothing_changed(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    place = tmp_path / "none"
    words = ("vm", "--kernel", "6.12", *(arguments or ("--arch", "x86_64")))
    done = midfolio(*words, path=str(place), work=tmp_path / "vm")
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kernel_spec", "update", "code", "said"),
    [
        (
            "6.12",
            "echo 'W: odd' >&2; echo 'E: no route' >&2; exit 100",
            4,
            "apt-get -q update failed: E: no route",
        ),
        ("5.4", "true", 2, "no kernel 5.4 among Debian's cloud-amd64 packages; found 6.12.117"),
        ("six", "true", 2, "unknown kernel 'six'; expected a version"),
        ("./none", "true", 2, "./none: no such file"),
    ],
)
def test_without_network_or_kernel_one_line(
    kernel_spec: str, update: str, code: int, said: str, tmp_path: Path
) -> None:
    fake_apt(tmp_path / "bin", update)
    tool(tmp_path / "bin", "qemu-system-x86_64", "exit 9")
    words = ("vm", "--kernel", kernel_spec, "--arch", "x86_64")
    done = midfolio(*words, path=f"{tmp_path}/bin:/usr/bin:/bin", work=tmp_path / "vm")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def fake_guest(tmp_path: Path, sent: dict[str, object]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command on a guest that sends `sent`."""
    (tmp_path / "said").write_text(init.frame(sent))
    tool(tmp_path / "bin", "qemu-system-x86_64", f"cat {tmp_path}/said")
    (tmp_path / "image").write_bytes(b"")
    words = ("vm", "--kernel", str(tmp_path / "image"), "--arch", "x86_64", "--quiet")
    done = midfolio(*words, path=f"{tmp_path}/bin:/usr/bin:/bin", work=tmp_path / "vm")
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(machine.own_arch() != "x86_64", reason="the running Python is of another one")
def test_the_exit_code_is_that_of_the_guest(tmp_path: Path) -> None:
    sent = {**SENT, "stdout": "live: done\n", "stderr": "midfolio: told\n"}
    code, out, err = fake_guest(tmp_path, sent)
    assert (code, err) == (0, "midfolio: told\n")
    assert out.startswith("live: done\nvm: 6.12 x86_64: booted in 1 s, ran 2 s, live ended with 0;")
    # Nothing heavy stays: an initramfs has a hundred megabytes.
    kept = [path for path in (tmp_path / "vm").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 100_000


def test_json_has_what_live_said() -> None:
    report = Report(**{**SENT, "exit_code": 1, "stdout": '{"n": 7}'})
    found = record(session.Session("6.12", "", Path("x"), report, (Path("a.case"),)), "x86_64")
    assert (found["live"], found["exit"], found["findings"]) == ({"n": 7}, 1, ["a.case"])
    assert json.loads(json.dumps(found)) == found
    none = session.Session("6.12", "", Path("x"), report._replace(stdout="half {"), ())
    assert record(none, "x86_64")["live"] is None


@pytest.mark.parametrize(
    ("sent", "printed", "code"),
    [
        (0, "live: done", 0),
        (1, "live: a divergence", 1),
        (6, "live: missed", 6),
        # A Python that does not come up ends with 1, too, and that is no divergence.
        (1, "", 8),
        (-11, "live: half", 8),
        (120, "live: half", 8),
    ],
)
def test_an_exit_code_that_is_none_of_ours_is_an_internal_error(
    sent: int, printed: str, code: int
) -> None:
    report = Report(**{**SENT, "exit_code": sent, "stdout": printed})
    assert exit_code(session.Session("6.12", "", Path("x"), report, ())) == code
