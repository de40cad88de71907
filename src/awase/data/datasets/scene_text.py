"""Writes a scene's caption: four words that tell something, in one of three sentences."""

import numpy as np

from awase.data.datasets.scene_factors import FACTORS, SHOWN, Latents

SENTENCES = (
    "a {theme} {shape} and a {pitch} sound at {hour}",
    "at {hour} a {theme} {shape} moves to a {pitch} tone",
    "{pitch} notes for the {theme} {shape} at {hour}",
)


def vocabulary() -> tuple[str, ...]:
    """Returns every word a caption can hold, sorted."""
    words = {word for sentence in SENTENCES for word in sentence.split() if "{" not in word}
    return tuple(sorted(words.union(*(FACTORS[factor] for factor in SHOWN["text"]))))


def render_text(latents: Latents, noise: float, random: np.random.Generator) -> str:
    """Returns the caption, lower-case words separated by blanks.

    `theme`, `shape`, `pitch` and `hour` are words; which sentence holds them is drawn from `random` and tells nothing.
    Each word is replaced with probability `noise` by any word of `vocabulary()`, all equally likely.
    """
    sentence = SENTENCES[random.integers(len(SENTENCES))]
    words = sentence.format(**{factor: FACTORS[factor][latents[factor]] for factor in SHOWN["text"]}).split()
    others = random.choice(vocabulary(), len(words))
    replaced = random.random(len(words)) < noise
    return " ".join(np.where(replaced, others, words).tolist())
