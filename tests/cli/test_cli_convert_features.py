"""`awase convert howto100m`, `youcook2`, `msrvtt`, as an application of their own."""

import json
from pathlib import Path

import pytest
import typer
from howto_layout import Sizes, ready_clips, write_howto_layout
from typer.testing import CliRunner

from awase.cli.convert_features import COMMANDS
from awase.data.features import EvaluationStore, FeatureStore

app = typer.Typer()
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_howto100m_in_shares(tmp_path: Path):
    published = write_howto_layout(tmp_path, Sizes(videos=5, seconds=31))
    words = ["howto100m", published.videos, "--out", tmp_path / "store", "--features", published.features]
    words += ["--captions", published.captions, "--audio", published.audio, "--quiet"]
    captions = json.loads(published.captions.read_text())
    del captions["vid00000002"]
    published.captions.write_text(json.dumps(captions))
    said = run(*words, "--shard", "0/2")
    assert "2 of 3 videos" in said
    assert "left out: vid00000002 (it has no captions)" in said
    assert json.loads(run(*words, "--shard", "1/2", "--json"))["kept"] == 2
    assert FeatureStore(tmp_path / "store").num_videos == 4
    with pytest.raises(ValueError, match="write i/n"):
        run(*words, "--shard", "1")


def test_evaluation_sets(tmp_path: Path):
    import numpy as np

    clips = [clip for clip in ready_clips() if clip.audio is not None]
    rows = [{"id": clip.id, "caption": clip.captions[0]} for clip in clips]
    (tmp_path / "form").mkdir()
    (tmp_path / "form" / "clips.json").write_text(json.dumps(rows))
    streams = {name[-2:]: np.stack([np.atleast_2d(clip.streams[name]).max(axis=0) for clip in clips])
               for name in ("video_2d", "video_3d")}  # fmt: skip
    np.savez(tmp_path / "form" / "features.npz", **streams)
    said = run("youcook2", tmp_path / "form", "--out", tmp_path / "a")
    assert "10 clips of 10 videos (published: 3350)" in said
    assert "R@1 at most 90.0 % from text, 80.0 % to text" in said
    captions = [{"video_id": row["id"], "desc": row["caption"]} for row in rows]
    (tmp_path / "list.json").write_text(json.dumps(captions))
    said = run("msrvtt", tmp_path / "form", "--sentences", tmp_path / "list.json", "--out", tmp_path / "b", "--json")
    assert (json.loads(said)["clips"], json.loads(said)["published_gallery"]) == (10, 1000)
    assert EvaluationStore(tmp_path / "b").streams.keys() == {"video_2d", "video_3d"}
