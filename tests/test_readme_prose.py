"""What the READMEs say outside its blocks of commands: commands in a sentence, flags in a table, sharing."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import huggingface_hub
import pytest
import yaml

from genloc.cli import COMMANDS, main
from tests.make_adapter import write_adapter
from tests.test_readme import README, REPOSITORY, blocks
from tests.test_readme_numbers import MEASURED

PROSE = re.sub(r"^```.*?^```", "", README + MEASURED, flags=re.DOTALL | re.MULTILINE)
QUOTED = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", PROSE)]
INLINE = sorted(
    {text for text in QUOTED if re.match(r"(genloc|python -m|bash|pip install) ", text)}
)


def options(command: str) -> set[str]:
    return {word for word in shlex.split(command) if word.startswith("--")}


@pytest.mark.parametrize("command", INLINE)
def test_a_command_in_a_sentence_is_one_and_has_its_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands are run elsewhere: tests/cli, tests/benchmarks, and the blocks of the README."""
    program, *words = shlex.split(command)
    if program == "bash":
        assert (REPOSITORY / words[0]).is_file()
    elif program == "pip":
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        extras = re.findall(r"[\w-]+", words[1])
        assert words[0] == "install" and set(extras) <= project["optional-dependencies"].keys()
    elif program == "python":
        help_ = [sys.executable, *words[:2], "--help"]
        done = subprocess.run(help_, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert options(command) <= set(re.findall(r"--[\w-]+", done.stdout))
    else:
        assert words[0] in COMMANDS
        if options(command) and words[0] not in ("fit", "validate", "test"):
            with pytest.raises(SystemExit, match="0"):
                main([words[0], "--help"])
            assert options(command) <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))


def test_sentences_with_commands_were_found() -> None:
    assert len([c for c in INLINE if options(c)]) >= 1
    assert any(c.startswith("python -m benchmarks.") for c in INLINE)


def test_the_flags_for_small_gpus_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    rows = re.findall(r"^\| \d+ GB \| `(.*?)`", README, flags=re.MULTILINE)
    assert len(rows) == 3
    (older,) = [text for text in QUOTED if text.startswith("--") and text.endswith("dtype fp16")]
    for flags in (*rows, older):
        with pytest.raises(SystemExit, match="0"):
            main(
                [
                    "fit",
                    "--config",
                    str(REPOSITORY / "configs/ap10k.yaml"),
                    *flags.split(),
                    "--print_config",
                ]
            )
        found = yaml.safe_load(capsys.readouterr().out)
        for name, value in zip(flags.split()[::2], flags.split()[1::2], strict=True):
            node = found
            for key in name.removeprefix("--").split("."):
                node = node[key]
            assert node == yaml.safe_load(value), name


def test_sharing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in blocks("python") if "push_to_hub" in block]
    folder = tmp_path / "runs" / "quickstart" / "adapter"
    shutil.copytree(write_adapter(tmp_path), folder)
    facts = yaml.safe_load((folder / "genloc.yaml").read_text())
    facts["prior"]["source"] = "tiny"  # as the quickstart's has it
    (folder / "genloc.yaml").write_text(yaml.safe_dump(facts))
    sent: dict[str, list[str]] = {}

    class Api:
        def __init__(self, token: str | None) -> None: ...

        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None: ...

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
            sent[repo_id] = sorted(path.name for path in Path(folder_path).iterdir())

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert sent.keys() == {"owner/name"} and "genloc.yaml" in sent["owner/name"]
