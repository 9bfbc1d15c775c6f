"""Queries in flight: each runs on its own thread, so that a client can wait, poll, or cancel."""

import contextlib
import logging
import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from local_account.account.session import Session
from local_account.engine.results import Result, Transfer, read_bind
from local_account.sql.execute import describe, insert_many, run
from local_account.statements.session_control import check_parameters
from local_account.text.errors import FULL, SnowflakeError, disk_full, unsupported
from local_account.text.literals import strip_comments

log = logging.getLogger("local_account")
QUERIES_KEPT, OF_A_SESSION = 500, 100
STATEMENTS = 256  # at once; most of them wait for one another
CANCEL_SECONDS = 0.05
STATEMENT_BYTES = 1 << 20  # of its text, with literals; values that are bound do not count here
FORGOTTEN_SECONDS = 3600.0  # results of sessions that have ended are not asked for
STATEMENT_TYPES = [("SELECT|WITH|\\(|SHOW|DESC|LIST|LS|CALL|VALUES", 0x1000), ("INSERT", 0x3100), ("UPDATE", 0x3200),
                   ("DELETE", 0x3300), ("MERGE", 0x3400), ("", 0x6000)]  # fmt: skip


class Turn:
    """A query's time on its session's connection, outside which it must not be interrupted: others use it too."""

    def __init__(self, session: Session):
        self.session, self.guard = session, threading.Lock()
        self.running = self.cancelled = False

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        with self.session.lock:
            with self.guard:
                self.demand()
                self.running = True
            self.session.demand = self.demand
            try:
                yield
                self.demand()
            finally:
                with self.guard:
                    self.running = False

    def demand(self) -> None:
        if self.cancelled:
            raise SnowflakeError("SQL execution canceled", 604, "57014")

    def interrupt(self) -> None:
        with self.guard:
            self.cancelled = True
            if self.running:
                self.session.con.interrupt()


@dataclass
class Query:
    id: str
    request_id: str
    session: Session
    sql: str
    turn: Turn
    future: Future
    started: float = field(default_factory=time.monotonic)

    @property
    def state(self) -> str:
        if not self.future.done():
            return "RUNNING"
        return "FAILED_WITH_ERROR" if self.future.exception() else "SUCCESS"

    def cancel(self) -> None:
        """The engine forgets an interrupt that comes between two of its statements, so it is repeated until it has
        worked."""
        self.turn.interrupt()
        if not self.future.done():
            threading.Thread(target=self.keep_cancelling, daemon=True).start()

    def keep_cancelling(self) -> None:
        while not self.future.done():
            self.turn.interrupt()
            time.sleep(CANCEL_SECONDS)

    def failure(self) -> SnowflakeError:
        """Why it failed. An error that is no SnowflakeError is a defect of this account, and the message says so."""
        error = self.future.exception()
        if isinstance(error, SnowflakeError):
            return error
        if isinstance(error, OSError) and error.errno in FULL:
            return disk_full()
        log.error("query %s failed: %s", self.id, self.sql[:2000], exc_info=error)
        return SnowflakeError(
            f"The local account failed on this statement ({type(error).__name__}: {error}). This is a defect in "
            "lib/local_account; server.log in the account's folder has the details.", 300002, "XX000"
        )  # fmt: skip


class Queries:
    """Starts queries and remembers the latest ones."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max_workers=STATEMENTS, thread_name_prefix="query")
        self.known: OrderedDict[str, Query] = OrderedDict()
        self.guard = threading.Lock()

    def start(self, session: Session, body: dict, request_id: str) -> Query:
        query_id, turn = str(uuid.uuid4()), Turn(session)
        future = self.pool.submit(execute, session, body, query_id, turn)
        query = Query(query_id, request_id, session, body["sqlText"], turn, future)
        with self.guard:
            self.known[query_id] = query
            if len(self.known) > QUERIES_KEPT:
                self.forget(session)
        return query

    def forget(self, session: Session) -> None:
        """Forget this session's oldest queries. Running queries and those of other clients may still be asked for."""
        before = time.monotonic() - FORGOTTEN_SECONDS
        ended = [query for query in self.known.values() if query.future.done()]
        own = [query for query in ended if query.session is session or query.started < before]
        for query in own[:-OF_A_SESSION]:
            del self.known[query.id]

    def end(self, seconds: float) -> bool:
        """Cancel what runs and wait for it so long; whether all has ended."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        running = [query for query in self.all() if not query.future.done()]
        for query in running:
            query.cancel()
        return not wait([query.future for query in running], seconds).not_done

    def all(self) -> list[Query]:
        with self.guard:
            return list(self.known.values())

    def get(self, query_id: str) -> Query:
        with self.guard:
            if query_id not in self.known:
                raise SnowflakeError(f"Statement {query_id} not found", 709, "02000")
            return self.known[query_id]


def execute(session: Session, body: dict, query_id: str, turn: Turn) -> dict:
    """Run one request of the connector; the ``data`` of its answer."""
    sql, bindings, describing = body["sqlText"], body.get("bindings") or {}, body.get("describeOnly")
    if (size := len(sql.encode())) > STATEMENT_BYTES:
        limit = f"the platform documents {STATEMENT_BYTES} as the limit. Bind values, or load them from a stage"
        raise unsupported(f"a statement of {size} bytes; {limit}", __name__)
    ordered = [bindings[key] for key in sorted(bindings, key=int)]
    parameters = body.get("parameters") or {}
    if int(parameters.get("MULTI_STATEMENT_COUNT", 1)) != 1:
        raise unsupported("several statements in one request (num_statements): send one by one", __name__)
    check_parameters(parameters)
    with turn.take():
        if ordered and isinstance(ordered[0]["value"], list) and not describing:
            result = insert_many(session, sql, [[read_bind(b["type"], v) for v in b["value"]] for b in ordered])
        else:
            binds = [read_bind(bind["type"], bind["value"]) for bind in ordered]
            result = Result(describe(session, sql, binds), rows=[]) if describing else run(session, sql, binds)
        if isinstance(result, Transfer):
            return {**result.data, "queryId": query_id}
        if not describing:
            session.keep(query_id, result)
        return answer(session, sql, result, query_id)


def answer(session: Session, sql: str, result: Result, query_id: str) -> dict:
    text = strip_comments(sql)
    data = {
        "queryId": query_id, "rowtype": [column.describe() for column in result.columns], "total": result.count,
        "returned": result.count, "parameters": [{"name": "AUTOCOMMIT", "value": session.transaction.autocommit}],
        "finalDatabaseName": session.database, "finalSchemaName": session.schema,
        "finalRoleName": session.role, "finalWarehouseName": session.warehouse,
        "statementTypeId": next(code for words, code in STATEMENT_TYPES if re.match(words, text, re.I)),
    }  # fmt: skip
    if result.table is None:
        return {**data, "queryResultFormat": "json", "rowset": result.json_rows()}
    return {**data, "queryResultFormat": "arrow", "parts": result.arrow_parts()}
