"""Conventions of every notebook, for readers and for headless runs."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w@.])/(home|root|Users|tmp|work|private|var)/")


def test_there_are_five_in_order():
    assert [path.stem for path in NOTEBOOKS] == ["01_setup", "02_data_ingest", "03_train", "04_register", "05_deploy"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_valid_and_says_python3(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_it_begins_with_a_question_what_it_needs_and_what_it_leaves(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and "?" in first.source.splitlines()[0]
    assert "**Needs**" in first.source and "**Leaves**" in first.source


def test_outputs_are_stripped(notebook):
    for cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None


def test_every_cell_has_a_name_of_its_own(notebook):
    names = [cell.metadata.get("name") for cell in notebook.cells]
    assert all(names) and len(set(names)) == len(names)


def test_no_cell_is_longer_than_20_lines(notebook):
    for cell in code(notebook):
        assert len(cell.source.splitlines()) <= 20, cell.metadata.name


def test_one_parameters_cell_of_literals_comes_before_all_other_code(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code(notebook)[:1]
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)


def test_every_parameter_is_a_setting_so_that_arguments_and_variables_reach_it(notebook):
    from cxr.settings import load

    parameters = {target.id for node in ast.parse(code(notebook)[0].source).body for target in node.targets}
    load(argv=[], environ={}, **{name: None for name in parameters})  # raises for a name that is no setting
    opening = next(cell.source for cell in code(notebook) if cell.metadata.name == "connect")
    assert all(f"{name}={name}" in opening for name in parameters)


def test_imports_stand_together_and_the_environment_is_printed_after_them(notebook):
    """In one cell, or, where they do not fit into it, the library's in one of their own."""
    importing = [cell for cell in code(notebook) if re.search(r"^(import|from) ", cell.source, re.MULTILINE)]
    names = [cell.metadata.name for cell in importing]
    assert names in (["imports"], ["imports", "import_library"])
    following = code(notebook)[1 + len(names)]
    assert following.metadata.name == "connect" and "environment_line(" in following.source


def test_metrics_are_recorded_in_the_end(notebook):
    assert "cxr.record(" in code(notebook)[-1].source


def test_no_notebook_has_a_machines_path_or_checks_where_it_runs(notebook):
    for cell in notebook.cells:
        assert not MACHINE_PATH.search(cell.source), cell.metadata.name
        assert not re.search(r"\bif .*\blocal\b", cell.source), cell.metadata.name


def test_no_name_is_bound_twice(notebook):
    """If a name is bound to two things, a cell that is run again can give a wrong result."""
    bound: dict[str, str] = {}
    for cell in code(notebook):
        for node in ast.parse(cell.source).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            for name in names:
                known = bound.setdefault(name, cell.metadata.name)
                assert known == cell.metadata.name, f"{name}, of cell {known}, is bound again in {cell.metadata.name}"


def test_the_main_statements_and_calls_are_in_the_notebook():
    """Readers want to see the statement or call in the cell, not three functions away."""
    for stem, wanted in (
        ("04_register", ("log_model(",)),
        ("05_deploy", ("!PREDICT(", "create_service(", "EXECUTE INFERENCE JOB SERVICE")),
    ):
        cells = code(nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4))
        for words in wanted:
            assert any(words in cell.source for cell in cells), (stem, words)


def test_test_patients_are_looked_at_once_and_after_everything_was_chosen():
    """A threshold, temperature or epoch chosen on test patients would invalidate every metric of the report."""
    cells = code(nbformat.read(ROOT / "notebooks" / "03_train.ipynb", as_version=4))
    names = [cell.metadata.name for cell in cells]
    before = cells[: names.index("evaluate_test")]
    assert "choose_threshold" in [cell.metadata.name for cell in before]
    for cell in before:
        if cell.metadata.name != "load_images":  # which counts them
            used = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
            assert "test" not in used, cell.metadata.name
    assert not any("choose_operating_point(" in cell.source for cell in cells[names.index("evaluate_test") :])


def test_the_changed_copies_that_are_measured_are_not_those_that_chose():
    """Measured on the copies that chose epoch and threshold, the metrics for other hospitals would be too good."""
    cells = {cell.metadata.name: cell for cell in code(nbformat.read(NOTEBOOKS[2], as_version=4))}
    tree = ast.parse(cells["evaluate_validation"].source)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "held_back" in used and not used & {"tuning_logits", "shifted"}
