"""A training step at full size: as published code does it, and ours with each saving switched on in turn.

    python benchmarks/training_step.py [--prior sd15|tiny|FOLDER] [--size 512] [--batch 8]
                                       [--device cuda] [--repeats 3] [--compile]

Every case is first compared with the naive one (loss and gradients, on the tiny prior); if one is
wrong nothing is reported. Stable Diffusion 1.5 has random weights here: they cost as much time and
memory as trained ones. Writes `benchmarks/results/training_step_<prior>_<device>_<date>.md` and a plot.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.step_table import main
from benchmarks.steps import Case

CASES = [
    Case("naive: a map per head kept, whole U-Net", naive=True),
    Case("SDPA, read-out beside it", early_stop=False, fused=False),
    Case("xformers instead of SDPA", early_stop=False, fused=False, attention="xformers", gpu=True),
    Case("+ early stop", fused=False),
    Case("+ fused expectation, no map"),
    Case("+ context `null`, no gradient in down and mid", context="null"),
    Case("with channels_last as well", context="null", channels_last=True),
    Case("with torch.compile as well", context="null", compiled=True),
    Case("+ latents kept", context="null", kept="latents"),
    Case("+ outputs of down and mid kept", context="null", kept="outputs"),
    Case("instead of those two: gradient checkpointing", context="null", checkpointing=True),
]

if __name__ == "__main__":
    main("training_step", "A training step", CASES, train=True)
