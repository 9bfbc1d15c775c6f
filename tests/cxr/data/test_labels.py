"""Classes from folders, names and tables; patients and causes from names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.data.classes import agree, find_label_set
from cxr.data.labels import Describer, Origin, from_csv, from_name
from cxr.data.patient_ids.rules import PatientRules, key_check, patient_of_name
from cxr.model.labelset import LabelSet

TWO = LabelSet("NORMAL", ("PNEUMONIA",))


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("train/PNEUMONIA/person12_bacteria_34.jpeg", Origin("PNEUMONIA", "person12", "bacteria")),
        ("test/PNEUMONIA/person0012_virus_3.jpeg", Origin("PNEUMONIA", "person12", "virus")),
        ("NORMAL/IM-0115-0001.jpeg", Origin("NORMAL", "IM-0115")),
        ("NORMAL/deeper/NORMAL2-IM-0115-0001-0002.jpeg", Origin("NORMAL", "IM-0115")),
        ("PNEUMONIA/BACTERIA-1083680-0004.jpeg", Origin("PNEUMONIA", "kermany-1083680", "bacteria")),
        ("PNEUMONIA/VIRUS-1083680-0001.jpeg", Origin("PNEUMONIA", "kermany-1083680", "virus")),
        ("NORMAL/NORMAL-1083680-0001.jpeg", Origin("NORMAL", "kermany-1083680")),
        ("NORMAL/IM-0001-0001.dcm", Origin("NORMAL")),
        ("NORMAL/a.png", Origin("NORMAL")),
        ("chest/Normals/a.png", Origin("NORMAL")),
        ("chest/pneumonia/a.png", Origin("PNEUMONIA")),
        ("abnormal/a.png", None),
        ("readme.txt", None),
        ("NORMAL", None),
    ],
)
def test_names_tell_label_patient_and_cause(name, origin):
    assert from_name(name) == origin


def test_a_file_below_two_classes_has_no_label_and_says_why():
    found = from_name("NORMAL/PNEUMONIA/a.png")
    assert found.label is None and found.problem.startswith("its folders say NORMAL and PNEUMONIA")


@given(st.integers(0, 10**9), st.sampled_from(["bacteria", "Virus", "NORMAL"]), st.integers(0, 9999))
def test_of_a_mendeley_name_the_number_alone_is_the_patient(number, disease, image):
    assert patient_of_name(f"x/{disease}-{number}-{image:04}.jpeg") == f"kermany-{number}"


def test_a_table_is_stronger_than_the_name_and_hides_patients_behind_a_key(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("\ufeffFile,Label,patient_id\na.png,pneumonia,4711\nNORMAL/b.png,,4711\nc.png,unclear,\n")
    describe = from_csv(table, key="secret")
    first, second = describe("scans/a.png"), describe("NORMAL/b.png")
    assert (first.label, second.label) == ("PNEUMONIA", "NORMAL")
    assert first.patient_id == second.patient_id and "4711" not in first.patient_id
    assert from_csv(table, key="another")("scans/a.png").patient_id != first.patient_id
    assert describe("NORMAL/c.png").label is None, "what the table says of the label is no label"
    assert describe("NORMAL/IM-0115-0001.png") == Origin("NORMAL", "IM-0115"), "not in the table"


def test_the_values_of_a_column_are_the_classes_where_one_is_negative(tmp_path):
    (tmp_path / "t.csv").write_text("file,label\na.png,healthy\nb.png,TB\nc.png,TB|COVID\n")
    describe = from_csv(tmp_path / "t.csv", "")
    assert [describe(name).label for name in ("a.png", "b.png", "c.png")] == ["HEALTHY", "TB", None]
    assert "several findings at once are not supported" in describe("c.png").problem


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (["NORMAL", "PNEUMONIA"], ["NORMAL", "PNEUMONIA"]),
        (["train/Normal", "train/Pneumonia", "test/normals", "test/pneumonias"], ["NORMAL", "PNEUMONIA"]),
        (["chest_xray/chest_xray/train/HEALTHY", "chest_xray/chest_xray/train/TB"], ["HEALTHY", "TB"]),
        (["data/no finding", "data/mass", "data/train/No_Finding", "data/train/effusion"], None),
        (["train/NORMAL", "train/BACTERIA", "val/NORMAL", "val/VIRUS"], ["NORMAL", "BACTERIA", "VIRUS"]),
        (["NORMAL", "PNEUMONIA", "more/NORMAL", "more/COVID-19"], ["NORMAL", "COVID-19", "PNEUMONIA"]),
        (
            ["NORMAL", "PNEUMONIA", "2024-01-03", "DOE^JANE", "1.2.840.113", "patient_007", "17"],
            ["NORMAL", "PNEUMONIA"],
        ),
        (["DOE^JANE/20240103", "ROE^RICHARD/20240104"], []),
        (["PNEUMONIA", "TB"], []),
        (["normal/IM-1", "normal/IM-2"], ["NORMAL"]),
        (["NORMAL", "TB'; DROP TABLE X--"], ["NORMAL", "TB'; DROP TABLE X--"]),
    ],
)
def test_classes_are_the_folders_beside_a_negative_one(folders, classes):
    found = find_label_set([f"{folder}/1.png" for folder in folders])
    if classes is None:  # two spellings of one negative class are one; siblings come from both places
        assert found.names == ("NO FINDING", "EFFUSION", "MASS") or found.names == ("NO_FINDING", "EFFUSION", "MASS")
    else:
        assert (found.to_list() if found else []) == classes


def test_a_folder_of_documents_is_no_class():
    names = ["NORMAL/1.png", "TB/1.png", "metadata/people.csv", "notes/readme.md"]
    assert find_label_set(names).to_list() == ["NORMAL", "TB"]


def test_the_negative_class_can_be_named_and_grades_are_then_classes():
    names = [f"{grade}/1.png" for grade in range(5)]
    assert find_label_set(names) is None
    assert find_label_set(names, negative_label="0").to_list() == ["0", "1", "2", "3", "4"]


def test_two_negative_classes_are_refused_with_their_names():
    with pytest.raises(ValueError, match="HEALTHY, NORMAL"):
        find_label_set(["a/NORMAL/1.png", "b/HEALTHY/1.png"])


def test_a_catalog_refuses_a_class_that_it_does_not_know_unless_it_is_added():
    found = LabelSet("NORMAL", ("PNEUMONIA", "TB"))
    with pytest.raises(ValueError, match=r'TB: this catalog\'s classes are NORMAL, PNEUMONIA.*add_class="TB"'):
        agree(TWO, found)
    assert agree(TWO, found, add=["tb"]).names == ("NORMAL", "PNEUMONIA", "TB")
    assert agree(TWO, LabelSet("NORMAL", ())) == TWO and agree(TWO, None) == TWO
    with pytest.raises(ValueError, match="HEALTHY"):
        agree(TWO, LabelSet("HEALTHY", ("PNEUMONIA",)))
    assert agree(LabelSet("NORMAL"), TWO, fixed=False) == TWO, "one class alone does not fix the set"


def test_the_cause_can_make_the_classes():
    describe = Describer(LabelSet("NORMAL", ("BACTERIA", "VIRUS")), by_cause=True, folders=TWO)
    names = ("PNEUMONIA/person1_virus_6.jpeg", "PNEUMONIA/BACTERIA-7-1.jpeg", "NORMAL/IM-0001-0001.jpeg")
    assert [describe(name).label for name in names] == ["VIRUS", "BACTERIA", "NORMAL"]
    assert describe("PNEUMONIA/a.jpeg").label is None, "nobody knows which of the two"


# ---------------------------------------------------------------- patients

NAMED = ("x/person1_virus_2.jpeg", "person1", "name")
TOLD = ("x/a.png", "patient-told", "table")


@pytest.mark.parametrize(
    ("named", "digest", "is_dicom", "rule"),
    [
        (TOLD, "d", True, "table"),
        (NAMED, None, False, "name"),
        (NAMED, "d", True, "header"),
        (NAMED, None, True, "none"),
        (("x/a.png", None, None), "d", True, "header"),
        (("x/a.png", None, None), None, False, "none"),
    ],
)
def test_a_table_comes_before_the_header_and_the_header_before_the_name(named, digest, is_dicom, rule):
    patient, used = PatientRules(key="k").identify(*named, digest, is_dicom)
    assert used == rule
    starts = {"table": "patient-told", "name": "person1", "header": "patient-", "none": "file-"}
    assert patient.startswith(starts[rule])


@given(st.text(), st.text(min_size=1))
def test_ids_of_headers_and_of_files_follow_from_the_key(name, key):
    one, same, other = (PatientRules(key=k) for k in (key, key, key + "x"))
    for arguments in ((name, None, None, "digest", True), (name, None, None, None, False)):
        assert one.identify(*arguments) == same.identify(*arguments) != other.identify(*arguments)
    assert key_check(key) != key_check(key + "x")
    assert "secret" not in repr(PatientRules(key="secret"))


def test_the_first_rules_are_kept_for_catalogs_that_were_begun_with_them():
    first = PatientRules(version=1, key="")
    assert patient_of_name("NORMAL/NORMAL-5-0001.jpeg", version=1) is None
    assert first.identify("x/IM-0001-0001", "IM-0001", "name", "digest", True) == ("IM-0001", "name")
    # SHA-256 of the name, as it was before ids of files were keyed.
    assert first.of_file("NORMAL/a.png") == "file-a9114d857cbc0593"
