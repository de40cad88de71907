"""Recordings of spoken digits in a folder of `{digit}_{speaker}_{index}.wav`: which there are, and their splits."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")
TEST_TAKES = range(0, 5)
VALIDATION_TAKES = range(5, 10)


@dataclass(frozen=True)
class Recording:
    """One file; `take` is the index in its name."""

    path: Path
    digit: int
    speaker: str
    take: int

    def fingerprint(self) -> str:
        """Returns a hash of the file's bytes; `missing` where there is no file any more."""
        try:
            return blake2b(self.path.read_bytes(), digest_size=16).hexdigest()
        except OSError:
            return "missing"


def find_recordings(folder: Path) -> list[Recording]:
    """Returns the recordings in `folder` or in its subfolder `wav`, by digit, speaker and take.

    Raises `FileNotFoundError` where there are none.
    """
    files = [*folder.glob("*.wav"), *(folder / "wav").glob("*.wav")]
    matches = [(path, _NAME.fullmatch(path.name)) for path in files]
    found = [Recording(path, int(m[1]), m[2], int(m[3])) for path, m in matches if m is not None]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no recordings: data.digits.recordings must be a folder of files named like "
            "'7_anna_12.wav' (digit, speaker, index)."
        )
    return sorted(found, key=lambda recording: (recording.digit, recording.speaker, recording.take))


def split_recordings(recordings: list[Recording], held_out: str | None) -> dict[str, list[Recording]]:
    """Returns the recordings of each split.

    Without `held_out`: test takes 0 to 4 (the official test), validation takes 5 to 9, train the rest; all speakers
    are in all three. With it: test is that speaker, validation the one after it in alphabetical order (the first after
    the last), train the others, so that validation asks for a new voice just as test does.

    Raises `KeyError` for an unknown speaker, `ValueError` where fewer than three speakers are there to hold one out.
    """
    splits: dict[str, list[Recording]] = {"train": [], "val": [], "test": []}
    validation = None if held_out is None else _following_speaker(recordings, held_out)
    for recording in recordings:
        if held_out is None:
            test, val = recording.take in TEST_TAKES, recording.take in VALIDATION_TAKES
        else:
            test, val = recording.speaker == held_out, recording.speaker == validation
        splits["test" if test else "val" if val else "train"].append(recording)
    return splits


def speakers_of(recordings: list[Recording]) -> list[str]:
    """Returns the speakers in alphabetical order."""
    return sorted({recording.speaker for recording in recordings})


def _following_speaker(recordings: list[Recording], speaker: str) -> str:
    speakers = speakers_of(recordings)
    if speaker not in speakers:
        raise KeyError(f"No recording is spoken by {speaker!r}; the speakers are {', '.join(speakers)}.")
    if len(speakers) < 3:
        raise ValueError(f"Holding out one speaker needs three or more; there are {', '.join(speakers)}.")
    return speakers[(speakers.index(speaker) + 1) % len(speakers)]
