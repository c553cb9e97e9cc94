"""Debian's packages, through apt with a configuration and a state of its own.

The machine's apt is asked where its archive is and how it gets there, and is
otherwise left alone: lists, downloads and locks are below one directory.
"""

import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..lane import LaneMissing

# These have all kernels since 6.12, and a Python for the guest.
SUITES = ("trixie", "trixie-backports")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Lists older than that are fetched anew: new kernels come every week or two.
STALE_SECONDS = 24 * 3600
# Each takes the name of an archive's suite in the sources of a Debian machine.
_OWN_SUITE = re.compile(r"^VERSION_CODENAME=\"?(\w+)", re.MULTILINE)
# What apt puts in for each index of packages in the machine's sources.
_TARGET_FORMAT = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
_ROLLING = {"stable", "testing", "unstable", "sid", *SUITES}


def require_tools() -> None:
    """LaneMissing unless apt and dpkg are here."""
    for tool in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LaneMissing(
                f"{tool} is not installed: fetching a kernel needs a Debian machine; "
                f"elsewhere give --kernel the path of a kernel image"
            )


def archive_of(targets: str, os_release: str) -> str:
    """The URI of Debian's archive, from lines `URI|suite|component` of apt's own sources.

    LaneMissing if there is none: the machine is not a Debian, or its sources are elsewhere.
    """
    own = _OWN_SUITE.search(os_release)
    suites = _ROLLING | ({own[1]} if own and re.search(r"^ID=debian$", os_release, re.M) else set())
    for line in targets.splitlines():
        uri, suite, component = line.split("|")
        if suite in suites and component == "main":
            return uri
    raise LaneMissing("this machine's apt sources name no archive of Debian's main component")


def acquire_settings(dump: str) -> str:
    """What `apt-config dump` says about how to fetch: proxies, time-outs, dates; not what to fetch."""
    kept = (
        line
        for line in dump.splitlines()
        if line.startswith("Acquire::") and not line.startswith("Acquire::IndexTargets")
    )
    return "".join(f"{line}\n" for line in kept)


class Archive:
    """Debian's packages for one architecture, with apt's state in `directory`."""

    def __init__(self, directory: Path, debian_arch: str) -> None:
        """Nothing is fetched yet. `debian_arch` is Debian's name: amd64, arm64."""
        self.directory = directory.resolve()
        self.arch = debian_arch
        self.note = ""

    def packages(self, pattern: str) -> str:
        """The text of the Packages files about packages whose name `pattern` matches.

        Fetches the lists if they are absent or old; LaneMissing if there are none and
        none can be fetched. Old ones are better than none: `note` says so.
        """
        self._configure()
        self._refresh()
        names = [
            name
            for name in self._apt("apt-cache", "pkgnames", "linux-").split()
            if re.fullmatch(pattern, name)
        ]
        return self._apt("apt-cache", "show", "--no-all-versions", *sorted(names)) if names else ""

    def download(self, package: str, version: str) -> Path:
        """The .deb of `package`, fetched and checked by apt."""
        place = self.directory / "debs"
        place.mkdir(parents=True, exist_ok=True)
        self._apt("apt-get", "-q", "download", f"{package}={version}", cwd=place)
        found = sorted(place.glob(f"{package}_*.deb"))
        if not found:
            raise LaneMissing(f"apt-get did not download {package} {version}")
        return found[-1]

    def download_closure(self, packages: tuple[str, ...]) -> list[Path]:
        """The .debs of `packages` and of all that they depend on."""
        self._configure()
        self._refresh()
        archives = self.directory / "cache" / "archives"
        self._apt("apt-get", "-q", "clean")
        self._apt(
            "apt-get",
            "-q",
            "-y",
            "--download-only",
            "--no-install-recommends",
            "install",
            *packages,
        )
        return sorted(archives.glob("*.deb"))

    def _configure(self) -> None:
        require_tools()
        root = self.directory
        for folder in ("lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        targets = _run(
            ["apt-get", "indextargets", "--format", _TARGET_FORMAT, "Created-By: Packages"]
        )
        uri = archive_of(targets, Path("/etc/os-release").read_text())
        signed_by = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
        (root / "status").touch()
        (root / "debian.sources").write_text(
            f"Types: deb\nURIs: {uri}\nSuites: {' '.join(SUITES)}\nComponents: main\n"
            f"Architectures: {self.arch}\n{signed_by}"
        )
        settings = {
            "Dir::Etc::Parts": "/dev/null",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::sourcelist": root / "debian.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": root,
            "Dir::State::lists": root / "lists",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Log": root,
            "APT::Architecture": self.arch,
            # Its own user may not enter the directory.
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
        }
        own = "".join(f'{name} "{value}";\n' for name, value in settings.items())
        text = acquire_settings(_run(["apt-config", "dump"])) + own
        text += f'APT::Architectures {{ "{self.arch}"; }};\n'
        (root / "apt.conf").write_text(text)

    def _refresh(self) -> None:
        stamp = self.directory / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < STALE_SECONDS:
            return
        try:
            self._apt("apt-get", "-q", "update")
        except LaneMissing as error:
            if not stamp.exists():
                raise
            self.note = f"the lists of packages are old: {error}"
            return
        stamp.touch()

    def _apt(self, *command: str, cwd: Path | None = None) -> str:
        return _run(list(command), APT_CONFIG=str(self.directory / "apt.conf"), cwd=cwd)


def _run(command: list[str], cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LaneMissing(
            f"{' '.join(command[:3])} failed: {_complaint(done.stderr + done.stdout)}"
        )
    return done.stdout


def _complaint(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # Warnings may be about anything; errors, by their mark, are what ended it.
    errors = [line for mark in ("E:", "Err:", "W:") for line in lines if line.startswith(mark)]
    return (errors or lines or ["it said nothing"])[0]


def members(deb: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Path and content of the regular files of package `deb` that `wanted` matches."""
    # Who has what was wanted stops reading, and dpkg-deb would complain.
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", deb],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = member.name.removeprefix("./")
            content = archive.extractfile(member) if wanted.fullmatch(path) else None
            if content is not None and member.isreg():
                yield path, content.read()
    if process.returncode:
        raise LaneMissing(f"dpkg-deb cannot read {deb.name}")


def unpack(deb: Path, place: Path) -> None:
    """Unpack all of package `deb` into the folder `place`."""
    _run(["dpkg-deb", "-x", str(deb), str(place)])
