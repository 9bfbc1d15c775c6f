"""Stages: CREATE, PUT, GET, LIST, REMOVE, COPY FILES and directory tables."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path

from . import catalog
from .account import Account
from .catalog import Object
from .errors import SnowflakeError, already_exists
from .process import HOST
from .results import Result, listing, status
from .session import Session
from .staged import digest, locate, matching, modified
from .statements import Matched, nested, options, statement
from .uploads import Upload, digests


@dataclass
class Transfer:
    """An answer that makes the connector copy files itself: the fields of its PUT / GET protocol."""

    data: dict


@statement("CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] STAGE [IF NOT EXISTS] <name> [<options:rest>]", "executed")
def create_stage(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    session.need_schema(name.database, name.schema)
    given = options(s["options"], "DIRECTORY ENCRYPTION COMMENT FILE_FORMAT")
    with session.change(name):
        existing = session.get("STAGE", name)
        if existing and s.if_not_exists:
            return status(f"{name.name} already exists, statement succeeded.")
        if existing and not s.or_replace:
            raise already_exists(str(name))
        folder = session.account.new_folder("stages", str(name))
        directory = nested(given.get("DIRECTORY", "()")).get("ENABLE", "FALSE").upper() == "TRUE"
        properties = {
            "folder": folder.name,
            "directory": directory,
            "encryption": nested(given.get("ENCRYPTION", "()")).get("TYPE", "SNOWFLAKE_FULL"),
        }
        stage = Object(
            "STAGE", name.database, name.schema, name.name, owner=session.role, comment=given.get("COMMENT", ""),
            properties=properties,
        )  # fmt: skip
        if s.temp:
            session.temporary["STAGE", name] = stage
        else:
            catalog.put(session.con, stage)
        forget_files(session, str(name))
    if existing:
        remove_folder(session.account, existing)
    return status(f"Stage area {name.name} successfully created.")


@statement("DROP STAGE [IF EXISTS] <name>", "executed")
def drop_stage(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    if s.if_exists and session.get("STAGE", name) is None:
        return status(f"Drop statement executed successfully ({name.name} already dropped).")
    with session.change(name):
        stage = session.need("STAGE", name)
        if session.temporary.pop(("STAGE", name), None) is None:
            catalog.drop(session.con, "STAGE", name)
        forget_files(session, str(name))
    remove_folder(session.account, stage)
    return status(f"{name.name} successfully dropped.")


def remove_folder(account: Account, stage: Object) -> None:
    shutil.rmtree(account.root / "stages" / stage.properties["folder"], ignore_errors=True)


def forget_files(session: Session, stage: str) -> None:
    session.con.execute(f"DELETE FROM {catalog.SYSTEM}.stage_files WHERE stage = ?", [stage])


@statement("ALTER STAGE [IF EXISTS] <name> REFRESH [SUBPATH = <path:string>]", "executed")
def refresh_stage(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    session.need("STAGE", name)
    location = locate(session, f"@{s['name']}")
    if not location.directory:
        raise SnowflakeError(f"Directory table is not enabled on stage {name}.", 391707, "0A000")
    rows = [(location.relative(f), f.stat().st_size, modified(f), digest(f)) for f in location.files()]
    with session.change(name):
        before = {row[0]: row[1:] for row in session.con.execute(
            f"SELECT relative_path, size, md5 FROM {catalog.SYSTEM}.stage_files WHERE stage = ?", [location.stage]
        ).fetchall()}  # fmt: skip
        forget_files(session, location.stage)
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            session.con.execute(
                f"INSERT INTO {catalog.SYSTEM}.stage_files SELECT ?, unnest(?::VARCHAR[]), unnest(?::BIGINT[]), "
                "unnest(?::TIMESTAMPTZ[]), unnest(?::VARCHAR[])",
                [location.stage, *columns],
            )
    changes = [(f, "REGISTERED_NEW" if f not in before else "REGISTERED_UPDATE") for f, size, _, md5 in rows
               if before.get(f) != (size, md5)]  # fmt: skip
    changes += [(f, "UNREGISTERED") for f in before.keys() - {row[0] for row in rows}]
    described = [{"file": f, "status": state, "description": ""} for f, state in changes]
    return listing("file status description", described)


@statement("ALTER STAGE [IF EXISTS] <name> SET <options:rest>", "executed")
def alter_stage(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    given = options(s["options"])
    with session.change(name):
        stage = session.need("STAGE", name)
        if "DIRECTORY" in given:
            stage.properties["directory"] = nested(given["DIRECTORY"]).get("ENABLE", "FALSE").upper() == "TRUE"
        stage.comment = given.get("COMMENT", stage.comment)
        if ("STAGE", name) not in session.temporary:
            catalog.put(session.con, stage)
    return status()


@statement("{DESC|DESCRIBE} STAGE <name>", "executed")
def describe_stage(session: Session, s: Matched) -> Result:
    stage = session.need("STAGE", session.resolve(s["name"]))
    rows = [
        {"parent_property": "DIRECTORY", "property": "ENABLE", "property_type": "Boolean",
         "property_value": str(stage.properties.get("directory", False)).lower(), "property_default": "false"},
        {"parent_property": "STAGE_ENCRYPTION", "property": "TYPE", "property_type": "String",
         "property_value": stage.properties.get("encryption"), "property_default": "SNOWFLAKE_FULL"},
    ]  # fmt: skip
    return listing("parent_property property property_type property_value property_default", rows)


# ---------------------------------------------------------------- file transfer


@statement("PUT <source:rest_until_stage> <stage:stage> [<options:rest>]", "executed")
def put(session: Session, s: Matched) -> Transfer:
    """The connector sends the files to ``uploads``. One that is already staged stays unless OVERWRITE says otherwise;
    the connector reports it UPLOADED all the same, where Snowflake reports SKIPPED."""
    location = locate(session, s["stage"])
    given = options(s["options"])
    overwrite = given.get("OVERWRITE", "FALSE").upper() == "TRUE"
    compress = given.get("AUTO_COMPRESS", "TRUE").upper() == "TRUE"
    pattern = Path(local_path(s["source"])).expanduser()
    several = any(character in pattern.name for character in "*?[")
    sources = sorted(f for f in pattern.parent.glob(pattern.name) if f.is_file()) if several else [pattern]
    if not sources:
        raise SnowflakeError(f"253006: File doesn't exist: ['{pattern}']", 253006, "22000")
    upload = Upload(location.target, "" if several else pattern.name, compress, overwrite)
    if (several or compress) and all(source.is_file() for source in sources):
        upload.digests = digests(sources)
    detection = given.get("SOURCE_COMPRESSION", "auto_detect").lower()
    if not compress and detection == "auto_detect":
        detection = "none"  # nothing depends on it, and the connector's detection costs 6 ms a file
    data = {
        "command": "UPLOAD",
        "src_locations": [str(source) for source in sources],
        "autoCompress": compress,
        "sourceCompression": detection,
        "overwrite": overwrite,
        "encryptionMaterial": None,
    }
    if several and compress:  # what is sent is not what was hashed: the connector asks again, file by file
        return transfer(data, {"locationType": "GCS", "location": "stage/", "creds": {}})
    address = f"http://{HOST}:{session.account.port}/stage/{session.account.uploads.expect(upload)}"
    place = {"locationType": "GCS", "location": "stage/", "creds": {"GCS_ACCESS_TOKEN": "none"}}
    return transfer(data, {**place, "presignedUrl": address})


@statement("GET <stage:stage> <target:rest_until_options> [<options:rest>]", "executed")
def get(session: Session, s: Matched) -> Transfer:
    location = locate(session, s["stage"])
    given = options(s["options"])
    files = matching(location, given.get("PATTERN"))
    data = {
        "command": "DOWNLOAD",
        "src_locations": [location.relative(f) for f in files],
        "localLocation": local_path(s["target"]),
        "encryptionMaterial": [],
        "presignedUrls": None,
    }
    return transfer(data, {"locationType": "LOCAL_FS", "location": str(location.base), "creds": {}})


def local_path(text: str) -> str:
    text = text.strip()
    if text.startswith("'"):
        text = text[1:-1].replace("\\'", "'").replace("''", "'")
    return text.removeprefix("file://")


def transfer(data: dict, place: dict) -> Transfer:
    stage_info = {"path": "", "region": "local", "storageAccount": None, "isClientSideEncrypted": False}
    return Transfer(
        {**data, "parallel": 4, "stageInfo": {"presignedUrl": None, "endPoint": None, **stage_info, **place}}
    )


# ---------------------------------------------------------------- listing and removing


@statement("{LIST|LS} <stage:stage> [PATTERN = <pattern:string>]", "executed")
def list_files(session: Session, s: Matched) -> Result:
    location = locate(session, s["stage"])
    rows = [
        {
            "name": location.label + location.relative(f),
            "size": f.stat().st_size,
            "md5": digest(f),
            "last_modified": format_datetime(modified(f), usegmt=True),
        }
        for f in matching(location, s.value("pattern"))
    ]
    return listing("name size# md5 last_modified", rows)


@statement("{REMOVE|RM} <stage:stage> [PATTERN = <pattern:string>]", "executed")
def remove(session: Session, s: Matched) -> Result:
    location = locate(session, s["stage"])
    rows = []
    for file in matching(location, s.value("pattern")):
        file.unlink(missing_ok=True)
        rows.append({"name": location.label + location.relative(file), "result": "removed"})
    return listing("name result", rows)


@statement("COPY FILES INTO <target:stage> FROM <source:stage> [<options:rest>]", "executed")
def copy_files(session: Session, s: Matched) -> Result:
    source, target = locate(session, s["source"]), locate(session, s["target"])
    given = options(s["options"])
    rows = []
    for file in matching(source, given.get("PATTERN")):
        name = file.relative_to(source.target if source.target.is_dir() else source.target.parent)
        copy_whole(file, target.target / name)
        rows.append({"file": target.relative(target.target / name)})
    return listing("file", rows)


def copy_whole(source: Path, target: Path) -> None:
    """Copy so that the target is either absent or complete, whatever dies in between."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    with open(source, "rb") as reader, open(aside, "wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
    aside.replace(target)
