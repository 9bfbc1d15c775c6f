"""Makes and fills an account of an earlier version, run with that version's `lib`, root and `jobs` on the path.

Its own tests fill it: 100 phantoms, a file that is no image, a registered network, an answer for each image.
"""

import sys
from pathlib import Path

import score_new_images
from tests.app.conftest import fill, open_session

import cxr
from cxr.account.project import Project
from cxr.account.scripts import run_sql_file
from cxr.account.session import PROJECT, use_schema

settings = cxr.load(argv=[], account_dir=sys.argv[1])
project = Project(open_session(settings), settings)
run_sql_file(project, PROJECT / "sql" / "20_objects.sql")
use_schema(project.session, settings)
fill(project, Path(sys.argv[2]))
assert score_new_images.main() == 100
