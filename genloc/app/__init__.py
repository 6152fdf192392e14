"""The page of `genloc app`: four questions to a localizer, in a browser on this machine.

`picture` and `example` hold what a person gives, `tasks` answers, `answer` draws and writes the
answers down. None of these needs gradio; `page` lays them out with it and `serve` runs the page.
"""
