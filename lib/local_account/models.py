"""Models and their versions: what the Registry creates, shows, changes and calls."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import yaml

from . import catalog, names
from .account import Account
from .catalog import Object
from .errors import SnowflakeError, already_exists, compilation_error, missing, unsupported
from .names import Name
from .results import Result, listing, status
from .session import Session
from .show import FILTER, SCOPE, chosen
from .sources import TABLE_FUNCTIONS
from .staged import Location, locate
from .stages import copy_whole
from .statements import Matched, statement

MODEL_COLUMNS = (
    "created_on@ name model_type database_name schema_name owner comment versions default_version_name aliases"
)
VERSION_COLUMNS = (
    "created_on@ name aliases comment database_name schema_name model_name is_default_version functions metadata "
    "user_data model_attributes size# model_spec inference_services runnable_in"
)


# ---------------------------------------------------------------- creating and dropping


@statement("CREATE [OR REPLACE] MODEL [IF NOT EXISTS] <name> WITH VERSION <version> FROM <source:stage>", "executed")
def create_model(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    session.need_schema(name.database, name.schema)
    existing = catalog.get(session.con, "MODEL", name)
    if existing and s.if_not_exists:
        return status(f"{name.name} already exists, statement succeeded.")
    if existing and not s.or_replace:
        raise already_exists(str(name))
    folder = copy_version(session, name, locate(session, s["source"]))
    version = names.fold(s["version"])
    with session.change(name):
        if catalog.get(session.con, "MODEL", name):
            if not s.or_replace:
                raise already_exists(str(name))
            catalog.drop_parts(session.con, "MODEL VERSION", name)
        properties = {"default": version, "aliases": {}, "tags": {}}
        model = Object("MODEL", name.database, name.schema, name.name, owner=session.role, properties=properties)
        catalog.put(session.con, model)
        catalog.put(session.con, new_version(session, name, version, folder))
    return status(f"Model {name.name} successfully created.")


@statement("ALTER MODEL <name> ADD VERSION <version> FROM <source:stage>", "executed")
def add_version(session: Session, s: Matched) -> Result:
    name, version = session.resolve(s["name"]), names.fold(s["version"])
    catalog.need(session.con, "MODEL", name)
    folder = copy_version(session, name, locate(session, s["source"]))
    with session.change(name):
        catalog.need(session.con, "MODEL", name)
        if find_version(session, name, version):
            raise already_exists(f"{name} version {version}")
        catalog.put(session.con, new_version(session, name, version, folder))
    return status()


def new_version(session: Session, name: Name, version: str, folder: Path) -> Object:
    properties = {"folder": folder.name, "metadata": "{}"}
    made = Object("MODEL VERSION", name.database, name.schema, version, name.name, properties=properties)
    made.owner = session.role
    return made


def copy_version(session: Session, name: Name, source: Location) -> Path:
    """Copy a packaged model off its stage. It counts only once a catalog row names the folder."""
    folder = session.account.new_folder("models", str(name))
    for file in source.files():
        copy_whole(file, folder / file.relative_to(source.target))
    for part in ("MANIFEST.yml", "model/model.yaml"):
        if not (folder / part).is_file():
            shutil.rmtree(folder)
            raise SnowflakeError(
                f"The model's files are not complete: {part} is missing at {source.target.name}.", 398506
            )
    sync(folder)
    return folder


def sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@statement("DROP MODEL [IF EXISTS] <name>", "executed")
def drop_model(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    if s.if_exists and catalog.get(session.con, "MODEL", name) is None:
        return status(f"Drop statement executed successfully ({name.name} already dropped).")
    with session.change(name):
        catalog.need(session.con, "MODEL", name)
        gone = versions(session, name)
        catalog.drop_parts(session.con, "MODEL VERSION", name)
        catalog.drop(session.con, "MODEL", name)
    for version in gone:
        remove_version(session.account, version)
    return status(f"{name.name} successfully dropped.")


@statement("ALTER MODEL <name> DROP VERSION <version>", "executed")
def drop_version(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    with session.change(name):
        model = catalog.need(session.con, "MODEL", name)
        version = need_version(session, name, names.fold(s["version"]))
        if model.properties["default"] == version.name:
            raise compilation_error(
                f"Cannot drop version '{version.name}': it is the default version of the model.", 393912
            )
        catalog.drop(session.con, "MODEL VERSION", version.qualified, parent=name.name)
        model.properties["aliases"] = {a: v for a, v in model.properties["aliases"].items() if v != version.name}
        catalog.put(session.con, model)
    remove_version(session.account, version)
    return status()


def remove_version(account: Account, version: Object) -> None:
    folder = account.root / "models" / version.properties["folder"]
    account.workers.forget(folder)
    shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------- finding


def versions(session: Session, name: Name) -> list[Object]:
    return catalog.find(session.con, "MODEL VERSION", name.database, name.schema, parent=name.name)


def find_version(session: Session, name: Name, version: str) -> Object | None:
    return catalog.get(session.con, "MODEL VERSION", Name(name.database, name.schema, version), parent=name.name)


def need_version(session: Session, name: Name, text: str) -> Object:
    """A version by its name, by an alias, or as DEFAULT, FIRST or LAST."""
    model = catalog.need(session.con, "MODEL", name)
    found = find_version(session, name, alias_target(session, model).get(text, text))
    if found is None:
        raise missing("Version", text)
    return found


def alias_target(session: Session, model: Object) -> dict[str, str]:
    known = versions(session, model.qualified)
    system = {"DEFAULT": model.properties["default"], "FIRST": known[0].name, "LAST": known[-1].name}
    return {**model.properties["aliases"], **system}


def folder_of(session: Session, version: Object) -> Path:
    return session.account.root / "models" / version.properties["folder"]


def manifest(session: Session, version: Object) -> dict:
    return yaml.safe_load((folder_of(session, version) / "MANIFEST.yml").read_text())


# ---------------------------------------------------------------- showing


@statement(f"SHOW MODELS [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_models(session: Session, s: Matched) -> Result:
    rows = []
    for model in chosen(session, s, "MODEL"):
        known = [version.name for version in versions(session, model.qualified)]
        rows.append({
            **model.row(), "model_type": "USER_MODEL", "versions": json.dumps(known),
            "default_version_name": model.properties["default"], "aliases": json.dumps(alias_target(session, model)),
        })  # fmt: skip
    return listing(MODEL_COLUMNS, rows)


@statement("SHOW VERSIONS [LIKE <like:string>] IN MODEL <name>", "executed")
def show_versions(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    model = catalog.need(session.con, "MODEL", name)
    rows = [
        describe_version(session, model, version)
        for version in versions(session, name)
        if names.like(s.value("like"), version.name)
    ]
    return listing(VERSION_COLUMNS, rows)


def describe_version(session: Session, model: Object, version: Object) -> dict:
    folder, declared = folder_of(session, version), manifest(session, version)
    spec = (folder / "model" / "model.yaml").read_text()
    meta = yaml.safe_load(spec)
    services = [
        str(service.qualified)
        for service in catalog.find(session.con, "SERVICE")
        if (service.properties.get("model"), service.properties.get("version")) == (str(model.qualified), version.name)
    ]
    attributes = {"framework": meta["model_type"], "task": meta.get("task", "UNKNOWN"), "client": "snowflake-ml-python"}
    return {
        **version.row(),
        "aliases": json.dumps([a for a, v in alias_target(session, model).items() if v == version.name]),
        "model_name": model.name,
        "is_default_version": str(model.properties["default"] == version.name).lower(),
        "functions": json.dumps([method["name"] for method in declared["methods"]]),
        "metadata": version.properties["metadata"],
        "user_data": json.dumps(declared.get("user_data", {})),
        "model_attributes": json.dumps(attributes),
        "size": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "model_spec": spec,
        "inference_services": json.dumps(services),
        "runnable_in": json.dumps(declared.get("target_platforms") or ["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"]),
    }


@statement("SHOW FUNCTIONS IN MODEL <name> VERSION <version>", "executed")
def show_functions(session: Session, s: Matched) -> Result:
    version = need_version(session, session.resolve(s["name"]), names.fold(s["version"]))
    rows = [
        {"name": method["name"], "return_type": "OBJECT" if method["type"] == "FUNCTION" else "TABLE ()"}
        for method in manifest(session, version)["methods"]
    ]
    return listing("name return_type", rows)


# ---------------------------------------------------------------- changing


def change_model(session: Session, name: Name, **properties: object) -> Result:
    with session.change(name):
        model = catalog.need(session.con, "MODEL", name)
        model.properties |= properties
        catalog.put(session.con, model)
    return status()


@statement("ALTER MODEL <name> MODIFY VERSION <version> SET {COMMENT|METADATA} = <value:body>", "executed")
def set_on_version(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    with session.change(name):
        version = need_version(session, name, names.fold(s["version"]))
        if s.choice == "COMMENT":
            version.comment = s.value("value")
        else:
            version.properties["metadata"] = s.value("value")
        catalog.put(session.con, version)
    return status()


@statement("ALTER MODEL <name> RENAME TO <new>", "executed")
def rename(session: Session, s: Matched) -> Result:
    """Within its schema; versions and services follow."""
    name, new = session.resolve(s["name"]), session.resolve(s["new"])
    if (new.database, new.schema) != (name.database, name.schema):
        raise unsupported("ALTER MODEL ... RENAME TO into another schema", "models.py")
    with session.change(name, new):
        model, known = catalog.need(session.con, "MODEL", name), versions(session, name)
        if catalog.get(session.con, "MODEL", new):
            raise already_exists(str(new))
        catalog.drop_parts(session.con, "MODEL VERSION", name)
        catalog.drop(session.con, "MODEL", name)
        model.name = new.name
        catalog.put(session.con, model)
        for version in known:
            version.parent = new.name
            catalog.put(session.con, version)
        for service in catalog.find(session.con, "SERVICE"):
            if service.properties.get("model") == str(name):
                service.properties["model"] = str(new)
                catalog.put(session.con, service)
    return status()


@statement("ALTER MODEL <name> SET DEFAULT_VERSION = <version>", "executed")
def set_default(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    return change_model(session, name, default=need_version(session, name, names.fold(s["version"])).name)


@statement("ALTER MODEL <name> VERSION <version> SET ALIAS = <alias>", "executed")
def set_alias(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    version = need_version(session, name, names.fold(s["version"]))
    aliases = catalog.need(session.con, "MODEL", name).properties["aliases"]
    return change_model(session, name, aliases={**aliases, names.fold(s["alias"]): version.name})


@statement("ALTER MODEL <name> VERSION <version> UNSET ALIAS", "executed")
def unset_alias(session: Session, s: Matched) -> Result:
    name, alias = session.resolve(s["name"]), names.fold(s["version"])
    version = need_version(session, name, alias)
    aliases = catalog.need(session.con, "MODEL", name).properties["aliases"]
    return change_model(session, name, aliases={a: v for a, v in aliases.items() if v != version.name})


@statement("COMMENT ON MODEL <name> IS <comment:body>", "executed")
def comment_on_model(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    with session.change(name):
        model = catalog.need(session.con, "MODEL", name)
        model.comment = s.value("comment")
        catalog.put(session.con, model)
    return status()


@statement("ALTER MODEL <name> SET TAG <tag> = <value:body>", "executed")
def set_tag(session: Session, s: Matched) -> Result:
    name, tag = session.resolve(s["name"]), session.resolve(s["tag"])
    catalog.need(session.con, "TAG", tag)
    tags = catalog.need(session.con, "MODEL", name).properties["tags"]
    return change_model(session, name, tags={**tags, str(tag): s.value("value")})


@statement("ALTER MODEL <name> UNSET TAG <tag>", "executed")
def unset_tag(session: Session, s: Matched) -> Result:
    name, tag = session.resolve(s["name"]), session.resolve(s["tag"])
    tags = catalog.need(session.con, "MODEL", name).properties["tags"]
    return change_model(session, name, tags={t: v for t, v in tags.items() if t != str(tag)})


def tag_references(session: Session, _: object, arguments: list[str]) -> str:
    tags = catalog.need(session.con, "MODEL", session.resolve(arguments[0])).properties["tags"]
    rows = [[*names.split(tag), value] for tag, value in tags.items()]
    values = ", ".join("(" + ", ".join(names.literal(cell) for cell in row) + ")" for row in rows)
    columns = '"TAG_DATABASE", "TAG_SCHEMA", "TAG_NAME", "TAG_VALUE"'
    return f'SELECT * FROM (VALUES {values or "(NULL, NULL, NULL, NULL)"}) AS t({columns}) WHERE "TAG_NAME" IS NOT NULL'


TABLE_FUNCTIONS["TAG_REFERENCES"] = tag_references


# ---------------------------------------------------------------- calling


def model_function(session: Session, model: str, version: str, method: str, in_table: bool = False) -> str:
    """The engine function that runs ``MODEL(model, version)!METHOD``; it answers one JSON text a row."""
    found = need_version(session, session.resolve(model), names.fold(version))
    declared = {m["name"]: m for m in manifest(session, found)["methods"]}
    wanted = names.fold(method)
    if wanted not in declared:
        raise compilation_error(f"Unknown function {wanted} in model {model}: it has {sorted(declared)}", 2140, "42601")
    if (declared[wanted]["type"] == "TABLE_FUNCTION") != in_table:
        form = "in the FROM clause, as TABLE(...)" if not in_table else "as an expression, not in TABLE(...)"
        raise compilation_error(
            f"{wanted} is a {declared[wanted]['type']} of model {model}: call it {form}", 2140, "42601"
        )
    folder = folder_of(session, found)
    handler = declared[wanted]["handler"].split(".")[1]
    account = session.account

    def call(_: pa.ChunkedArray, *columns: pa.ChunkedArray) -> pa.Array:
        table = pa.Table.from_arrays(list(columns), names=[str(i) for i in range(len(columns))])
        return pa.array(account.workers.call("warehouse_worker", folder, handler, table), pa.string())

    return account.register_function(f"{folder}!{handler}", call)


OUTPUT_TYPES = {"DOUBLE": "DOUBLE", "FLOAT": "DOUBLE", "STRING": "VARCHAR", "BOOL": "BOOLEAN", "BYTES": "BLOB"}


def output_columns(session: Session, model: str, version: str, method: str) -> list[tuple[str, str]]:
    """(column, engine type) of a method's outputs, as its signature declares them."""
    found = need_version(session, session.resolve(model), names.fold(version))
    meta = yaml.safe_load((folder_of(session, found) / "model" / "model.yaml").read_text())
    signatures = {name.upper(): signature for name, signature in meta["signatures"].items()}
    outputs = signatures[names.fold(method)]["outputs"]
    return [(o["name"], OUTPUT_TYPES.get(o["type"], "BIGINT" if "INT" in o["type"] else "JSON")) for o in outputs]
