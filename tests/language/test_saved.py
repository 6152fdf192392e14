from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from genloc.adapter import AdapterError, load_adapter
from genloc.app.tasks import Tasks
from genloc.hub import push_to_hub
from genloc.language.model import KeypointLM
from genloc.language.saved import language_predictor, load_language, save_language
from genloc.predictor import KeypointPredictor
from tests.language.make_language import LEGS, SIDE, crops, make_language, write_decoder

RECIPE = {"crop_size": SIDE, "padding": 1.25}


def stirred(lm: KeypointLM) -> KeypointLM:
    with torch.no_grad():
        for p in lm.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return lm


@pytest.mark.parametrize("own", [False, True])
def test_what_is_written_comes_back(own: bool, tmp_path: Path) -> None:
    source = str(write_decoder(tmp_path / "vicuna")) if own else "scratch"
    lm = stirred(make_language(tmp_path, source, describe=False, tokens=64))
    folder = save_language(tmp_path / "a", model=lm, skeleton=LEGS, recipe=RECIPE, metrics={})
    found = load_language(folder)
    assert found.skeleton == LEGS and found.recipe == RECIPE
    assert found.model.facts() | {"descriptions": None} == lm.facts()
    seen = [m.front(m.encode(crops())) for m in (lm, found.model)]
    said = [
        m.locate(None, SIDE, front=front) for m, front in zip((lm, found.model), seen, strict=True)
    ]
    torch.testing.assert_close(*(xy for xy, _ in said))
    torch.testing.assert_close(*(scores for _, scores in said))
    names = {path.name for path in folder.iterdir()}
    assert names == {"language.yaml", "language.safetensors"} | (
        set() if own else {"tokenizer.json"}
    )

    predictor = language_predictor(folder, device="cpu")
    picture = ((crops(1)[0] + 1) * 127.5).byte().permute(1, 2, 0).numpy()
    located = predictor(picture)
    assert located.xy.shape == (1, 3, 2) and located.heatmaps is None


def test_what_reads_other_adapters_says_which_command_reads_it(tmp_path: Path) -> None:
    lm = make_language(tmp_path)
    folder = save_language(tmp_path / "a", model=lm, skeleton=LEGS, recipe=RECIPE, metrics={})
    for read in (load_adapter, KeypointPredictor.from_pretrained, Tasks.of_adapter):
        with pytest.raises(
            AdapterError, match=f"holds a language model.* predict --adapter {folder}"
        ):
            read(folder)
    with pytest.raises(AdapterError, match="holds a language model"):
        push_to_hub(folder, "owner/name")


def test_what_is_not_whole_or_belongs_elsewhere_is_refused(tmp_path: Path) -> None:
    lm = make_language(tmp_path)
    folder = save_language(tmp_path / "a", model=lm, skeleton=LEGS, recipe={}, metrics={})
    with pytest.raises(AdapterError, match="recipe lacks 'crop_size'"):
        language_predictor(folder)
    with pytest.raises(FileNotFoundError, match=r"language\.yaml"):
        load_language(tmp_path)
    facts = yaml.safe_load((folder / "language.yaml").read_text())

    def written(**change: object) -> Path:
        (folder / "language.yaml").write_text(yaml.safe_dump(facts | change))
        return folder

    with pytest.raises(AdapterError, match="fingerprint"):
        load_language(written(prior=facts["prior"] | {"fingerprint": "0"}))
    with pytest.raises(AdapterError, match="trained on a decoder"):
        load_language(written(decoder=facts["decoder"] | {"fingerprint": "0"}))
    with pytest.raises(AdapterError, match="format 7"):
        load_language(written(format=7))
    with pytest.raises(AdapterError, match="not valid"):
        load_language(written(model={"magic": 1}))
    with pytest.raises(AdapterError, match="does not fit"):
        load_language(written(decoder=facts["decoder"] | {"width": 32}))
    written()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(AdapterError, match=r"lacks tokenizer\.json"):
        load_language(folder)
    (folder / "language.yaml").write_text("format: 1")
    with pytest.raises(AdapterError, match="lacks"):
        load_language(folder)
    with torch.no_grad():
        next(lm.projector.parameters()).fill_(torch.nan)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="not finite"):
        save_language(tmp_path / "b", model=lm, skeleton=LEGS, recipe={}, metrics={})
