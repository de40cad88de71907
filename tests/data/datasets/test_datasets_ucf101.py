"""UCF101: lists with numbers from 1, names of two spellings, frames and flow wherever they lie."""

from pathlib import Path

import numpy as np
import pytest
from layout_fixtures import by_id, open_prepared, picture, write, write_film

from awase.config import FlowInput, VideoInput
from awase.data.datasets.ucf101 import PUBLISHED, read

CLASSES = ("ApplyEyeMakeup", "Hammering", "HammerThrow", "HandstandPushups")


def film(name: str, group: int, clip: int = 1) -> str:
    """As the official files and lists are spelt: one class with another capital than its folder."""
    spelt = "HandStandPushups" if name == "HandstandPushups" else name
    return f"v_{spelt}_g{group:02d}_c{clip:02d}"


FILMS = [(name, group) for name in CLASSES for group in (1, 7, 8, 14, 15, 21, 22, 25)]


def fold_of(group: int) -> int | None:
    return {0: 1, 1: 2, 2: 3}.get((group - 1) // 7)


def write_lists(folder: Path, *, crlf: bool = False, first: int = 1, folds: tuple[int, ...] = (1, 2, 3)) -> None:
    classes = "".join(f"{number} {name}\n" for number, name in enumerate(CLASSES, start=1))
    write(folder / "classInd.txt", classes, crlf=crlf)
    for fold in folds:
        train = [(name, group) for name, group in FILMS if fold_of(group) != fold]
        test = [(name, group) for name, group in FILMS if fold_of(group) == fold]
        lines = "".join(f"{name}/{film(name, g)}.avi {CLASSES.index(name) + first}\n" for name, g in train)
        write(folder / f"trainlist0{fold}.txt", lines, crlf=crlf)
        write(folder / f"testlist0{fold}.txt", "".join(f"{n}/{film(n, g)}.avi\n" for n, g in test), crlf=crlf)


def write_films(folder: Path, suffix: str = ".avi") -> None:
    for name, group in FILMS:
        write(folder / name / f"{film(name, group)}{suffix}", "")


def official(root: Path, **options: object) -> Path:
    write_lists(root / "ucfTrainTestlist", **options)
    write_films(root / "UCF-101")
    return root


@pytest.mark.parametrize("crlf", [False, True])
def test_three_folds_by_group(tmp_path: Path, crlf: bool) -> None:
    layout = read(official(tmp_path, crlf=crlf))
    rows = by_id(layout)
    assert len(rows) == len(FILMS)
    for name, group in FILMS:
        row, fold = rows[film(name, group)], fold_of(group)
        assert row.labels == (name,)
        assert row.group == f"{name}_g{group:02d}"
        assert row.fold == fold
        assert row.splits == {f"fold{k}": "test" if k == fold else "train" for k in (1, 2, 3)}
        assert row.files == {"video": tmp_path / "UCF-101" / name / f"{film(name, group)}.avi"}
    assert layout.absent == {"video": ()}
    assert layout.default_splitting == "fold1"
    assert layout.facts["folds"] == [1, 2, 3]


def test_the_published_folds_have_all_films() -> None:
    assert [sum(counts.values()) for counts in PUBLISHED.values()] == [13_320] * 3
    assert [counts["test"] for counts in PUBLISHED.values()] == [3_783, 3_734, 3_696]


def test_the_order_of_the_classes_is_that_of_the_list(tmp_path: Path) -> None:
    layout = read(official(tmp_path))
    assert layout.classes == CLASSES != tuple(sorted(CLASSES))
    assert layout.class_order == "the numbers in classInd.txt"
    assert "Loaders that sort the class names number these differently: Hammering, HammerThrow." in layout.notes
    (tmp_path / "ucfTrainTestlist" / "classInd.txt").unlink()
    without = read(tmp_path)
    assert without.classes == tuple(sorted(CLASSES))
    assert without.class_order == "sorted, for want of classInd.txt"


@pytest.mark.parametrize(("first", "wrong"), [(1, 0), (0, 72)])
def test_numbers_count_from_one(tmp_path: Path, first: int, wrong: int) -> None:
    layout = read(official(tmp_path, first=first))
    noted = [note for note in layout.notes if "numbers in the train lists" in note]
    assert [note[:8] for note in noted] == ([f"{wrong} of 72"] if wrong else [])
    assert by_id(layout)["v_Hammering_g01_c01"].labels == ("Hammering",)


@pytest.mark.parametrize("folder", ["HandstandPushups", "HandStandPushups", "handstandpushups"])
@pytest.mark.parametrize("name", ["v_HandStandPushups_g01_c01", "v_HandstandPushups_g01_c01"])
def test_the_capital_of_handstand_pushups_does_not_matter(tmp_path: Path, folder: str, name: str) -> None:
    official(tmp_path)
    (tmp_path / "UCF-101" / "HandstandPushups" / "v_HandStandPushups_g01_c01.avi").unlink()
    place = write(tmp_path / "UCF-101" / folder / f"{name}.avi", "")
    flow = tmp_path / "tvl1_flow"
    for side in ("u", "v"):
        picture(flow / side / "v_HandstandPushups_g01_c01" / "frame000001.jpg")
    layout = read(tmp_path)
    row = by_id(layout)["v_HandStandPushups_g01_c01"]
    assert (row.labels, row.group) == (("HandstandPushups",), "HandstandPushups_g01")
    assert row.files == {"video": place, "flow": flow / "{u,v}" / "v_HandstandPushups_g01_c01"}
    assert layout.absent["video"] == ()
    assert len(layout.absent["flow"]) == len(FILMS) - 1


def test_the_capital_may_differ_between_the_lists_too(tmp_path: Path) -> None:
    official(tmp_path)
    for path in (tmp_path / "ucfTrainTestlist").glob("t*list0?.txt"):
        path.write_text(path.read_text().replace("HandstandPushups/", "HandStandPushups/"))
    layout = read(tmp_path)
    row = by_id(layout)["v_HandStandPushups_g01_c01"]
    assert (row.labels, row.group) == (("HandstandPushups",), "HandstandPushups_g01")
    assert layout.classes == CLASSES
    assert not any("numbers in the train lists" in note for note in layout.notes)


def test_missing_films_are_listed_and_others_are_counted(tmp_path: Path) -> None:
    official(tmp_path)
    (tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g07_c01.avi").unlink()
    write(tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g07_c09.avi", "")
    layout = read(tmp_path)
    assert layout.absent == {"video": ("v_Hammering_g07_c01",)}
    expected = tmp_path / "UCF-101" / "Hammering" / "v_Hammering_g07_c01.avi"
    assert by_id(layout)["v_Hammering_g07_c01"].files["video"] == expected
    assert "1 files of video are in no list and were left out: v_hammering_g07_c09." in layout.notes


def test_one_fold_is_enough(tmp_path: Path) -> None:
    layout = read(official(tmp_path, folds=(2,)))
    assert (layout.default_splitting, set(layout.published_counts)) == ("fold2", {"fold2"})
    assert {row.fold for row in layout.rows} == {2, None}
    assert by_id(layout)["v_Hammering_g01_c01"].splits == {"fold2": "train"}


def frames_of(folder: Path, numbers: tuple[int, ...], name: str = "frame{:06d}.jpg", level: int = 0) -> None:
    for number in numbers:
        picture(folder / name.format(number), level=level + 10 * number)


@pytest.mark.parametrize("form", ["jpegs", "rawframes", "two_folders", "computed"])
def test_frames_and_flow_are_found_where_copies_have_them(tmp_path: Path, form: str) -> None:
    write_lists(tmp_path)
    name = "v_Hammering_g01_c01"
    if form in ("jpegs", "computed"):
        frames_of(tmp_path / "jpegs_256" / name, (1, 2))
        video = tmp_path / "jpegs_256" / name
    if form == "jpegs":
        for side in ("u", "v"):
            frames_of(tmp_path / "tvl1_flow" / side / name, (1,))
        flow = tmp_path / "tvl1_flow" / "{u,v}" / name
    if form == "computed":
        flow = tmp_path / "flow" / f"{name}.npy"
        flow.parent.mkdir()
        np.save(flow, np.zeros((1, 5, 7, 2), dtype=np.uint8))
    if form == "rawframes":
        video = flow = tmp_path / "rawframes" / "Hammering" / name
        frames_of(video, (1, 2), "img_{:05d}.jpg")
        frames_of(video, (1,), "flow_x_{:05d}.jpg")
        frames_of(video, (1,), "flow_y_{:05d}.jpg")
    if form == "two_folders":
        frames_of(tmp_path / "frames" / name, (1, 2), "frame_{:05d}.jpg")
        video = tmp_path / "frames" / name
        frames_of(tmp_path / "flow_u" / name, (1,), "frame{:06d}.jpg")
        frames_of(tmp_path / "flow_v" / name, (1,), "frame{:06d}.jpg")
        flow = tmp_path / "{flow_u,flow_v}" / name
    layout = read(tmp_path)
    assert by_id(layout)[name].files == {"video": video, "flow": flow}
    assert set(layout.inputs) == {"video", "flow"}
    assert len(layout.absent["video"]) == len(layout.absent["flow"]) == len(FILMS) - 1


def test_other_places_can_be_named(tmp_path: Path) -> None:
    write_lists(tmp_path / "my" / "lists")
    frames_of(tmp_path / "my" / "rgb" / "v_Hammering_g01_c01", (1,))
    for side in ("x", "y"):
        frames_of(tmp_path / "my" / f"of_{side}" / "v_Hammering_g01_c01", (1,))
    layout = read(tmp_path, lists="my/lists", video="my/rgb", flow="my/{of_x,of_y}")
    row = by_id(layout)["v_Hammering_g01_c01"]
    assert row.files["flow"] == tmp_path / "my" / "{of_x,of_y}" / "v_Hammering_g01_c01"
    assert row.files["video"] == tmp_path / "my" / "rgb" / "v_Hammering_g01_c01"


def test_flow_is_not_taken_for_frames(tmp_path: Path) -> None:
    write_lists(tmp_path)
    for side in ("u", "v"):
        frames_of(tmp_path / "flow" / side / "v_Hammering_g01_c01", (1,))
    with pytest.raises(FileNotFoundError, match=r"no videos of UCF101: looked for .* UCF-101, "):
        read(tmp_path)
    write(tmp_path / "Hammering" / "v_Hammering_g01_c01.avi", "")
    assert by_id(read(tmp_path))["v_Hammering_g01_c01"].files["video"].suffix == ".avi"


def test_without_flow_it_is_said_how_to_compute_it(tmp_path: Path) -> None:
    layout = read(official(tmp_path))
    assert set(layout.inputs) == {"video"}
    assert any("`awase data flow`" in note for note in layout.notes)


def test_a_film_in_both_lists_of_a_fold_is_tested(tmp_path: Path) -> None:
    official(tmp_path, folds=(1,))
    path = tmp_path / "ucfTrainTestlist" / "trainlist01.txt"
    write(path, path.read_text() + "Hammering/v_Hammering_g01_c01.avi 2\n")
    layout = read(tmp_path)
    assert by_id(layout)["v_Hammering_g01_c01"].splits == {"fold1": "test"}
    assert "Fold 1 lists 1 films for train and for test; test has them." in layout.notes


def test_requests_that_cannot_be_met_say_what_would_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no fold of UCF101: looked for trainlist01.txt and testlist01.txt"):
        read(tmp_path)
    official(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nosuch \(flow\) has no flow"):
        read(tmp_path, flow="nosuch")
    with pytest.raises(FileNotFoundError, match=r"nosuch \(video\) has neither"):
        read(tmp_path, video="nosuch")
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "testlist01.txt", "v_Hammering_g01_c01.avi\n")
    with pytest.raises(ValueError, match=r"testlist01.txt has the line 'v_Hammering_g01_c01.avi'"):
        read(tmp_path)
    write(lists / "testlist01.txt", "Juggling/v_Juggling_g01_c01.avi\n")
    with pytest.raises(ValueError, match=r"the classes Juggling, which classInd.txt does not have"):
        read(tmp_path)
    write(lists / "classInd.txt", "ApplyEyeMakeup\n")
    with pytest.raises(ValueError, match="expected a number and a class"):
        read(tmp_path)


def test_the_rows_become_tensors(tmp_path: Path) -> None:
    write_lists(tmp_path / "ucfTrainTestlist")
    for number, (name, group) in enumerate(FILMS):
        write_film(tmp_path / "UCF-101" / name / f"{film(name, group)}.avi", [10, 90])
        if number:
            for side, level in (("u", 100), ("v", 200)):
                frames_of(tmp_path / "tvl1_flow" / side / film(name, group), (1, 2), level=level)
    inputs = {
        "video": VideoInput(column="video", num_frames=2, height=16, width=16, channels=1),
        "flow": FlowInput(column="flow", num_frames=2, height=5, width=7),
    }
    data = open_prepared("ucf101", tmp_path, inputs, fold=2)
    assert {data.rows.folds[row] for row in data.splits["test"]} == {"2"}
    assert len(data.splits["test"]) == 8
    assert set(data.summary["shared_between_splits"]["groups"]["names"]) == set()
    batch = next(data.loader("test", batch_size=3).epoch(0))
    assert batch.inputs["flow"].shape == (3, 2, 2, 5, 7)
    expected = np.array([[110, 210], [120, 220]]) / 127.5 - 1
    np.testing.assert_allclose(batch.inputs["flow"][0, :, :, 2, 3], expected, atol=0.02)  # JPEG moves a grey by 1
    np.testing.assert_allclose(batch.inputs["video"][0, :, 0].mean((1, 2)), np.array([10, 90]) / 127.5 - 1, atol=0.03)
    assert data.summary["missing"]["flow"]["rows"] == [{"id": film(*FILMS[0]), "reason": "no such folders"}]
