"""Training with kept latents, or kept outputs of the down- and mid-blocks, is training without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from genloc.cli import main
from genloc.training.cache import CropCache
from genloc.training.checkpoints import checkpoint_path
from tests.training.conftest import World

NULL = 'model: {model: {init_args: {context: "null"}}}\n'


def trained(world: World, runs: Path, *more: str) -> dict[str, Tensor]:
    overlay = runs.parent / "null.yaml"
    overlay.write_text(NULL)
    given = ["--config", str(overlay), "--data.views", "2", *more]
    assert main(world.arguments("fit", runs, *given)) == 0
    checkpoint = torch.load(checkpoint_path(runs / "small", "last"), weights_only=False)
    return checkpoint["state_dict"]


def test_the_same_weights_with_and_without(world: World, tmp_path: Path) -> None:
    expected = trained(world, tmp_path / "plain")
    for keep in ("latents", "outputs"):
        kept = tmp_path / f"kept-{keep}"
        options = ("--model.cache", str(kept), "--model.keep", keep)
        for runs in ("filled", "read"):  # the second run encodes nothing
            got = trained(world, tmp_path / f"{keep}-{runs}", *options)
            assert got.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(got[name], value, rtol=2e-3, atol=1e-4, msg=name)
        (folder,) = kept.iterdir()
        assert len(list(folder.glob("*.safetensors"))) == 2 * 22  # views x crops, each once
        assert not list(folder.glob("*.part"))


def test_outputs_of_another_precision_lie_elsewhere(world: World, tmp_path: Path) -> None:
    options = ("--model.cache", str(tmp_path / "kept"), "--trainer.max_epochs", "1")
    for precision in ("32-true", "bf16-mixed"):
        trained(world, tmp_path / precision, *options, "--trainer.precision", precision)
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--model.cache", "kept"), "data.views is null"),
        (
            ("--model.cache", "kept", "--data.views", "2", "--model.keep", "outputs"),
            "context='null'",
        ),
        (("--data.views", "0"), "expected at least 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...], expected: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(world.arguments("fit", tmp_path / "runs", *options)) != 0
    assert expected in capsys.readouterr().err


def test_other_facts_lie_elsewhere_and_a_spoilt_file_is_made_again(tmp_path: Path) -> None:
    made: list[list[int]] = []

    def make(rows: list[int]) -> list[Tensor]:
        made.append(rows)
        return [torch.tensor([[10.0 * r, 1] for r in rows]), torch.tensor(rows)]

    cache = CropCache(tmp_path, "latents", {"seed": 0})
    first = cache.get([5, 6], 0, make)
    again = cache.get([6, 5, 7], 0, make)
    assert made == [[0, 1], [2]]
    assert torch.equal(again[0], torch.tensor([[10.0, 1], [0, 1], [20, 1]]))
    assert [x.dtype for x in first] == [torch.float32, torch.int64]
    cache.get([5], 1, make)
    assert made[-1] == [0], "another view"
    (cache.folder / "5-0.safetensors").write_bytes(b"torn")
    assert torch.equal(cache.get([5], 0, make)[0], first[0][:1])
    assert len(made) == 4
    CropCache(tmp_path, "latents", {"seed": 1}).get([5], 0, make)
    assert len(made) == 5
