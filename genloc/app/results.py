"""Where the answer to a question appears on the page."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from genloc.app.answer import Answers, drawn, maps, rows, write_coco

HEADER = ["picture", "keypoint", "x", "y", "score"]
KINDS = ["str", "str", "number", "number", "number"]  # numbers are sorted as such


def results(name: str) -> list[Any]:
    """The components, hidden until there is an answer; `filled` gives their values.

    Args:
        name: the task's; ends the elements' ids.
    """
    with gr.Column(visible=False) as whole:
        found = gr.Gallery(
            label="Found", columns=2, height=440, object_fit="contain", elem_id=f"found-{name}",
            buttons=["download", "fullscreen"], format="webp", preview=True,
        )  # fmt: skip
        heat = gr.Gallery(
            label="Where the generator looks for each", columns=4, height="auto",
            object_fit="contain", buttons=["fullscreen"], elem_id=f"maps-{name}", format="webp",
        )  # fmt: skip
        table = gr.Dataframe(
            headers=HEADER, datatype=KINDS, label="Found, in pixels of the files", interactive=False,
            max_height=320, elem_id=f"table-{name}",
        )  # fmt: skip
        save = gr.DownloadButton("Download as COCO json", elem_id=f"save-{name}")
    return [whole, found, heat, table, save]


def filled(answers: Answers, folder: Path, *, padding: float) -> list[Any]:
    """The values of `results`.

    Args:
        answers: pictures with what was found in them, maps included.
        folder: where the file to download is written, in a folder of its own.
        padding: of the crops that the maps were made from.
    """
    path = Path(tempfile.mkdtemp(dir=folder)) / "keypoints.json"
    return [
        gr.Column(visible=True),
        [(drawn(*pair), pair[0].name) for pair in answers],
        [one for pair in answers for one in maps(*pair, padding=padding)],
        rows(answers),
        gr.DownloadButton(value=str(write_coco(answers, path))),
    ]
