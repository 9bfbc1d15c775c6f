"""CALL: system functions and Python procedures."""

from __future__ import annotations

from .calls import call_system_function
from .results import Column, Result
from .session import Session
from .statements import Matched, items, statement


@statement("CALL <function:system> <arguments:list>", "executed")
def call_system(session: Session, s: Matched) -> Result:
    name = s["function"].upper()
    return answer(name, call_system_function(session, name, items(s["arguments"])))


@statement("CALL <procedure> <arguments:list>", "executed")
def call_procedure(session: Session, s: Matched) -> Result:
    from .functions_sql import run_procedure

    return run_procedure(session, s["procedure"], s["arguments"])


def answer(name: str, value: object) -> Result:
    return Result([Column(name)], rows=[(None if value is None else str(value),)])
