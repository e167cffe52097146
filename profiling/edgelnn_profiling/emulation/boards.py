"""Which boards are emulated, and what each tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgelnn.errors import ProfileError

__all__ = ["BOARDS", "DESCRIPTIONS", "Board", "BoardFacts", "check_described"]

Board = Literal["pi3", "pi4", "pi5"]
BOARDS: tuple[Board, ...] = ("pi3", "pi4", "pi5")


@dataclass(frozen=True)
class BoardFacts:
    """A Raspberry Pi as its own files describe it; the runtimes choose their kernels by these.

    Attributes:
        model: As in the device tree.
        qemu_cpu: What QEMU calls its CPU; this and `part` must agree, else programs end by an illegal instruction.
        part, variant, revision: The CPU's identification, as in ``/proc/cpuinfo``.
        features: Of the CPU, likewise.
        clock_khz: The highest.
        root: Of which root file system it is a copy.
        emulator: The program of QEMU that runs its programs.
    """

    model: str
    qemu_cpu: str
    part: str
    variant: str
    revision: int
    features: str
    clock_khz: int
    root: Literal["a64", "a32"] = "a64"
    emulator: Literal["qemu-aarch64", "qemu-arm"] = "qemu-aarch64"


DESCRIPTIONS = {
    "pi3": BoardFacts(
        "Raspberry Pi 3 Model B Rev 1.2", "cortex-a53", "0xd03", "0x0", 4, "fp asimd evtstrm crc32 cpuid", 1_200_000
    ),
    "pi4": BoardFacts(
        "Raspberry Pi 4 Model B Rev 1.2", "cortex-a72", "0xd08", "0x0", 3, "fp asimd evtstrm crc32 cpuid", 1_500_000
    ),
    "pi5": BoardFacts(
        "Raspberry Pi 5 Model B Rev 1.0",
        "cortex-a76",
        "0xd0b",
        "0x4",
        1,
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        2_400_000,
    ),
    "armhf": BoardFacts(
        "Raspberry Pi 2 Model B Rev 1.1",
        "cortex-a7",
        "0xc07",
        "0x0",
        5,
        "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
        900_000,
        root="a32",
        emulator="qemu-arm",
    ),
}


def check_described(*names: str) -> None:
    """Refuse boards that there is no description of.

    Raises:
        ProfileError: One has none; the message names those that have.
    """
    for name in names:
        if name not in DESCRIPTIONS:
            raise ProfileError(f"got board {name!r}; expected {', '.join(DESCRIPTIONS)}.")
