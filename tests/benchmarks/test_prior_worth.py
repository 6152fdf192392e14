"""The table of the prior's worth is made with the small world's recipe."""

from __future__ import annotations

from pathlib import Path

import yaml

from benchmarks.cells import Recipe
from benchmarks.crops import ZOO_AUGMENTATION, ZOO_PADDING
from benchmarks.prior_worth import METHODS, parse
from genloc.data.transforms import Augmentation


def test_its_defaults_are_those_of_the_zoos_configuration(repository: Path) -> None:
    zoo = yaml.safe_load((repository / "configs" / "zoo.yaml").read_text(encoding="utf-8"))
    data, module, model = zoo["data"], zoo["model"], zoo["model"]["model"]["init_args"]
    a = parse([])
    assert a.prior == model["prior"]["init_args"]["source"]
    assert {"preset": a.lora, "rank": a.rank, "alpha": a.rank} == model["lora"]
    for name in ("context", "timestep", "layers", "finer"):
        assert getattr(a, name) == model[name], name
    for name in ("schedule", "warmup", "lr_condition", "lora_ratio"):
        assert getattr(a, name) == module[name], name
    assert a.sigma * a.finer == module["sigma"]
    assert a.init == module["condition"]["init_args"]["init"]
    assert (a.batch, a.crop_size) == (data["effective_batch"], data["crop_size"])
    assert data["padding"] == ZOO_PADDING
    assert Augmentation(**data["augmentation"]) == ZOO_AUGMENTATION
    assert Recipe().clip == zoo["trainer"]["gradient_clip_val"]
    rates = METHODS["genloc"].rates
    assert rates[len(rates) // 2] == module["lr_lora"]  # where its search begins


def test_every_contender_has_rates_on_both_sides_of_its_start() -> None:
    for name, method in METHODS.items():
        assert len(method.rates) >= 5 and list(method.rates) == sorted(method.rates), name
    assert len(parse([]).steps) >= 3
