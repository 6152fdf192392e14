"""Maps of a batch of crops: as published code makes them, and ours with each saving switched on in turn.

    python benchmarks/inference.py [--prior sd15|tiny|FOLDER] [--size 512] [--batch 8]
                                   [--device cuda] [--repeats 3] [--compile]

As training_step.py, without a gradient; writes `benchmarks/results/inference_<prior>_<device>_<date>.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.step_table import main
from benchmarks.steps import Case

CASES = [
    Case("naive: a map per head kept, whole U-Net", naive=True),
    Case("SDPA, read-out beside it", early_stop=False),
    Case("xformers instead of SDPA", early_stop=False, attention="xformers", gpu=True),
    Case("+ early stop"),
    Case("+ context `null`", context="null"),
    Case("with channels_last as well", context="null", channels_last=True),
    Case("with torch.compile as well", context="null", compiled=True),
    Case("+ latents kept (an image asked again)", context="null", kept="latents"),
]

if __name__ == "__main__":
    main("inference", "Maps of a batch", CASES, train=False)
