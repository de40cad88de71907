"""A published MCN checkpoint as a space of ours: the same embeddings, searched like any other."""

from pathlib import Path

import pytest
import torch
from published_mcn import BINS, EMBEDDING, VIDEO, WORD, published_mcn

from awase.encoders.word_vocabulary import random_vocabulary
from awase.runner.converted import AUDIO_FRAMES, convert_mcn
from awase.runner.space import Space
from awase.types import Batch


@pytest.fixture
def words(tmp_path: Path) -> Path:
    random_vocabulary(["add", "stir", "the", "onion"], WORD, seed=1).save(tmp_path / "words")
    return tmp_path / "words"


def test_a_converted_checkpoint_embeds_as_the_published_network(tmp_path: Path, words: Path):
    published = published_mcn().eval()
    torch.save(published.state_dict(), tmp_path / "e29.pth")
    weights = convert_mcn(tmp_path / "e29.pth", tmp_path / "mcn", words, allow_pickle=True)
    assert weights.dimensions.embedding == EMBEDDING
    space = Space.from_pretrained(tmp_path / "mcn", device="cpu", cache=tmp_path / "cache")
    assert not space.cosine
    video, audio, frames = torch.randn(3, VIDEO), torch.randn(3, BINS, AUDIO_FRAMES), [1000, 16, 500]
    ids = torch.tensor([[1, 2] + [0] * 18, [3] + [0] * 19, [4, 4, 1] + [0] * 17])
    here = torch.ones(3, dtype=torch.bool)
    batch = Batch(
        ids=("a", "b", "c"),
        index=torch.arange(3),
        inputs={
            "video": video,
            "audio": {"values": audio, "num_frames": torch.tensor(frames)},
            "text": {"input_ids": ids, "attention_mask": (ids > 0).long()},
        },
        present={"video": here, "audio": here, "text": here},
        complete=frozenset({"video", "audio", "text"}),
    )
    with torch.no_grad():
        found = space.model(batch).embeddings
        torch.testing.assert_close(found["video"], published.GU_video(video))
        pooled = published.pooled_audio(audio, frames)
        torch.testing.assert_close(found["audio"], published.DAVEnet_projection(published.GU_audio(pooled)))
        vectors = torch.from_numpy(random_vocabulary(["add", "stir", "the", "onion"], WORD, seed=1).vectors)[ids]
        torch.testing.assert_close(found["text"], published.GU_text_captions(published.pooled_text(vectors)))


def test_a_folder_that_is_there_and_other_word_vectors_are_refused(tmp_path: Path, words: Path):
    torch.save(published_mcn().state_dict(), tmp_path / "e29.pth")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        convert_mcn(tmp_path / "e29.pth", tmp_path / "there", words, allow_pickle=True)
    random_vocabulary(["add"], WORD + 1, seed=1).save(tmp_path / "wider")
    with pytest.raises(ValueError, match="of another model"):
        convert_mcn(tmp_path / "e29.pth", tmp_path / "mcn", tmp_path / "wider", allow_pickle=True)
    assert not (tmp_path / "mcn").exists()
