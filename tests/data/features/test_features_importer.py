"""From the published layouts to a store: the same numbers, what is left out and why, and going on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from howto_layout import DIM_2D, DIM_3D, Sizes, decibel, unit_rows, video_ids, write_howto_layout, write_video

from awase.data.features import FeatureStore, Published, import_howto100m
from awase.data.features.layouts import read_video_list

SIZES = Sizes(videos=5, seconds=43)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.bin"))}


@pytest.mark.parametrize("layout", ["npz", "flat", "npy"])
def test_the_store_holds_the_published_numbers(tmp_path: Path, layout: str):
    published = write_howto_layout(tmp_path, SIZES, layout)
    report = import_howto100m(published, tmp_path / "store")
    assert (report["listed"], report["kept"]) == (5, 5)
    assert "excluded" not in report
    store = FeatureStore(tmp_path / "store")
    assert store.ids == tuple(video_ids(5))
    assert store.dims == {"video_2d": DIM_2D, "video_3d": DIM_3D}
    reference = write_howto_layout(tmp_path / "again", SIZES)  # the same numbers, as npz
    captions = json.loads(published.captions.read_text())
    shard = store.shards[0]
    for number, video in enumerate(store.ids):
        for stream in ("video_2d", "video_3d"):
            path = next(reference.features.rglob(f"{video}_{stream[-2:]}.npz"))
            expected = np.load(path)["features"]
            held = shard.streams[stream]
            assert held.lengths[number] == len(expected)
            first = held.offsets[number]
            assert np.array_equal(held.flat[first : first + len(expected)], expected)
        low, high = shard.audio_offsets[number : number + 2]
        sound = np.load(next(reference.audio.rglob(f"{video}_spec.npz")))["arr_0"]
        assert np.array_equal(shard.audio[low:high].T, sound)
        assert shard.audio_floor[number] == sound.min()
        low, high = shard.caption_offsets[number : number + 2].tolist()
        assert shard.texts(low, high) == captions[video]["text"]
        assert (shard.start_ms[low:high] / 1000).tolist() == captions[video]["start"]


def test_shares_make_one_store(tmp_path: Path):
    published = write_howto_layout(tmp_path, SIZES)
    import_howto100m(published, tmp_path / "store", shard=(1, 2))
    with pytest.raises(ValueError, match="1 of the 2 shards"):
        FeatureStore(tmp_path / "store")
    import_howto100m(published, tmp_path / "store", shard=(0, 2))
    store = FeatureStore(tmp_path / "store")
    assert sorted(store.ids) == video_ids(5)
    assert [shard.num_videos for shard in store.shards] == [3, 2]
    with pytest.raises(FileExistsError, match="already finished"):
        import_howto100m(published, tmp_path / "store", shard=(0, 2))


def test_a_video_in_two_shards_is_refused(tmp_path: Path):
    published = write_howto_layout(tmp_path, SIZES)
    import_howto100m(published, tmp_path / "store")
    shutil.copytree(tmp_path / "store" / "shard-0000-of-0001", tmp_path / "store" / "more")
    with pytest.raises(ValueError, match=r"vid00000000 is in the store .* twice"):
        FeatureStore(tmp_path / "store")


def broken(published: Published) -> dict[str, str]:
    """Breaks six of the videos, each in its own way; returns the reasons that are expected."""
    root, features = published.features.parent, published.features
    ids = video_ids(9)

    def file(number: int, end: str) -> Path:
        return next((features if end != "spec" else root / "audio").rglob(f"{ids[number]}_{end}.npz"))

    path = file(0, "2d")
    path.write_bytes(path.read_bytes()[:-300])
    np.savez(file(1, "3d"), features=np.full((64, DIM_3D), np.nan, np.float16))
    generator = np.random.default_rng(5)
    short = (unit_rows(generator, 44, DIM_2D), unit_rows(generator, 31, DIM_3D), decibel(generator, 4400))
    write_video(root, f"food/video_2/{ids[2]}", ids[2], "npz", short)
    captions = json.loads(published.captions.read_text())
    del captions[ids[3]]
    captions[ids[4]]["end"] = [-1.0] * len(captions[ids[4]]["end"])
    published.captions.write_text(json.dumps(captions))
    np.savez(file(5, "2d"), other=np.zeros((43, DIM_2D), np.float16))
    np.savez(file(6, "spec"), np.zeros((39, 4900), np.float16))
    return {
        ids[0]: "cut short or broken",
        ids[1]: "not finite",
        ids[2]: "differ in length by more than 10 s (video_2d 44.0 s, video_3d 20.7 s",
        ids[3]: "it has no captions",
        ids[4]: "has usable times",
        ids[5]: "has no array 'features', only other",
        ids[6]: "(40, frames) is needed",
    }


def test_what_is_broken_is_left_out_and_listed(tmp_path: Path):
    published = write_howto_layout(tmp_path, replace(SIZES, videos=9))
    reasons = broken(published)
    report = import_howto100m(published, tmp_path / "store")
    store = FeatureStore(tmp_path / "store")
    assert store.ids == tuple(video_ids(9)[7:])
    found = {entry["id"]: entry["reason"] for entry in report["excluded"]}
    assert found.keys() == reasons.keys()
    for video, words in reasons.items():
        assert words in found[video]
    assert json.loads(next((tmp_path / "store").rglob("report.json")).read_text()) == report
    with pytest.raises(ValueError, match="vid00000000 cannot be used"):
        import_howto100m(published, tmp_path / "strict", problems="error")


def test_absent_streams_are_counted_not_filled(tmp_path: Path):
    published = write_howto_layout(tmp_path, SIZES)
    ids = video_ids(5)
    next(published.features.rglob(f"{ids[1]}_3d.npz")).unlink()
    assert published.audio is not None
    next(published.audio.rglob(f"{ids[2]}_spec.npz")).unlink()
    for end in ("2d", "3d", "spec"):
        next(tmp_path.rglob(f"{ids[3]}_{end}.npz")).unlink()
    report = import_howto100m(published, tmp_path / "store")
    assert (report["without_video_3d"], report["without_audio"]) == ([ids[1]], [ids[2]])
    assert report["excluded"] == [{"id": ids[3], "reason": "no file of its features is there"}]
    shard = FeatureStore(tmp_path / "store").shards[0]
    assert shard.streams["video_3d"].lengths.tolist()[1] == 0
    assert shard.audio_offsets[2] == shard.audio_offsets[3]


def test_captions_out_of_order_are_put_in_order_and_counted(tmp_path: Path):
    published = write_howto_layout(tmp_path, SIZES)
    captions = json.loads(published.captions.read_text())
    first = captions[video_ids(5)[0]]
    for column in first.values():
        column[0], column[1] = column[1], column[0]
    published.captions.write_text(json.dumps(captions))
    report = import_howto100m(published, tmp_path / "store")
    assert report["captions_out_of_order"] == [video_ids(5)[0]]
    assert report["captions"]["moved"] == 2
    shard = FeatureStore(tmp_path / "store").shards[0]
    assert (np.diff(shard.start_ms[: shard.caption_offsets[1]]) >= 0).all()


SCRIPT = """
import sys
from pathlib import Path
from awase.data.features import Published, import_howto100m
from awase.data.features import importer
importer._EVERY = 2
root = Path(sys.argv[1])
published = Published(root / "videos.csv", root / "features", root / "caption.json", root / "audio")
def told(done, total):
    print(done, flush=True)
    if done == 3:
        sys.stdin.read()
import_howto100m(published, root / "store", progress=told)
"""


def test_a_killed_import_goes_on_to_the_same_bytes(tmp_path: Path):
    published = write_howto_layout(tmp_path, SIZES)
    import_howto100m(published, tmp_path / "whole")
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    assert child.stdin is not None
    for line in child.stdout:
        if line.strip() == b"3":
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()
    with pytest.raises(FileNotFoundError, match="no store"):
        FeatureStore(tmp_path / "store")
    begun: list[int] = []
    report = import_howto100m(published, tmp_path / "store", progress=lambda done, total: begun.append(done))
    assert begun == [3, 4, 5]  # two were committed
    assert report["kept"] == 5
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
    assert FeatureStore(tmp_path / "store").fingerprint == FeatureStore(tmp_path / "whole").fingerprint


def test_a_shard_that_was_copied_in_part_is_refused(tmp_path: Path):
    import_howto100m(write_howto_layout(tmp_path, SIZES), tmp_path / "store")
    path = next((tmp_path / "store").rglob("video_3d.bin"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"video_3d\.bin has"):
        FeatureStore(tmp_path / "store")


def test_another_version_is_refused(tmp_path: Path):
    import_howto100m(write_howto_layout(tmp_path, SIZES), tmp_path / "store")
    path = next((tmp_path / "store").rglob("shard.json"))
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(ValueError, match="version 99"):
        FeatureStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("path\nfood/None/v1\r\nfood/v2", [("food/v1", "v1", None), ("food/v2", "v2", None)]),
        ("video_path\nv1.mp4\n", [("v1", "v1", None)]),
        ("video_id,category_1,category_2,rank,task_id\nv1,a,b,2,52907\n", [("v1", "v1", "52907")]),
        ("video_id,task,path\nv1,7,a/v1.npy\n", [("a/v1", "v1", "7")]),
    ],
)
def test_lists(tmp_path: Path, text: str, found: list[tuple]):
    (tmp_path / "list.csv").write_text("\ufeff" + text, encoding="utf-8")
    listed = read_video_list(tmp_path / "list.csv")
    assert [(video.path, video.id, video.task) for video in listed] == found


@pytest.mark.parametrize(
    ("text", "words"),
    [("name\nv1\n", "one of path"), ("path\na/v1\nb/v1\n", "twice"), ("path\n/etc/v1\n", "relative"),
     ("path\n../v1\n", "relative")],
)  # fmt: skip
def test_lists_that_are_refused(tmp_path: Path, text: str, words: str):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_video_list(tmp_path / "list.csv")
