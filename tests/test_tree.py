"""What holds for the whole tree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_streamlit_folder_does_not_shadow_the_package():
    assert not list((ROOT / "streamlit").rglob("__init__.py"))


def test_no_class_has_its_name_in_the_code():
    """But in phantoms, in defaults and in the adapter for earlier versions: labels come from the data."""
    allowed = {ROOT / "lib" / "cxr" / name for name in ("settings.py", "earlier_versions.py")}
    for folder in ("lib", "sql", "streamlit", "jobs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sql") and path not in allowed and "phantoms" not in path.parts:
                assert "PNEUMONIA" not in path.read_text(), path
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                assert "PNEUMONIA" not in "".join(cell["source"]), path


def test_imports_point_down():
    """The contracts stand in pyproject.toml; import-linter prints the chain of imports that breaks one."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_file_in_git_is_large_or_names_a_machine_or_an_index():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        data = (ROOT / name).read_bytes()
        assert len(data) < 1_000_000, name
        if not name.endswith((".png", ".svg")):
            text = data.decode()
            assert not re.search(r"https?://[^\s\"')]*/simple\b", text), name
