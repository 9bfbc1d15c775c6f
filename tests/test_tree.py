"""What holds for the whole tree."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("lib", "ci", "streamlit", "tests") for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(names: set[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(package + ".")}


def test_the_streamlit_folder_does_not_shadow_the_package():
    assert not list((ROOT / "streamlit").rglob("__init__.py"))


def test_nothing_imports_the_local_account():
    for path in SOURCES:
        if "local_account" not in path.parts:
            assert not below(imported(path), "local_account"), path


def test_the_local_account_knows_nothing_of_xrays():
    for path in SOURCES:
        if path.is_relative_to(ROOT / "lib" / "local_account"):
            assert not below(imported(path), "cxr"), path


def test_imports_in_the_library_point_one_way():
    allowed = {
        "images": set(),
        "settings": set(),
        "network": set(),
        "saliency": {"network"},
        "augmentation": {"network"},
        "distributed": set(),
        "training": {"augmentation", "distributed", "network"},
        "scoring_model": {"images", "network", "saliency"},
    }
    for module, names in allowed.items():
        found = below(imported(ROOT / "lib" / "cxr" / f"{module}.py"), "cxr") - {"cxr"}
        assert {name.split(".")[1] for name in found} <= names, module


def test_what_the_registered_model_ships_needs_nothing_else_of_the_library():
    source = (ROOT / "lib" / "cxr" / "registry.py").read_text()
    shipped = set(ast.literal_eval(re.search(r"^SHIPPED = (\(.*?\))", source, re.MULTILINE)[1]))
    for name in shipped - {"__init__.py"}:
        found = below(imported(ROOT / "lib" / "cxr" / name), "cxr") - {"cxr"}
        assert {f"{module.split('.')[1]}.py" for module in found} <= shipped, name


def test_no_file_in_git_is_large_or_names_a_machine_or_an_index():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        data = (ROOT / name).read_bytes()
        assert len(data) < 1_000_000, name
        if not name.endswith((".png", ".svg")):
            text = data.decode()
            assert not re.search(r"https?://[^\s\"')]*/simple\b", text), name
