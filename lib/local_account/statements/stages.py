"""Stages: CREATE, PUT, GET, LIST, REMOVE, COPY FILES and directory tables."""

import shutil
from email.utils import format_datetime
from pathlib import Path

from local_account.account import catalog
from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.account.uploads import Upload, digests, sync
from local_account.engine.results import Result, Transfer, listing
from local_account.sql.stage_files import (
    OPTIONS,
    Location,
    check_options,
    chosen,
    digest,
    format_options,
    locate,
    matching,
    modified,
    safe_path,
)
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.statements.objects import create, made
from local_account.text.errors import SnowflakeError
from local_account.text.literals import is_true, nested
from local_account.workers.loopback import HOST


def create_stage(session: Session, s: Matched) -> Result:
    given = s.options()
    stage = made(session, s, "STAGE", directory=enabled(given), COMMENT=given.get("COMMENT", ""))
    stage.properties["format"] = stated_format(given)
    stage.properties["encryption"] = nested(given.get("ENCRYPTION"), options.ENCRYPTION).get("TYPE", "SNOWFLAKE_FULL")

    def fill(stage: Object) -> None:
        session.create_folder(stage)
        forget_files(session, stage)

    return create(session, s, stage, fill)


def stated_format(given: dict[str, str]) -> dict[str, str]:
    spec = format_options(given)
    if "FORMAT_NAME" not in spec:
        check_options(spec, OPTIONS)
    return spec


def enabled(given: dict[str, str]) -> bool:
    return is_true(nested(given.get("DIRECTORY"), options.DIRECTORY), "ENABLE")


def forget_files(session: Session, stage: Object, below: str = "") -> None:
    where = "stage = ? AND starts_with(relative_path, ?)"
    session.con.execute(f"DELETE FROM {catalog.SYSTEM}.stage_files WHERE {where}", [str(stage.qualified), below])


def refresh_stage(session: Session, s: Matched) -> Result:
    stage = session.need("STAGE", s["name"])
    below = safe_path(s.value("path") or "")
    location = locate(session, f"@{s['name']}/{below}")
    if not location.directory:
        raise SnowflakeError(f"Directory table is not enabled on stage {location.stage}.", 391707, "0A000")
    rows = [(location.relative(f), f.stat().st_size, modified(f), digest(f)) for f in location.files()]
    with session.transaction.change(location.stage):
        known = f"SELECT relative_path, size, md5 FROM {catalog.SYSTEM}.stage_files WHERE stage = ?"
        before = {row[0]: row[1:] for row in session.con.execute(known, [location.stage]).fetchall()}
        before = {file: known for file, known in before.items() if file.startswith(below)}
        forget_files(session, stage, below)
        if rows:
            session.con.execute(
                f"INSERT INTO {catalog.SYSTEM}.stage_files SELECT ?, unnest(?::VARCHAR[]), unnest(?::BIGINT[]), "
                "unnest(?::TIMESTAMPTZ[]), unnest(?::VARCHAR[])",
                [location.stage, *(list(column) for column in zip(*rows, strict=True))],
            )
    changes = [(f, "REGISTERED_NEW" if f not in before else "REGISTERED_UPDATE") for f, size, _, md5 in rows
               if before.get(f) != (size, md5)]  # fmt: skip
    changes += [(f, "UNREGISTERED") for f in before.keys() - {row[0] for row in rows}]
    return listing("file status description", [{"file": f, "status": how, "description": ""} for f, how in changes])


def alter_stage(session: Session, s: Matched) -> None:
    given = s.options()
    with session.edit("STAGE", s["name"]) as stage:
        if "DIRECTORY" in given:
            stage.properties["directory"] = enabled(given)
        if "FILE_FORMAT" in given:
            stage.properties["format"] = stated_format(given)
        stage.comment = given.get("COMMENT", stage.comment)


def describe_stage(session: Session, s: Matched) -> Result:
    given = session.need("STAGE", s["name"]).properties
    directory = str(given.get("directory", False)).lower()
    columns = "parent_property property property_type property_value property_default"
    rows = [("DIRECTORY", "ENABLE", "Boolean", directory, "false"),
            ("STAGE_ENCRYPTION", "TYPE", "String", given.get("encryption"), "SNOWFLAKE_FULL")]  # fmt: skip
    rows += [("STAGE_FILE_FORMAT", key, "String", value, "") for key, value in given.get("format", {}).items()]
    return listing(columns, [dict(zip(columns.split(), row, strict=True)) for row in rows])


def put(session: Session, s: Matched) -> Transfer:
    """The connector sends the files to ``uploads``. One that is already staged stays unless OVERWRITE says otherwise;
    the connector reports it UPLOADED all the same, where Snowflake reports SKIPPED."""
    location, given = locate(session, s["stage"]), s.options()
    overwrite = is_true(given, "OVERWRITE")
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
        "command": "UPLOAD", "src_locations": [str(source) for source in sources], "autoCompress": compress,
        "sourceCompression": detection, "overwrite": overwrite, "encryptionMaterial": None,
        "parallel": int(given.get("PARALLEL", 4)),
    }  # fmt: skip
    place = {"locationType": "GCS", "location": "stage/", "creds": {}}
    if several and compress:  # the sources' digests do not apply: the connector asks again for each file
        return transfer(data, place)
    address = f"http://{HOST}:{session.account.port}/stage/{session.account.uploads.expect(upload)}"
    return transfer(data, {**place, "creds": {"GCS_ACCESS_TOKEN": "none"}, "presignedUrl": address})


def get(session: Session, s: Matched) -> Transfer:
    location = locate(session, s["stage"])
    given = s.options()
    files = matching(location, given.get("PATTERN"))
    data = {
        "command": "DOWNLOAD", "src_locations": [location.relative(f) for f in files],
        "localLocation": local_path(s["target"]), "encryptionMaterial": [], "presignedUrls": None,
        "parallel": int(given.get("PARALLEL", 10)),
    }  # fmt: skip
    return transfer(data, {"locationType": "LOCAL_FS", "location": str(location.base), "creds": {}})


def local_path(text: str) -> str:
    text = text.strip()
    if text.startswith("'"):
        text = text[1:-1].replace("\\'", "'").replace("''", "'")
    return text.removeprefix("file://")


def transfer(data: dict, place: dict) -> Transfer:
    stage_info = {"path": "", "region": "local", "storageAccount": None, "isClientSideEncrypted": False}
    nowhere = {"presignedUrl": None, "endPoint": None}
    return Transfer({**data, "stageInfo": {**nowhere, **stage_info, **place}})


def list_files(session: Session, s: Matched) -> Result:
    location = locate(session, s["stage"])
    rows = [
        {"name": location.label + location.relative(f), "size": f.stat().st_size, "md5": digest(f),
         "last_modified": format_datetime(modified(f), usegmt=True)}
        for f in matching(location, s.value("pattern"))
    ]  # fmt: skip
    return listing("name size# md5 last_modified", rows)


def remove(session: Session, s: Matched) -> Result:
    location = locate(session, s["stage"])
    rows = []
    for file in matching(location, s.value("pattern")):
        file.unlink(missing_ok=True)
        rows.append({"name": location.label + location.relative(file), "result": "removed"})
    return listing("name result", rows)


def copy_files(session: Session, s: Matched) -> Result:
    source, target = locate(session, s["source"]), locate(session, s["target"])
    base = source.target if source.target.is_dir() else source.target.parent
    copied = copy_all(chosen(source, s.options()), base, target.target)
    return listing("file", [{"file": target.relative(file)} for file in copied])


def snapshot(session: Session, thing: Object, source: Location | None) -> Path:
    """The object's own folder with a copy of a stage's files, as CREATE ... FROM makes it. It counts only once a
    catalog row names it."""
    folder = session.create_folder(thing)
    if source:
        copy_all(source.files(), source.target, folder)
    sync(folder)
    return folder


def copy_all(files: list[Path], base: Path, target: Path) -> list[Path]:
    """Copy files under the names that they have below ``base``."""
    copies = [target / file.relative_to(base) for file in files]
    for file, copy in zip(files, copies, strict=True):
        copy_whole(file, copy)
    return copies


def copy_whole(source: Path, target: Path) -> None:
    """Copy so that the target is either absent or complete, even if the process dies in between."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, temporary)
    sync(temporary)
    temporary.replace(target)


STATEMENTS = [
    Statement("CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] STAGE [IF NOT EXISTS] <name> [<options:rest>]",
              create_stage, options=options.STAGE),
    Statement("ALTER STAGE [IF EXISTS] <name> REFRESH [SUBPATH = <path:string>]", refresh_stage),
    Statement("ALTER STAGE [IF EXISTS] <name> SET <options:rest>", alter_stage, options=options.STAGE_CHANGE),
    Statement("{DESC|DESCRIBE} STAGE <name>", describe_stage),
    Statement("PUT <source:rest_until_stage> <stage:stage> [<options:rest>]", put, options=options.PUT),
    Statement("GET <stage:stage> <target:rest_until_options> [<options:rest>]", get, options=options.GET),
    Statement("{LIST|LS} <stage:stage> [PATTERN = <pattern:string>]", list_files),
    Statement("{REMOVE|RM} <stage:stage> [PATTERN = <pattern:string>]", remove),
    Statement("COPY FILES INTO <target:stage> FROM <source:stage> [<options:rest>]", copy_files,
              options=options.COPY_FILES),
]  # fmt: skip

BEFORE_REMOVAL = {"STAGE": forget_files}
