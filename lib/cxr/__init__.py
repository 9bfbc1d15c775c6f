"""Pneumonia classification of chest X-rays with PyTorch in Snowflake. For research and teaching; not a medical device.

``cxr.open_project()`` returns session and settings; ``cxr.connect()`` and ``cxr.load()`` return one of the two. Import
everything else from its module. These names are imported on first use, because the registered model ships this file to
places without Snowpark.
"""

import importlib

_HOMES = {
    "connect": "account.session",
    "load": "settings",
    "open_project": "account.project",
    "Settings": "settings",
    "record": "notebook_metrics",
}


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"cxr.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'cxr' has no attribute {name!r}")
