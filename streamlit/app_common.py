"""Shared by all pages: the notice, the choice of version and path, error messages, state in the URL."""

import contextlib
import functools
import logging
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import app_account
import streamlit as st
from snowflake.connector.errors import Error as ConnectorError
from snowflake.snowpark.exceptions import SnowparkClientException
from streamlit.errors import StreamlitAPIException

PATHS = {"WAREHOUSE": "Warehouse", "SERVICE": "Service"}
_DOES_NOT_EXIST = 2003
_NO_ANSWER = (SnowparkClientException, ConnectorError, ConnectionError, TimeoutError)

# Constant text. Never insert text of a viewer or a file: st.html does not escape it.
_NOTICE = """
<style>
  .cxr-notice {position: fixed; bottom: 0; left: 0; right: 0; z-index: 1000000; padding: 0.35rem 1rem;
    background: #1f2937; color: #ffffff; font-size: 0.85rem; text-align: center;}
  .stMainBlockContainer {padding-top: 4rem; padding-bottom: 4rem;}
  .stMainBlockContainer h1 {font-size: 1.75rem; padding: 0.25rem 0;}
  .stMainBlockContainer h2 {font-size: 1.25rem;}
  /* Streamlit's captions have too little contrast. */
  [data-testid="stCaptionContainer"], [data-testid="stImageCaption"] {color: inherit; opacity: 0.85;}
</style>
<div class="cxr-notice" role="note">For research and teaching. <strong>Not a medical device.</strong></div>
"""


@dataclass(frozen=True)
class Choice:
    """The model version to use, and the path: warehouse or service."""

    version: app_account.Version
    path: str
    service: str | None


def show_notice() -> None:
    st.html(_NOTICE)


@contextlib.contextmanager
def plain_errors(place: str = "page") -> Iterator[None]:
    """Show an error as a sentence. The log gets its type and position only: its message may contain data of an image.

    Args:
        place: name of a part of the page, so that two parts can fail independently.
    """
    try:
        yield
    except app_account.NotReady as missing:
        st.info(str(missing), icon=":material/info:")
        st.button("Look again", key=f"look-again-{place}", on_click=app_account.reconnect)
    except Exception as error:  # noqa: BLE001 - the only place that turns errors into messages
        _explain(error)
        with st.container(horizontal=True):
            st.button("Try again", key=f"try-again-{place}", on_click=app_account.reconnect)
            if st.session_state.get("path") == "SERVICE" and isinstance(error, _NO_ANSWER):
                st.button("Use the warehouse", key=f"warehouse-{place}", on_click=_use_warehouse)


def _explain(error: Exception) -> None:
    code = getattr(error, "sql_error_code", None) or getattr(error, "errno", None)
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    logging.getLogger("cxr.app").error("%s %s at %s", type(error).__name__, code or "", where)
    if code == _DOES_NOT_EXIST:
        st.info(
            "A table or stage of this project does not exist, or this app cannot access it. "
            "Run `notebooks/01_setup.ipynb`, or ask an administrator for access.",
            icon=":material/info:",
        )
    elif isinstance(error, _NO_ANSWER):
        asked = "The service" if st.session_state.get("path") == "SERVICE" else "Snowflake"
        st.error(f"{asked} did not answer ({type(error).__name__}, {code or 'no code'}).", icon=":material/error:")
    elif isinstance(error, StreamlitAPIException) and "connection" in str(error).lower():
        st.error("No connection to Snowflake is configured. On a laptop start the app with `python3 ci app`.")
    else:
        st.error(
            f"This page could not be shown ({type(error).__name__} at {where}). Earlier predictions are kept.",
            icon=":material/error:",
        )


def fragment(function: Callable[..., None]) -> Callable[..., None]:
    """A Streamlit fragment with its own error handling: it reruns alone, outside of the page's error handling."""

    @st.fragment
    @functools.wraps(function)
    def guarded(*arguments) -> None:
        with plain_errors(function.__name__):
            function(*arguments)

    return guarded


def plain(text: object) -> str:
    """Escape text from a file or a table, for places where Streamlit renders Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def choose_model() -> Choice:
    """The version and the path chosen in the sidebar. Stops the page with a message if the path is not available."""
    versions = app_account.versions()
    default = next((name for name, version in versions.items() if version.default), next(iter(versions)))
    with st.sidebar:
        st.header("Model")
        name = chosen(
            "version",
            list(versions),
            default,
            lambda key, options: st.selectbox(
                "Version",
                options,
                key=key,
                format_func=lambda name: f"{name} (default)" if versions[name].default else name,
            ),
            everywhere=True,
        )
        path = chosen(
            "path",
            list(PATHS),
            "WAREHOUSE",
            lambda key, options: st.radio(
                "Path",
                options,
                key=key,
                format_func=PATHS.get,
                captions=["Always available", "Faster, if it is running"],
            ),
            everywhere=True,
        )
    service = _running_service(name) if path == "SERVICE" else None
    return Choice(versions[name], path, service)


def _running_service(version_name: str) -> str | None:
    found = app_account.services(version_name)
    running = [service["name"] for service in found if service["status"] == "RUNNING"]
    if running:
        return running[0]
    if found:
        st.warning(
            f"The service is {found[0]['status'].lower()}, so it cannot score images now.", icon=":material/bedtime:"
        )
    else:
        st.warning(
            f"No service runs version {version_name}. "
            "`notebooks/05_deploy.ipynb` with `keep_service = True` starts one.",
            icon=":material/cloud_off:",
        )
    with st.container(horizontal=True):
        st.button("Use the warehouse", type="primary", on_click=_use_warehouse)
        if found and found[0]["status"] == "SUSPENDED":
            st.button("Start the service", on_click=_wake, args=(found[0]["name"],))
        else:
            st.button("Look again", on_click=app_account.services.clear)
    return st.stop()


def _use_warehouse() -> None:
    st.session_state["path"] = "WAREHOUSE"


def _wake(service: str) -> None:
    with plain_errors():
        app_account.ready_session().sql(f"ALTER SERVICE {service} RESUME").collect()
        app_account.services.clear()


def chosen(name: str, options: Sequence, default, widget, everywhere: bool = False):
    """The value of a widget whose state is kept in the URL. A value from the URL is used only if it is an option.

    Args:
        widget: called with the widget's key and the options.
        everywhere: keep the choice on the other pages too, although their URLs start without it.
    """
    if st.session_state.get(name) not in options:
        asked = [st.query_params.get(name), st.session_state.get(f"kept-{name}")]
        st.session_state[name] = next((o for wish in asked for o in options if str(o) == wish), default)
    value = widget(name, options)
    if everywhere:
        st.session_state[f"kept-{name}"] = str(value)
    keep_in_url(name, value, default)
    return value


def typed(name: str, default, widget, within: tuple[float, float] | None = None):
    """As :func:`chosen`, for text and numbers. A number from the URL is used only if it is in the range `within`."""
    if name not in st.session_state:
        try:
            value = type(default)(st.query_params.get(name, default))
            st.session_state[name] = value if within is None or within[0] <= value <= within[1] else default
        except ValueError:
            st.session_state[name] = default
    value = widget(name)
    keep_in_url(name, value, default)
    return value


def forget_choice(name: str) -> None:
    """Reset a widget to its default. Call it before the widget is created."""
    st.session_state.pop(name, None)
    st.query_params.pop(name, None)


def keep_in_url(name: str, value, default) -> None:
    if value == default:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != str(value):
        st.query_params[name] = str(value)
