"""Which store a URL means."""

import subprocess
import sys
from pathlib import Path

import pytest

from gamearchive.errors import ConfigurationError
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore
from gamearchive.stores.registry import store_from_url


@pytest.mark.parametrize("name", ["packs", "with blank", "100%", "fragment#", "question?", "größe"])
def test_a_file_url_is_its_folder_and_back(tmp_path: Path, name: str):
    folder = tmp_path.resolve() / name
    store = store_from_url(folder.as_uri())
    assert isinstance(store, FileSystemStore)
    assert store.url == folder.as_uri()
    assert not folder.exists()
    store.put("a", b"1")
    assert (folder / "a").read_bytes() == b"1"


def test_localhost_is_this_machine(tmp_path: Path):
    assert store_from_url(f"file://localhost{tmp_path}").url == tmp_path.resolve().as_uri()


def test_memory():
    assert isinstance(store_from_url("memory:"), MemoryStore)


@pytest.mark.parametrize(
    "url",
    [
        "file:relative",
        "file://host/path",
        "file://relative/path",
        "file:///a?b=c",
        "file:///a#b",
        "file:",
        "memory:a",
        "/a",
        "",
    ],
)
def test_a_url_of_another_form_is_a_configuration_error(url: str):
    with pytest.raises(ConfigurationError):
        store_from_url(url)


def test_an_unknown_scheme_names_the_known_ones_and_keeps_the_password_to_itself():
    with pytest.raises(ConfigurationError, match="'gopher'") as caught:
        store_from_url("gopher://user:secret@host/games")
    assert "file, memory" in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


PLUGIN = """
from gamearchive.stores.memory import MemoryStore

class Cupboard(MemoryStore):
    def __init__(self, url):
        super().__init__()
        self.asked = url
"""

ASK = """
import sys
from gamearchive.errors import ConfigurationError
from gamearchive.stores.registry import store_from_url
print(store_from_url("cupboard://kitchen/left").asked)
for url in ("broken:", "gopher:"):
    try:
        store_from_url(url)
    except ConfigurationError as error:
        print(error, error.hint)
"""


def test_an_installed_package_brings_its_scheme(tmp_path: Path):
    (tmp_path / "cupboard.py").write_text(PLUGIN)
    metadata = tmp_path / "cupboard-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cupboard\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[gamearchive.stores]\ncupboard = cupboard:Cupboard\nbroken = not_installed:Store\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}){ASK}"],
        capture_output=True,
        text=True,
        check=True,
    )
    found, broken, unknown = result.stdout.splitlines()
    assert found == "cupboard://kitchen/left"
    assert "not_installed" in broken
    assert "broken, cupboard, file, memory, postgresql, " in unknown
