"""Shared by all pages: the notice, the choice of model and path, error messages, state in the URL."""

import contextlib
import functools
import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import app_account
import app_labels
import pandas as pd
import streamlit as st
from snowflake.connector.errors import Error as ConnectorError
from snowflake.snowpark.exceptions import SnowparkClientException
from streamlit.errors import StreamlitAPIException

PATHS = {"WAREHOUSE": "Warehouse", "SERVICE": "Service"}
_DOES_NOT_EXIST = 2003
_NO_SUCH_COLUMN = 904
_RENEWED_EVERY = 60  # seconds; a session that ends sooner after that is reported
_NO_ANSWER = (SnowparkClientException, ConnectorError, ConnectionError, TimeoutError)

# Constant text: nothing that a viewer or a file says may ever be part of it.
_NOTICE = """
<style>
  .cxr-notice {position: fixed; bottom: 0; left: 0; right: 0; z-index: 1000000; padding: 0.35rem 1rem;
    background: #1f2937; color: #ffffff; font-size: 0.85rem; text-align: center;}
  .stMainBlockContainer {padding-top: 4rem; padding-bottom: 4rem;}
  .stMainBlockContainer h1 {font-size: 1.75rem; padding: 0.25rem 0;}
  .stMainBlockContainer h2 {font-size: 1.25rem;}
  /* Streamlit's captions are too pale to be read easily. */
  [data-testid="stCaptionContainer"], [data-testid="stImageCaption"] {color: inherit; opacity: 0.85;}
</style>
<div class="cxr-notice" role="note">For research and teaching. <strong>Not a medical device.</strong></div>
"""


@dataclass(frozen=True)
class Choice:
    """The chosen version, and the path by which it is asked."""

    version: app_account.Version
    path: str
    service: str | None


def show_notice() -> None:
    st.html(_NOTICE)


@contextlib.contextmanager
def plain_errors(place: str = "page") -> Iterator[None]:
    """Show an error in one sentence. The log gets its type and place only: a message may contain text from an image.

    Args:
        place: names the part of the page, so that two parts can fail beside each other.
    """
    try:
        yield
    except app_account.NotReady as missing:
        st.info(str(missing), icon=":material/info:")
        st.button("Look again", key=f"look-again-{place}", on_click=_check_session)
    except Exception as error:  # noqa: BLE001 - the one boundary between whatever fails and whoever reads
        if app_account.has_ended(error) and _may_renew():
            _check_session()
            st.rerun()
        _explain(error)
        with st.container(horizontal=True):
            st.button("Try again", key=f"try-again-{place}", on_click=_check_session)
            if st.session_state.get("path") == "SERVICE" and isinstance(error, _NO_ANSWER):
                st.button("Use the warehouse", key=f"warehouse-{place}", on_click=_use_warehouse)


def _may_renew() -> bool:
    """At most once a minute: a session that ends as soon as it is opened must not make the page rerun for ever."""
    before, now = st.session_state.get("renewed", -_RENEWED_EVERY), time.monotonic()
    if now - before < _RENEWED_EVERY:
        return False
    st.session_state["renewed"] = now
    return True


def _check_session() -> None:
    """Check that the session answers; if not, the next use opens another. Other viewers' caches are kept."""
    with contextlib.suppress(Exception):  # the page says what is wrong when it runs
        app_account.keep_session(every=0)


def _explain(error: Exception) -> None:
    code = getattr(error, "sql_error_code", None) or getattr(error, "errno", None)
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    logging.getLogger("cxr.app").error("%s %s at %s", type(error).__name__, code or "", where)
    if code == _DOES_NOT_EXIST:
        st.info(
            "A table or stage of this project is not there, or this app may not use it. "
            "Run `notebooks/01_setup.ipynb`, or ask the app's owner for access.",
            icon=":material/info:",
        )
    elif code == _NO_SUCH_COLUMN:
        st.info(
            "The tables were made by an earlier version of this project. `notebooks/01_setup.ipynb` brings them up to "
            "date and keeps every row.",
            icon=":material/info:",
        )
    elif isinstance(error, _NO_ANSWER):
        asked = "The service" if st.session_state.get("path") == "SERVICE" else "Snowflake"
        st.error(f"{asked} did not answer ({type(error).__name__}, {code or 'no code'}).", icon=":material/error:")
    elif isinstance(error, StreamlitAPIException) and "connection" in str(error).lower():
        st.error("No connection to Snowflake is configured. On a laptop, start the app with `python3 ci app`.")
    else:
        st.error(
            f"This page could not be shown ({type(error).__name__} at {where}). Earlier answers are kept. Try "
            "again; if it fails again, send this message to the app's owner.",
            icon=":material/error:",
        )


def fragment(function: Callable[..., None]) -> Callable[..., None]:
    """A part of a page that reruns alone. It handles its own errors, because the page does not run then."""

    @st.fragment
    @functools.wraps(function)
    def guarded(*arguments) -> None:
        with plain_errors(function.__name__):
            function(*arguments)

    return guarded


def plain(text: object) -> str:
    """Text from a file or a table, for places where Streamlit reads Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def inert(markdown: str) -> str:
    """Somebody else's Markdown with its headings, tables and emphasis, and without links, pictures and HTML.

    An entity never stands for a bracket that means something, and a word joiner breaks the addresses that Markdown
    makes links of by itself. Nothing in it makes a browser ask another host.
    """
    text = re.sub(r"\\([!-/:-@\[-`{-~])|[\[\]<>!$&]", _as_text, markdown)
    return re.sub(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", "\u2060", text, flags=re.IGNORECASE)


def _as_text(found: re.Match) -> str:
    character = found[1] or found[0]
    return character if character in ":/.@" else f"&#{ord(character)};"


def choose_model() -> Choice:
    """The version and the path, chosen in the sidebar. Stops the page with the reason if the path cannot be used."""
    versions = app_account.versions()
    in_production = next((name for name, version in versions.items() if version.production), None)
    default = in_production or next((name for name in versions if versions[name].default), next(iter(versions)))
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
                format_func=lambda name: with_place(versions[name]),
            ),
            everywhere=True,
        )
        if not versions[name].production:
            instead = f"{plain(in_production)} is." if in_production else "No version is."
            st.warning(f"This version is **not in production**. {instead}", icon=":material/science:")
        path = chosen(
            "path",
            list(PATHS),
            "WAREHOUSE",
            lambda key, options: st.radio(
                "Path",
                options,
                key=key,
                format_func=PATHS.get,
                captions=["Starts by itself", "Fastest, if it is running"],
            ),
            everywhere=True,
        )
    service = _running_service(name) if path == "SERVICE" else None
    return Choice(versions[name], path, service)


def with_place(version: app_account.Version) -> str:
    place = " (in production)" if version.production else " (default)" if version.default else ""
    return f"{version.name}{place}"


def _running_service(version_name: str) -> str | None:
    found = app_account.services(version_name)
    running = [service["name"] for service in found if service["status"] == "RUNNING"]
    if running:
        return running[0]
    if found:
        st.warning(f"The service is {found[0]['status'].lower()} and cannot answer now.", icon=":material/bedtime:")
    else:
        st.warning(
            f"No service runs version {version_name}. "
            "`notebooks/05_deploy.ipynb` with `keep_service = True` starts one.",
            icon=":material/cloud_off:",
        )
    with st.container(horizontal=True):
        st.button("Use the warehouse", type="primary", on_click=_use_warehouse)
        if found and found[0]["status"] == "SUSPENDED":
            st.button("Wake the service", on_click=_wake, args=(found[0]["name"],))
        else:
            st.button("Look again", on_click=app_account.services.clear)
    return st.stop()


def _use_warehouse() -> None:
    st.session_state["path"] = "WAREHOUSE"


def _wake(service: str) -> None:
    with plain_errors():
        app_account.keep_session()  # before the page, which does so too
        app_account.ready_session().sql(f"ALTER SERVICE {service} RESUME").collect()
        app_account.services.clear()


def chosen(name: str, options: Sequence, default, widget, everywhere: bool = False):
    """The value of a widget whose state is in the URL. A value from the URL is used only if it is an option.

    Args:
        widget: called with the widget's key and the options.
        everywhere: keep the choice on the other pages too, whose URLs start without it.
    """
    if st.session_state.get(name) not in options:
        asked = [st.query_params.get(name), st.session_state.get(f"kept-{name}")]
        st.session_state[name] = next((o for wish in asked for o in options if str(o) == wish), default)
    value = widget(name, options)
    if everywhere:
        st.session_state[f"kept-{name}"] = str(value)
    keep_in_url(name, value, default)
    return value


def choose_filters(rows: pd.DataFrame, split: str = app_labels.ALL) -> pd.DataFrame:
    """The catalog rows that match the filters. The filters offer the values that the catalog has.

    Args:
        split: the initial choice, if the catalog has it.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        aside = app_account.settings().include_set_aside
        if rows["SET_ASIDE"].notna().any() and not aside:
            aside = chosen(
                "aside",
                [False, True],
                False,
                lambda key, options: st.toggle(
                    "Images set aside",
                    key=key,
                    help="Also show lateral views, and images that were not prepared for display",
                ),
            )
        rows = rows if aside else rows[rows["SET_ASIDE"].isna()]
        splits = app_labels.split_options(rows)
        names = {
            "SPLIT": ("split", "Split", splits, split if split in splits else app_labels.ALL),
            "LABEL": ("label", "Truth", app_labels.label_options(rows, app_account.label_set()), app_labels.ALL),
        }
        if causes := sorted(rows["CAUSE"].dropna().unique()):
            names["CAUSE"] = ("cause", "Cause", [app_labels.ALL, *causes], app_labels.ALL)
        wanted = {
            column: chosen(name, options, first, lambda key, given, title=title: st.selectbox(title, given, key=key))
            for column, (name, title, options, first) in names.items()
        }
    return app_labels.filter_rows(rows, **wanted)


def typed(name: str, default, widget, within: tuple[float, float] | None = None):
    """As :func:`chosen` for text and numbers; a number from the URL is used only if it lies `within`."""
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
    """Before the widget is made: back to its default."""
    st.session_state.pop(name, None)
    st.query_params.pop(name, None)


def keep_in_url(name: str, value, default) -> None:
    if value == default:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != str(value):
        st.query_params[name] = str(value)
