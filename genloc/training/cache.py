"""`CropCache`: what the frozen net makes of a training crop, kept on disk instead of made again.

Two things are constant for a crop. Its latent always (unless the whole VAE changes): in Stable
Diffusion 1.5 at 512 pixels, encoding is 1.12 of the 1.92 TFLOP of a forward pass. And the outputs of
the down- and mid-blocks, where `context: "null"` updates the latent and nothing learns in them. What
that costs on disk, per crop and view: 64 KiB for the latent at 512 pixels (fp32), 13 MiB for the
outputs in bf16, 26 MiB in fp32: 0.6 GB and 125 GB for a view of AP-10K's 9,122 crops.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

Kept = Literal["latents", "outputs"]


class CropCache:
    """Tensors of training crops, a file for each crop.

    What was kept under other facts (weights, annotations, crop size, augmentation, seed, ...) lies
    in another folder and is never read. Processes may share a folder: a file is whole or absent.

    Args:
        folder: a subfolder named by `facts` is made in it.
        what: "latents", or "outputs" of the down- and mid-blocks.
        facts: plain values, all that the tensors depend on besides crop and view.
    """

    def __init__(self, folder: str | Path, what: Kept, facts: dict[str, Any]) -> None:
        self.what = what
        text = json.dumps({"what": what, **facts}, sort_keys=True, default=str)
        self.folder = Path(folder) / f"{what}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "facts.json").write_text(text + "\n", encoding="utf-8")

    def get(
        self, ids: Sequence[int], view: int, make: Callable[[list[int]], list[Tensor]]
    ) -> list[Tensor]:
        """The tensors of a batch; those of crops never seen are made once and kept.

        Args:
            ids: annotation ids [B].
            view: which of the fixed augmentations.
            make: positions in the batch -> the tensors of these crops, each with a first axis for them.

        Returns:
            as `make` for the whole batch, on the device and in the dtypes that it gave; whole batches
            from disk come on the CPU.
        """
        found = {i: self._read(self._file(crop, view)) for i, crop in enumerate(ids)}
        absent = [i for i, tensors in found.items() if tensors is None]
        if absent:
            made = make(absent)
            for row, i in enumerate(absent):
                found[i] = [x[row] for x in made]
                self._write(self._file(ids[i], view), [x[row] for x in made])
        device = made[0].device if absent else torch.device("cpu")
        rows = [[x.to(device) for x in found[i] or ()] for i in range(len(ids))]
        return [torch.stack(column) for column in zip(*rows, strict=True)]

    def given(self, model: Any, batch: dict[str, Tensor], view: int) -> dict[str, Any]:
        """`latent`, and `front` where outputs are kept, of a batch of training crops."""
        image = batch["image"]

        def make(rows: list[int]) -> list[Tensor]:
            latent = model.encode(image[rows])
            return [latent] if self.what == "latents" else [latent, *model.front(latent)]

        kept = self.get(batch["annotation_id"].tolist(), view, make)
        latent, *front = (x.to(image.device) for x in kept)
        return {"latent": latent, "front": front} if front else {"latent": latent}

    def _file(self, crop: int, view: int) -> Path:
        return self.folder / f"{crop}-{view}.safetensors"

    @staticmethod
    def _read(file: Path) -> list[Tensor] | None:
        try:
            tensors = load_file(file)
        except (FileNotFoundError, SafetensorError):  # absent or spoilt: made again
            return None
        return [tensors[str(i)] for i in range(len(tensors))]

    @staticmethod
    def _write(file: Path, tensors: list[Tensor]) -> None:
        named = {str(i): x.detach().cpu().contiguous() for i, x in enumerate(tensors)}
        handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
        os.close(handle)
        try:
            save_file(named, part)
            os.replace(part, file)
        finally:
            Path(part).unlink(missing_ok=True)


def open_cache(folder: str, keep: Kept, model: Any, data: Any) -> CropCache:
    """The cache of a run.

    Args:
        folder: where.
        keep: what.
        model: a loaded `GenLoc`.
        data: a `KeypointData` that is set up.

    Raises:
        ValueError: there is nothing constant to keep; says why.
    """
    if data.views is None:
        raise ValueError(
            "model.cache: data.views is null, so every epoch draws new crops and nothing can be kept; "
            "give data.views=4 or so"
        )
    if not hasattr(model, "encode"):
        raise ValueError(f"model.cache: {type(model).__name__} has no latents; only GenLoc does")
    facts = data.crop_facts() | {"prior": model.prior.digest()}
    # The net in another precision gives other numbers, of weights or of sums.
    facts["dtype"] = str(model.prior.unet.conv_in.weight.dtype)
    device = model.prior.unet.conv_in.weight.device.type
    if torch.is_autocast_enabled(device):
        facts["autocast"] = str(torch.get_autocast_dtype(device))
    if keep == "outputs":
        if not model.constant_front():
            raise ValueError(
                "model.keep='outputs': down- and mid-blocks change while training; it needs "
                "context='null', noise=False and LoRA preset 'cross' or 'up'"
            )
        facts["timestep"] = model.timestep
        if hasattr(model, "front_facts"):
            facts |= model.front_facts()
    return CropCache(folder, keep, facts)
