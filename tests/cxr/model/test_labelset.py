"""The classes: which one is negative, and what counts as the same class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.model.labelset import LabelSet

KERMANY = LabelSet("NORMAL", ("BACTERIA", "VIRUS"))


@pytest.mark.parametrize(
    ("names", "negative", "others"),
    [
        (["PNEUMONIA", "NORMAL"], "NORMAL", ("PNEUMONIA",)),
        (["tb", "Healthy"], "HEALTHY", ("TB",)),
        (["No Finding", "Effusion", "Mass"], "NO FINDING", ("EFFUSION", "MASS")),
        (["no_finding", "mass"], "NO_FINDING", ("MASS",)),
        (["negative"], "NEGATIVE", ()),
    ],
)
def test_the_negative_class_comes_first_and_names_are_upper_case(names, negative, others):
    assert LabelSet.of(names) == LabelSet(negative, others)


def test_a_negative_class_of_another_name_is_given():
    assert LabelSet.of(["0", "1", "2"], negative_label="0").names == ("0", "1", "2")


@pytest.mark.parametrize("names", [["TB", "COVID"], ["NORMAL", "HEALTHY", "TB"], []])
def test_no_negative_class_or_two_of_them_are_refused_with_the_classes_that_were_found(names):
    with pytest.raises(ValueError, match=", ".join(sorted(names)) or "none"):
        LabelSet.of(names)


@pytest.mark.parametrize("text", ["Bacteria", "bacterias", " BACTERIA ", "bac_teria"])
def test_case_plural_and_separators_do_not_make_another_class(text):
    assert KERMANY.find(text) == "BACTERIA" and text in KERMANY


def test_further_classes_come_last_so_that_no_index_moves():
    assert KERMANY.extended(["ASPERGILLUS", "virus"]).names == ("NORMAL", "BACTERIA", "VIRUS", "ASPERGILLUS")
    assert KERMANY.only(["VIRUS"]).names == ("NORMAL", "VIRUS")


names = st.lists(st.text(st.characters(categories=["Lu", "Nd"]), min_size=1).map("C{}".format), unique=True, max_size=6)


@given(names)
def test_a_list_gives_the_set_back(others):
    labels = LabelSet.of(["NORMAL", *others])
    assert LabelSet.from_list(labels.to_list()) == labels and len(labels) == len(labels.names)
