"""The house rules that a machine can check: who may import what, and how long files grow."""

import ast
from pathlib import Path

import pytest

import streamtrack

PACKAGE = Path(streamtrack.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
LAYERS = ["base", "media", "tracking", "display", "stream", "serving", "cli"]
BASE = {"errors", "resources", "config", "masks", "__init__"}
HOMES = {
    "sam2": {
        "tracking/official.py",
        "tracking/segmenter.py",
        "tracking/nano.py",
        "tracking/nano_parts.py",
    },
    "torch": {"tracking/"},
    "fastapi": {"serving/"},
    "aiortc": {"serving/", "client.py"},
    "aioice": {"serving/"},
}


def _relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _layer(relative: str) -> int:
    top = relative.removesuffix(".py").split("/")[0]
    if top in BASE:
        return 0
    if top in LAYERS:
        return LAYERS.index(top)
    return LAYERS.index("cli" if top in {"cli", "__main__", "client"} else "stream")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_imports_point_one_way(path: Path) -> None:
    here = _layer(_relative(path))
    for name in _imports(path):
        if name.startswith("streamtrack.") and _relative(path) != "__init__.py":
            target = "/".join(name.split(".")[1:3])
            assert _layer(target) <= here, f"{_relative(path)} imports {name}, a later layer"


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_libraries_stay_in_their_homes(path: Path) -> None:
    for name in _imports(path):
        homes = HOMES.get(name.split(".")[0])
        if homes is not None:
            assert any(_relative(path).startswith(home) for home in homes), (
                f"{_relative(path)} imports {name}, which belongs in {sorted(homes)}"
            )
        assert not name.startswith("torchvision"), f"{_relative(path)} imports torchvision"


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, f"{_relative(path)} is longer than 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{_relative(path)}: {node.name} has {length} lines, more than 60"


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for name in streamtrack.__all__:
        value = getattr(streamtrack, name)
        assert isinstance(value, str) or value.__doc__, f"{name} has no docstring"
