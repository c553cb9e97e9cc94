"""Settings that the live oracle changes and puts back, and what it asks the machine for first."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz import exits
from harness.lane import LaneMissing
from harness.live import probes
from harness.live.bpf import Reader
from harness.live.settings import ENDING, Settings, chosen
from mm.jit import ROOT
from tests.test_cli import midfolio

# Settings.


def a_machine(root: Path, size: str = "never", top: str = "madvise") -> Path:
    """A directory that looks like the settings of transparent huge pages."""
    thp = root / "thp"
    for name in ("hugepages-64kB", "hugepages-128kB"):
        (thp / name).mkdir(parents=True)
        (thp / name / "enabled").write_text(size)
        (thp / name / "shmem_enabled").write_text(size)
    (thp / "enabled").write_text(top)
    (root / "boot").write_text("boot-1\n")
    return thp


def settings_of(root: Path) -> Settings:
    return Settings(root / "work" / "journal.json", root / "thp", root / "boot")


def test_chosen() -> None:
    assert chosen("always inherit [madvise] never\n") == "madvise"
    assert chosen("1\n") == "1"


def test_settings_are_put_back(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    with settings_of(tmp_path) as settings:
        settings.change(thp / "enabled", "madvise")
        assert not (tmp_path / "work").exists()
        settings.change(thp / "hugepages-64kB" / "enabled", "madvise")
        assert (thp / "hugepages-64kB" / "enabled").read_text() == "madvise"
        assert json.loads((tmp_path / "work" / "journal.json").read_text())["boot"] == "boot-1"
    assert (thp / "hugepages-64kB" / "enabled").read_text() == "never"
    assert list((tmp_path / "work").iterdir()) == []


def test_settings_are_put_back_after_an_error(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    with contextlib.suppress(KeyboardInterrupt), settings_of(tmp_path) as settings:
        settings.change(thp / "enabled", "always")
        signal.raise_signal(signal.SIGINT)
    assert (thp / "enabled").read_text() == "madvise"


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.live.settings import Settings
root = Path(sys.argv[1])
settings = Settings(root / "work" / "journal.json", root / "thp", root / "boot")
for name in ("hugepages-64kB", "hugepages-128kB"):
    settings.change(root / "thp" / name / "enabled", "madvise")
os.kill(os.getpid(), signal.SIGKILL)
"""


ENDED = """
import os, signal, sys, time
from pathlib import Path
from harness.live.settings import Interrupted, Settings
root, how = Path(sys.argv[1]), sys.argv[2]
if how == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
try:
    with Settings(root / "work" / "journal.json", root / "thp", root / "boot") as settings:
        settings.change(root / "thp" / "hugepages-64kB" / "enabled", "madvise")
        if how == "fork" and os.fork() == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        if how == "fork":
            os.wait()
            print((root / "thp" / "hugepages-64kB" / "enabled").read_text())
        else:
            os.kill(os.getpid(), signal.Signals[how.replace("nohup", "SIGHUP")])
            print("went on")
except Interrupted as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("SIGTERM", "SIGTERM"),
        ("SIGHUP", "SIGHUP"),
        ("SIGINT", "SIGINT"),
        ("nohup", "went on"),
        # A child that a signal ends leaves the settings to its parent.
        ("fork", "SIGTERM\nmadvise"),
    ],
)
def test_a_signal_puts_everything_back(tmp_path: Path, how: str, says: str) -> None:
    thp = a_machine(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ENDED, str(tmp_path), how],
        cwd=ROOT,
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, says), done.stderr
    assert (thp / "hugepages-64kB" / "enabled").read_text() == "never"
    assert list((tmp_path / "work").iterdir()) == []


def test_handlers_are_as_they_were(tmp_path: Path) -> None:
    a_machine(tmp_path)
    before = [signal.getsignal(number) for number in ENDING]
    with settings_of(tmp_path):
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


def killed_run(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root)], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def test_the_next_start_undoes_what_a_killed_run_left(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    killed_run(tmp_path)
    changed = [thp / name / "enabled" for name in ("hugepages-64kB", "hugepages-128kB")]
    assert [path.read_text() for path in changed] == ["madvise", "madvise"]
    # Somebody has set one of them to something else meanwhile: that is theirs.
    changed[1].write_text("always")
    back = settings_of(tmp_path).undo_leftovers()
    assert back == [str(changed[0])]
    assert [path.read_text() for path in changed] == ["never", "always"]
    assert settings_of(tmp_path).undo_leftovers() == []
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_restart_forgot_is_not_undone(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    killed_run(tmp_path)
    (tmp_path / "boot").write_text("boot-2\n")
    assert settings_of(tmp_path).undo_leftovers() == []
    assert (thp / "hugepages-64kB" / "enabled").read_text() == "madvise"
    assert list((tmp_path / "work").iterdir()) == []


def test_one_run_at_a_time(tmp_path: Path) -> None:
    thp = a_machine(tmp_path)
    with settings_of(tmp_path) as first:
        first.change(thp / "enabled", "always")
        second = settings_of(tmp_path)
        with pytest.raises(LaneMissing, match="another run"):
            second.undo_leftovers()
        with pytest.raises(LaneMissing, match="another run"):
            second.change(thp / "enabled", "never")
        assert (thp / "enabled").read_text() == "always"


def test_a_refused_setting_is_named(tmp_path: Path) -> None:
    a_machine(tmp_path)
    with settings_of(tmp_path) as settings, pytest.raises(LaneMissing, match="cannot set"):
        settings.change(tmp_path / "thp" / "nothing", "always")


# Probes.


def test_without_the_switch_nothing_changes(tmp_path: Path) -> None:
    places = probes.Places(thp=a_machine(tmp_path))
    with (
        settings_of(tmp_path) as settings,
        pytest.raises(LaneMissing, match=r"2 settings keep .*enabled.*--allow-sysfs"),
    ):
        probes.need_large_folios(places, settings, ("anon",), allowed=False)
    assert {path.read_text() for path in (tmp_path / "thp").rglob("*enabled")} == {
        "never",
        "madvise",
    }
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("anon", "enabled", "madvise"), ("shmem", "shmem_enabled", "advise")],
)
def test_with_the_switch_each_size_is_on(tmp_path: Path, kind: str, name: str, value: str) -> None:
    thp = a_machine(tmp_path, top="never")
    places = probes.Places(thp=thp)
    with settings_of(tmp_path) as settings:
        probes.need_large_folios(places, settings, (kind,), allowed=True)
        assert {path.read_text() for path in thp.glob(f"*/{name}")} == {value}
        assert (thp / "enabled").read_text() == ("madvise" if kind == "anon" else "never")
    assert {path.read_text() for path in thp.glob(f"*/{name}")} == {"never"}
    assert (thp / "enabled").read_text() == "never"


def test_what_is_on_already_needs_no_switch(tmp_path: Path) -> None:
    places = probes.Places(thp=a_machine(tmp_path, size="always"))
    with settings_of(tmp_path) as settings:
        probes.need_large_folios(places, settings, ("anon", "uffd", "shmem"), allowed=False)
    assert not (tmp_path / "work").exists()


def test_files_need_no_setting(tmp_path: Path) -> None:
    with settings_of(tmp_path) as settings:
        probes.need_large_folios(
            probes.Places(thp=tmp_path / "no"), settings, ("file",), allowed=False
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"euid": lambda: 1000}, "not root"),
        ({"machine": lambda: "riscv64"}, "x86_64 and aarch64, not riscv64"),
        ({"release": lambda: "5.15.0-generic"}, "older than all that are modelled"),
        ({"release": lambda: "unknown"}, "is no version"),
        ({"btf": Path("/nonexistent/vmlinux")}, "no BTF: /nonexistent/vmlinux"),
    ],
)
def test_each_absence_is_one_line(change: dict[str, Any], says: str) -> None:
    places = probes.Places(**{"euid": lambda: 0, "machine": lambda: "x86_64", **change})
    with pytest.raises(LaneMissing, match=says) as caught:
        probes.probe(places, ("anon",))
    assert "\n" not in str(caught.value)


def test_without_large_folios_at_all(tmp_path: Path) -> None:
    with settings_of(tmp_path) as settings:
        with pytest.raises(LaneMissing, match="CONFIG_TRANSPARENT_HUGEPAGE"):
            probes.need_large_folios(probes.Places(thp=tmp_path), settings, ("anon",), allowed=True)
        (tmp_path / "enabled").write_text("madvise")
        with pytest.raises(LaneMissing, match="no large folios below 2 MiB"):
            probes.need_large_folios(probes.Places(thp=tmp_path), settings, ("anon",), allowed=True)


def test_without_bpf() -> None:
    with pytest.raises(LaneMissing, match=r"bpf\(2\) refuses a map: this kernel has none"):
        Reader(100_000)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.12.107", "6.12"),
        ("6.16.3+deb14-amd64", "6.16"),
        ("6.18.44-fc", "6.18"),
        ("7.2.13", "6.18"),
        ("7.3.4", "7.3"),
        ("10.1", "7.3"),
    ],
)
def test_a_kernel_is_modelled_by_the_newest_that_is_not_newer(release: str, version: str) -> None:
    assert probes.modelled(release) == version


def test_the_verb_says_what_lacks(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from fuzz.commands import group

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    places = probes.Places(euid=lambda: 1000)
    monkeypatch.setattr(probes, "Places", lambda: places)
    assert group.main(["live"], standalone_mode=False) == exits.LANE_MISSING
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("midfolio: live: not root")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--kind", "swap"), "'swap' is not one of"),
        (("--ops", "0"), "--ops"),
        (("x",), "x"),
        (("--against", "batched", "--target", "batched"), "give one of them"),
        (("--target", "zoo:nothing-known"), "unknown mutant"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], says: str) -> None:
    done = midfolio("live", *arguments)
    assert done.returncode == exits.BAD_INPUT
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
