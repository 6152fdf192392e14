"""The frozen prior, CKHE, LoRA and the model made of them."""

from genloc.models.genloc import GenLoc
from genloc.models.lora import LoRA
from genloc.models.prior import Prior

__all__ = ["GenLoc", "LoRA", "Prior"]
