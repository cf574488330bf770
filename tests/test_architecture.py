"""The house rules that a machine can check: imports go one way, and every module says what it is for."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "tmor"
ORDER = (
    "errors",
    "config",
    "skeleton",
    "pose",
    "teachers",
    "posecap",
    "model",
    "pretrain",
    "downstream",
    "serve",
    "cli",
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "tmor" and parts[1] in ORDER else None


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE or p.stem in ORDER], ids=str)
def test_imports_go_up_the_list_only(path: Path) -> None:
    own = ORDER.index(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in filter(None, map(room, names)):
            assert ORDER.index(name) <= own, f"{path.relative_to(PACKAGE)} imports {name}, which comes after it"


@pytest.mark.parametrize("path", [p for p in MODULES if p.read_text().strip()], ids=str)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_nobody_unpickles() -> None:
    for path in MODULES:
        text = path.read_text()
        assert "pickle.load" not in text
        assert "allow_pickle=True" not in text
        assert "weights_only=False" not in text
