"""The app: `streamlit run streamlit/streamlit_app.py` from the repository's root, in Snowflake and on a laptop.

It does not contain the network or import torch: every answer comes from the registered model.
"""

import sys
from pathlib import Path

# Streamlit puts this folder on the path, and only when it starts the script itself.
HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "lib"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import app_account
import app_common
import app_scoring
import streamlit as st

st.set_page_config(page_title="Chest X-ray classifier", page_icon=":material/pulmonology:", layout="wide")
page = st.navigation(
    [
        st.Page("views/single_study.py", title="Single study", icon=":material/radiology:", default=True),
        st.Page("views/worklist.py", title="Worklist", icon=":material/list_alt:", url_path="worklist"),
        st.Page("views/model.py", title="Model", icon=":material/query_stats:", url_path="model"),
        st.Page("views/monitoring.py", title="Monitoring", icon=":material/monitoring:", url_path="monitoring"),
    ],
    position="top",
)
app_common.show_notice()
with app_common.plain_errors("record"):
    app_scoring.record_answers()
with app_common.plain_errors():
    app_account.keep_session()
    page.run()
