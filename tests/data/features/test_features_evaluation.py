"""YouCook2 and MSR-VTT in every form that is published, and what makes no evaluation set."""

import csv
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from howto_layout import DIM_2D, DIM_3D, decibel, ready_clips, unit_rows, write_video

from awase.data.datasets.msrvtt import convert_msrvtt, list_msrvtt, split_members
from awase.data.datasets.retrieval_files import FeatureFiles
from awase.data.datasets.youcook2 import convert_youcook2, list_youcook2
from awase.data.features import EvaluationStore, caption_ceilings, write_evaluation_store

SEGMENTS = [("GLd3aX16zBg", 0, 12, "spread margarine"), ("GLd3aX16zBg", 14, 31, "add cheese"),
            ("xHr8X2Wpmno", 7, 20, "add cheese"), ("xHr8X2Wpmno", 7, 20, "pick the ends")]  # fmt: skip
IDS = ["GLd3aX16zBg_0_12", "GLd3aX16zBg_14_31", "xHr8X2Wpmno_7_20", "xHr8X2Wpmno_7_20~2"]


def youcook_csv(path: Path) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["end", "start", "task", "text", "video_id"])
        rows.writerows([end, start, 226, text, video] for video, start, end, text in SEGMENTS)
    return path


def youcook_annotations(path: Path) -> Path:
    database: dict[str, Any] = {}
    for number, (video, start, end, text) in enumerate(SEGMENTS):
        facts = database.setdefault(video, {"subset": "validation", "recipe_type": "113", "annotations": []})
        facts["annotations"].append({"segment": [start, end], "id": number, "sentence": text})
    facts = {"segment": [0, 5], "id": 0, "sentence": "boil"}
    database["ababababab1"] = {"subset": "training", "recipe_type": "4", "annotations": [facts]}
    path.write_text(json.dumps({"database": database}))
    return path


def youcook_descriptions(path: Path) -> Path:
    rows = [
        {"video_id": f"{video}_{start}_{end}", "desc": text, "subtitle": ""} for video, start, end, text in SEGMENTS
    ]
    path.write_text(json.dumps(rows))
    return path


def whole_videos(root: Path) -> tuple[FeatureFiles, dict[str, tuple[np.ndarray, ...]]]:
    generator, made = np.random.default_rng(2), {}
    for video in ("GLd3aX16zBg", "xHr8X2Wpmno"):
        made[video] = (unit_rows(generator, 40, DIM_2D), unit_rows(generator, 60, DIM_3D), decibel(generator, 4000))
        write_video(root, video, video, "npz", made[video])
    return FeatureFiles(root / "features", root / "audio"), made


@pytest.mark.parametrize("form", [youcook_csv, youcook_annotations, youcook_descriptions])
def test_youcook2_lists_with_features_of_whole_videos(tmp_path: Path, form: Any):
    files, made = whole_videos(tmp_path)
    path = form(tmp_path / ("list.csv" if form is youcook_csv else "list.json"))
    description = convert_youcook2(path, tmp_path / "out", files=files, split="validation")
    store = EvaluationStore(tmp_path / "out")
    assert list(store.ids) == IDS
    assert store.captions == tuple((text,) for *_, text in SEGMENTS)
    assert (description["videos"], description["duplicates_of_another"], description["broken_files"]) == (2, 1, [])
    for row, (video, start, end, _) in enumerate(SEGMENTS):
        two, three, sound = made[video]
        assert np.array_equal(store.streams["video_2d"][0][row], two[start : end + 1].max(axis=0).astype(np.float32))
        steps = three[int(1.5 * start) : int(1.5 * end) + 1]
        assert np.array_equal(store.streams["video_3d"][0][row], steps.max(axis=0).astype(np.float32))
        low, high = store.audio_offsets[row : row + 2]
        first, last = max(0, (16_000 * start - 200) // 160), (16_000 * end - 200) // 160
        assert high > low  # the clip that starts at 0 too
        assert np.array_equal(store.audio[low:high].T, sound[:, first:last])


def pickled_rows() -> list[dict[str, Any]]:
    rows = []
    for clip in ready_clips():
        three = clip.streams["video_3d"]
        row = {"id": clip.id, "caption": clip.captions[0], "2d": clip.streams["video_2d"], "3d": three.max(axis=0)}
        rows.append(row | ({} if clip.audio is None else {"audio": torch.from_numpy(clip.audio).float()}))
    return rows


def same(one: Path, other: Path) -> bool:
    left, right = EvaluationStore(one), EvaluationStore(other)
    return (
        (left.ids, left.captions) == (right.ids, right.captions)
        and all(np.array_equal(left.streams[name][0], right.streams[name][0]) for name in left.streams)
        and np.array_equal(left.audio, right.audio)
    )


def test_pickles_and_the_store_form_agree(tmp_path: Path):
    rows = pickled_rows()
    (tmp_path / "val.pkl").write_bytes(pickle.dumps(rows))
    convert_youcook2(tmp_path / "val.pkl", tmp_path / "one", allow_pickle=True)
    form = tmp_path / "form"
    form.mkdir()
    (form / "clips.json").write_text(json.dumps([{"id": row["id"], "caption": row["caption"]} for row in rows]))
    frames = [0 if "audio" not in row else row["audio"].shape[1] for row in rows]
    audio = np.zeros((len(rows), 40, max(frames)), np.float16)
    for number, row in enumerate(rows):
        if "audio" in row:
            audio[number, :, : frames[number]] = row["audio"].numpy()
    arrays = {name: np.stack([row[name] for row in rows]) for name in ("2d", "3d")}
    np.savez(form / "features.npz", audio=audio, num_frames=np.array(frames), **arrays)
    description = convert_youcook2(form, tmp_path / "two")
    assert description["with"] == {"video_2d": 11, "video_3d": 11, "audio": 10}
    assert same(tmp_path / "one", tmp_path / "two")
    with pytest.raises(ValueError, match="--allow-pickle"):
        convert_youcook2(tmp_path / "val.pkl", tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_ids_that_occur_twice_are_refused(tmp_path: Path):
    rows = pickled_rows()
    rows[5]["id"] = rows[2]["id"]
    (tmp_path / "val.pkl").write_bytes(pickle.dumps(rows))
    with pytest.raises(ValueError, match="1 ids more than once, first 'clip2'"):
        convert_youcook2(tmp_path / "val.pkl", tmp_path / "out", allow_pickle=True)


def test_features_that_are_not_finite_are_refused(tmp_path: Path):
    rows = pickled_rows()
    rows[4]["2d"] = np.full(DIM_2D, np.nan, np.float32)
    (tmp_path / "val.pkl").write_bytes(pickle.dumps(rows))
    with pytest.raises(ValueError, match="video_2d features of clip4 are not finite"):
        convert_youcook2(tmp_path / "val.pkl", tmp_path / "out", allow_pickle=True)


def test_lists_without_features_say_so(tmp_path: Path):
    with pytest.raises(ValueError, match="--features"):
        convert_youcook2(youcook_csv(tmp_path / "list.csv"), tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="Not one feature of the 4 clips"):
        convert_youcook2(tmp_path / "list.csv", tmp_path / "out", files=FeatureFiles(tmp_path / "none"))
    with pytest.raises(ValueError, match="no clips of the split 'test'"):
        list_youcook2(youcook_annotations(tmp_path / "a.json"), "test")


def test_broken_files_are_counted(tmp_path: Path):
    files, _ = whole_videos(tmp_path)
    path = next((tmp_path / "features").rglob("xHr8X2Wpmno_3d.npz"))
    path.write_bytes(path.read_bytes()[:100])
    description = convert_youcook2(youcook_csv(tmp_path / "list.csv"), tmp_path / "out", files=files)
    assert description["with"] == {"video_2d": 4, "video_3d": 2, "audio": 4}
    assert description["broken_files"] == ["xHr8X2Wpmno_3d.npz is cut short or broken"]


VIDEOS = ["video9770", "video9771", "video7020", "video0", "video6513"]
SENTENCES = {video: [f"{video} one", f"{video} two"] for video in VIDEOS}


def official(path: Path) -> Path:
    marks = dict(zip(VIDEOS, ("test", "test", "test", "train", "validate"), strict=True))
    videos = [{"id": i, "video_id": v, "start time": 1.5, "end time": 9.0, "split": marks[v]} for i, v in
              enumerate(VIDEOS)]  # fmt: skip
    found = [{"sen_id": 0, "video_id": video, "caption": text} for video in VIDEOS for text in SENTENCES[video]]
    path.write_text(json.dumps({"info": {}, "videos": videos, "sentences": found}))
    return path


def jsfusion(folder: Path) -> Path:
    """The csv of 1k-A: three clips, each with the sentence that is asked with; no end of the last line."""
    folder.mkdir(exist_ok=True)
    rows = [f"ret{i},msr{video[5:]},{video},{video} two" for i, video in enumerate(VIDEOS[:3])]
    (folder / "MSRVTT_JSFUSION_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *rows]))
    (folder / "train_list_miech").write_text("video0\nvideo9771")
    (folder / "val_list_full.txt").write_text("video6513")
    return folder


def test_msrvtt_splits_by_name(tmp_path: Path):
    path, lists = official(tmp_path / "MSRVTT_data.json"), jsfusion(tmp_path / "lists")
    chosen = {split: list_msrvtt(path, split, lists) for split in ("1k-A", "1k-B-train", "full-val")}
    assert [clip.id for clip in chosen["1k-A"]] == VIDEOS[:3]
    assert [clip.captions for clip in chosen["1k-A"]] == [(f"{video} two",) for video in VIDEOS[:3]]
    assert [clip.id for clip in chosen["1k-B-train"]] == ["video0", "video9771"]
    assert chosen["full-val"][0].captions == ("video6513 one", "video6513 two")
    assert [len(split_members(name, None)[0]) for name in ("full-train", "full-val", "full-test", "7k")] == [
        6513, 497, 2990, 7010,
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"needs a list: test_list_miech\.txt"):
        list_msrvtt(path, "1k-B", lists)
    with pytest.raises(ValueError, match="have no caption, first video1"):
        list_msrvtt(path, "full-train")


def test_msrvtt_forms_of_sentences_agree(tmp_path: Path):
    lists = jsfusion(tmp_path / "lists")
    official(tmp_path / "a.json")
    rows = [{"image_id": video, "caption": text} for video in VIDEOS for text in SENTENCES[video]]
    (tmp_path / "b.json").write_text(json.dumps({"annotations": rows}))
    (tmp_path / "c.json").write_text(
        json.dumps([{"video_id": v, "desc": SENTENCES[v], "subtitle": ""} for v in VIDEOS])
    )
    found = [list_msrvtt(tmp_path / name, "1k-B-train", lists) for name in ("a.json", "b.json", "c.json")]
    assert found[0] == found[1] == found[2]
    assert [clip.id for clip in list_msrvtt(tmp_path / "c.json", "1k-A")] == VIDEOS


def test_msrvtt_gaps_stay_in_the_gallery(tmp_path: Path):
    """As with the published file of 968 of 1,000 clips: the others count as not found."""
    generator = np.random.default_rng(1)
    rows = [
        {
            "id": video,
            "2d": unit_rows(generator, 9, DIM_2D),
            "2d_pooled": unit_rows(generator, 1, DIM_2D)[0],
            "3d_pooled": unit_rows(generator, 1, DIM_3D)[0],
            "audio": torch.from_numpy(decibel(generator, 4001)),
            "caption": SENTENCES.get(video, ["x"]),
            "eval_caption": f"{video} two",
        }
        for video in (VIDEOS[0], VIDEOS[2], "video5")
    ]  # fmt: skip
    (tmp_path / "test.pkl").write_bytes(pickle.dumps(rows))
    lists = jsfusion(tmp_path / "lists")
    description = convert_msrvtt(tmp_path / "test.pkl", tmp_path / "out", lists=lists, allow_pickle=True)
    store = EvaluationStore(tmp_path / "out")
    assert list(store.ids) == VIDEOS[:3]
    assert store.streams["video_2d"][1].tolist() == [True, False, True]
    assert (description["not_in_the_file"], description["not_in_the_gallery"]) == ([VIDEOS[1]], ["video5"])
    assert np.diff(store.audio_offsets).tolist() == [3072, 0, 3072]
    assert np.array_equal(store.streams["video_2d"][0][0], rows[0]["2d_pooled"].astype(np.float32))
    by_csv = convert_msrvtt(tmp_path / "test.pkl", tmp_path / "csv", allow_pickle=True,
                            sentences=lists / "MSRVTT_JSFUSION_test.csv")  # fmt: skip
    assert by_csv["fingerprint"] == description["fingerprint"]
    with pytest.raises(ValueError, match=r"has 3 clips and the split 1k-A 1000.* --lists .* --sentences"):
        convert_msrvtt(tmp_path / "test.pkl", tmp_path / "alone", allow_pickle=True)
    assert not (tmp_path / "alone").exists()


def test_a_whole_msrvtt_needs_no_list(tmp_path: Path):
    rows = [{"id": f"video{number}", "2d": np.ones(3), "caption": "x"} for number in range(6513, 7010)]
    (tmp_path / "val.pkl").write_bytes(pickle.dumps(rows))
    made = convert_msrvtt(tmp_path / "val.pkl", tmp_path / "out", split="full-val", allow_pickle=True)
    assert made["clips"] == made["published_gallery"] == 497


def test_msrvtt_tensors_by_id(tmp_path: Path):
    tensors = {
        key: OrderedDict((video, torch.rand(dim)) for video in VIDEOS[:3]) for key, dim in (("2d", 7), ("3d", 5))
    }
    torch.save(tensors, tmp_path / "features.pth")
    path = jsfusion(tmp_path / "lists") / "MSRVTT_JSFUSION_test.csv"
    convert_msrvtt(path, tmp_path / "out", files=FeatureFiles(tmp_path / "features.pth"))
    store = EvaluationStore(tmp_path / "out")
    assert torch.equal(torch.from_numpy(np.array(store.streams["video_3d"][0][1])), tensors["3d"][VIDEOS[1]])


def test_split_marks_are_read_under_both_names(tmp_path: Path):
    generator = np.random.default_rng(1)
    for video in VIDEOS:
        write_video(tmp_path, video, video, "npz", (unit_rows(generator, 5, DIM_2D), unit_rows(generator, 7, DIM_3D),
                                                    decibel(generator, 500)))  # fmt: skip
    description = convert_msrvtt(
        official(tmp_path / "a.json"), tmp_path / "out", lists=jsfusion(tmp_path / "lists"),
        files=FeatureFiles(tmp_path / "features", tmp_path / "audio"),
    )  # fmt: skip
    assert description["split_marks_of_the_json"] == {"test": 3, "train": 1, "val": 1}
    assert description["with"] == {"video_2d": 3, "video_3d": 3, "audio": 3}
    with pytest.raises(ValueError, match="is not a split of MSR-VTT; use one of 1k-A"):
        convert_msrvtt(tmp_path / "a.json", tmp_path / "other", split="1ka")


def test_ceilings_of_shared_captions():
    found = caption_ceilings(["a", "b", "a", "c", "a"])
    assert (found["distinct_captions"], found["duplicates_of_another"], found["rows_sharing_a_caption"]) == (3, 2, 3)
    assert (found["ceiling_text_to_clip"], found["ceiling_clip_to_text"]) == (60.0, 40.0)


def test_ceilings_with_several_captions_per_clip():
    """ "a" finds clip 0, for two of its three rows; clip 2 has nothing that is its own alone."""
    found = caption_ceilings(["a", "b", "a", "c", "a", "c"], [0, 0, 0, 1, 1, 2])
    assert found["ceiling_text_to_clip"] == pytest.approx(100 * (2 + 1 + 1) / 6)
    assert found["ceiling_clip_to_text"] == pytest.approx(100 * 1 / 3)


def test_a_set_is_written_whole_or_not_at_all(tmp_path: Path):
    write_evaluation_store(tmp_path / "out", "x", ready_clips(3), audio_frames=11)
    with pytest.raises(FileExistsError, match="already"):
        write_evaluation_store(tmp_path / "out", "x", ready_clips(3), audio_frames=11)
    with pytest.raises(ValueError, match="has no clips"):
        write_evaluation_store(tmp_path / "none", "x", [], audio_frames=11)
    with pytest.raises(FileNotFoundError, match="no evaluation set"):
        EvaluationStore(tmp_path / "none")
