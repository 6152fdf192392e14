"""Where a prior's weights come from: a diffusers folder, a hub id, or one CompVis `.safetensors` file.

Nothing here unpickles: only safetensors are read. Every failure to find weights is one
`FileNotFoundError` that says what was looked for, where, and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from genloc.models.tokenizer import read_tokenizer
from genloc.models.weight_files import (
    read_config,
    read_tensors,
    read_text_encoder,
)

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


class Weights(Protocol):
    """One place that holds a prior; modules come back in float32 on the CPU."""

    where: str

    def unet(self) -> nn.Module: ...
    def vae(self) -> nn.Module: ...
    def text_encoder(self) -> nn.Module: ...
    def tokenizer(self) -> Any | None: ...
    def scheduler_config(self) -> dict[str, Any]: ...


def find_weights(
    source: str, *, config: str | None = None, tokenizer: str | None = None
) -> DiffusersFolder | SingleFile:
    """Turn `source` into a place to read from, without reading any weights yet.

    Args:
        source: "tiny" (shipped with the package), a local diffusers folder, a `.safetensors`
            file with CompVis key names, or a hub id "owner/name".
        config: folder with `unet/`, `vae/`, `text_encoder/`, `scheduler/` config json files for a
            single file that has not Stable Diffusion 1.5's shape.
        tokenizer: folder of a tokenizer, for sources that have none.

    Raises:
        FileNotFoundError: nothing is there; the message says where it looked and what to do.
        ValueError: `source` is a pickled checkpoint.
    """
    path = Path(source).expanduser()
    if source == "tiny":
        path = ASSETS / "tiny_prior"
        if not path.is_dir():
            raise missing(
                source, [str(path)], "this installation of genloc lacks its assets: reinstall it"
            )
        return DiffusersFolder(path, tokenizer_folder=tokenizer)
    if path.suffix in PICKLES:
        raise ValueError(
            f"source={source!r} is a pickled checkpoint, and unpickling runs code from the file. "
            "Give the .safetensors file of the same model instead."
        )
    if path.is_file():
        return SingleFile(path, config=config, tokenizer_folder=tokenizer)
    if path.is_dir():
        return DiffusersFolder(path, tokenizer_folder=tokenizer)
    looks_local = (
        path.suffix == ".safetensors" or path.is_absolute() or source.startswith((".", "~"))
    )
    if looks_local or source.count("/") != 1:
        raise missing(source, [str(path.absolute())])
    return DiffusersFolder(None, hub_id=source, tokenizer_folder=tokenizer)


def missing(source: str, places: Iterable[str], reason: str = "") -> FileNotFoundError:
    """The one error for absent weights."""
    return FileNotFoundError(
        f"no weights for the prior source={source!r}. Looked in: {'; '.join(places)}."
        + (f" Reason: {reason}." if reason else "")
        + " What to do: give source a diffusers folder (with unet/ and vae/), one .safetensors file with the"
        " original (CompVis) key names, or a hub id such as 'stable-diffusion-v1-5/stable-diffusion-v1-5' on"
        " a machine that reaches the hub; source='tiny' needs nothing but knows only the built-in zoo."
    )


class DiffusersFolder:
    """A pipeline saved by diffusers: `unet/`, `vae/`, `text_encoder/`, `tokenizer/`, `scheduler/`.

    With `hub_id` each part is fetched when it is first asked for: the local cache is tried before
    the network, and of several variants of the weights only one is downloaded.
    """

    def __init__(
        self, path: Path | None, *, hub_id: str | None = None, tokenizer_folder: str | None = None
    ):
        self.path = path
        self.hub_id = hub_id
        self.tokenizer_folder = tokenizer_folder
        self.where = str(hub_id or path)

    def unet(self) -> nn.Module:
        from diffusers import UNet2DConditionModel

        return self._model(UNet2DConditionModel, "unet")

    def vae(self) -> nn.Module:
        from diffusers import AutoencoderKL

        return self._model(AutoencoderKL, "vae")

    def text_encoder(self) -> nn.Module:
        folder, variant = self._part("text_encoder")
        file = folder / "text_encoder" / f"model.{variant}.safetensors"
        return read_text_encoder(
            folder / "text_encoder", file if variant else file.with_name("model.safetensors")
        )

    def tokenizer(self) -> Any | None:
        folder = self.path
        if self.tokenizer_folder is None and self.hub_id is not None:
            folder = self._snapshot(["tokenizer/*"], needed=["tokenizer/tokenizer_config.json"])
        return read_tokenizer(self.tokenizer_folder or (folder and folder / "tokenizer"))

    def scheduler_config(self) -> dict[str, Any]:
        name = "scheduler/scheduler_config.json"
        folder = self.path or self._snapshot([name], needed=[name])
        if not (folder / name).is_file():
            raise missing(self.where, [str(folder / name)])
        return read_config(folder / name)

    def _model(self, model: Any, part: str) -> nn.Module:
        folder, variant = self._part(part)
        try:
            module, info = model.from_pretrained(
                str(folder),
                subfolder=part,
                variant=variant,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:  # safetensors, diffusers and json each raise their own kinds
            raise ValueError(
                f"{folder / part}: cannot be loaded ({error}); fetch it again"
            ) from error
        wrong = {kind: names for kind, names in info.items() if names}
        if wrong:
            raise ValueError(
                f"{folder / part}: weights and config.json do not belong together: {wrong}"
            )
        return module.float().eval()

    def _part(self, part: str) -> tuple[Path, str | None]:
        """The folder that holds `part`, and its variant: the plain file, else the fp16 one."""
        stem = f"{part}/{WEIGHTS[part]}"
        config = f"{part}/config.json"
        if self.path is None:
            try:
                folder = self._snapshot(
                    [config, f"{stem}.safetensors"], needed=[config, f"{stem}.safetensors"]
                )
            except FileNotFoundError:
                half = f"{stem}.fp16.safetensors"
                folder = self._snapshot([config, half], needed=[config, half])
        else:
            folder = self.path
        if not (folder / config).is_file():
            raise missing(self.where, [str(folder / config)])
        for variant in (None, "fp16"):
            name = f"{stem}.{variant}.safetensors" if variant else f"{stem}.safetensors"
            index = (
                name + ".index.json"
                if variant is None
                else f"{stem}.safetensors.index.{variant}.json"
            )
            if (folder / name).is_file() or (folder / index).is_file():
                return folder, variant
        pickled = [p.name for p in (folder / part).iterdir() if p.suffix in PICKLES]
        reason = (
            f"there are only pickled weights ({', '.join(pickled)}), never loaded here"
            if pickled
            else ""
        )
        raise missing(self.where, [str(folder / f"{stem}[.fp16].safetensors")], reason)

    def _snapshot(self, patterns: list[str], needed: list[str]) -> Path:
        from huggingface_hub import constants, snapshot_download

        assert self.hub_id is not None
        reasons = []
        for offline in (True, False):
            try:
                folder = Path(
                    snapshot_download(
                        self.hub_id, allow_patterns=patterns, local_files_only=offline
                    )
                )
                absent = [name for name in needed if not (folder / name).is_file()]
                if not absent:
                    return folder
                reasons.append(f"{', '.join(absent)} not there")
            except (
                Exception
            ) as error:  # the hub's client, its HTTP library and the OS raise a dozen kinds
                reasons.append(
                    f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                )
        # A folder that was meant looks like a hub id, too, and was looked for first.
        places = [
            f"the folder {Path(self.hub_id).absolute()} (not there)",
            f"the local cache {constants.HF_HUB_CACHE} ({reasons[0]})",
            f"the hub {os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/{self.hub_id} ({reasons[-1]})",
        ]
        raise missing(self.where, places)


class SingleFile:
    """One `.safetensors` checkpoint with CompVis key names, fp32 or fp16, with or without EMA."""

    def __init__(
        self, path: Path, *, config: str | None = None, tokenizer_folder: str | None = None
    ):
        self.path = path
        self.config = Path(config).expanduser() if config else ASSETS / "sd15"
        self.tokenizer_folder = tokenizer_folder
        self.where = str(path)

    def unet(self) -> nn.Module:
        from diffusers import UNet2DConditionModel

        return self._model(UNet2DConditionModel, "unet", ("model.diffusion_model.", "model_ema."))

    def vae(self) -> nn.Module:
        from diffusers import AutoencoderKL

        return self._model(AutoencoderKL, "vae", ("first_stage_model.",))

    def text_encoder(self) -> nn.Module:
        return read_text_encoder(
            self.config / "text_encoder", self.path, "cond_stage_model.transformer."
        )

    def tokenizer(self) -> Any | None:
        return read_tokenizer(self.tokenizer_folder)

    def scheduler_config(self) -> dict[str, Any]:
        return read_config(self.config / "scheduler" / "scheduler_config.json")

    def _model(self, model: Any, part: str, prefixes: tuple[str, ...]) -> nn.Module:
        state = read_tensors(self.path, prefixes)
        # The EMA weights are the model that was published; a pruned file has them under the plain names.
        extract_ema = (
            {"extract_ema": True} if any(n.startswith("model_ema.") for n in state) else {}
        )
        try:
            module = model.from_single_file(
                state, config=str(self.config), subfolder=part, local_files_only=True, **extract_ema
            )
        except Exception as error:
            reason = "tensors are missing" if "meta tensor" in str(error) else str(error)
            raise ValueError(
                f"{self.path}: its {part} does not fit {self.config / part / 'config.json'} ({reason}). "
                "For another shape than Stable Diffusion 1.5 give config=<folder of config json files>."
            ) from error
        absent = [name for name, p in module.named_parameters() if p.is_meta]
        if absent:
            raise ValueError(
                f"{self.path}: its {part} lacks {len(absent)} tensors, e.g. {absent[:3]}"
            )
        return module.float().eval()
