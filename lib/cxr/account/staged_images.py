"""Fetch some of the images on the images stage."""

import re
from collections import defaultdict
from collections.abc import Sequence

from snowflake.connector.errorcode import ER_FILE_NOT_EXISTS
from snowflake.connector.errors import OperationalError
from snowflake.snowpark import Session

from cxr.account.places import STAGE_FOLDER

_NAMES_PER_GET = 500  # of 20 characters each: a statement of 10 KB
_FEW_FOLDERS = 8
_FILES_LIKE_A_GET = 10_000  # looking at so many names takes about as long as another GET
_START = 20  # characters of a name that tell it from all others


def fetch(session: Session, stage: str, places: Sequence[str], folder: str) -> None:
    """Copy these files, and no others, from the stage into one flat local folder; missing files are left out.

    Folder by folder, because GET looks at every file below the folder that it is given; or all folders at once if that
    is less work, as on a small stage.
    """
    names = defaultdict(list)
    for place in places:
        home, _, name = place.rpartition("/")
        names[home].append(name)
    if len(names) > _FEW_FOLDERS:
        total = session.sql(f"SELECT COUNT(*) FROM DIRECTORY({stage})").collect()[0][0]
        if -(-len(places) // _NAMES_PER_GET) * (1 + total / _FILES_LIKE_A_GET) < len(names):
            names = {STAGE_FOLDER: [place.rpartition("/")[2] for place in places]}
    for home in sorted(names):
        # A pattern needs no escaping when every character but letters and digits may be any character.
        starts = [re.sub("[^0-9A-Za-z]", ".", name[:_START]) for name in names[home]]
        for first in range(0, len(starts), _NAMES_PER_GET):
            some = "|".join(starts[first : first + _NAMES_PER_GET])
            try:
                session.file.get(f"{stage}/{home}/", folder, pattern=f"(.*/)?({some})[^/]*")
            except OperationalError as error:
                if error.errno != ER_FILE_NOT_EXISTS:  # none of them is there
                    raise
