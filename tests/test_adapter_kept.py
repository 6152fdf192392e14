"""Adapters that earlier versions wrote."""

from __future__ import annotations

from pathlib import Path

import yaml

from genloc.adapter import load_adapter
from tests.make_adapter import write_adapter


def test_adapters_from_before_a_switch_are_as_they_were(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    facts = yaml.safe_load((folder / "genloc.yaml").read_text())
    del facts["model"]["finer"]
    (folder / "genloc.yaml").write_text(yaml.safe_dump(facts))
    assert load_adapter(folder).model.finer == 1
