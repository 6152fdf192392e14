"""How fast the zoo is drawn: pictures a second on one core, JPEG written, as `genloc zoo` does it.

python -m benchmarks.zoo_speed
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from pathlib import Path

from benchmarks.ops.measure import hardware
from benchmarks.report import write
from genloc.data.zoo import SPECIES, STYLES, write_zoo

RESULTS = Path(__file__).parent / "results"


def measure(style: str, per_species: int, size: int) -> float:
    """Pictures a second of CPU time, all species, one process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_zoo(folder, per_species=per_species, size=size, style=style, workers=1)
        return per_species * len(SPECIES) / (time.process_time() - start)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-species", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args(arguments)
    measure("photo", 3, 64)  # tables that are made once
    speeds = {style: measure(style, a.per_species, a.size) for style in STYLES}
    date = datetime.date.today().isoformat()
    lines = [
        f"# Drawing the zoo, {date}",
        "",
        f"{hardware('cpu')}; pictures of {a.size}x{a.size} a second of CPU time on one core, JPEG written.",
        "",
        "| style | pictures a second |",
        "| --- | --- |",
        *(f"| {style} | {speed:.0f} |" for style, speed in speeds.items()),
    ]
    write(a.out, "zoo_speed", "cpu", lines, {"size": a.size, "pictures a second": speeds})


if __name__ == "__main__":
    main()
