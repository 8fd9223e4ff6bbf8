"""The committed completions are what the program prints, and they complete."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPLETIONS = Path(__file__).parents[2] / "completions"
PROGRAM = Path(sys.executable).with_name("gamearchive")


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", "gamearchive.bash"), ("zsh", "_gamearchive"), ("fish", "gamearchive.fish")]
)
def test_the_committed_script_is_what_the_program_prints(shell: str, name: str) -> None:
    environment = os.environ | {"_GAMEARCHIVE_COMPLETE": f"source_{shell}"}
    printed = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert (COMPLETIONS / name).read_text(encoding="utf-8") == printed.strip() + "\n"


def test_bash_is_shown_the_committed_script() -> None:
    shown = subprocess.run(
        ["bash", "-c", f"'{PROGRAM}' --show-completion; true"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert (COMPLETIONS / "gamearchive.bash").read_text(encoding="utf-8") == shown


def test_bash_completes_with_the_committed_script() -> None:
    lines = f"""
        PATH='{PROGRAM.parent}':$PATH
        source '{COMPLETIONS / "gamearchive.bash"}'
        COMP_WORDS=(gamearchive config s) COMP_CWORD=2
        _gamearchive_completion gamearchive
        echo "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "show\n"
