"""UPMC Food-101 in its three forms, and what copies of it do to their lists."""

import csv
import json
from pathlib import Path

import pytest
from layout_fixtures import by_id, open_prepared, picture, write, write_json

from awase.config import ImageInput, TextInput
from awase.data.datasets.food101 import read

TRAIN = 'waffles_3.jpg,"Waffles, ""crisp""",waffles\napple_pie_0.jpg,Pie of\u00a0apples,apple_pie\n'
TEST = "apple_pie_7.jpg,Pie,apple_pie\n"


def kaggle(root: Path, train: str = TRAIN, test: str = TEST, *, bom: bool = False, crlf: bool = False) -> Path:
    write(root / "texts" / "train_titles.csv", train, bom=bom, crlf=crlf)
    write(root / "texts" / "test_titles.csv", test, bom=bom, crlf=crlf)
    for place in ("train/waffles/waffles_3", "train/apple_pie/apple_pie_0", "test/apple_pie/apple_pie_7"):
        picture(root / "images" / f"{place}.jpg")
    return root


@pytest.mark.parametrize(("bom", "crlf"), [(False, False), (True, True)])
def test_titles_without_a_header(tmp_path: Path, bom: bool, crlf: bool) -> None:
    layout = read(kaggle(tmp_path, bom=bom, crlf=crlf))
    rows = by_id(layout)
    assert {name: row.splits["published"] for name, row in rows.items()} == {
        "apple_pie_0": "train",
        "apple_pie_7": "test",
        "waffles_3": "train",
    }
    assert rows["waffles_3"].texts == {"text": 'Waffles, "crisp"'}
    assert rows["waffles_3"].labels == ("waffles",)
    assert rows["waffles_3"].files == {"image": tmp_path / "images" / "train" / "waffles" / "waffles_3.jpg"}
    assert rows["apple_pie_0"].texts == {"text": "Pie of apples"}
    assert layout.classes == ("apple_pie", "waffles")
    assert layout.absent == {"image": (), "text": ()}
    assert layout.published_counts["published"] == {"train": 67_988, "test": 22_716}
    assert "No validation split is published" in layout.notes[-1]


def test_the_classes_are_the_names_sorted(tmp_path: Path) -> None:
    names = ["tacos", "waffles", "apple_pie", "ramen", "sushi", "gyoza", "paella"]
    layout = read(kaggle(tmp_path, train="".join(f"{name}_1.jpg,{name},{name}\n" for name in names)))
    assert layout.classes == ("apple_pie", "gyoza", "paella", "ramen", "sushi", "tacos", "waffles")


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("Image_path,text,label", (0, 1, 2)),
        ("label,Image,Title", (2, 0, 1)),
        (",class,filename,title", (None, 2, 0, 1)),
    ],
)
def test_a_header_says_the_order(tmp_path: Path, header: str, order: tuple[int | None, ...]) -> None:
    cells = ["images/train/apple_pie/apple_pie_0.jpg", "Pie, warm", "apple_pie"]
    path = tmp_path / "texts" / "train_titles.csv"
    kaggle(tmp_path)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"{header}\n")
        csv.writer(file).writerow("5" if place is None else cells[place] for place in order)
    row = by_id(read(tmp_path))["apple_pie_0"]
    assert row.labels == ("apple_pie",)
    assert row.texts == {"text": "Pie, warm"}
    assert row.files["image"].is_file()


def test_a_title_whose_commas_were_not_quoted_is_kept_whole(tmp_path: Path) -> None:
    kaggle(tmp_path, train="apple_pie_0.jpg,Pie, warm, sweet,apple_pie\n")
    row = by_id(read(tmp_path))["apple_pie_0"]
    assert row.texts == {"text": "Pie, warm, sweet"}
    assert row.labels == ("apple_pie",)


@pytest.mark.parametrize(
    ("train", "message"),
    [("apple_pie_0.jpg,apple_pie\n", "Row 1 of .* has 2 cells"), ("picture,words\n", "neither a picture's file name")],
)
def test_lists_that_are_none_are_refused(tmp_path: Path, train: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(kaggle(tmp_path, train=train))


def test_pictures_without_titles_and_titles_without_pictures_stay(tmp_path: Path) -> None:
    kaggle(tmp_path, train=TRAIN + "waffles_5.jpg,Lost,waffles\nwaffles_6.jpg,  ,waffles\n")
    picture(tmp_path / "images" / "train" / "waffles" / "waffles_4.jpg")
    picture(tmp_path / "images" / "train" / "waffles" / "waffles_6.jpg")
    picture(tmp_path / "images" / "odd.jpg")
    layout = read(tmp_path)
    rows = by_id(layout)
    assert layout.absent == {"image": ("waffles_5",), "text": ("waffles_4", "waffles_6")}
    assert rows["waffles_5"].files == {"image": tmp_path / "images" / "train" / "waffles" / "waffles_5.jpg"}
    assert (rows["waffles_4"].labels, rows["waffles_4"].splits) == (("waffles",), {"published": "train"})
    assert layout.notes[:2] == (
        "1 pictures have no title; they stay, without text.",
        "1 pictures are in no list and were left out: odd.jpg.",
    )


def test_a_picture_in_both_lists_is_a_test_picture(tmp_path: Path) -> None:
    kaggle(tmp_path, train=TRAIN + "apple_pie_7.jpg,Again,apple_pie\n")
    layout = read(tmp_path)
    row = by_id(layout)["apple_pie_7"]
    assert (row.splits["published"], row.texts["text"]) == ("test", "Pie")
    assert layout.notes[0].startswith("1 lines name a picture that another line names")


def test_one_name_in_both_folders_is_taken_from_its_own(tmp_path: Path) -> None:
    kaggle(tmp_path)
    picture(tmp_path / "images" / "test" / "apple_pie" / "apple_pie_0.jpg")
    assert by_id(read(tmp_path))["apple_pie_0"].files["image"].parent.parent.name == "train"


def test_the_text_may_be_the_whole_page(tmp_path: Path) -> None:
    kaggle(tmp_path)
    with pytest.raises(FileNotFoundError, match="texts_txt"):
        read(tmp_path, text="page")
    page = tmp_path / "texts_txt" / "apple_pie" / "apple_pie_0.txt"
    write(page, "Bake\n it.", bom=True, crlf=True)
    (page.parent / "apple_pie_7.txt").write_bytes(b"caf\xe9")
    layout = read(tmp_path, text="page")
    assert by_id(layout)["apple_pie_0"].texts == {"text": "Bake it."}
    assert by_id(layout)["apple_pie_7"].texts == {"text": "caf�"}
    assert layout.absent["text"] == ("waffles_3",)


def prompts(root: Path) -> Path:
    write_json(root / "class_idx.json", {"waffles": 0, "apple_pie": 1})
    splits = {"train": ["waffles_3.jpg"], "val": ["apple_pie_0.jpg"], "test": ["apple_pie_7.jpg", "waffles_9.jpg"]}
    write_json(root / "split.json", splits)
    write_json(root / "text.json", {"waffles_3.jpg": ["", "One, two", "three"], "apple_pie_0.jpg": []})
    for place in ("train/waffles/waffles_3", "train/apple_pie/apple_pie_0", "test/apple_pie/apple_pie_7"):
        picture(root / "images" / f"{place}.jpg")
    return root


def test_the_form_with_a_split_file(tmp_path: Path) -> None:
    layout = read(prompts(tmp_path))
    rows = by_id(layout)
    assert {name: row.splits["published"] for name, row in rows.items()} == {
        "waffles_3": "train",
        "apple_pie_0": "val",
        "apple_pie_7": "test",
        "waffles_9": "test",
    }
    assert rows["waffles_3"].texts == {"text": "One, two"}
    assert layout.classes == ("apple_pie", "waffles")  # not the order of class_idx.json
    assert layout.absent == {"image": ("waffles_9",), "text": ("apple_pie_0", "apple_pie_7", "waffles_9")}
    assert layout.published_counts == {"published": {"train": 61_142, "val": 6_846, "test": 22_716}}
    write_json(tmp_path / "class_idx.json", {"waffles": 0})
    with pytest.raises(ValueError, match="'apple_pie', which class_idx"):
        read(tmp_path)


def test_the_form_of_json_lines(tmp_path: Path) -> None:
    for split, name in (("train", "waffles_3"), ("dev", "apple_pie_0"), ("test", "apple_pie_7")):
        folder = "test" if split == "test" else "train"
        path = f"images/{folder}/{name.rpartition('_')[0]}/{name}.jpg"
        record = {"id": 1, "label": name.rpartition("_")[0], "text": "pie\nwarm", "img": path}
        write(tmp_path / f"{split}.jsonl", json.dumps(record), crlf=True)
        picture(tmp_path / path)
    layout = read(tmp_path)
    assert {row.id: row.splits["published"] for row in layout.rows} == {
        "apple_pie_0": "val",
        "apple_pie_7": "test",
        "waffles_3": "train",
    }
    assert {row.texts["text"] for row in layout.rows} == {"pie warm"}
    assert layout.absent == {"image": (), "text": ()}
    write(tmp_path / "dev.jsonl", '{"label": "x"}')
    with pytest.raises(ValueError, match=r"Line 1 of .*dev.jsonl is no object with img, text and label"):
        read(tmp_path)


def test_the_first_form_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    kaggle(prompts(tmp_path))
    assert read(tmp_path).facts["form"] == "kaggle"
    assert read(tmp_path, form="prompts").facts["form"] == "prompts"


def test_requests_that_cannot_be_met_say_what_would_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"looked for texts/train_titles.csv, split.json, train.jsonl"):
        read(tmp_path)
    with pytest.raises(ValueError, match="text = 'words' is refused; use one of title, page"):
        read(tmp_path, text="words")
    with pytest.raises(ValueError, match="use one of auto, kaggle, prompts, mmbt"):
        read(tmp_path, form="csv")
    write(tmp_path / "texts" / "train_titles.csv", TRAIN)
    with pytest.raises(FileNotFoundError, match="titles of test"):
        read(tmp_path)


def test_the_rows_become_tensors(tmp_path: Path) -> None:
    train = "".join(f"{name}_{k}.jpg,{name} {k},{name}\n" for name in ("apple_pie", "waffles") for k in range(4))
    kaggle(tmp_path, train=train, test="apple_pie_7.jpg,Pie,apple_pie\nwaffles_8.jpg,,waffles\n")
    picture(tmp_path / "images" / "test" / "waffles" / "waffles_8.jpg", level=255)
    inputs = {"image": ImageInput(column="image", height=5, width=7), "text": TextInput(column="text")}
    data = open_prepared("food101", tmp_path, inputs)
    batch = next(data.loader("test", batch_size=5).epoch(0))
    assert batch.inputs["image"].shape == (2, 3, 5, 7)
    assert batch.present["text"].tolist() == [True, False]
    assert batch.targets.tolist() == [0, 1]
    assert (batch.inputs["image"][1] > 0.99).all()
