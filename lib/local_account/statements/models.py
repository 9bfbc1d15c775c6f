"""Models and their versions: what the Registry creates, shows, changes and calls."""

import collections
import functools
import json
from pathlib import Path

import pyarrow as pa
import yaml
from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.limits import read_limits
from local_account.account.session import Session
from local_account.engine.lengths import demand_fit
from local_account.engine.results import Result, listing
from local_account.sql.context_functions import object_call
from local_account.sql.packages import demand_model_packages
from local_account.sql.sources import engine_query
from local_account.sql.stage_files import Location, locate
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements.objects import create, made, remove
from local_account.statements.show import Shown
from local_account.statements.stages import snapshot
from local_account.text import identifiers
from local_account.text.errors import Missing, SnowflakeError, already_exists, compilation_error
from local_account.text.identifiers import Name
from local_account.text.literals import literal

MODEL_COLUMNS = (
    "created_on@ name model_type database_name schema_name owner comment versions default_version_name aliases"
)
VERSION_COLUMNS = (
    "created_on@ name aliases comment database_name schema_name model_name is_default_version functions metadata "
    "user_data model_attributes size# model_spec inference_services runnable_in"
)
SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where PyYAML was built with libyaml
OUTPUT_TYPES = {"DOUBLE": "DOUBLE", "FLOAT": "DOUBLE", "STRING": "VARCHAR", "BOOL": "BOOLEAN", "BYTES": "BLOB"}


@functools.lru_cache(500)
def parsed(text: str) -> dict:
    """The parsed YAML, shared by all callers: do not change it."""
    return yaml.load(text, SAFE)


class Version:
    """One version of a model: its catalog row and its files."""

    def __init__(self, session: Session, model: Object, thing: Object):
        self.model, self.thing, self.name = model, thing, thing.name
        self.folder = session.folders.path(thing)
        self.workers, self.root = session.account.workers, session.account.root

    @functools.cached_property
    def manifest(self) -> dict:
        return parsed((self.folder / "MANIFEST.yml").read_text())

    @functools.cached_property
    def spec(self) -> str:
        return (self.folder / "model" / "model.yaml").read_text()

    @property
    def runnable_in(self) -> list[str]:
        return self.manifest.get("target_platforms") or ["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"]

    def method(self, name: str) -> dict:
        """The manifest's entry of a method. Raises for one that the model does not have."""
        declared = {method["name"]: method for method in self.manifest["methods"]}
        if identifiers.fold(name) not in declared:
            text = (
                f"Unknown function {identifiers.fold(name)} in model {self.model.qualified}: it has {sorted(declared)}"
            )
            raise compilation_error(text, 2140, "42601")
        return declared[identifiers.fold(name)]

    def signature(self, method: str) -> dict:
        signatures = parsed(self.spec)["signatures"]
        return next(found for name, found in signatures.items() if name.upper() == identifiers.fold(method))

    def call(self, method: str, table: pa.Table) -> list[str | None]:
        """The method over a table whose first column is the key of the call: one JSON text a row."""
        handler = self.method(method)["handler"].split(".")[1]
        return self.workers.call("model", self.folder, handler, table, read_limits(self.root).handler_seconds)


# ---------------------------------------------------------------- creating and dropping


def create_model(session: Session, s: Matched) -> Result:
    source, version = locate(session, s["source"]), identifiers.fold(s["version"])
    model = made(session, s, "MODEL", default=version, aliases={})
    return create(session, s, model, lambda model: put_version(session, model.qualified, version, source))


def add_version(session: Session, s: Matched) -> None:
    name, version = session.resolve(s["name"]), identifiers.fold(s["version"])
    source = locate(session, s["source"])
    with session.transaction.change(name):
        session.need("MODEL", name)
        if session.get("MODEL VERSION", Name(*name[:2], version), name.name):
            raise already_exists(f"{name} version {version}")
        put_version(session, name, version, source)


def put_version(session: Session, model: Name, version: str, source: Location) -> None:
    """Copy a packaged model off its stage."""
    thing = Object("MODEL VERSION", *model[:2], version, model.name, owner=session.role, properties={"metadata": "{}"})
    folder = snapshot(session, thing, source)
    try:
        demand_complete(session, folder, source)
    except SnowflakeError:
        session.folders.remove(thing)
        raise
    session.put(thing)


def demand_complete(session: Session, folder: Path, source: Location) -> None:
    """Raise unless a packaged model has its files, and the warehouse, if it is to run there, the packages."""
    for part in ("MANIFEST.yml", "model/model.yaml"):
        if not (folder / part).is_file():
            text = f"The model's files are not complete: {part} is missing at {source.target.name}."
            raise SnowflakeError(text, 398506)
    manifest = yaml.load((folder / "MANIFEST.yml").read_text(), SAFE)
    if "WAREHOUSE" in manifest.get("target_platforms", ["WAREHOUSE"]):
        for runtime in manifest["runtimes"].values():
            demand_model_packages(session, folder, runtime["dependencies"])


def drop_version(session: Session, s: Matched) -> None:
    with session.edit("MODEL", s["name"]) as model:
        version = need_version(session, model.qualified, s["version"])
        if model.properties["default"] == version.name:
            text = f"Cannot drop version '{version.name}': it is the default version of the model."
            raise compilation_error(text, 393912)
        remove(session, version.thing)
        drop_aliases(model, version.name)


def drop_aliases(model: Object, version: str) -> None:
    model.properties["aliases"] = {a: v for a, v in model.properties["aliases"].items() if v != version}


# ---------------------------------------------------------------- finding and showing


def versions(session: Session, model: Name) -> list[Object]:
    return session.find("MODEL VERSION", *model)


def need_version(session: Session, name: Name, text: str) -> Version:
    """A version by its name, by an alias, or as DEFAULT, FIRST or LAST."""
    model, wanted = session.need("MODEL", name), identifiers.fold(text)
    version = alias_target(session, model).get(wanted, wanted)
    found = session.get("MODEL VERSION", Name(*name[:2], version), name.name)
    if found is None:
        raise Missing("Version", wanted)
    return Version(session, model, found)


def alias_target(session: Session, model: Object) -> dict[str, str]:
    known = versions(session, model.qualified)
    system = {"DEFAULT": model.properties["default"], "FIRST": known[0].name, "LAST": known[-1].name}
    return {**model.properties["aliases"], **system}


def model_row(session: Session, model: Object) -> dict:
    known = [version.name for version in versions(session, model.qualified)]
    return {
        "model_type": "USER_MODEL", "versions": json.dumps(known),
        "default_version_name": model.properties["default"], "aliases": json.dumps(alias_target(session, model)),
    }  # fmt: skip


def show_versions(session: Session, s: Matched) -> Result:
    model = session.need("MODEL", s["name"])
    known = [
        version for version in versions(session, model.qualified) if identifiers.like(s.value("like"), version.name)
    ]
    aliases, serving = alias_target(session, model), collections.defaultdict(list)
    for service in session.find("SERVICE"):
        if service.properties.get("model") == str(model.qualified):
            serving[service.properties.get("version")].append(str(service.qualified))
    rows = [
        {**thing.row(), **version_row(Version(session, model, thing), aliases, serving[thing.name])} for thing in known
    ]
    return listing(VERSION_COLUMNS, rows)


def version_row(version: Version, aliases: dict[str, str], serving: list[str]) -> dict:
    model, meta = version.model, parsed(version.spec)
    attributes = {"framework": meta["model_type"], "task": meta.get("task", "UNKNOWN"), "client": "snowflake-ml-python"}
    return {
        "aliases": json.dumps([a for a, v in aliases.items() if v == version.name]),
        "model_name": model.name,
        "is_default_version": str(model.properties["default"] == version.name).lower(),
        "functions": json.dumps([method["name"] for method in version.manifest["methods"]]),
        "metadata": version.thing.properties["metadata"],
        "user_data": json.dumps(version.manifest.get("user_data", {})),
        "model_attributes": json.dumps(attributes),
        "size": sum(file.stat().st_size for file in version.folder.rglob("*") if file.is_file()),
        "model_spec": version.spec,
        "inference_services": json.dumps(serving),
        "runnable_in": json.dumps(version.runnable_in),
    }


def show_functions(session: Session, s: Matched) -> Result:
    version = need_version(session, session.resolve(s["name"]), s["version"] or "DEFAULT")
    rows = [
        {"name": method["name"], "return_type": "OBJECT" if method["type"] == "FUNCTION" else "TABLE ()"}
        for method in version.manifest["methods"]
    ]
    return listing("name return_type", rows)


# ---------------------------------------------------------------- changing


def set_on_version(session: Session, s: Matched) -> None:
    with session.edit("MODEL", s["name"]) as model:
        version = need_version(session, model.qualified, s["version"]).thing
        if s.choice == "COMMENT":
            version.comment = s.value("value")
        else:
            version.properties["metadata"] = s.value("value")
        session.put(version)


def name_version(session: Session, s: Matched) -> None:
    with session.edit("MODEL", s["name"]) as model:
        version = need_version(session, model.qualified, s["version"]).name
        if s.choice == "DEFAULT_VERSION":
            model.properties["default"] = version
        elif s.choice == "ALIAS":
            if identifiers.fold(s["alias"]) in ("DEFAULT", "FIRST", "LAST"):
                raise compilation_error(f"invalid alias '{s['alias']}': the name is reserved", 1003)
            model.properties["aliases"][identifiers.fold(s["alias"])] = version
        else:
            drop_aliases(model, version)


# ---------------------------------------------------------------- calling


def model_function(session: Session, model: str, version: str, method: str, in_table: bool = False) -> str:
    """The key by which the engine runs ``MODEL(model, version)!METHOD``; it answers one JSON text a row."""
    found = need_version(session, session.resolve(model), version)
    kind = found.method(method)["type"]
    if (kind == "TABLE_FUNCTION") != in_table:
        form = "in the FROM clause, as TABLE(...)" if not in_table else "as an expression, not in TABLE(...)"
        text = f"{identifiers.fold(method)} is a {kind} of model {model}: call it {form}"
        raise compilation_error(text, 2140, "42601")
    if "WAREHOUSE" not in found.runnable_in:
        text = f"Model {model} version {found.name} was logged without the target platform WAREHOUSE: call its service."
        raise compilation_error(text, 393918)
    key = f"{found.folder}!{identifiers.fold(method)}"

    def run(table: pa.Table) -> list[str | None]:
        demand_fit(table.columns[1:])
        return found.call(method, table)

    session.account.functions.setdefault(key, run)
    return key


def call_model(session: Session, arguments: list[exp.Expression]) -> exp.Expression:
    model, version, method, *rest = arguments
    return object_call(model_function(session, model.name, version.name, method.name), rest)


def model_rows(session: Session, arguments: list[exp.Expression]) -> exp.Expression:
    """``TABLE(MODEL(m, v)!METHOD(...))``: one row of typed outputs for each row of input."""
    model, version, method, *rest = arguments
    name = model_function(session, model.name, version.name, method.name, in_table=True)
    columns = ", ".join(
        f"CAST(json_extract_string(o, {literal('$.' + json.dumps(column))}) AS {kind}) AS {identifiers.quote(column)}"
        for column, kind in output_columns(session, model.name, version.name, method.name)
    )
    return engine_query(f"SELECT {columns} FROM (SELECT HOLE AS o) AS m", object_call(name, rest))


def output_columns(session: Session, model: str, version: str, method: str) -> list[tuple[str, str]]:
    """(column, engine type) of a method's outputs, as its signature declares them."""
    outputs = need_version(session, session.resolve(model), version).signature(method)["outputs"]
    return [(output["name"], feature_type(output)) for output in outputs]


def feature_type(feature: dict) -> str:
    """The engine's type of a method's input or output; those with a shape are arrays."""
    kind = feature.get("type", "")
    return "JSON" if feature.get("shape") else OUTPUT_TYPES.get(kind, "BIGINT" if "INT" in kind else "JSON")


STATEMENTS = [
    Statement("CREATE [OR REPLACE] MODEL [IF NOT EXISTS] <name> WITH VERSION <version> FROM <source:stage>",
              create_model),
    Statement("ALTER MODEL <name> ADD VERSION <version> FROM <source:stage>", add_version),
    Statement("ALTER MODEL <name> DROP VERSION <version>", drop_version),
    Statement("SHOW VERSIONS [LIKE <like:string>] IN MODEL <name>", show_versions),
    Statement("SHOW FUNCTIONS IN MODEL <name> [VERSION <version>]", show_functions),
    Statement("ALTER MODEL <name> MODIFY VERSION <version> SET {COMMENT|METADATA} = <value:body>", set_on_version),
    Statement("ALTER MODEL <name> VERSION <version> {UNSET ALIAS}", name_version),
    Statement("ALTER MODEL <name> VERSION <version> SET {ALIAS} = <alias>", name_version),
    Statement("ALTER MODEL <name> SET {DEFAULT_VERSION} = <version>", name_version),
]  # fmt: skip

SHOWN = {
    "MODEL": Shown(MODEL_COLUMNS, model_row),
}  # fmt: skip

CALLS = {"__MODEL_CALL": call_model}

LATERAL_FUNCTIONS = {"__MODEL_CALL": model_rows}
