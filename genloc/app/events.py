"""How what is clicked on the page reaches a function, and how a mistake in it is said."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """A mistake in what was given is one line on the page."""

    @functools.wraps(function)
    def answer(*given: Any) -> Any:
        try:
            return function(*given)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False, duration=12) from error

    return answer


def beside(function: Callable[..., Any], outputs: Sequence[Any]) -> Callable[..., Any]:
    """As `said`, and all stays as it is: an error would cover the outputs until it is closed."""

    @functools.wraps(function)
    def answer(*given: Any) -> Any:
        try:
            return function(*given)
        except (ValueError, OSError) as error:
            gr.Warning(str(error), title="Error", duration=12)
            return [gr.skip() for _ in outputs]

    return answer


def on(event: Any, function: Callable[..., Any], inputs: Any, outputs: Any) -> Any:
    """One at a time, not offered to programs, mistakes said in a line."""
    clicked = event.event_name == "select"  # a picture that must stay in sight for the next click
    return event(
        beside(function, outputs) if clicked else said(function), inputs, outputs,
        concurrency_id="model", api_visibility="private", trigger_mode="multiple" if clicked else "once",
    )  # fmt: skip


def on_upload(upload: gr.File, function: Callable[..., Any], inputs: Any, outputs: Any) -> None:
    """As `on`; the component is ready for the next file, whatever became of this one."""

    answer = beside(function, outputs)
    on(upload.upload, lambda *given: [*answer(*given), None], inputs, [*outputs, upload])


def given(kept: Any) -> Any:
    """What a page remembers, unless it was idle for too long."""
    if kept is None:
        raise ValueError("This picture has been forgotten: give it once more.")
    return kept
