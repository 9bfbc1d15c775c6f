"""Settings: their sources, and which values are rejected."""

import pytest

from cxr.settings import Settings, load


def test_an_argument_beats_a_variable_beats_a_keyword_beats_the_profile():
    environ = {"CXR_PROFILE": "smoke", "CXR_EPOCHS": "5", "CXR_BATCH_SIZE": "8"}
    settings = load(argv=["--epochs", "7"], environ=environ, batch_size=4, image_size=32)
    assert (settings.epochs, settings.batch_size, settings.image_size) == (7, 8, 32)
    assert settings.phantom_patients == load(argv=[], environ={}, profile="smoke").phantom_patients


def test_an_empty_parameter_of_a_notebook_keeps_the_profiles_value():
    assert load(argv=[], environ={}, backbone="", epochs=0) == Settings()


def test_a_kernels_own_arguments_are_ignored():
    assert load(argv=["-f", "/somewhere/kernel-1.json", "--ip=127.0.0.1"], environ={}) == Settings()


@pytest.mark.parametrize("argv", [["--keep-service", "true"], ["--keep_service=1"]])
def test_booleans_are_read_as_words(argv):
    assert load(argv=argv, environ={}).keep_service is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database", "X; DROP DATABASE Y"),
        ("schema", "A.B"),
        ("images_stage", ""),
        ("predictions_table", "naïve"),
        ("service_pool", "POOL' --"),
        ("profile", "fast"),
        ("patient_key_secret", "KEY"),
        ("patient_key_secret", "A.B.C] -"),
        ("weights", "best"),
        ("image_size", 8),
        ("test_share", 0.95),
    ],
)
def test_invalid_values_are_rejected_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})


def test_text_for_a_number_is_rejected_by_name():
    with pytest.raises(ValueError, match="epochs='many'"):
        load(argv=["--epochs", "many"], environ={})


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="epoch_count"):
        load(argv=[], environ={}, epoch_count=3)
