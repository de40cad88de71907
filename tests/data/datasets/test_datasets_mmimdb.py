"""MM-IMDb: numbers with any zeros, one of several plots, genres that are labels and others."""

from pathlib import Path

import pytest
from layout_fixtures import by_id, open_prepared, picture, write_json

from awase.config import ImageInput, TextInput
from awase.data.datasets.mmimdb import GENRES, read

FILMS = {
    "0000005": {"genres": ["Short", "Drama"], "plot": ["Long enough.", "A plot that is the\n longest.", "Short."]},
    "0133093": {"genres": ["Action", "Sci-Fi"], "plot": ["One.", "Two."]},
    "0000091": {"genres": ["News", "Documentary", "Adult"], "plot": ["Seen."]},
    "0001000": {"genres": ["Talk-Show", "Adult"], "plot": []},
    "0002000": {"genres": ["Drama"], "plot outline": "An outline."},
}
SPLIT = {"train": ["0000005", "0133093"], "dev": ["0000091"], "test": ["0001000", "0002000"]}


def official(root: Path) -> Path:
    write_json(root / "split.json", SPLIT)
    for name, film in FILMS.items():
        write_json(root / "dataset" / f"{name}.json", film)
        picture(root / "dataset" / f"{name}.jpeg")
    return root


def test_films_have_genres_plots_and_splits(tmp_path: Path) -> None:
    layout = read(official(tmp_path))
    rows = by_id(layout)
    assert {name: row.splits["published"] for name, row in rows.items()} == {
        "0000005": "train",
        "0133093": "train",
        "0000091": "val",
        "0001000": "test",
        "0002000": "test",
    }
    assert rows["0000005"].labels == ("Drama", "Short")
    assert rows["0000005"].texts == {"text": "A plot that is the longest."}
    assert rows["0000005"].files == {"image": tmp_path / "dataset" / "0000005.jpeg"}
    assert rows["0000091"].labels == ("Documentary",)
    assert rows["0001000"].labels == ()
    assert rows["0002000"].texts == {"text": "An outline."}
    assert layout.multi_label
    assert layout.absent == {"image": (), "text": ("0001000",)}
    assert layout.facts["other_genres"] == {"Adult": 2, "News": 1, "Talk-Show": 1}
    assert layout.notes == (
        "Genres that are no labels: Adult (2), News (1), Talk-Show (1).",
        "1 films have none of the 23 genres and stay, without label: 0001000.",
    )


def test_the_classes_are_the_23_genres() -> None:
    assert len(GENRES) == len(set(GENRES)) == 23
    assert (GENRES[0], GENRES[10], GENRES[-1]) == ("Drama", "Sci-Fi", "Film-Noir")
    assert "News" not in GENRES


@pytest.mark.parametrize(
    ("plot", "text"),
    [
        ("longest", "A plot that is the longest."),
        ("first", "Long enough."),
        ("all", "Long enough. A plot that is the longest. Short."),
    ],
)
def test_the_text_is_the_plot_asked_for(tmp_path: Path, plot: str, text: str) -> None:
    rows = by_id(read(official(tmp_path), plot=plot))
    assert rows["0000005"].texts["text"] == text
    assert rows["0133093"].texts["text"] == {"all": "One. Two."}.get(plot, "One.")  # of equal lengths the first


def test_films_with_news_are_removed_where_asked_for(tmp_path: Path) -> None:
    layout = read(official(tmp_path), drop_news=True)
    assert set(by_id(layout)) == set(FILMS) - {"0000091"}
    assert sum(layout.published_counts["published"].values()) == 15_513 + 2_599 + 7_779
    assert "1 films with the genre News were removed." in layout.notes
    assert layout.facts["without_news"] == 1


def test_the_published_sizes_are_those_of_the_split_file(tmp_path: Path) -> None:
    counts = read(official(tmp_path)).published_counts["published"]
    assert counts == {"train": 15_552, "val": 2_608, "test": 7_799}
    assert sum(counts.values()) == 25_959


def test_the_rearranged_form_with_eight_digits(tmp_path: Path) -> None:
    write_json(tmp_path / "split.json", SPLIT)
    for name, film in FILMS.items():
        write_json(tmp_path / "labels" / f"0{name}.json", film)
        picture(tmp_path / "images" / f"0{name}.jpeg")
    layout = read(tmp_path)
    assert by_id(layout)["0133093"].files == {"image": tmp_path / "images" / "00133093.jpeg"}
    assert by_id(layout)["0133093"].labels == ("Action", "Sci-Fi")
    assert layout.absent["image"] == ()


def test_the_archive_may_have_been_unpacked_inside(tmp_path: Path) -> None:
    official(tmp_path / "mmimdb")
    assert len(read(tmp_path).rows) == len(FILMS)


def test_missing_files_are_listed_and_unknown_genres_are_not_none(tmp_path: Path) -> None:
    official(tmp_path)
    (tmp_path / "dataset" / "0133093.json").unlink()
    (tmp_path / "dataset" / "0000005.jpeg").unlink()
    write_json(tmp_path / "dataset" / "0009999.json", FILMS["0002000"])
    layout = read(tmp_path)
    rows = by_id(layout)
    assert rows["0133093"].splits == {"published": None}
    assert rows["0000005"].files["image"] == tmp_path / "dataset" / "0000005.jpeg"
    assert layout.absent == {"image": ("0000005",), "text": ("0133093", "0001000")}
    assert layout.notes[-2:] == (
        "1 films have no JSON file, so no known genre; they are in no split: 0133093.",
        "1 films are in no split of split.json and were left out: 9999.",
    )


def test_requests_that_cannot_be_met_say_what_would_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no split.json: looked for split.json, mmimdb/split.json"):
        read(tmp_path)
    write_json(tmp_path / "split.json", SPLIT)
    with pytest.raises(FileNotFoundError, match=r"folder of films .*: looked in dataset, labels"):
        read(tmp_path)
    official(tmp_path)
    with pytest.raises(ValueError, match="plot = 'shortest' is refused; use one of longest, first, all"):
        read(tmp_path, plot="shortest")
    write_json(tmp_path / "split.json", {"train": ["tt0000005"]})
    with pytest.raises(ValueError, match="names the film 'tt0000005'; films are numbers"):
        read(tmp_path)
    official(tmp_path)
    write_json(tmp_path / "dataset" / "0000005.json", {"genres": "Drama"})
    with pytest.raises(ValueError, match=r"0000005.json is no film"):
        read(tmp_path)


def test_the_rows_become_tensors(tmp_path: Path) -> None:
    official(tmp_path)
    (tmp_path / "dataset" / "0002000.jpeg").unlink()
    write_json(
        tmp_path / "split.json", {"train": [*SPLIT["train"], "0000091"], "dev": ["0001000"], "test": ["0002000"]}
    )
    inputs = {"image": ImageInput(column="image", height=5, width=7), "text": TextInput(column="text")}
    data = open_prepared("mmimdb", tmp_path, inputs)
    assert data.task == "multi_label"
    batch = next(data.loader("train", batch_size=5).epoch(0))
    assert batch.inputs["image"].shape == (3, 3, 5, 7)
    named = [[GENRES[k] for k, flag in enumerate(row) if flag] for row in batch.targets.tolist()]
    assert named == [["Drama", "Short"], ["Action", "Sci-Fi"], ["Documentary"]]
    test = next(data.loader("test", batch_size=5).epoch(0))
    assert (test.present["image"].tolist(), test.present["text"].tolist()) == ([False], [True])
