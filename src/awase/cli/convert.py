"""`awase convert`: published features, checkpoints and word vectors of others in the formats of this library."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from awase.cli.convert_features import howto100m, msrvtt, youcook2
from awase.cli.group import Group
from awase.cli.output import print_json

app = typer.Typer(cls=Group, help="Bring features, checkpoints and word vectors of others into our formats.")
Out = Annotated[Path, typer.Option("--out", help="Folder to write; it must not be there yet.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback()
def _convert() -> None:
    """Bring features, checkpoints and word vectors of others into our formats."""


app.command("howto100m")(howto100m)
app.command("youcook2")(youcook2)
app.command("msrvtt")(msrvtt)


@app.command("mcn")
def mcn(
    file: Annotated[Path, typer.Argument(help="A published checkpoint, e<epoch>.pth, or the same as safetensors.")],
    out: Out,
    words: Annotated[Path, typer.Option(help="Its word vectors, as `awase convert words` wrote them.")],
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read a pickle (.pth); only its tensors are used.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a checkpoint of Multimodal Clustering Networks to a model folder."""
    from dataclasses import asdict

    from awase.runner.converted import convert_mcn

    weights = convert_mcn(file, out, words, allow_pickle=allow_pickle)
    if as_json:
        print_json({"folder": str(out), **asdict(weights.dimensions), "dropped": weights.dropped})
        return
    sizes = weights.dimensions
    print(f"{out}: {len(weights.tensors)} tensors, embedding {sizes.embedding}, video features {sizes.video}")
    if weights.dropped:
        print(f"left out, as the network never uses them: {', '.join(weights.dropped)}")


@app.command("words")
def words(
    file: Annotated[Path, typer.Argument(help="A word2vec file: .bin, or text; .gz may follow.")],
    out: Out,
    texts: Annotated[
        list[Path] | None, typer.Option("--texts", help="Keep the words of this text file alone (repeatable).")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, or float16 at half the size.")] = "float32",
    as_json: AsJson = False,
) -> None:
    """Make a vocabulary folder for the encoder word_vectors."""
    from awase.encoders.word2vec import build_vocabulary

    vocabulary = build_vocabulary(file, out, None if texts is None else _words_of(texts), dtype=dtype)
    if as_json:
        print_json({"folder": str(out), "dim": vocabulary.dim, **vocabulary.about})
        return
    asked = "" if vocabulary.about["asked"] is None else f", of {vocabulary.about['asked']} in the texts"
    print(
        f"{out}: {len(vocabulary.words)} words of {vocabulary.about['in_source']}{asked}; {vocabulary.dim} numbers each"
    )


@app.command("peft")
def peft(
    adapters: Annotated[Path, typer.Argument(help="Folder with a folder of PEFT's per modality.")],
    run: Annotated[str, typer.Option(help="The run or saved model that they are for.")],
    out: Out,
    key: Annotated[str | None, typer.Option(help="The key they become, audio+text; of a classifier none.")] = None,
    cache: Annotated[Path | None, typer.Option(help="The cache the run used.")] = None,
) -> None:
    """Put adapters that PEFT, or `awase export --format peft`, wrote into a model: a new model folder."""
    from awase.runner.keyed_model import import_peft

    count = import_peft(run, adapters, out, key=key, cache=cache)
    print(f"{out}: {count} layers with adapters{'' if key is None else f' of {key}'}")


def _words_of(texts: list[Path]) -> Iterator[str]:
    from awase.encoders.word_vocabulary import split_text

    for path in texts:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield from split_text(line)
