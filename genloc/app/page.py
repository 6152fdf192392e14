"""The page itself: where things lie, and what a click does. Everything is computed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from genloc.app.answer import Answers, pointed_at, thumbnail
from genloc.app.events import given, on, on_upload
from genloc.app.example import Example
from genloc.app.picture import ENDINGS, MOST_BYTES, PagePicture, take_upload, take_uploads
from genloc.app.results import filled, results
from genloc.app.style import plain
from genloc.app.tasks import Task, Tasks

MOST_PICTURES = 8
FORGET = 3600  # seconds that pictures of an idle page are kept
SWEEP = 60  # seconds between looks for old files
NAMES, POINTS = "says what is there", "adds a point"
CORNERS = "sets a corner of the box to look in"


def make_page(
    tasks: Tasks, pictures: list[PagePicture], folder: Path, *, forget: int = FORGET, sweep: int = SWEEP
) -> gr.Blocks:  # fmt: skip
    """Lay out the page.

    Args:
        tasks: what answers.
        pictures: to try things on, at least two.
        folder: for files to download; the one that gradio keeps its own files in.
        forget: seconds after which a picture's files and the memory of it go.
        sweep: seconds between looks for such files.
    """
    with gr.Blocks(title="GenLoc", analytics_enabled=False, delete_cache=(sweep, forget)) as page:
        _Layout(tasks, pictures, folder, forget).build()
    page.queue(default_concurrency_limit=1, max_size=32)
    return page


class _Layout:
    """The components, and what happens between them."""

    def __init__(
        self, tasks: Tasks, pictures: list[PagePicture], folder: Path, forget: int
    ) -> None:
        self.tasks = tasks
        self.pictures = pictures
        self.folder = folder
        self.forget = forget

    def build(self) -> None:
        first, second = self.pictures[:2]
        self.picture = gr.State(second, time_to_live=self.forget)
        self.example = gr.State(Example(first), time_to_live=self.forget)
        note = f"  \n{self.tasks.note}" if self.tasks.note else ""
        gr.Markdown(
            "# GenLoc\nKeypoints of animals and people, found where an image generator looks."
        )
        gr.Markdown(
            f"**{plain(self.tasks.title)}**{note}  \nEverything stays on this machine.",
            elem_classes="genloc-note",
        )
        # The first thing that can be done lies open.
        able = "example" if "keypoints" in self.tasks.lacking else "keypoints"
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                self._left(second)
            with gr.Column(scale=7, min_width=300), gr.Tabs(selected=able) as self.tabs:
                with gr.Tab("Keypoints", id="keypoints"):
                    self._keypoints()
                with gr.Tab("Words", id="words"):
                    self._words()
                with gr.Tab("An example", id="example"):
                    self._example(first)
                with gr.Tab("A place", id="place"):
                    self._place()
        self._clicks()

    def _left(self, shown: PagePicture) -> None:
        gr.Markdown("### Your picture")
        self.view = gr.Image(
            shown.on_page(), label="Picture", interactive=False, show_label=False, buttons=[],
            elem_id="picture", height=360, format="webp",
        )  # fmt: skip
        self.click = gr.Radio(
            [NAMES, CORNERS], value=NAMES, label="A click on the picture", elem_id="click"
        )
        everywhere = gr.Button("Look everywhere (no box)", size="sm")
        self.upload = gr.File(
            label=f"Drop a picture, up to {MOST_BYTES / 1e6:.0f} MB", file_types=list(ENDINGS),
            height=110, elem_id="upload", elem_classes="genloc-drop",
        )  # fmt: skip
        gr.Markdown("Or take an animal of the drawn zoo:", elem_classes="genloc-small")
        zoo = gr.Gallery(
            [(thumbnail(one), None) for one in self.pictures], show_label=False, columns=6, height="auto",
            allow_preview=False, buttons=[], object_fit="cover", elem_id="zoo", format="webp",
        )  # fmt: skip
        both = [self.picture, self.view]
        on_upload(self.upload, _taken, self.upload, both)
        on(everywhere.click, _everywhere, self.picture, both)

        def chosen(event: gr.SelectData) -> Any:
            one = self.pictures[event.index]
            return one, one.on_page()

        zoo.select(chosen, None, both, api_visibility="private")

    def _keypoints(self) -> None:
        gr.Markdown("Where are the keypoints that the adapter was trained for?")
        if not self._can("keypoints"):
            return
        names = ", ".join(self.tasks.predictor.skeleton.keypoints)
        gr.Markdown(plain(names), elem_classes="genloc-small")
        find = gr.Button("Find keypoints", variant="primary", elem_id="find-keypoints")

        def answer(picture: PagePicture) -> Any:
            return self._answered([(given(picture), self.tasks.keypoints(given(picture)))])

        on(find.click, answer, self.picture, results("keypoints"))

    def _words(self) -> None:
        gr.Markdown("Where is what these words say?")
        if not self._can("words"):
            return
        phrases = gr.Textbox(
            "the left front paw\nthe nose\nthe root of the tail", lines=4, label="One a line",
            elem_id="phrases",
        )  # fmt: skip
        find = gr.Button("Find them", variant="primary", elem_id="find-words")
        unread = _note("unread-words")

        def answer(picture: PagePicture, said: str) -> Any:
            found = self.tasks.words(given(picture), said)
            return [*self._answered([(given(picture), found)]), _said(self.tasks.unread(said))]

        on(find.click, answer, [self.picture, phrases], [*results("words"), unread])

    def _example(self, shown: PagePicture) -> None:
        gr.Markdown("Click points on one picture; they are looked for in yours and in any others.")
        self._warn("example")
        with gr.Column():
            with gr.Row():
                with gr.Column(scale=3, min_width=260):
                    self.support_view = gr.Image(
                        shown.on_page(), label="The example", interactive=False, buttons=[],
                        elem_id="support", height=320, format="webp",
                    )  # fmt: skip
                with gr.Column(scale=2, min_width=200):
                    self.point_name = gr.Textbox(
                        label="Name of the next point", placeholder="a number, if left empty", elem_id="point-name"
                    )  # fmt: skip
                    self.support_click = gr.Radio(
                        [POINTS, CORNERS], value=POINTS, label="A click on the example"
                    )
                    with gr.Row():
                        undo = gr.Button("Undo", size="sm", min_width=60)
                        clear = gr.Button("Clear", size="sm", min_width=60)
                    swap = gr.Button("Take the picture on the left", size="sm")
            with gr.Row():
                support_upload = gr.File(
                    label="Another example", file_types=list(ENDINGS), height=110,
                    elem_id="upload-example", elem_classes="genloc-drop",
                )  # fmt: skip
                more = gr.File(
                    label=f"More pictures to look in, up to {MOST_PICTURES}", height=110,
                    file_types=list(ENDINGS), file_count="multiple", elem_id="more",
                    elem_classes="genloc-drop",
                )  # fmt: skip
            with gr.Row(visible=False) as kept_row:
                thumbs = gr.Gallery(
                    show_label=False, columns=8, height="auto", allow_preview=False, buttons=[],
                    elem_id="further", format="webp", scale=4,
                )  # fmt: skip
                forget = gr.Button("Only the one on the left", size="sm", scale=1)
            find = gr.Button("Find these points", variant="primary", elem_id="find-example")
            shown_at = results("example")
        both = [self.example, self.support_view]
        further = gr.State((), time_to_live=self.forget)

        def another(path: str) -> Any:
            example = Example(take_upload(path))
            return example, example.on_page()

        def taken(picture: PagePicture) -> Any:
            example = Example(given(picture))
            return example, example.on_page()

        def undone(example: Example) -> Any:
            example = given(example).without_last()
            return example, example.on_page()

        def cleared(example: Example) -> Any:
            example = Example(given(example).picture)
            return example, example.on_page()

        def more_given(before: tuple[PagePicture, ...], paths: list[str]) -> Any:
            before = before or ()
            now = (*before, *take_uploads(paths, most=MOST_PICTURES - len(before)))
            return now, gr.Row(visible=True), [(thumbnail(one), None) for one in now]

        def answer(example: Example, picture: PagePicture, others: tuple[PagePicture, ...]) -> Any:
            every = [given(picture), *(others or ())]
            found = self.tasks.example(given(example), every)
            return self._answered(list(zip(every, found, strict=True)))

        on_upload(support_upload, another, support_upload, both)
        on(swap.click, taken, self.picture, both)
        on(undo.click, undone, self.example, both)
        on(clear.click, cleared, self.example, both)
        on_upload(more, more_given, [further, more], [further, kept_row, thumbs])
        on(forget.click, lambda: ((), gr.Row(visible=False), []), None, [further, kept_row, thumbs])
        on(find.click, answer, [self.example, self.picture, further], shown_at)

    def _place(self) -> None:
        gr.Markdown(
            "What is here? Click a place on your picture. One of the candidates is taken to be there: "
            "on the background, too, their shares sum to 1."
        )
        able = self._can("place")
        by_example = "keypoints" in self.tasks.lacking
        if by_example:
            gr.Markdown("The candidates are the points of the example: click at least two there.",
                        elem_classes="genloc-small")  # fmt: skip
        self.candidates = gr.Textbox(
            label="Candidates, at least two, one a line; empty: the adapter's own keypoints", lines=2,
            visible=able and "words" not in self.tasks.lacking, elem_id="candidates",
        )  # fmt: skip
        self.unread = _note("unread-candidates")
        with gr.Row(visible=able):
            self.pointed = gr.Image(
                label="The place", interactive=False, buttons=[], height=320, elem_id="pointed", format="webp"
            )  # fmt: skip
            self.names = gr.Label(label="What is there", num_top_classes=6, elem_id="names")

    def _clicks(self) -> None:
        """What a click on a picture does; it may reach into another tab."""

        def on_picture(
            how: str, picture: PagePicture, candidates: str, example: Example, event: gr.SelectData
        ) -> Any:  # fmt: skip
            picture = given(picture)
            at = picture.from_page(*event.index)
            if how == CORNERS:
                picture = picture.with_corner(at)
                return picture, picture.on_page(), *[gr.skip()] * 4
            said = candidates or ""
            chance = self.tasks.place(picture, at, phrases=said, example=example)
            tab, unread = gr.Tabs(selected="place"), _said(self.tasks.unread(said))
            return picture, gr.skip(), pointed_at(picture, at), chance, unread, tab

        def on_example(how: str, name: str, example: Example, event: gr.SelectData) -> Any:
            example = given(example)
            at = example.picture.from_page(*event.index)
            if how == CORNERS:
                example = Example(example.picture.with_corner(at), example.points)
                return example, example.on_page(), name
            example = example.with_point(name, at)
            return example, example.on_page(), ""

        on(
            self.view.select, on_picture,
            [self.click, self.picture, self.candidates, self.example],
            [self.picture, self.view, self.pointed, self.names, self.unread, self.tabs],
        )  # fmt: skip
        on(
            self.support_view.select, on_example,
            [self.support_click, self.point_name, self.example],
            [self.example, self.support_view, self.point_name],
        )  # fmt: skip

    def _answered(self, answers: Answers) -> list[Any]:
        return filled(answers, self.folder, padding=self.tasks.predictor.padding)

    def _warn(self, task: Task) -> None:
        if task in self.tasks.unsure:
            gr.Markdown(self.tasks.unsure[task], elem_classes="genloc-note")

    def _can(self, task: Task) -> bool:
        """Whether a task can be done; where not, says why."""
        if task in self.tasks.lacking:
            gr.Markdown(self.tasks.lacking[task], elem_classes="genloc-cannot")
        return task not in self.tasks.lacking


def _note(name: str) -> gr.Markdown:
    """Where `_said` says something of an answer."""
    return gr.Markdown(visible=False, elem_id=name, elem_classes="genloc-note")


def _said(text: str) -> gr.Markdown:
    return gr.Markdown(plain(text), visible=bool(text))


def _taken(path: str) -> Any:
    return (picture := take_upload(path)), picture.on_page()


def _everywhere(picture: PagePicture) -> Any:
    picture = given(picture).everywhere()
    return picture, picture.on_page()
