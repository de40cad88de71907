"""transformers models give what transformers gives; padding, positions and tokenizers are handled around them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertTokenizerFast

from awase.config import EncoderConfig
from awase.encoders import BlockEncoder, build_encoder, build_tokenizer
from awase.encoders.words import WordTokenizer

_SIZES = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
_BERT = {"architecture": "bert", "config": {**_SIZES, "vocab_size": 31, "max_position_embeddings": 17}}
_WAVE = {**_SIZES, "conv_dim": [6] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}


def _build(kind: str, shape: tuple[int, ...], pretrained: bool | str = False, **options: Any) -> BlockEncoder:
    config = EncoderConfig(name="transformers", options=options, pretrained=pretrained)
    encoder = build_encoder(config, kind=kind, input_shape=shape, seed=0).eval()
    assert isinstance(encoder, BlockEncoder)
    return encoder


def _tokens(num_real: int = 4) -> dict[str, torch.Tensor]:
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, num_real:] = 0
    ids = torch.randint(2, 31, (2, 7), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": mask}


_TEXT = [
    _BERT,
    {"architecture": "roberta", "config": {**_SIZES, "vocab_size": 31}},
    {"architecture": "xlm-roberta", "config": {**_SIZES, "vocab_size": 31}},
    {"architecture": "electra", "config": {**_SIZES, "vocab_size": 31, "embedding_size": 7}},
    {
        "architecture": "distilbert",
        "config": {"dim": 12, "n_layers": 2, "n_heads": 2, "hidden_dim": 20, "vocab_size": 31},
    },
    {"architecture": "albert", "config": {**_SIZES, "vocab_size": 31, "embedding_size": 7}},
]


@pytest.mark.parametrize("options", _TEXT, ids=lambda o: o["architecture"])
def test_text_tokens_are_what_transformers_gives(options: dict[str, Any]) -> None:
    encoder = _build("text", (7,), **options)
    tokens = _tokens()
    expected = encoder.network.model(**tokens).last_hidden_state
    real = tokens["attention_mask"].bool()
    encoded = encoder(tokens)
    torch.testing.assert_close(encoded.tokens[real], expected[real])
    assert torch.equal(encoded.mask, real)


@pytest.mark.parametrize(("architecture", "stable"), [("wav2vec2", False), ("wav2vec2", True), ("hubert", False)])
def test_waveform_tokens_are_what_transformers_gives(architecture: str, stable: bool) -> None:
    encoder = _build("audio", (1009,), architecture=architecture, config={**_WAVE, "do_stable_layer_norm": stable})
    wave = torch.randn(2, 1009) * 3 + 1
    scaled = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = encoder.network.model(scaled).last_hidden_state
    torch.testing.assert_close(encoder(wave).tokens, expected)
    torch.testing.assert_close(encoder(wave).pooled, expected.mean(1))


def test_spectrogram_transformer_pools_its_two_first_tokens() -> None:
    encoder = _build("audio", (1, 32, 40), architecture="audio-spectrogram-transformer", config=_SIZES)
    spectrogram = torch.randn(2, 1, 32, 40)
    expected = encoder.network.model(spectrogram[:, 0].transpose(1, 2))
    torch.testing.assert_close(encoder(spectrogram).pooled, expected.pooler_output)
    torch.testing.assert_close(encoder(spectrogram).tokens, expected.last_hidden_state)


def test_of_whisper_the_encoder_is_used_bins_first() -> None:
    sizes = {"d_model": 12, "encoder_layers": 1, "decoder_layers": 1, "max_source_positions": 10, "num_mel_bins": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 20}
    encoder = _build("audio", (1, 8, 20), architecture="whisper", config={**sizes, **heads})
    spectrogram = torch.randn(2, 1, 8, 20)
    expected = encoder.network.model(spectrogram[:, 0]).last_hidden_state
    torch.testing.assert_close(encoder(spectrogram).tokens, expected)
    assert not [name for name, _ in encoder.named_parameters() if "decoder" in name]


def test_padding_changes_nothing() -> None:
    encoder = _build("text", (7,), pool="mean", **_BERT)
    tokens = _tokens(num_real=4)
    other = {**tokens, "input_ids": tokens["input_ids"].clone()}
    other["input_ids"][1, 4:] = 3
    torch.testing.assert_close(encoder(tokens).pooled, encoder(other).pooled)
    torch.testing.assert_close(encoder(tokens).pooled[1], encoder(tokens).tokens[1, :4].mean(0))


def test_pool_cls_is_the_first_token() -> None:
    encoder = _build("text", (7,), **_BERT)
    encoded = encoder(_tokens())
    assert torch.equal(encoded.pooled, encoded.tokens[:, 0])


def test_bert_base_has_its_published_size() -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model("bert"))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 109  # 110 with the pre-training heads


def test_masking_and_layer_drop_of_the_model_are_off() -> None:
    encoder = _build(
        "audio", (1009,), architecture="wav2vec2", config={**_WAVE, "layerdrop": 0.9, "hidden_dropout": 0.0}
    )
    config = encoder.network.model.config
    assert (config.apply_spec_augment, config.layerdrop) == (False, 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(9)
    AutoModel.from_config(AutoConfig.for_model("bert", **_BERT["config"])).save_pretrained(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "square"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_folder_is_loaded(folder: Path) -> None:
    encoder = _build("text", (7,), pretrained=str(folder))
    expected = AutoModel.from_pretrained(folder).eval()(**_tokens()).last_hidden_state
    real = _tokens()["attention_mask"].bool()
    torch.testing.assert_close(encoder(_tokens()).tokens[real], expected[real])
    by_option = _build("text", (7,), pretrained=True, model=str(folder))
    assert torch.equal(by_option(_tokens()).pooled, encoder(_tokens()).pooled)


def test_a_folder_gives_its_configuration_to_random_weights(folder: Path) -> None:
    encoder = _build("text", (7,), model=str(folder), config={"num_hidden_layers": 1})
    assert (encoder.dim, encoder.num_blocks) == (12, 1)


def test_weights_with_missing_tensors_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="lack 16 tensors"):
        _build("text", (7,), pretrained=str(folder), config={"num_hidden_layers": 4})


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        _build("text", (7,), model=str(tmp_path))


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="is a pickle"):
        _build("text", (7,), pretrained=str(folder))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either model .* or architecture"),
        ({"model": "a", "architecture": "bert"}, "either model"),
        ({"architecture": "bret"}, "no architecture 'bret'; it has .*bert"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _build("text", (7,), **options)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="at most 17 tokens; max_tokens is 19"):
        _build("text", (19,), **_BERT)
    sizes = {**_SIZES, "num_mel_bins": 32, "max_length": 40}
    with pytest.raises(ValueError, match=r"\(1, 32, 40\); the input gives \(1, 32, 41\)"):
        _build("audio", (1, 32, 41), architecture="audio-spectrogram-transformer", config=sizes)
    with pytest.raises(ValueError, match="need a name"):
        _build("text", (7,), pretrained=True)


def test_the_tokenizer_of_a_folder(folder: Path) -> None:
    tokenizer = build_tokenizer(EncoderConfig(name="transformers", pretrained=str(folder)), 5)
    arrays = tokenizer(["red square", "", "red 円 square red red"])
    assert arrays["input_ids"].tolist() == [[2, 5, 6, 3, 0], [2, 3, 0, 0, 0], [2, 5, 1, 6, 3]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    wider = build_tokenizer(EncoderConfig(name="transformers", pretrained=str(folder)), 7)
    assert wider.fingerprint != tokenizer.fingerprint


def test_tokenizers_without_files() -> None:
    small = build_tokenizer(EncoderConfig(name="small_transformer", options={"vocabulary_size": 37}), 5)
    bert = build_tokenizer(EncoderConfig(name="transformers", options=_BERT), 5)
    own = build_tokenizer(EncoderConfig(name=torch.nn.Identity), 5)
    assert [t.vocabulary_size for t in (small, bert, own) if isinstance(t, WordTokenizer)] == [37, 31, 4096]
    with pytest.raises(ValueError, match="'mlp' reads no text"):
        build_tokenizer(EncoderConfig(name="mlp"), 5)
    with pytest.raises(ValueError, match="vocabulary_size is a whole number"):
        build_tokenizer(EncoderConfig(name="small_transformer", options={"vocabulary_size": "many"}), 5)
