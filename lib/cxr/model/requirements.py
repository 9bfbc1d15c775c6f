"""Packages that the registered model needs, on a warehouse and in a service."""

# From Snowflake's conda channel, which both a warehouse and a service can install from; torch is named pytorch there.
# Version ranges, because without them the client pins this machine's versions, which the channel may not have.
DECODING = ("numpy>=1.26,<3", "pillow>=10", "pydicom>=3,<4")
CONDA_DEPENDENCIES = ("pytorch>=2.4,<3", "torchvision>=0.19,<1", *DECODING)
# The Python of the account's functions: the lowest that this project runs on, because a warehouse offers it longest.
FUNCTIONS_PYTHON = "3.11"
