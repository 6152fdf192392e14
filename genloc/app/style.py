"""How the page looks, on light and on dark."""

from __future__ import annotations

import gradio as gr

CSS = """
.gradio-container, .gradio-container > .main { max-width: min(1240px, 100vw) !important; box-sizing: border-box; }
.gradio-container { margin: 0 auto !important; }
.genloc-note { border-left: 3px solid var(--primary-500) !important; padding: 2px 0 2px 12px !important; }
.genloc-cannot { border: 1px solid var(--border-color-primary) !important; border-radius: 8px !important;
  padding: 10px 14px !important; background: var(--background-fill-secondary); }
.genloc-note .genloc-note, .genloc-cannot .genloc-cannot { border: 0 !important; padding: 0 !important; }
.genloc-note, .genloc-small { font-size: var(--text-sm); color: var(--body-text-color); }
.genloc-drop .wrap { font-size: var(--text-sm); line-height: 1.3; padding-top: 14px; }
.genloc-drop .icon-wrap { display: none; }
#zoo .grid-wrap, #further .grid-wrap, [id^=maps-] .grid-wrap { min-height: 0 !important; height: auto !important; }
[id^=maps-] .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
[id^=maps-] .grid-wrap { max-height: none !important; }
[id^=maps-] .caption-label { white-space: normal; padding: 1px 5px; font-size: 11px; line-height: 1.25; }
#zoo .grid-container { grid-template-columns: repeat(6, minmax(0, 1fr)) !important; }
@media (max-width: 480px) {
  .tab-container button { padding: 0 8px !important; }
  [id^=maps-] .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
}
"""


def theme() -> gr.themes.Base:
    """Fonts of the system alone: nothing is fetched."""
    return gr.themes.Default(
        primary_hue="orange",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def plain(text: str) -> str:
    """So that Markdown shows it as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|" else c for c in text)
