"""Programs of another Debian release than this machine's, unpacked into the cache: nothing is installed, nobody need be root."""

import os
import shutil
import subprocess
from pathlib import Path

from holdfast.stack.errors import MissingProgramError
from holdfast.stack.files import last_lines, locked
from holdfast.stack.home import Home

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("apt-get", "dpkg-deb")


def unpacked(home: Home, suite: str, package: str) -> Path:
    """The folder in which a package of `suite` and all that it depends on lie as in a root folder; fetched when not there yet.

    Raises MissingProgramError where there are no Debian packages to be had.
    """
    folder = home.cache / f"{package}-{suite}"
    with locked(home.cache / f"{package}-{suite}.lock"):
        if not folder.exists():
            _fetch(folder, suite, package, home.log(f"{package}-{suite}"))
    return folder


def command(root: Path, program: str) -> list[str]:
    """The words that run a program of an unpacked folder with the libraries beside it, not with this machine's."""
    (loader,) = sorted(root.glob("usr/lib*/ld-linux-*.so.*"))[:1] or [root]
    libraries = sorted(str(folder) for folder in root.glob("usr/lib/*-linux-gnu"))
    return [str(loader), "--library-path", os.pathsep.join(libraries), str(root / program)]


def _fetch(folder: Path, suite: str, package: str, log: Path) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None] + ([] if KEYRING.exists() else [str(KEYRING)])
    if missing:
        raise MissingProgramError(f"{package} of Debian {suite} cannot be had here: {', '.join(missing)} is missing")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    apt = _apt(partial / "apt", suite)
    with log.open("w") as output:
        for words in (["update"], ["install", "--yes", "--download-only", package]):
            if subprocess.run([*apt, *words], check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL).returncode:
                raise MissingProgramError(f"{package} of Debian {suite} cannot be fetched ({log}):\n{last_lines(log, 5)}")
        for archive in sorted((partial / "apt").glob("var/cache/apt/archives/*.deb")):
            subprocess.run(["dpkg-deb", "-x", archive, partial], check=True, stdout=output, stderr=output)
    shutil.rmtree(partial / "apt")
    partial.rename(folder)


def _apt(root: Path, suite: str) -> list[str]:
    """apt-get over a state of its own, in which nothing is installed: so it fetches every dependency, too."""
    for each in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"):
        (root / each).mkdir(parents=True)
    status = root / "var/lib/dpkg/status"
    status.touch()
    (root / "etc/apt/sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    own = {"Dir": str(root), "Dir::State::status": str(status), "Acquire::Languages": "none", "APT::Install-Recommends": "false"}
    # Root would hand the download to a user that may not write here.
    own |= {"APT::Sandbox::User": "root"} if os.geteuid() == 0 else {}
    return ["apt-get", "-q", *(f"-o{name}={value}" for name, value in own.items())]


def _mirror() -> str:
    """The archive that this machine takes Debian's own packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian", "Component: main", "Label: Debian"]
    sites = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.split()
    if not sites:
        raise MissingProgramError("this machine takes no packages from a Debian archive: run `apt-get update` on a Debian system")
    return sites[0]
