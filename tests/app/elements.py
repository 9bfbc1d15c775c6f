"""What a page shows, found by its label."""

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button


def button(app: AppTest, start: str) -> Button:
    return next(each for each in app.button if each.label.startswith(start))


def metric(app: AppTest, label: str) -> str:
    return next(each.value for each in app.metric if each.label == label)


def upload(app: AppTest, name: str, data: bytes) -> AppTest:
    return app.file_uploader[0].upload(name, data).run()
