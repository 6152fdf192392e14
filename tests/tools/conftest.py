"""A small zoo and a random prior for tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from genloc.data.zoo import write_zoo
from tests.make_prior import write_folder
from tools.tables.data import QUICK


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    write_zoo(folder, per_species=10, size=64, species=QUICK["species"], workers=1)
    return folder


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("prior")))
