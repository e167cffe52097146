"""Root file systems out of Debian's packages, fetched and unpacked by the current user and nobody else.

apt fetches them with a state of its own, so that nothing of the system's is touched: its mirror, proxies and checks of
signatures are the user's. Packages are unpacked and not installed: their scripts do not run.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edgelnn.errors import ProfileError

__all__ = ["RELEASE", "fetch_packages", "mirror", "missing_tools", "unpack_packages"]

RELEASE: Final = "bookworm"  # Debian 12: Python 3.11, which all runtimes have builds for, and QEMU 7.2
DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS: Final = ("apt-get", "dpkg-deb", "tar")
WAITS_S: Final = (5.0, 20.0, 60.0)


def missing_tools() -> list[str]:
    """Return which programs are missing here."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def mirror() -> str:
    """Return the mirror of Debian 12 that apt is set up with here; Debian's own where it is set up with none."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(COMPONENT)"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    for line in done.stdout.splitlines():
        site, _, rest = line.partition("|")
        if rest == f"{RELEASE}|main":
            return site
    return DEFAULT_MIRROR


def fetch_packages(
    architecture: str,
    names: Sequence[str],
    folder: Path,
    tell: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Return the package files of some packages and of all that they depend on.

    Args:
        architecture: As Debian names it: ``arm64``, ``armhf`` or ``amd64``.
        names: Of packages.
        folder: For apt's state and the files; what is there already is not fetched again.
        tell: Told what is done, and of every new try: mirrors that are being brought up to date fail for a while.
        sleep: Waits for some seconds.

    Raises:
        ProfileError: apt fails, several times.
    """
    for needed in ("lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    source = mirror()
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (folder / "sources.list").write_text(f"deb {signed}{source} {RELEASE} main\n", encoding="utf-8")
    (folder / "apt.conf").write_text(_configuration(architecture, folder), encoding="utf-8")
    apt = ["apt-get", "-qq", "-y", f"-c={folder / 'apt.conf'}"]
    steps = (("list of packages", [*apt, "update"]), ("packages", [*apt, "--download-only", "install", *names]))
    for what, command in steps:
        tell(f"{what} for {architecture} from {source}")
        _run_patiently(command, what, tell, sleep)
    found = sorted((folder / "cache" / "archives").glob("*.deb"))
    if not found:
        raise ProfileError(f"apt fetched no packages for {architecture}. Look at: {' '.join(steps[1][1])}")
    return found


def unpack_packages(files: Sequence[Path], root: Path) -> None:
    """Unpack package files into a root file system whose /bin, /sbin and /lib are links to those in /usr.

    Raises:
        ProfileError: A file is damaged; it is removed, so that it is fetched anew.
    """
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for file in files:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as reader:
            command = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner"]
            unpacked = subprocess.run(command, stdin=reader.stdout, capture_output=True, text=True, check=False)
            reader.communicate()
        if unpacked.returncode != 0 or reader.returncode != 0:
            said = (unpacked.stderr.strip().splitlines() or ["it is damaged"])[-1]
            if "No space left" not in said:
                file.unlink(missing_ok=True)
            raise ProfileError(f"cannot unpack {file.name}: {said}. Run the same command again.")


def _configuration(architecture: str, folder: Path) -> str:
    options = {
        "APT::Architecture": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # only asked where root itself fetches: another user could not write here
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Cache::archives": folder / "cache" / "archives",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferencesparts": "-",
    }
    # What a container's apt does after an update or an installation is not meant for us.
    cleared = ("APT::Architectures", "APT::Update::Post-Invoke", "DPkg::Post-Invoke")
    lines = [f"#clear {name};" for name in cleared]
    lines += [f'{name} "{value}";' for name, value in options.items()]
    return "\n".join([*lines, f'APT::Architectures {{ "{architecture}"; }};']) + "\n"


def _run_patiently(
    command: Sequence[str], what: str, tell: Callable[[str], None], sleep: Callable[[float], None]
) -> None:
    for wait_s in (*WAITS_S, None):
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            return
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        said = (errors or done.stderr.strip().splitlines() or ["nothing was said"])[0].removeprefix("E: ")
        if wait_s is None:
            hint = "" if KEYRING.exists() else " On Ubuntu: sudo apt install debian-archive-keyring"
            raise ProfileError(f"apt cannot fetch the {what}, four times: {said[:400]}{hint}")
        tell(f"apt failed ({said[:120]}); again in {wait_s:g} s")
        sleep(wait_s)
