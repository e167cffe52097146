"""What a board is and has, and which runtimes can be had for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgelnn.decode import DecodeError, decode
from edgelnn.errors import BoardError
from edgelnn.manifest import ModelFormat

__all__ = ["BoardFacts", "Site", "requirements_for", "why_never"]

# What edgelnn's extras ask for; a test holds these to pyproject.toml.
NUMPY = "numpy>=1.24"
ONNXRUNTIME = "onnxruntime>=1.19.2,!=1.21.0"
LITERT = "ai-edge-litert>=2.0"
TFLITE_RUNTIME = "tflite-runtime>=2.14"

_RUNTIMES: Mapping[ModelFormat, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "tflite": ("ai-edge-litert", "tflite-runtime"),
}


@dataclass(frozen=True)
class Site:
    """A folder of packages that an installation left on a board.

    Attributes:
        name: Of the folder.
        path: Its path there.
        packages: Versions of the packages that matter in it.
    """

    name: str
    path: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class BoardFacts:
    """What a board says of itself.

    Attributes:
        time_s: Its clock when it said so, in seconds since 1970.
        root: Our folder there.
        free_bytes: Of the disk that it lies on.
        machine: ``aarch64``, ``armv7l``, …: of the kernel.
        bits: Of its Python.
        system: ``Linux``, …
        python: Version of its Python.
        implementation: ``cpython``, …
        abi: Tag of its Python in names of wheels, such as ``cp311``.
        executable: Path of its Python.
        glibc: Version of its GNU C library; empty where it has another one.
        pip: Whether it has pip.
        packages: Versions of numpy and of runtimes that it has of its own.
        sites: What was installed there before.
        removed: Left-overs of broken connections that were removed.
    """

    time_s: float
    root: str
    free_bytes: int
    machine: str
    bits: int
    system: str
    python: str
    implementation: str
    abi: str
    executable: str
    glibc: str
    pip: bool
    packages: Mapping[str, str]
    sites: tuple[Site, ...]
    removed: int

    @classmethod
    def from_answer(cls, host: str, answer: Mapping[str, Any]) -> BoardFacts:
        """Return the facts in an answer of the program on the board.

        Raises:
            BoardError: They are not all there.
        """
        try:
            return decode(cls, {name: value for name, value in answer.items() if name != "bytes"})
        except DecodeError as error:
            raise BoardError(f"{host} describes itself in a way that cannot be understood: {error}.") from error

    @property
    def arm32(self) -> bool:
        """Whether programs are 32-bit ARM ones there, whatever the kernel is."""
        return self.bits == 32 and self.machine.startswith(("arm", "aarch64"))

    @property
    def wheel_machine(self) -> str:
        """What names of wheels call the machine that its Python runs as."""
        return "armv7l" if self.arm32 else self.machine

    @property
    def site_prefix(self) -> str:
        """What the name of a folder of packages begins with that fits its Python and its processor.

        Both, as a home may be shared by several boards, or outlast a change from 32 to 64 bits.
        """
        return f"site-{self.abi}-{self.wheel_machine}-{self.bits}-"

    @property
    def words(self) -> str:
        """Machine and Python, in words."""
        return f"{self.machine}, {self.bits}-bit, Python {self.python}"

    def lacking(self, formats: Collection[ModelFormat], packages: Mapping[str, str] | None = None) -> list[str]:
        """Return the packages that running these formats needs and that are not there.

        Args:
            formats: To be run.
            packages: What there is; what the board has of its own unless given.
        """
        there = self.packages if packages is None else packages
        needed = [("numpy",), *(_RUNTIMES[one] for one in sorted(formats))] if formats else []
        return [" or ".join(names) for names in needed if not any(name in there for name in names)]

    def site_for(self, formats: Collection[ModelFormat]) -> Site | None:
        """Return what was installed before, for its Python and processor, and holds all that these formats need."""
        fitting = (one for one in self._own_sites() if not self.lacking(formats, {**self.packages, **one.packages}))
        return next(fitting, None)

    def fullest_site(self) -> Site | None:
        """Return what was installed before, for its Python and processor, and holds the most."""
        return max(self._own_sites(), key=lambda site: len(site.packages), default=None)

    def _own_sites(self) -> list[Site]:
        return [site for site in self.sites if site.name.startswith(self.site_prefix)]


def why_never(facts: BoardFacts, model_format: ModelFormat) -> str | None:
    """Return why a runtime for a format cannot be had for a board; None where it can.

    What the board has of its own is taken as it is.
    """
    if not facts.lacking((model_format,)) or facts.site_for((model_format,)):
        return None
    minor = _minor(facts.python)
    if facts.arm32 and model_format == "onnx":
        return (
            "ONNX Runtime has never been published for 32-bit ARM: measure the bundle's .tflite files there, or set up "
            "a 64-bit system"
        )
    if facts.arm32 and minor > 11:
        return (
            f"the last TFLite runtime for 32-bit ARM (tflite-runtime 2.14) needs Python 3.11, not {facts.python}: "
            "use Raspberry Pi OS 12 (bookworm), or a 64-bit system"
        )
    known = facts.machine in ("aarch64", "arm64", "x86_64") and facts.bits == 64
    if not (known or (facts.arm32 and facts.machine != "armv6l")):
        return f"no runtime is published for {facts.machine}, {facts.bits}-bit; expected aarch64, x86_64 or armv7l"
    if facts.implementation != "cpython":
        return f"no runtime is published for {facts.implementation}; name a CPython: --remote-python PATH"
    if not facts.glibc:
        return f"no runtime is published for {facts.system} without the GNU C library; use a Debian or Ubuntu system"
    return None


def requirements_for(facts: BoardFacts, formats: Collection[ModelFormat]) -> Sequence[str]:
    """Return what pip has to install on a board so that it can run formats, all of which can be had for it.

    >>> from edgelnn_profiling.remote.facts import BoardFacts
    >>> pi = BoardFacts(0.0, "", 0, "aarch64", 64, "Linux", "3.11.2", "cpython", "cp311", "", "2.36", True, {}, (), 0)
    >>> requirements_for(pi, ["tflite"])
    ['numpy>=1.24', 'ai-edge-litert>=2.0']
    """
    if facts.arm32:
        return [f"{NUMPY},<2", TFLITE_RUNTIME]  # What tflite-runtime was built with.
    runtimes: Mapping[ModelFormat, str] = {"onnx": ONNXRUNTIME, "tflite": LITERT}
    return [NUMPY, *(runtimes[one] for one in sorted(formats))]


def _minor(python: str) -> int:
    return int(python.split(".")[1])
