"""Floors of the package: a module imports from the floors below it, and from nothing beside it."""

import ast
from pathlib import Path

import pytest

import gramdyn

ROOT = Path(gramdyn.__file__).parent
FLOORS = (
    ("kernels",),
    ("models", "data", "deep_linear", "planted"),
    ("systems",),
    ("dynamics", "diagnostics"),
    ("plan",),
    ("store",),
    ("sweep", "report"),
    ("experiments", "laws"),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
# Used on every floor, and above all of them the two doors of the package.
FREE = {"_canary", "_checks", "_errors", "_lazy", "_process", "_types", "_version"}
DOORS = {"__init__", "__main__"}

MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def _part(path: Path) -> str:
    """The part of the package a file belongs to: "kernels" for kernels/gram.py."""
    return path.parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Parts of gramdyn that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the full name"
            names = [node.module or ""]
            if node.module == "gramdyn":
                names = [f"gramdyn.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("gramdyn.")}
    return found


def test_every_part_has_a_floor() -> None:
    parts = {_part(path) for path in MODULES}
    assert parts <= set(LEVEL) | FREE | DOORS
    assert {"kernels", "models", "data", "systems", "dynamics", "diagnostics"} <= parts


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down(path: Path) -> None:
    part, imports = _part(path), _imports(path)
    if part in DOORS:
        return
    if part in FREE:
        assert imports <= FREE
        return
    for other in imports - FREE - {part}:
        # a name that is no part of the package comes from its front door, above every floor
        assert other in LEVEL, f"{path} imports gramdyn.{other} from the front door"
        assert LEVEL[other] < LEVEL[part], f"{path} imports gramdyn.{other}, which is not below it"


def test_file_names_of_tests_are_unique() -> None:
    """Tests are no package, so two files of one name would hide each other."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
