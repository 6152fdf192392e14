"""A set of 22 crops and a random prior, both of a few pixels, and a configuration that names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.make_coco import write_coco
from tests.make_prior import write_folder


@dataclass(frozen=True)
class World:
    """Files of a small world; `arguments(...)` makes a command line in it."""

    folder: Path
    config: Path

    def arguments(self, command: str, runs: Path, *more: str) -> list[str]:
        return [command, "--config", str(self.config), "--runs", str(runs), *more]


CONFIG = """
name: small
trainer: {{max_epochs: 3, accelerator: cpu, devices: 1, enable_progress_bar: false}}
data:
  skeleton: ap10k
  root: {folder}
  train: {{annotations: train.json, images: images}}
  val: {{annotations: val.json, images: images}}
  test: {{annotations: val.json, images: images}}
  crop_size: 64
  batch_size: 2
  effective_batch: 8
  num_workers: 0
  seed: ${{..seed_everything}}
model:
  skeleton: ${{..data.skeleton}}
  model:
    class_path: genloc.models.genloc.GenLoc
    init_args:
      prior: {{class_path: genloc.models.prior.Prior, init_args: {{source: {folder}/prior}}}}
  condition: {{class_path: genloc.conditions.learned.LearnedCondition}}
  loss: {{class_path: genloc.losses.HEL}}
checkpoints: {{every_n_steps: 2}}
pictures: {{count: 2, every_n_epochs: 2}}
"""


def make_world(folder: Path) -> World:
    """Write the set, the prior and the configuration into a folder."""
    write_coco(folder, images=22, name="train.json")
    write_coco(folder, images=5, name="val.json")
    write_folder(folder / "prior")
    (folder / "prior" / "training.json").write_text('{"seen": "squares, each with its name"}')
    config = folder / "small.yaml"
    config.write_text(CONFIG.format(folder=folder))
    return World(folder, config)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))
