"""The connector's protocol over HTTP: login, queries, results, heartbeat, cancel, uploads."""

import asyncio
import base64
import contextlib
import re
import secrets
import time
import uuid
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local_account.account.account import Account
from local_account.account.proof import NONCE, prove
from local_account.account.session import Session
from local_account.account.uploads import DIGEST_HEADER, LIMIT_BYTES, publish
from local_account.server.queries import Queries, Query
from local_account.sql.context_functions import SERVER_VERSION
from local_account.statements.session_control import PARAMETERS, check_parameters, set_parameter
from local_account.text.errors import FULL, SnowflakeError, disk_full
from local_account.text.identifiers import Name, quote, split
from local_account.workers.bodies import BadBody, read_json
from local_account.workers.containers import Identity

ANSWER_SECONDS = 45.0  # after that the client has to ask again, as with Snowflake
STATUS_SECONDS = 0.2  # a client that hears of a running statement sleeps for half a second before it asks again
REQUEST_BYTES = 512 << 20
LOGIN_BYTES = 64 << 10  # a login is read from anybody
IN_PROGRESS, IN_PROGRESS_ASYNC = "333333", "333334"
CLIENT_PARAMETERS = {
    "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY": 3600,
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 0,
    "CLIENT_RESULT_CHUNK_SIZE": 160,
    "PYTHON_SNOWPARK_ENABLE_THREAD_SAFE_SESSION": True,
}


class ConnectorProtocol:
    """The connector's protocol for one account: sessions, queries and their results, uploads."""

    def __init__(self, account: Account):
        self.account = account
        self.sessions: dict[str, Session] = {}
        self.queries = Queries()
        self.logins = ThreadPoolExecutor(4, thread_name_prefix="login")  # statements cannot use up its threads
        self.parts: OrderedDict[str, list[bytes]] = OrderedDict()
        self.last_request = time.monotonic()

    def app(self) -> Starlette:
        routes = [
            Route("/health", self.health),
            Route("/proof", self.proof),
            Route("/session/v1/login-request", self.login, methods=["POST"]),
            Route("/session/token-request", self.renew, methods=["POST"]),
            Route("/session/heartbeat", self.heartbeat, methods=["POST"]),
            Route("/session", self.close_session, methods=["POST"]),
            Route("/queries/v1/query-request", self.query, methods=["POST"]),
            Route("/queries/v1/abort-request", self.abort, methods=["POST"]),
            Route("/queries/{query_id}/result", self.result),
            Route("/queries/{query_id}/abort-request", self.abort, methods=["POST"]),
            Route("/monitoring/queries/{query_id}", self.status),
            Route("/parts/{key}/{number:int}", self.part),
            Route("/stage/{key}", self.upload, methods=["PUT"]),
            Route("/telemetry/send", self.telemetry, methods=["POST"]),
        ]
        handlers = {SnowflakeError: refuse, BadBody: refuse_body, ClientDisconnect: nobody_listens}
        return Starlette(routes=routes, exception_handlers=handlers)

    def end(self, seconds: float) -> bool:
        """End statements and sessions, so that the database can be closed; whether it was possible in that time."""
        ended = self.queries.end(seconds)
        self.logins.shutdown(wait=False, cancel_futures=True)
        for session in self.sessions.values() if ended else ():
            session.close()
        return ended

    # ---- session

    async def health(self, request: Request) -> Response:
        return JSONResponse({"account": self.account.name})

    async def proof(self, request: Request) -> Response:
        """What tells a client that this is the server of its folder, and that the folder is still in its place."""
        nonce, account = request.query_params.get("nonce", ""), self.account
        if not NONCE.fullmatch(nonce) or not account.in_place():
            return JSONResponse({"proof": None}, status_code=400)
        return JSONResponse({"proof": prove(account.key, nonce, account.port, account.folder)})

    async def login(self, request: Request) -> Response:
        data = (await read_json(request, LOGIN_BYTES)).get("data")
        if not isinstance(data, dict) or not isinstance(data.get("SESSION_PARAMETERS") or {}, dict):
            raise BadBody(400, "A login needs data, an object.")
        given = str(data.get("PASSWORD", "")).encode(errors="replace")
        holder = self.account.jobs.holder(str(data.get("TOKEN", "")))
        if holder is None and not secrets.compare_digest(given, self.account.token.encode()):
            raise SnowflakeError("Incorrect username or password was specified.", 390100, "08001")
        self.demand_place()
        loop = asyncio.get_running_loop()
        session = await loop.run_in_executor(self.logins, self.open_session, request.query_params, data, holder)
        token = secrets.token_hex(24)
        self.sessions[token] = session
        booleans = {"true": True, "false": False}  # to the connector any text is true
        given = {key: session.parameters.get(key, PARAMETERS[key]) for key in PARAMETERS}
        parameters = CLIENT_PARAMETERS | {key: booleans.get(value.lower(), value) for key, value in given.items()}
        return success({
            "token": token, "masterToken": token, "validityInSeconds": 86400, "masterValidityInSeconds": 86400,
            "sessionId": int(session.id[:8], 16), "serverVersion": SERVER_VERSION,
            "parameters": [{"name": key, "value": value} for key, value in parameters.items()],
            "sessionInfo": {"databaseName": session.database, "schemaName": session.schema, "roleName": session.role,
                            "warehouseName": session.warehouse},
        })  # fmt: skip

    def open_session(self, query: dict, data: dict, holder: Identity | None) -> Session:
        """A session that uses what the client asks for, if it exists."""
        session = Session(self.account)
        if holder:
            session.role, session.warehouse = holder.role, holder.warehouse
        wanted = {key: split(value)[-1] for key, value in query.items() if value}
        database, schema = wanted.get("databaseName"), wanted.get("schemaName")
        if database and session.get("DATABASE", quote(database)):
            session.use_database(database)
            if schema and session.get("SCHEMA", Name(database, "", schema)):
                session.schema = schema
        for kind, key in (("ROLE", "roleName"), ("WAREHOUSE", "warehouse")):
            if key not in wanted:
                continue
            exists = session.get(kind, quote(wanted[key]))
            if kind == "ROLE" and not exists:
                text = f"Role '{wanted[key]}' specified in the connect string does not exist."
                raise SnowflakeError(text, 390189, "08001")
            setattr(session, kind.lower(), wanted[key] if exists else None)
        given = data.get("SESSION_PARAMETERS") or {}
        check_parameters(given)
        for key, value in given.items():
            if key.upper() in PARAMETERS:
                set_parameter(session, key, value)
        return session

    def known(self, request: Request) -> Session | None:
        found = re.search(r'Token="(.*?)"', request.headers.get("authorization", ""))
        return self.sessions.get(found[1]) if found else None

    def session(self, request: Request) -> Session:
        session = self.known(request)
        if session is None:
            raise SnowflakeError("Session no longer exists. New login required to access the service.", 390111, "08001")
        self.demand_place()
        self.last_request = time.monotonic()
        return session

    def demand_place(self) -> None:
        """Raise when the folder is no longer where it was: nothing may be acknowledged that is lost already."""
        if not self.account.in_place():
            text = f"The account's folder {self.account.root} was removed, moved or replaced; this server ends."
            raise SnowflakeError(text, 390111, "08001")

    async def renew(self, request: Request) -> Response:
        session = self.session(request)
        token = next(token for token, other in self.sessions.items() if other is session)
        return success({"sessionToken": token, "masterToken": token, "validityInSecondsST": 86400,
                        "validityInSecondsMT": 86400})  # fmt: skip

    async def heartbeat(self, request: Request) -> Response:
        self.session(request)
        return success({})

    async def telemetry(self, request: Request) -> Response:
        """A client whose telemetry fails once stops sending it."""
        return JSONResponse({"data": None, "success": False, "code": None, "message": "telemetry is not stored"})

    async def close_session(self, request: Request) -> Response:
        if not self.known(request):
            return success({})  # opened on an earlier server: there is nothing to close
        session = self.session(request)
        self.sessions = {token: other for token, other in self.sessions.items() if other is not session}
        await run_in_threadpool(session.close)
        return success({})

    # ---- queries

    async def query(self, request: Request) -> Response:
        session = self.session(request)
        body = await read_json(request, REQUEST_BYTES)
        if not isinstance(body.get("sqlText"), str):
            raise BadBody(400, "A statement needs sqlText, a text.")
        query = self.queries.start(session, body, request.query_params.get("requestId", ""))
        if body.get("asyncExec"):
            return in_progress(query, IN_PROGRESS_ASYNC)
        return await self.answer(query, request)

    async def result(self, request: Request) -> Response:
        self.session(request)
        return await self.answer(self.queries.get(request.path_params["query_id"]), request)

    async def answer(self, query: Query, request: Request) -> Response:
        await finished(query.future, ANSWER_SECONDS)
        if not query.future.done():
            return in_progress(query, IN_PROGRESS)
        if error := query.future.exception():
            if isinstance(error.__cause__, duckdb.FatalException):
                self.account.failed = True  # ends the server: only opening the database again helps
            return refuse(request, query.failure(), query.id)
        self.demand_place()
        data = query.future.result()
        if "parts" in data:
            data = self.publish(dict(data), request)
        return success(data)

    def publish(self, data: dict, request: Request) -> dict:
        """The first part of an Arrow answer travels inline, further ones are fetched by their address."""
        first, *rest = data.pop("parts") or [(b"", 0)]  # an empty answer has no stream at all
        data["rowsetBase64"] = base64.b64encode(first[0]).decode()
        if rest:
            key = uuid.uuid4().hex
            self.parts[key] = [part for part, _ in rest]
            while len(self.parts) > 20:
                self.parts.popitem(last=False)
            data["chunkHeaders"] = {}
            data["chunks"] = [
                {"url": f"{str(request.base_url).rstrip('/')}/parts/{key}/{i}", "uncompressedSize": len(part),
                 "compressedSize": len(part), "rowCount": rows}
                for i, (part, rows) in enumerate(rest)
            ]  # fmt: skip
        return data

    async def part(self, request: Request) -> Response:
        parts = self.parts.get(request.path_params["key"])
        if parts is None or request.path_params["number"] >= len(parts):
            return Response("this part of the result has expired; run the query again", status_code=404)
        self.last_request = time.monotonic()
        return Response(parts[request.path_params["number"]], media_type="application/octet-stream")

    async def upload(self, request: Request) -> Response:
        """One file of a PUT. It is on the stage when the response is sent."""
        upload = self.account.uploads.known.get(request.path_params["key"])
        if upload is None:
            return Response("this address is not known; run PUT again", status_code=404)
        self.demand_place()
        self.last_request = time.monotonic()
        received, size = self.account.uploads.temporary(), 0
        try:
            with open(received, "wb") as stream:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > LIMIT_BYTES:
                        return Response(f"files may have {LIMIT_BYTES >> 30} GiB", status_code=413)
                    stream.write(chunk)
            await run_in_threadpool(publish, received, upload, request.headers.get(DIGEST_HEADER, ""))
        except SnowflakeError as error:
            return Response(error.message, status_code=400)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return Response(disk_full().message, status_code=507)
        finally:
            received.unlink(missing_ok=True)
        self.demand_place()
        return Response()

    async def status(self, request: Request) -> Response:
        self.session(request)
        query = self.queries.get(request.path_params["query_id"])
        await finished(query.future, STATUS_SECONDS)
        entry = {"id": query.id, "status": query.state, "sqlText": query.sql}
        if query.state == "FAILED_WITH_ERROR":
            error = query.failure()
            entry |= {"errorCode": f"{error.code:06d}", "errorMessage": error.message}
        return success({"queries": [entry]})

    async def abort(self, request: Request) -> Response:
        self.session(request)
        if "query_id" in request.path_params:
            found = [self.queries.get(request.path_params["query_id"])]
        else:
            wanted = (await read_json(request, REQUEST_BYTES)).get("requestId", "")
            found = [query for query in self.queries.all() if query.request_id == wanted]
        for query in found:
            query.cancel()
        return success({})


async def finished(future: Future, seconds: float) -> None:
    """Wait, on no thread, until the future is done, at most so long."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), seconds)


def success(data: dict) -> Response:
    return JSONResponse({"data": data, "success": True, "code": None, "message": None})


def in_progress(query: Query, code: str) -> Response:
    data = {"queryId": query.id, "getResultUrl": f"/queries/{query.id}/result", "queryAbortsAfterSecs": 300}
    return JSONResponse({"data": data, "success": True, "code": code, "message": "Query execution in progress."})


def refuse(request: Request, error: SnowflakeError, query_id: str | None = None) -> Response:
    code = f"{error.code:06d}"
    where = {"queryId": query_id or str(uuid.uuid4()), "line": -1, "pos": -1}
    data = {"errorCode": code, "sqlState": error.sqlstate, **where}
    return JSONResponse({"data": data, "code": code, "message": error.message, "success": False})


def refuse_body(request: Request, error: BadBody) -> Response:
    body = {"data": None, "code": "000413", "message": error.words, "success": False}
    return JSONResponse(body, status_code=error.status)


def nobody_listens(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)
