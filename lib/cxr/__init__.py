"""Pneumonia classification of chest X-rays with PyTorch in Snowflake. For research and teaching; not a medical device.

``cxr.connect()`` gives the Snowpark session, ``cxr.load()`` the settings; everything else is imported from its module.
The names are looked up when they are used, because the registered model ships this package to places without Snowpark.
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
