"""A table names files in many ways; what it names must be one file, and one thing must be said of it."""

import pytest

from cxr.data.label_table import read_table
from cxr.data.labels import from_csv

FILES = ["train/NORMAL/a.png", "train/PNEUMONIA/b.png", "test/NORMAL/b.png", "c d.png"]


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "told.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path)


def matched(tmp_path, *paths, root=""):
    text = "file,label\n" + "".join(f'"{path}",X{number}\n' for number, path in enumerate(paths))
    return {name: int(row.label[1:]) for name, row in table(tmp_path, text).match(FILES, root).rows.items()}


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("train/NORMAL/a.png", FILES[0]),
        ("a.png", FILES[0]),
        ("NORMAL/a.png", FILES[0]),
        ("./train/NORMAL/a.png", FILES[0]),
        ("/home/somebody/chest/train/NORMAL/a.png", FILES[0]),
        (r"C:\Users\somebody\train\NORMAL\a.png", FILES[0]),
        (r"train\NORMAL\a.png", FILES[0]),
        ("PNEUMONIA/b.png", FILES[1]),
        ("file:///data/test/NORMAL/b.png", FILES[2]),
        ("/data/c d.png", FILES[3]),
    ],
)
def test_a_path_of_any_kind_names_the_file_that_it_ends_as(tmp_path, path, file):
    assert matched(tmp_path, path) == {file: 0}


@pytest.mark.parametrize("path", ["b.png", "./b.png"])
def test_a_bare_name_that_stands_for_several_files_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match=r"told.csv, line 2 stands for 2 files: write more of its path$"):
        matched(tmp_path, path)


def test_a_file_in_no_folder_does_not_win_a_bare_name(tmp_path):
    read = table(tmp_path, "file,label\na.png,NORMAL\n")
    with pytest.raises(ValueError, match="stands for 2 files"):
        read.match(["a.png", "x/a.png"])


def test_below_the_sources_own_path_an_absolute_path_is_exact(tmp_path):
    read = table(tmp_path, "file,label\n/data/a.png,NORMAL\n/data/x/a.png,PNEUMONIA\n")
    rows = read.match(["a.png", "x/a.png"], root="/data").rows
    assert {name: row.label for name, row in rows.items()} == {"a.png": "NORMAL", "x/a.png": "PNEUMONIA"}


def test_another_folders_file_of_the_same_name_is_not_meant(tmp_path):
    found = table(tmp_path, "file,label\nval/a.png,NORMAL\nc d.png,NORMAL\n").match(FILES)
    assert set(found.rows) == {"c d.png"} and found.rows_left == ("val/a.png",)
    assert found.files_left == tuple(sorted(FILES[:3]))


def test_a_table_that_names_no_file_is_refused_and_no_name_goes_into_an_error(tmp_path):
    """Files may be named after patients, and what an error says is kept in an account's history."""
    with pytest.raises(ValueError, match=r"none of its 1 rows names one of the source's 4 files") as refused:
        matched(tmp_path, "DOE_JANE.png")
    assert "DOE" not in str(refused.value) and "c d" not in str(refused.value)
    with pytest.raises(ValueError, match="needs a first line that names its columns") as refused:
        table(tmp_path, "DOE_JANE.png,NORMAL\n")
    assert "doe" not in str(refused.value).lower()


def test_rows_that_say_different_things_about_one_file_are_refused_however_they_name_it(tmp_path):
    with pytest.raises(ValueError, match=r"lines 2 and 3 say different things about one file: keep one"):
        table(tmp_path, "file,label\na.png,NORMAL\n./a.png,PNEUMONIA\n")
    with pytest.raises(ValueError, match=r"lines 2 and 3 say different things about one file: keep one"):
        matched(tmp_path, "a.png", "/data/train/NORMAL/a.png")
    assert len(table(tmp_path, "file,label\na.png,NORMAL\na.png,NORMAL\n").rows) == 1, "twice the same is once"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_write_is_read(tmp_path, encoding, separator):
    text = separator.join(("File", " LABEL ", "patient_id")) + "\r\n"
    text += separator.join(('"Größe, 1;\n2.png"', "Normal", '"4\n711"')) + "\r\n\r\n" + separator * 2 + "\r\n"
    (row,) = table(tmp_path, text, encoding).rows
    assert (row.file, row.label, row.patient_id) == ("Größe, 1;\n2.png", "Normal", "4 711")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,class\n", "names its columns: `file` and one of"),
        ("", "names its columns: `file` and one of"),
        ("file,label\n,NORMAL\n", "line 2 names no file"),
        ('file,label\na.png,"NORMAL\n', "line 2"),
        ("file,label\na\udcff.png,NORMAL\n", "line 2 is not UTF-8"),
    ],
)
def test_what_is_no_such_table_is_refused_by_line(tmp_path, text, words):
    (tmp_path / "told.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / "told.csv")


def test_looked_up_alone_a_file_takes_the_row_that_says_most_of_its_path(tmp_path):
    (tmp_path / "t.csv").write_text("file,label\nb.png,NORMAL\n/data/train/PNEUMONIA/b.png,PNEUMONIA\n")
    describe = from_csv(tmp_path / "t.csv", "")
    assert describe("train/PNEUMONIA/b.png").label == "PNEUMONIA"
    assert describe("test/b.png").label == "NORMAL"
