"""The language model: weights of one's own from a folder, or a small one made here for the small world."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genloc.conditions.descriptions import Description
from genloc.language.conversations import every_text

SCRATCH = "scratch"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
# Vicuna's settings for drawing answers, which are not used here, lack `do_sample`, without which some versions of
# transformers save nothing.
CONVERT = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer; "
    "model = AutoModelForCausalLM.from_pretrained({0!r}); model.generation_config.do_sample = True; "
    "model.save_pretrained('NEW_FOLDER'); "
    "AutoTokenizer.from_pretrained({0!r}).save_pretrained('NEW_FOLDER')"
)
PAD, BEGIN, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"


@dataclass(frozen=True)
class DecoderLoRA:
    """LoRA on a decoder; LocLLM's numbers.

    Args:
        rank: r. alpha: the update is scaled by alpha / rank. dropout: of its input.
        targets: names of the linear layers, as the decoder calls them.
    """

    rank: int = 8
    alpha: float = 16
    dropout: float = 0.05
    targets: Sequence[str] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank={self.rank}: expected at least 1")


class Decoder(nn.Module):
    """A decoder language model and its tokenizer. The constructor is light; `load()` reads the weights.

    Args:
        source: folder of a decoder in transformers' layout (Vicuna, LLaMA and their like: config.json,
            safetensors and a tokenizer), frozen but for LoRA; or "scratch": a small LLaMA that is made
            here with random weights, all of which learn.
        width, layers, heads: of the one made here.
        lora: of the one read from a folder.
        dtype: of frozen weights; "auto" is bf16 on a CUDA device that has it, else fp32.
        gradient_checkpointing: recompute activations in the backward pass.
        seed: of the random weights.

    Attributes (after `load()`): model, tokenizer, hidden (channels of its embeddings).
    """

    model: Any
    tokenizer: Any
    fingerprint = SCRATCH
    """Of the frozen weights: LoRA means nothing on others."""

    def __init__(
        self,
        source: str = SCRATCH,
        *,
        width: int = 192,
        layers: int = 4,
        heads: int = 6,
        lora: DecoderLoRA = DecoderLoRA(),
        dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        gradient_checkpointing: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width={width} must be an even multiple of heads={heads}")
        if dtype not in ("auto", *DTYPES):
            raise ValueError(f"dtype={dtype!r}: expected one of 'auto', {', '.join(DTYPES)}")
        self.source = source
        self.width, self.layers, self.heads = width, layers, heads
        self.lora = lora
        self.dtype = dtype
        self.gradient_checkpointing = gradient_checkpointing
        self.seed = seed
        self.loaded = False

    def facts(self) -> dict[str, Any]:
        """The constructor's arguments, in plain values."""
        return {
            "source": self.source,
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "lora": asdict(self.lora),
            "dtype": self.dtype,
        }

    @property
    def scratch(self) -> bool:
        """Whether it is made here."""
        return self.source == SCRATCH

    @property
    def hidden(self) -> int:
        """Channels of its embeddings."""
        return self.model.get_input_embeddings().weight.shape[1]

    def load(
        self, said: Sequence[Description] = (), tokenizer: str | Path | None = None
    ) -> Decoder:
        """Read or make the weights; a second call does nothing. Returns self.

        Args:
            said: descriptions whose words the tokenizer made here knows as whole words.
            tokenizer: file of the tokenizer of an earlier one made here, instead.

        Raises:
            FileNotFoundError: no such folder, or no weights or tokenizer in it.
            ValueError: weights that cannot be used.
        """
        if not self.loaded:
            with torch.device("cpu"):  # whatever a trainer made the default
                self._make(said, tokenizer) if self.scratch else self._read()
            if self.gradient_checkpointing:
                self.model.gradient_checkpointing_enable({"use_reentrant": False})
                self.model.enable_input_require_grads()
            self.loaded = True
        return self

    def _make(self, said: Sequence[Description], tokenizer: str | Path | None) -> None:
        from tokenizers import Tokenizer
        from transformers import LlamaConfig, LlamaForCausalLM

        if tokenizer is None:
            self.tokenizer = _wrapped(word_tokenizer(every_text(said)))
        else:
            self.tokenizer = _wrapped(Tokenizer.from_file(str(tokenizer)))
        config = LlamaConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=self.width,
            intermediate_size=2 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=2048,
            initializer_range=self.width**-0.5,  # the usual 0.02 is for widths of thousands
            tie_word_embeddings=True,
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=self.tokenizer.bos_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model = LlamaForCausalLM(config)

    def _read(self) -> None:
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = Path(self.source).expanduser()
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"no decoder in source={self.source!r}: looked for {(folder / 'config.json').absolute()}. Give "
                "the folder of a decoder in transformers' layout (config.json, *.safetensors, tokenizer), such as "
                f"a local copy of lmsys/vicuna-7b-v1.5, or {SCRATCH!r}"
            )
        if not any(folder.glob("*.safetensors")):
            raise FileNotFoundError(
                f"source={self.source!r} holds no .safetensors. Pickled weights (.bin) are never loaded here; "
                f"where you trust them, convert them once in Python: {CONVERT.format(str(folder))}"
            )
        try:
            there = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
            if not there:  # some versions of transformers would make an empty one up
                raise FileNotFoundError(f"none of {', '.join(TOKENIZER_FILES)}")
            if there[0].endswith(".model") and importlib.util.find_spec("sentencepiece") is None:
                # transformers would then ask for tiktoken, which cannot read it either.
                raise FileNotFoundError(f"{there[0]} needs: pip install sentencepiece protobuf")
            self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # each kind of tokenizer raises its own
            raise FileNotFoundError(
                f"source={self.source!r}: no tokenizer can be read from it ({error}); copy the tokenizer's "
                "files beside the weights"
            ) from error
        if self.tokenizer.eos_token_id is None:
            raise ValueError(
                f"source={self.source!r}: its tokenizer has no eos_token, which ends every answer; name it in "
                "tokenizer_config.json"
            )
        try:
            self.model, info = AutoModelForCausalLM.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                dtype=self._frozen_dtype(),
                output_loading_info=True,
            )
        except Exception as error:  # safetensors, transformers and json each raise their own kinds
            raise ValueError(f"source={self.source!r}: cannot be loaded ({error})") from error
        wrong = {kind: sorted(names) for kind, names in info.items() if names}
        if wrong:
            raise ValueError(
                f"source={self.source!r}: weights and config.json do not belong together: {wrong}"
            )
        self.model.requires_grad_(False)
        lacking = [
            name
            for name in self.lora.targets
            if not any(n.rpartition(".")[2] == name for n, _ in self.model.named_modules())
        ]
        if lacking:
            raise ValueError(
                f"lora.targets: this {type(self.model).__name__} has no layers called {lacking}; name its "
                "projections of queries and values"
            )
        self.fingerprint = _fingerprint(self.model)
        config = LoraConfig(
            r=self.lora.rank,
            lora_alpha=self.lora.alpha,
            lora_dropout=self.lora.dropout,
            target_modules=list(self.lora.targets),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model.add_adapter(config)
        for name, parameter in self.model.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.float()
        self.model.train()

    def _frozen_dtype(self) -> torch.dtype:
        if self.dtype != "auto":
            return DTYPES[self.dtype]
        able = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
        return torch.bfloat16 if able else torch.float32

    def ids(self, text: str) -> list[int]:
        """Tokens of a text, without begin and end."""
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def embed(self, ids: Tensor) -> Tensor:
        """Tokens [...] to embeddings [..., hidden]."""
        return self.model.get_input_embeddings()(ids)

    def begin(self) -> list[int]:
        """The token that texts begin with, where there is one."""
        first = self.tokenizer.bos_token_id
        return [] if first is None else [first]

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self.tokenizer.eos_token_id

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds to those before it."""
        texts = [
            self.tokenizer.decode(
                ids[: i + 1], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            for i in range(len(ids))
        ]
        return [text[len(before) :] for before, text in zip(["", *texts], texts, strict=False)]


def word_tokenizer(texts: Sequence[str]) -> Any:
    """A tokenizer of these texts' words; what it does not know, it spells.

    Digits and punctuation are tokens of their own, a space belongs to the word behind it, so that
    decoding gives the text back exactly. The same texts give the same tokenizer.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    space = "\u2581"
    split = pre_tokenizers.Split(Regex(rf"{space}?\p{{L}}+|{space}|."), "isolated")
    marked = [text.replace(" ", space) for text in texts]
    words = {word for text in marked for word, _ in split.pre_tokenize_str(text)}
    letters = {chr(i) for i in range(33, 127)} | {"\n", space}
    tokens = [PAD, BEGIN, END, UNKNOWN, *sorted(letters), *sorted(words - letters)]
    made = Tokenizer(
        models.WordPiece(
            {token: i for i, token in enumerate(tokens)},
            unk_token=UNKNOWN,
            continuing_subword_prefix="",
        )
    )
    made.normalizer = normalizers.Replace(" ", space)
    made.pre_tokenizer = split
    made.decoder = decoders.Sequence([decoders.Replace(space, " "), decoders.Fuse()])
    return made


def _wrapped(made: Any) -> Any:
    """As transformers has it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="right",
    )


def _fingerprint(model: nn.Module) -> str:
    """16 hex digits of a model's weights, from up to 1,024 evenly spaced values of each tensor.

    In bf16, so that weights have the same on a GPU, where they are read in it, and on a CPU.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        step = max(1, -(-tensor.numel() // 1024))
        sample = tensor.detach().flatten()[::step].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]
