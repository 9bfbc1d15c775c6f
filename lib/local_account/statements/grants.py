"""GRANT and REVOKE: recorded and shown. Nothing is refused for lack of a privilege."""

import re

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Result, listing, status
from local_account.sql.statement_shapes import Matched, Statement
from local_account.text import identifiers
from local_account.text.errors import compilation_error

GRANT = re.compile(
    r"(?:(?P<role>(?:DATABASE |SERVICE )?ROLE) (?P<granted>\S+)"
    r"|(?P<privileges>.+?) ON (?P<on>ACCOUNT|(?:ALL|FUTURE) .+|.+? (?P<object>\S+)))"
    r" (?:TO|FROM) (?P<to>(?:DATABASE )?ROLE |USER )?(?P<grantee>\"[^\"]+\"|\S+)"
    r"(?: WITH GRANT OPTION| (?:COPY|REVOKE) CURRENT GRANTS| CASCADE| RESTRICT)?",
    re.I,
)


def grant(session: Session, s: Matched) -> Result:
    text = " ".join(s["text"].split())
    found = GRANT.fullmatch(text)
    if found is None:
        raise compilation_error(f"syntax error near '{text}'", 1003)
    with session.transaction.change("GRANT"):
        for given in grants(found):
            made = Object("GRANT", "", "", " ".join(given.values()), owner=session.role, properties=given)
            (session.put if s.choice == "GRANT" else session.forget)(made)
    return status("Statement executed successfully (recorded, not executed).")


def grants(found: re.Match) -> list[dict[str, str]]:
    """One grant for each privilege, as SHOW GRANTS lists them; a role that is granted is USAGE of the role."""
    grantee = identifiers.split(found["grantee"])[-1]
    if found["role"]:
        on, name, privileges = found["role"].upper(), plain(found["granted"]), ["USAGE"]
    else:
        on, privileges = found["on"].upper(), found["privileges"].split(",")
        name = plain(found["object"]) if found["object"] else on
        on = on.rpartition(" ")[0] if found["object"] else on
    return [{"privilege": p.strip().upper(), "on": on, "name": name, "grantee": grantee} for p in privileges]


def plain(name: str) -> str:
    return name.upper() if "!" in name else ".".join(identifiers.split(name))


def forget_grants(session: Session, thing: Object) -> None:
    """What was granted on a dropped object, on on its contents, or to a dropped role."""
    name = ".".join(filter(None, thing.qualified))
    for given in session.find("GRANT"):
        what = given.properties
        on, given_on = what["on"], what["name"].split("(")[0]  # a function is granted with its arguments
        inside = thing.kind == "DATABASE" and what["name"].startswith(f"{name}.")
        if inside or (thing.kind, name) in ((on, given_on), ("ROLE", what["grantee"])):
            session.forget(given)


def show_grants(session: Session, s: Matched) -> Result:
    """TO a role or user, OF a role, ON an object: the last word is a name. All of them without."""
    wanted = plain(s["target"].split()[-1]) if s["target"] else None
    side = "grantee" if s["target"] and s.choice == "TO" else "name"
    rows = [
        {**given.row(), "privilege": what["privilege"], "granted_on": what["on"].replace(" ", "_"),
         "name": what["name"], "grantee_name": what["grantee"]}
        for given in session.find("GRANT")
        if (what := given.properties) and wanted in (None, what[side])
    ]  # fmt: skip
    return listing("created_on@ privilege granted_on name grantee_name", rows)


STATEMENTS = [
    Statement("{GRANT|REVOKE} <text:rest>", grant, "recorded"),
    Statement("SHOW GRANTS [{TO|OF|ON} <target:rest>]", show_grants),
]  # fmt: skip
