"""Names, options and their types."""

from pathlib import Path

import pytest

from awase.data.layouts import LAYOUTS, option_types, read_layout

OWN = ("ave", "kinetics_sounds", "cremad")


def test_every_layout_has_a_line_about_it():
    assert set(OWN) < set(LAYOUTS)
    assert all((read.__doc__ or "").strip() for read in LAYOUTS.values())


@pytest.mark.parametrize("name", OWN)
def test_every_option_has_a_type(name):
    assert option_types(name)
    assert "root" not in option_types(name)


def test_text_becomes_what_the_option_is(tmp_path):
    for number in range(7):
        path = tmp_path / "bowling" / f"bowl{number:07d}_000001_000011.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    given = {"seed": "3", "test_fraction": "0.5", "classes": "bowling,tickling", "annotations": str(tmp_path)}
    typed = {"seed": 3, "test_fraction": 0.5, "classes": ("bowling", "tickling"), "annotations": tmp_path}
    assert read_layout("kinetics_sounds", tmp_path, given) == read_layout("kinetics_sounds", tmp_path, typed)
    assert option_types("kinetics_sounds")["seed"] is int


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("vggsound", {}, KeyError, "no layout 'vggsound'.*ave, kinetics_sounds, cremad"),
        ("ave", {"parts": "event"}, KeyError, "ave has no option 'parts'.*annotations, part"),
        ("cremad", {"folds": "many"}, ValueError, "folds = 'many' is refused: .*integer"),
        ("cremad", {"seed": 0.5}, ValueError, "seed = 0.5 is refused"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, name, options, error, words):
    with pytest.raises(error, match=words):
        read_layout(name, tmp_path, options)
