"""From films to a store of features: `awase extract`, then `awase convert howto100m`."""

import json
from pathlib import Path

import numpy as np
import pytest
from calls import call
from clips import write_clip

from awase.data.features import FeatureStore

SMALL = ("--network", "resnet18", "--short-side", 32, "--device", "cpu")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is extracted from three films of 4 seconds, the last of them silent."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(3):
        write_clip(folder / f"film{number}.mp4", ("low", "high")[number % 2], number, number < 2, 4.0)
    done = call("extract", folder, "--out", folder / "out", "--stream", "2d", "--stream", "audio", *SMALL, "--quiet")
    assert done.code == 0, done.err
    return folder / "out"


def test_what_was_extracted_becomes_a_store(features: Path, tmp_path: Path):
    captions = {"start": [0.0, 2.0], "end": [2.0, 3.9], "text": ["cut the onion", "stir the pan"]}
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({f"film{number}": captions for number in range(2)}), encoding="utf-8")
    store = tmp_path / "store"
    done = call(
        *("convert", "howto100m", features / "paths.csv", "--out", store, "--features", features),
        *("--audio", features, "--captions", path, "--quiet", "--json"),
    )
    assert done.code == 0, done.err
    opened = FeatureStore(store)
    assert set(opened.ids) == {"film0", "film1"}
    assert opened.dims["video_2d"] == 512
    (report,) = opened.report.values()
    assert [entry["id"] for entry in report["excluded"]] == ["film2"], "it has no captions"
    place = opened.ids.index("film0")
    rows = np.load(features / "film0" / "film0_2d.npz")["features"]
    whole = opened.shards[0].streams["video_2d"].maxima(place, np.array([0, 1]), np.array([len(rows), 3]))
    assert np.array_equal(whole, np.stack([rows.max(axis=0), rows[1:3].max(axis=0)]))
