"""Files that Snowflake, its CLI and pip read: valid, consistent, and without features that Snowflake has dropped."""

import ast
import importlib.util
import inspect
import json
import re
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from cxr.account.scripts import read_sql_file
from cxr.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings()


# ---------------------------------------------------------------- requirements


def requirements(lines: list[str]) -> dict[str, str]:
    """Distribution -> specifier."""
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {found.name: str(found.specifier) for found in parsed}


PROJECT = requirements(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
BUNDLE = requirements((ROOT / "requirements.txt").read_text().splitlines())
APP = requirements((ROOT / "streamlit" / "requirements.txt").read_text().splitlines())
# Container Runtime brings these; pinning torch there breaks it.
RUNTIME = {
    "matplotlib", "numpy", "packaging", "pandas", "pillow", "scikit-learn", "scipy", "snowflake-ml-python",
    "snowflake-snowpark-python", "torch", "torchvision",
}  # fmt: skip


def test_the_bundle_requires_what_the_project_does_less_what_the_runtime_brings():
    assert BUNDLE == {name: version for name, version in PROJECT.items() if name not in RUNTIME}


def test_the_app_requires_what_its_files_import_in_the_projects_versions():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["local"]
    assert {name: version for name, version in APP.items() if name != "streamlit"}.items() <= PROJECT.items()
    assert APP["streamlit"] == requirements(extra)["streamlit"]
    assert imported_by_the_app() - {"altair"} <= set(APP)  # altair comes with Streamlit


def imported_by_the_app() -> set[str]:
    """Distributions that the app imports, directly or through the library."""
    todo, seen, found = sorted((ROOT / "streamlit").rglob("*.py")), set(), set()
    own = {path.stem for path in todo} | {"cxr"}
    while todo:
        path = todo.pop()
        seen.add(path)
        for name in modules(path):
            top = name.split(".")[0]
            if top == "cxr":
                module = ROOT / "lib" / "cxr" / f"{(name.split('.') + ['__init__'])[1]}.py"
                todo += [module] if module.exists() and module not in seen else []
            elif top not in own and top not in sys.stdlib_module_names:
                found.add(distribution(name))
    return found


def modules(path: Path) -> set[str]:
    """The modules that a file imports at import time."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"cxr.{alias.name}" for alias in node.names} if node.module == "cxr" else {node.module}
    return found


def distribution(module: str) -> str:
    known = {"PIL": "pillow", "sklearn": "scikit-learn"}
    snowflake = {"ml": "snowflake-ml-python", "snowpark": "snowflake-snowpark-python"}
    parts = module.split(".")
    if parts[0] == "snowflake":
        return snowflake.get(parts[1], "snowflake-snowpark-python")  # which brings the connector
    return known.get(parts[0], parts[0])


# ---------------------------------------------------------------- code_bundle.yml

# developer-guide/code-bundles/code-bundle-yml-reference, fields of `type: custom` on a compute pool: type, required.
FIELDS = {
    "type": (str, True),
    "compute_type": (str, True),
    "language": (str, True),
    "compute_options": (dict, True),
    "properties": (dict, False),
    "env_vars": (list, False),
    "secrets": (list, False),
    "external_access_integrations": (list, False),
    "artifact_repositories": (list, False),
    "stage_mounts": (dict, False),
}


def check_bundle(bundle: dict, compute_pool: str, runtime: str) -> None:
    assert set(bundle) <= set(FIELDS)
    for field, (kind, required) in FIELDS.items():
        assert isinstance(bundle[field], kind) if field in bundle else not required, field
    assert (bundle["type"], bundle["compute_type"], bundle["language"]) == ("custom", "compute_pool", "python")
    assert bundle["compute_options"] == {
        "compute_pool": compute_pool,
        "query_warehouse": SETTINGS.warehouse,
        "runtime_version": runtime,
    }
    assert set(bundle["properties"]) == {"requirements_file"}
    assert (ROOT / bundle["properties"]["requirements_file"]).is_file()
    # Without it a run on a pool fails to find its packages, says one page; it is the default, says another.
    assert bundle["artifact_repositories"] == ["snowflake.snowpark.pypi_shared_repository"]
    for mount in bundle["stage_mounts"].values():
        assert mount == {"stage_url": SETTINGS.images, "mount_path": f"{SETTINGS.images_mount}/"}


def test_the_bundles_specification_has_the_documented_fields_and_the_settings_names():
    check_bundle(
        yaml.safe_load((ROOT / "code_bundle.yml").read_text())["bundle"], SETTINGS.gpu_pool, SETTINGS.gpu_runtime
    )


@pytest.mark.parametrize("stem", ["35_run", "40_schedule"])
def test_all_but_training_run_on_a_cpu_node(stem):
    runs = "\n".join(read_sql_file(ROOT / "sql" / f"{stem}.sql", SETTINGS)).split("EXECUTE CODE BUNDLE ")[1:]
    assert len(runs) >= 4
    for run in runs:
        given = re.findall(r"WITH SPECIFICATION \$\$(.*?)\$\$", run, re.DOTALL)
        assert len(given) == (0 if "ENTRYPOINT = 'notebooks/03_train.ipynb'" in run else 1), run
        for specification in given:
            check_bundle(yaml.safe_load(specification)["bundle"], SETTINGS.service_pool, SETTINGS.cpu_runtime)


@pytest.mark.parametrize(("secret", "given"), [("VAULT.KEYS.PATIENT_KEY", ["VAULT.KEYS.PATIENT_KEY"]), ("", None)])
def test_what_reads_images_headless_gets_the_secret_with_the_key_and_nothing_else_does(secret, given):
    settings = Settings(patient_key_secret=secret)
    scripts = [ROOT / "sql" / f"{stem}.sql" for stem in ("35_run", "40_schedule")]
    text = ";".join(statement for path in scripts for statement in read_sql_file(path, settings))
    runs = re.findall(r"ENTRYPOINT = '([^']+)'[^;]*?WITH SPECIFICATION \$\$(.*?)\$\$", text, re.DOTALL)
    secrets = {entrypoint: yaml.safe_load(specification)["bundle"].get("secrets") for entrypoint, specification in runs}
    assert len(secrets) == 6
    reads = {"notebooks/02_data_ingest.ipynb", "jobs/ingest_new_images.py"}
    assert secrets == {entrypoint: given if entrypoint in reads else None for entrypoint in secrets}


def test_every_entrypoint_is_in_the_tree():
    scripts = "\n".join(path.read_text() for path in (ROOT / "sql").glob("*.sql"))
    entrypoints = re.findall(r"ENTRYPOINT = '([^']+)'", scripts)
    assert len(set(entrypoints)) == 7
    assert all((ROOT / name).is_file() for name in entrypoints)


def test_the_ml_job_gives_the_client_what_its_documentation_lists():
    """A job cannot be submitted here, but the client's function must accept these arguments."""
    from snowflake.ml.jobs import submit_directory

    (call,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "jobs" / "train_as_ml_job.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "submit_directory"
    ]
    listed = set(inspect.signature(submit_directory).parameters)
    listed |= set(re.findall(r"^\s+(\w+) \(\w", submit_directory.__doc__, re.MULTILINE))
    assert {keyword.arg for keyword in call.keywords} <= listed
    (entrypoint,) = [keyword.value.value for keyword in call.keywords if keyword.arg == "entrypoint"]
    assert (ROOT / entrypoint).is_file()


def test_an_ml_job_asks_for_as_many_instances_as_nodes_train(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("train_as_ml_job", ROOT / "jobs" / "train_as_ml_job.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAYLOAD", tmp_path)
    monkeypatch.setattr(module, "submit_directory", lambda *_, **given: given)
    monkeypatch.setattr(module.cxr, "connect", lambda settings: None)
    assert module.submit(["--nodes", "3"])["target_instances"] == 3
    assert module.submit([])["target_instances"] == 1


# ---------------------------------------------------------------- snowflake.yml

DEFINITION = yaml.safe_load((ROOT / "snowflake.yml").read_text())


def test_the_clis_own_schema_accepts_the_project_definition(snow, tmp_path):
    done = snow("helpers", "generate-project-schema", home=tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    schema = json.loads(done.stdout)
    jsonschema.validate(DEFINITION, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"definition_version": 2, "entities": {"p": {"type": "compute-pool", "size": 3}}}, schema)


def test_the_project_definition_makes_what_the_scripts_make():
    account = "\n".join(read_sql_file(ROOT / "sql" / "10_account.sql", SETTINGS))
    for entity in DEFINITION["entities"].values():
        if entity["type"] == "compute-pool":
            (options,) = re.findall(rf"CREATE COMPUTE POOL IF NOT EXISTS {entity['identifier']} (.*)", account)
            assert f"AUTO_SUSPEND_SECS = {entity['auto_suspend_seconds']}" in options
            assert f"INSTANCE_FAMILY = {entity['instance_family']} " in options
            assert f"MIN_NODES = {entity['min_nodes']} MAX_NODES = {entity['max_nodes']} " in options
    app = DEFINITION["entities"]["app"]
    assert app["identifier"] == {
        "name": SETTINGS.app_name,
        "database": SETTINGS.database,
        "schema": SETTINGS.schema,
    }
    assert (app["query_warehouse"], app["compute_pool"]) == (SETTINGS.warehouse, SETTINGS.app_pool)
    assert f"RUNTIME_NAME = '{app['runtime_name']}'" in (ROOT / "sql" / "30_deploy.sql").read_text()
    assert all((ROOT / folder).exists() for folder in [*app["artifacts"], app["main_file"]])


# ---------------------------------------------------------------- what is gone

DROPPED = {
    r"(CREATE|ALTER|DROP|EXECUTE)\s+(OR\s+REPLACE\s+)?NOTEBOOK\b(?!\s+PROJECT)": "notebook objects: blocked in 2026",
    r"SYSTEM\$(GPU|BASIC|CPU)_RUNTIME": "runtimes of notebook objects",
    r"\bsnow notebook\b": "the CLI's commands for notebook objects",
    r"ROOT_LOCATION": "Streamlit apps that live on a stage",
    r"snowflake\.ml\.model\.batch\b": "gone in snowflake-ml-python 2",
    r"enable_explainability=True": "raises for PyTorch",
    r"0\.0\.0\.0": "egress to everywhere",
    r"snowflake\.ml\.modeling\.(?!distributors)\w+": "gone in snowflake-ml-python 2",
    r"st\.experimental_\w+": "gone in Streamlit 1.50",
    r"use_column_width": "gone in Streamlit 1.50",
}
SEARCHED = ("sql", "notebooks", "lib", "docs", "streamlit", "jobs", "ci", ".github")


def sources() -> list[Path]:
    found = [path for folder in SEARCHED for path in (ROOT / folder).rglob("*")]
    found += [*ROOT.glob("*.yml"), *ROOT.glob("*.md"), *ROOT.glob("*.txt")]
    found.remove(ROOT / "docs" / "local_account.md")  # lists what the stand-in refuses, these among it
    kinds = {".sql", ".ipynb", ".py", ".md", ".yml", ".txt", ".toml"}
    return [path for path in found if path.suffix in kinds and "__pycache__" not in path.parts]


@pytest.mark.parametrize("pattern", DROPPED)
def test_nothing_uses_what_the_platform_has_dropped(pattern):
    assert len(sources()) > 80
    using = [path.relative_to(ROOT).as_posix() for path in sources() if re.search(pattern, path.read_text())]
    assert not using, DROPPED[pattern]


@pytest.mark.parametrize(
    "old",
    [
        "CREATE OR REPLACE NOTEBOOK N FROM '@S'",
        "EXECUTE NOTEBOOK N()",
        "RUNTIME_NAME = 'SYSTEM$GPU_RUNTIME'",
        "CREATE STREAMLIT A ROOT_LOCATION = '@S'",
        "from snowflake.ml.modeling.xgboost import XGBClassifier",
    ],
)
def test_the_patterns_find_statements_of_old_guides(old):
    assert any(re.search(pattern, old) for pattern in DROPPED)
