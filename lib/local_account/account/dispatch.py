"""What the statements hand to the account, so that lower layers can call it without importing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Handlers:
    """What the account does beyond the engine's own SQL; ``statements/handlers.py`` has the only value."""

    match: Callable
    """text of a statement -> (handler, its parts), None for a statement that the engine executes"""
    create: Callable
    """runs CREATE TABLE and CREATE VIEW: (session, syntax tree, text, parameters) -> Result"""
    user_function: Callable
    """(session, parts of the name, arguments) -> the call as an engine expression, None without such a function"""
    calls: Mapping[str, Callable]
    """functions that become engine expressions: name -> (session, arguments) -> expression"""
    system_functions: Mapping[str, Callable]
    """SYSTEM$ functions: name -> (session, *text arguments) -> value"""
    table_functions: Mapping[str, Callable]
    """TABLE(name(...)): name -> (session, text arguments) -> engine query"""
    lateral_functions: Mapping[str, Callable]
    """table functions over the rows to their left: name -> (session, arguments) -> syntax tree of a query"""
    before_removal: Mapping[str, Callable]
    """what else the removal of an object does: kind -> (session, object) -> None"""
    shown: Mapping[str, object]
    """how SHOW and DESCRIBE print an object: kind -> statements.show.Shown"""
