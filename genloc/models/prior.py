"""The frozen prior: VAE encoder, denoising U-Net and text encoder of a latent diffusion model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genloc.models.text_encoder import TextEncoder, longest
from genloc.models.tokenizer import check_vocabulary, given_tokenizer
from genloc.models.weights import Weights, find_weights

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The empty prompt of CLIP's tokenizer, as Stable Diffusion 1.x pads it: begin, then end to the last place.
CLIP_VOCABULARY, CLIP_BEGIN, CLIP_END = 49408, 49406, 49407


class Prior(nn.Module):
    """An image generator to read from. The constructor is light; `load()` reads the weights.

    Stable Diffusion 1.5 and the tiny prior of the package differ only in `source`. Nothing here
    learns: all parameters are frozen and the modules stay in eval mode.

    Args:
        source: "tiny", a local diffusers folder, a hub id, or a `.safetensors` file with CompVis keys.
        dtype: of the frozen net; "auto" is bf16 on a CUDA device that has it, else fp32, and follows
            the module when it is moved.
        attention: "sdpa", or "xformers" (an optional extra; refused with the reason where it does not fit).
        config: config json folder for a single file of another shape than SD 1.5.
        tokenizer: tokenizer folder, for asking by words where the source has none.
        unet_seed: replace the U-Net's weights by random ones of this seed (what a prior is worth is
            measured against such a net); None keeps the trained ones.

    Attributes (after `load()`): vae, unet, condition_channels (C), scaling_factor, alphas_cumprod
    [1000] fp32, stride (image pixels per latent cell).
    """

    alphas_cumprod: Tensor
    _null: Tensor | None

    def __init__(
        self,
        source: str = "tiny",
        *,
        dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        attention: Literal["sdpa", "xformers"] = "sdpa",
        config: str | None = None,
        tokenizer: str | None = None,
        unet_seed: int | None = None,
    ) -> None:
        super().__init__()
        if dtype not in ("auto", *DTYPES):
            raise ValueError(f"dtype={dtype!r}: expected one of 'auto', 'fp32', 'bf16', 'fp16'")
        if attention not in ("sdpa", "xformers"):
            raise ValueError(f"attention={attention!r}: expected 'sdpa' or 'xformers'")
        self.source = source
        self.dtype = dtype
        self.attention = attention
        self.unet_seed = unet_seed
        self._config = config
        self._tokenizer = tokenizer
        self._weights: Weights | None = None
        self._fingerprint = ""
        self._text: tuple[Any, Any] | None = None
        self.register_buffer("_null", None, persistent=False)

    @property
    def loaded(self) -> bool:
        return self._weights is not None

    def load(self) -> Prior:
        """Read VAE, U-Net and noise schedule; a second call does nothing. Returns self.

        Raises:
            FileNotFoundError: absent weights (what was looked for, where, what to do), or no folder `tokenizer`.
            ValueError: weights or a `tokenizer` that cannot be used.
        """
        if not self.loaded:
            # A trainer may have made another device the default while it configures a model.
            with torch.device("cpu"):
                self._load()
        return self

    def _load(self) -> None:
        from diffusers import DDPMScheduler

        weights: Weights = find_weights(self.source, config=self._config, tokenizer=self._tokenizer)
        if self._tokenizer is not None:
            given_tokenizer(self._tokenizer)  # refused now, not with the first words
        unet: Any = weights.unet()
        vae: Any = weights.vae()
        for name in (
            "class_embed_type",
            "addition_embed_type",
            "encoder_hid_dim_type",
            "num_class_embeds",
        ):
            if unet.config.get(name) is not None:
                raise ValueError(
                    f"source={self.source!r}: its U-Net needs {name}={unet.config[name]!r}; only U-Nets "
                    "conditioned by cross-attention alone (Stable Diffusion 1.x and 2.x) can be read"
                )
        if self.unet_seed is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.unet_seed)
                unet = type(unet).from_config(unet.config)
        self.unet = unet
        self.vae = vae
        self.condition_channels: int = unet.config.cross_attention_dim
        self.scaling_factor: float = vae.config.scaling_factor
        self.stride = 2 ** (len(vae.config.block_out_channels) - 1)
        schedule = DDPMScheduler.from_config(weights.scheduler_config())
        self.register_buffer("alphas_cumprod", schedule.alphas_cumprod.float(), persistent=False)
        self.requires_grad_(False)
        self.eval()
        # Before any cast, so that a file in fp16 and one in fp32 of the same model agree.
        self._fingerprint = f"{self.source}@{_short_hash(self.unet, self.vae)}"
        self._weights = weights
        self._cast()

    def fingerprint(self) -> str:
        """ "source@hash": the part after the last "@" names the weights, whatever file they came from.

        The hash covers names, shapes and up to 16,384 evenly spaced values of each tensor of U-Net
        and VAE, rounded to fp16: folder or single file, fp32 or fp16 file give the same one.
        """
        self._need_loaded()
        return self._fingerprint

    def digest(self) -> str:
        """The hash in `fingerprint()`: equal weights, whatever file they came from."""
        return self.fingerprint().rpartition("@")[2]

    def latent_size(self, image: Tensor) -> tuple[int, int]:
        """(h, w) in cells of the latents of crops [B, 3, H, W].

        Raises:
            ValueError: H or W is no multiple of `stride`.
        """
        height, width = image.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"image is {height}x{width} pixels; both must be multiples of {self.stride}"
            )
        return height // self.stride, width // self.stride

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> Tensor:
        """The clean latent of each crop: posterior mean times the scaling factor, no noise.

        Args:
            image: [B, 3, H, W] in [-1, 1], H and W multiples of `stride`.

        Returns:
            [B, 4, H/stride, W/stride] fp32, without gradient.
        """
        self._need_loaded()
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image has shape {tuple(image.shape)}; expected [B, 3, H, W]")
        self.latent_size(image)
        encoder = self.vae.encoder
        moments = encoder(image.to(encoder.conv_in.weight.dtype))
        if self.vae.quant_conv is not None:
            moments = self.vae.quant_conv(moments)
        mean, _ = moments.chunk(2, dim=1)
        return mean.float() * self.scaling_factor

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """One vector per text: the mean, over the text's own tokens, of the last hidden state.

        Begin, end and padding are left out. The text encoder is read on the first call and stays
        on the CPU.

        Returns:
            [n, C] fp32 on the prior's device.

        Raises:
            FileNotFoundError: the source has no tokenizer.
            ValueError: an empty text, or one of whose words the tokenizer knows none.
        """
        return self.text(texts).to(self.alphas_cumprod.device)

    @property
    def text(self) -> TextEncoder:
        """Words to vectors; the text encoder is read with the first of them and stays on the CPU."""
        return TextEncoder(self.source, self._text_parts, self._fresh_text_encoder)

    def null_context(self) -> Tensor:
        """The embedding of the empty prompt, [1, L, C] fp32 (L = 77 for SD 1.5); computed once."""
        if self._null is None:
            # Outside inference mode, or a later training step could not use what is kept here.
            with torch.inference_mode(False), torch.no_grad():
                self._null = self._encode_empty().to(self.alphas_cumprod.device)
        return self._null

    def _encode_empty(self) -> Tensor:
        kept = self._text
        tokenizer, encoder = self._text_parts()
        if tokenizer is not None:
            length = longest(tokenizer, encoder)
            ids = tokenizer("", padding="max_length", truncation=True, max_length=length).input_ids
        elif encoder.config.vocab_size == CLIP_VOCABULARY:
            ids = [CLIP_BEGIN] + [CLIP_END] * (encoder.config.max_position_embeddings - 1)
        else:
            raise FileNotFoundError(
                f"source={self.source!r} has no tokenizer, and its vocabulary of "
                f"{encoder.config.vocab_size} is not CLIP's. Give Prior(tokenizer=<folder>) or --tokenizer."
            )
        self._text = kept  # half a gigabyte in SD 1.5: not kept for this alone
        return encoder(torch.tensor([ids], device="cpu")).last_hidden_state

    def train(self, mode: bool = True) -> Prior:
        """A frozen net has no training mode."""
        return super().train(False)

    def _need_loaded(self) -> None:
        if not self.loaded:
            raise RuntimeError("this Prior has no weights yet: call load() first")

    def _text_parts(self) -> tuple[Any, Any]:
        self._need_loaded()
        assert self._weights is not None
        if self._text is None:
            # A tuple, not a submodule: it neither moves with the prior nor counts as part of it.
            tokenizer, encoder = self._weights.tokenizer(), self._fresh_text_encoder()
            if tokenizer is not None:
                check_vocabulary(tokenizer, encoder, self.source)
            self._text = (tokenizer, encoder)
        return self._text

    def _fresh_text_encoder(self) -> nn.Module:
        self._need_loaded()
        assert self._weights is not None
        with torch.device("cpu"):
            return self._weights.text_encoder().requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Prior:
        super()._apply(fn, recurse)
        if self.loaded:
            self._cast()
        return self

    def _cast(self) -> None:
        """Bring the frozen weights to the dtype of the device they are on; learning ones stay fp32."""
        device = self.alphas_cumprod.device
        if self.dtype != "auto":
            dtype = DTYPES[self.dtype]
        elif device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
            dtype = torch.bfloat16
        else:
            dtype = torch.float32
        for module in (self.unet, self.vae):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                frozen = "lora_" not in name and not tensor.requires_grad
                if frozen and tensor.is_floating_point() and tensor.dtype != dtype:
                    tensor.data = tensor.data.to(dtype)
        self.alphas_cumprod.data = self.alphas_cumprod.data.float()
        # A quarter faster on the CPU, where most of the encoder's time is convolutions.
        layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        self.vae.encoder.to(memory_format=layout)


def _short_hash(*modules: nn.Module) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            step = -(-tensor.numel() // 16384)
            sample = tensor.detach().flatten()[:: max(step, 1)].to("cpu", torch.float16)
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]
