"""Any labels in: classes of a source in the account, corrections, and truth that comes later."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxr.data import catalog, ingest, notices, sources
from cxr.data.survey import survey
from cxr.data.truth import add_truth
from cxr.model.labelset import LabelSet

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "02_data_ingest.ipynb"


def draw(root: Path, *names: str) -> Path:
    """An image for each name, its own whatever the order."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(path.name.encode()))
        Image.fromarray(rng.integers(0, 255, (48, 48), dtype=np.uint8)).save(path)
    return root


def with_settings(project, **changed):
    return replace(project, settings=replace(project.settings, **changed))


def rows_of(project) -> pd.DataFrame:
    return project.session.table(project.catalog).to_pandas().set_index("SOURCE_NAME")


FOUR = ["train/No Finding/n1.png", "train/mass/m1.png", "test/no_finding/n2.png", "test/Effusions/e1.png"]


def test_classes_of_any_names_and_files_below_none_are_cataloged(empty, tmp_path):
    project = empty
    draw(tmp_path, *FOUR, "train/effusion/e2.png", "incoming/DOE^JANE/20240103/u1.png")
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    found = survey(project, tmp_path)
    assert found.labels.names == ("NO FINDING", "EFFUSION", "MASS")
    assert found.summary()[1:] == [
        "1 files have no label; they are in incoming/DOE^JANE/20240103",
        "1 files are tables or texts: train/notes.txt",
    ]
    counts = ingest.ingest(project, found)
    assert (counts["cataloged"], counts["unlabelled"], counts["documents"], counts["rejected"]) == (6, 1, 1, 0)
    rows = rows_of(project)
    assert set(rows["LABEL"].dropna()) == {"NO FINDING", "EFFUSION", "MASS"}
    unlabelled = rows.loc["incoming/DOE^JANE/20240103/u1.png"]
    assert pd.isna(unlabelled["LABEL"]) and pd.isna(unlabelled["SPLIT"])
    assert len(catalog.read_catalog(project)) == 5, "training sees labelled images alone"
    assert catalog.label_set(project) == LabelSet("NO FINDING", ("EFFUSION", "MASS"))
    assert any("1 images have no label" in line for line in notices.notices(project))


def test_a_further_class_is_refused_by_name_until_it_is_added(empty, tmp_path):
    project = empty
    ingest.ingest(project, draw(tmp_path, "NORMAL/a.png", "TB/b.png"))
    draw(tmp_path, "COVID-19/c.png")
    with pytest.raises(ValueError, match=r"COVID-19: this catalog's classes are NORMAL, TB"):
        ingest.ingest(project, tmp_path)
    assert len(rows_of(project)) == 2, "nothing was changed"
    with pytest.raises(ValueError, match="HEALTHY"):
        ingest.ingest(project, draw(tmp_path / "other", "HEALTHY/d.png", "TB/e.png"))
    shutil.rmtree(tmp_path / "other")
    ingest.ingest(with_settings(project, add_class="covid-19"), tmp_path)
    assert catalog.label_set(project).names == ("NORMAL", "TB", "COVID-19"), "known classes keep their numbers"
    (tmp_path / "TB" / "b.png").unlink()
    (tmp_path / "TB").rmdir()
    ingest.ingest(project, tmp_path)
    assert catalog.label_set(project).names == ("NORMAL", "COVID-19"), "a class that no image shows leaves"


def test_a_hostile_class_name_is_text_and_nothing_else(empty, tmp_path):
    project, name = empty, "x'); DELETE FROM IMAGE_CATALOG; --"
    assert ingest.ingest(project, draw(tmp_path, "normal/a.png", f"{name}/b.png"))["cataloged"] == 2
    assert set(catalog.read_catalog(project)["LABEL"]) == {"NORMAL", name.upper()}


def test_a_source_without_a_negative_class_has_images_and_no_labels(empty, tmp_path):
    project = empty
    draw(tmp_path, "DOE^JANE/20240103/1.png", "ROE^RICHARD/20240104/2.png")
    counts = ingest.ingest(project, tmp_path)
    assert (counts["cataloged"], counts["unlabelled"]) == (2, 2)
    with pytest.raises(
        LookupError, match=r"no image to learn from: 2 images in 2 folders have no label.*negative_label"
    ) as refused:
        catalog.read_catalog(project)
    assert "DOE" not in str(refused.value), "a folder may have the name of a patient"


def test_one_class_alone_is_said_with_what_to_do(empty, tmp_path):
    project = empty
    found = survey(project, draw(tmp_path, "NORMAL/a.png", "NORMAL/b.png"))
    assert "All labelled images are NORMAL: nothing can be learnt from one class" in found.summary()[-1]
    ingest.ingest(project, found)
    assert any("nothing can be learnt from one class" in line for line in notices.notices(project))
    ingest.ingest(project, draw(tmp_path, "PNEUMONIA/c.png"))
    assert not any("one class" in line for line in notices.notices(project))


def test_the_cause_makes_three_classes_of_kermany_names(empty, tmp_path):
    project = with_settings(empty, label_from="cause")
    names = ("PNEUMONIA/person1_virus_1.png", "PNEUMONIA/BACTERIA-2-0001.png", "NORMAL/NORMAL-3-0001.png")
    ingest.ingest(project, draw(tmp_path, *names))
    assert dict(zip(rows_of(project).index, rows_of(project)["LABEL"], strict=True)) == dict(
        zip(names, ("VIRUS", "BACTERIA", "NORMAL"), strict=True)
    )
    assert catalog.label_set(project).names == ("NORMAL", "BACTERIA", "VIRUS")


def test_a_corrected_label_is_updated_and_counted_and_its_patient_keeps_the_split(empty, tmp_path):
    project = empty
    draw(tmp_path, *(f"NORMAL/IM-000{i}-0001.png" for i in range(6)), "PNEUMONIA/person1_virus_1.png")
    ingest.ingest(project, tmp_path)
    before = rows_of(project)["SPLIT"]
    (tmp_path / "NORMAL" / "IM-0003-0001.png").rename(tmp_path / "PNEUMONIA" / "IM-0003-0001.png")
    counts = ingest.ingest(project, tmp_path)
    assert (counts["relabelled"], counts["cataloged"], counts["already_there"]) == (1, 0, 7)
    row = rows_of(project).loc["PNEUMONIA/IM-0003-0001.png"]
    assert (row["LABEL"], row["SPLIT"]) == ("PNEUMONIA", before["NORMAL/IM-0003-0001.png"])
    table = tmp_path / "told.csv"
    table.write_text("file,label,cause\nPNEUMONIA/IM-0003-0001.png,normal,\nperson1_virus_1.png,pneumonia,bacteria\n")
    assert ingest.ingest(with_settings(project, data_csv=str(table)), tmp_path)["relabelled"] == 1
    rows = rows_of(project)
    assert rows.loc["PNEUMONIA/IM-0003-0001.png", "LABEL"] == "NORMAL"
    assert rows.loc["PNEUMONIA/person1_virus_1.png", "CAUSE"] == "bacteria", "a corrected cause is a correction too"


def test_a_table_with_a_class_that_is_none_is_refused_by_name(empty, tmp_path):
    draw(tmp_path, "NORMAL/a.png", "PNEUMONIA/b.png", "c.png")
    ingest.ingest(empty, tmp_path)
    (tmp_path / "told.csv").write_text("file,label\nc.png,unclear\n")
    with pytest.raises(ValueError, match="UNCLEAR: this catalog's classes are NORMAL, PNEUMONIA"):
        ingest.ingest(with_settings(empty, data_csv=str(tmp_path / "told.csv")), tmp_path)


def test_truth_by_content_or_by_name_brings_an_image_into_its_patients_split(empty, tmp_path):
    project = empty
    known = [f"set/{'PNEUMONIA' if i % 2 else 'NORMAL'}/IM-{i:04}-0001.png" for i in range(8)]
    ingest.ingest(project, draw(tmp_path, *known))
    split = rows_of(project)["SPLIT"]
    incoming = draw(tmp_path / "in", "x/IM-0001-0002.png", "y/u1.png", "y/u2.png", "y/u3.png")
    assert ingest.ingest(project, incoming)["unlabelled"] == 4
    assert rows_of(project).loc[["x/IM-0001-0002.png", "y/u1.png"], "SPLIT"].isna().all(), "not even its patient's"
    (tmp_path / "truth.csv").write_text("file,label\nx/IM-0001-0002.png,pneumonia\nu1.png,Normal\nnobody.png,Normal\n")
    said = add_truth(project, tmp_path / "truth.csv")
    assert said == {"labelled": 2, "relabelled": 0, "confirmed": 0, "table_patients_ignored": 0, "rows_left": 1}
    rows = rows_of(project)
    assert rows.loc["x/IM-0001-0002.png", "SPLIT"] == split["set/PNEUMONIA/IM-0001-0001.png"], "its patient's"
    assert rows.loc["y/u1.png", "LABEL"] == "NORMAL" and rows.loc["y/u1.png", "SPLIT"]
    assert pd.isna(rows.loc["y/u2.png", "SPLIT"])
    (tmp_path / "sorted" / "PNEUMONIA").mkdir(parents=True)
    shutil.copyfile(incoming / "y" / "u2.png", tmp_path / "sorted" / "PNEUMONIA" / "any name.png")
    counts = ingest.ingest(project, tmp_path / "sorted")
    assert (counts["labelled"], counts["cataloged"]) == (1, 0)
    assert rows_of(project).loc["y/u2.png", "LABEL"] == "PNEUMONIA"
    ingest.ingest(project, incoming)
    assert rows_of(project).loc["y/u2.png", "LABEL"] == "PNEUMONIA", "a folder that says nothing takes nothing away"


def test_splits_hold_their_share_of_the_rarest_class_of_each_patient(empty):
    """Three rare patients among many, who have images of every class: each split gets one of them."""
    from tests.cxr.data.test_ingest import patients

    project = with_settings(empty, test_share=0.2, validation_share=0.2)
    common = [(f"c{i}", label) for i in range(30) for label in ("NORMAL", "A")]
    rare = [(f"r{i}", label) for i in range(3) for label in ("NORMAL", "A", "Z")]
    patients(project, common + rare)
    rows = catalog.read_catalog(project)
    assert set(rows[rows["LABEL"] == "Z"]["SPLIT"]) == {"train", "validation", "test"}
    assert rows.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1


def test_what_is_set_aside_is_neither_split_nor_trained_on_until_it_is_asked_for(empty, tmp_path):
    project = empty
    ingest.ingest(project, draw(tmp_path, "NORMAL/IM-0001-0001.png", "TB/IM-0003-0002.png", "TB/IM-0003-0001.png"))
    project.session.sql(
        f"UPDATE {project.catalog} SET SET_ASIDE = 'lateral', SPLIT = NULL WHERE SOURCE_NAME = 'TB/IM-0003-0001.png'"
    ).collect()
    assert ingest.ingest(project, tmp_path)["set_aside"] == 1
    assert pd.isna(rows_of(project).loc["TB/IM-0003-0001.png", "SPLIT"]), "though its patient has one"
    assert "TB/IM-0003-0001.png" not in set(catalog.read_catalog(project)["SOURCE_NAME"])
    assert any("1 lateral views or images FOR PROCESSING" in line for line in notices.notices(project))
    asked = with_settings(project, include_set_aside=True)
    ingest.ingest(asked, tmp_path)
    assert len(catalog.read_catalog(asked)) == 3 and len(catalog.read_catalog(project)) == 2


def test_own_data_of_other_classes_follow_phantoms(empty, tmp_path):
    project = empty
    made = draw(tmp_path / "made", "NORMAL/a.png", "PNEUMONIA/b.png")
    (made / "phantoms.json").write_text("{}")
    ingest.ingest(project, made)
    ingest.ingest(project, draw(tmp_path / "real", "HEALTHY/c.png", "TB/d.png"))
    assert catalog.label_set(project).names == ("HEALTHY", "TB")
    ingest.ingest(project, made)
    assert catalog.label_set(project).names == ("NORMAL", "PNEUMONIA")


def test_notebook_02_without_data_does_not_replace_patients_by_phantoms(empty, tmp_path, monkeypatch):
    cells = {cell["metadata"]["name"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"]}
    monkeypatch.setattr(sys, "path", list(sys.path))
    few = with_settings(empty, phantom_patients=4)
    names = {"project": few, "settings": few.settings}
    exec(cells["imports"], names)
    exec(cells["find_images"], names)
    assert names["source"].phantoms
    ingest.ingest(empty, draw(tmp_path, "HEALTHY/c.png", "TB/d.png"))
    with pytest.raises(ValueError, match="No images were named, and the catalog holds 2 images of patients"):
        exec(cells["find_images"], names)
    names["settings"] = replace(few.settings, data=str(tmp_path))
    exec(cells["find_images"], names)
    assert not names["source"].phantoms


# ---------------------------------------------------------------- content


def test_a_file_that_is_overwritten_before_the_upload_is_refused_and_the_next_run_takes_it(
    empty, tmp_path, monkeypatch
):
    project, place = empty, sources.Folder.place
    draw(tmp_path, "NORMAL/a.png", "TB/b.png", "TB/gone.png")

    def late(self, project, files):
        draw(tmp_path, "TB/other.png").joinpath("TB/other.png").replace(tmp_path / "TB" / "b.png")
        (tmp_path / "TB" / "gone.png").unlink()
        return place(self, project, files)

    monkeypatch.setattr(sources.Folder, "place", late)
    counts = ingest.ingest(project, tmp_path)
    monkeypatch.undo()
    assert (counts["cataloged"], counts["rejected"]) == (1, 2)
    rejected = project.session.table(project.rejected).to_pandas().set_index("SOURCE_NAME")["REASON"]
    assert rejected.to_dict() == {"TB/b.png": "changed", "TB/gone.png": "unreadable"}
    assert ingest.ingest(project, tmp_path)["cataloged"] == 1


def test_a_source_is_listed_once(empty, tmp_path, monkeypatch):
    listings, names = [], sources.Folder.names
    monkeypatch.setattr(sources.Folder, "names", lambda self: listings.append(self) or names(self))
    ingest.ingest(empty, draw(tmp_path, "NORMAL/a.png", "TB/b.png"))
    assert len(listings) == 1
