"""Imports point down: the folders are the flow of the data, and siblings on one line do not know each other."""

import ast
from pathlib import Path

import awase

ROOT = Path(awase.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("vocabulary", "files"),
    ("types", "config", "records", "products", "digest"),
    ("statistics", "distributed"),
    ("data", "encoders", "adapters", "fusion", "objectives"),
    ("models",),
    ("evaluation", "balancing"),
    ("training",),
    ("methods",),
    ("experiments",),
    ("runner", "report"),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TORCH_FREE = ("vocabulary", "files", "config", "records", "statistics", "methods", "report", "cli")


def imports(file: Path) -> set[str]:
    """Every module that the file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} uses a relative import"
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "awase" else {node.module}
            )
    return found


def unit(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return [file for file in sorted(ROOT.rglob("*.py")) if file != ROOT / "__init__.py"]


def test_every_folder_has_its_place():
    assert {unit(file) for file in sources()} == set(LEVEL)


def test_imports_point_down():
    wrong = []
    for file in sources():
        own = unit(file)
        for name in imports(file):
            parts = name.split(".")
            inside = parts[0] == "awase" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != own
            if inside and LEVEL[parts[1]] >= LEVEL[own]:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_what_needs_no_tensors_imports_no_torch():
    heavy = {"torch", "timm", "transformers", "torchvision"}
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources()
        if unit(file) in TORCH_FREE and unit(file) != "cli"
        for name in imports(file)
        if name.split(".")[0] in heavy
    ]
    assert wrong == []
