"""Hold a bundle's instructions for one image to a stored record, and name what grew. The project's regression gauge.

    python benchmarks/instruction_gauge.py BUNDLE RECORD.json [--tolerance PERCENT] [--update]

Counts the bundle's variants on the boards of the record (or with --update on --boards, and stores the record), as
`edgelnn profile BUNDLE --emulate` does. Ends with exit code 1 where a variant takes more instructions than the record
says, by more than the tolerance, or cannot be counted any more; each such line names variant, board, runtime, percent
and the classes that changed. Where versions of a runtime or of edgelnn differ, it says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from edgelnn.atomic import write_text_atomically
from edgelnn.errors import EdgelnnError
from edgelnn_profiling import InstructionReport, count_bundle
from edgelnn_profiling.emulation.boards import BOARDS, Board
from edgelnn_profiling.instruction_growth import TOLERANCE, compare_instructions, remarks_on


def main(arguments: list[str] | None = None) -> int:
    """Count, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--tolerance", type=float, default=100 * TOLERANCE, metavar="PERCENT")
    parser.add_argument("--update", action="store_true", help="store what is counted as the record")
    parser.add_argument("--boards", default=",".join(BOARDS), help="with --update")
    options = parser.parse_args(arguments)
    try:
        return gauge(options.bundle, options.record, options.tolerance / 100, options.update, options.boards.split(","))
    except (EdgelnnError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def gauge(bundle: Path, path: Path, tolerance: float, update: bool, boards: list[str]) -> int:
    """Return the exit code: 1 where something grew."""
    record = None if update else InstructionReport.from_json(path.read_bytes())
    if record is not None:
        boards = list(dict.fromkeys(result.board for result in record.results))
    report = count_bundle(bundle, cast("list[Board]", boards))
    if record is None:
        write_text_atomically(path, report.to_json())
        print(f"wrote {path}: {len(report.results)} counts.")
        return 0
    for remark in remarks_on(record, report):
        print(f"note: {remark}.")
    growths = compare_instructions(record, report)
    for growth in growths:
        if growth.grew(tolerance):
            print(f"GREW  {growth.words}")
        elif growth.ratio is None or growth.ratio != 1:
            print(f"      {growth.words}")
    grown = sum(growth.grew(tolerance) for growth in growths)
    print(f"{grown} of {len(growths)} counts grew by more than {100 * tolerance:g} %.")
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
