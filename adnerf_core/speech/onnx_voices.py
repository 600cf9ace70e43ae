"""Voices of Kokoro and Piper as ONNX files, in a folder that the operator names. ONNX Runtime runs them; neither project is installed.

kokoro*.onnx, voices*.bin     Kokoro-82M with its styles (Apache-2.0). English, read by the rules of the package hibari-tts.
NAME.onnx, NAME.onnx.json     a voice of Piper. Most need the program espeak-ng, which turns their text into phonemes.
NAME.licence.txt              the licence of a voice of Piper in its first line: each has its own
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from adnerf_core.errors import MissingBackend
from adnerf_core.speech import espeak
from adnerf_core.speech.engine import Sound, Speaker, Voice, latin_only, voice_id

KOKORO_RATE = 24_000
KOKORO_LANGUAGES = {"a": "en-US", "b": "en-GB"}
"""Languages by the first letter of a voice's name. The others need pronunciation rules that no permissive package brings."""
UNKNOWN_LICENCE = "unknown"
"""The licence of a voice of Piper without NAME.licence.txt."""
PAD, BEGIN, END = "_", "^", "$"
"""Piper's phonemes around and between the others."""


class KokoroEngine:
    """The English voices of Kokoro-82M in a folder."""

    name = "kokoro"

    def __init__(self, folder: Path):
        self.folder = folder

    def voices(self) -> list[Voice]:
        """See SpeechEngine."""
        model, styles = self._files()
        if model is None or styles is None or find_spec("hibari") is None:
            return []
        with np.load(styles) as archive:
            names = sorted(archive.files, key=lambda name: (name != "af_heart", name))
        return [
            Voice(voice_id(self.name, name), name[3:].capitalize(), KOKORO_LANGUAGES[name[0]], self.name, "Apache-2.0")
            for name in names
            if name[0] in KOKORO_LANGUAGES
        ]

    def load(self, voice: Voice) -> Speaker:
        """See SpeechEngine."""
        from hibari import Hibari
        from hibari.g2p import G2P

        name = voice.id.removeprefix(f"{self.name}-")
        model, styles = self._files()
        session = _session(model)
        tokens_input = "input_ids" if "input_ids" in {each.name for each in session.get_inputs()} else "tokens"
        # Hibari's vocabulary, rules and cutting of long sentences are Kokoro's.
        reader = Hibari(g2p=G2P(british=voice.language == "en-GB"))
        with np.load(styles) as archive:
            style = archive[name].reshape(-1, 256).astype(np.float32)

        def speaker(text: str, speed: float) -> Sound:
            pieces = [np.zeros(0, np.float32)]
            for phonemes in reader.phonemize(latin_only(text)):
                ids = reader.ids(phonemes)
                inputs = {
                    tokens_input: np.asarray([ids], np.int64),
                    "style": style[min(len(ids) - 2, len(style)) - 1][None],
                    "speed": np.asarray([speed], np.float32),
                }
                pieces.append(np.asarray(session.run(None, inputs)[0], np.float32).ravel())
            return Sound(np.concatenate(pieces), KOKORO_RATE)

        return speaker

    def _files(self) -> tuple[Path | None, Path | None]:
        """The model and its styles."""
        return next(iter(sorted(self.folder.glob("kokoro*.onnx"))), None), next(
            iter(sorted(self.folder.glob("voices*.bin"))), None
        )


class PiperEngine:
    """The voices of Piper in a folder."""

    name = "piper"

    def __init__(self, folder: Path):
        self.folder = folder

    def voices(self) -> list[Voice]:
        """See SpeechEngine."""
        return [
            Voice(voice_id(self.name, path.stem), path.stem, _language(config), self.name, _licence(path))
            for path in sorted(self.folder.glob("*.onnx"))
            if (config := _config(path)) is not None and _is_readable(config)
        ]

    def load(self, voice: Voice) -> Speaker:
        """See SpeechEngine."""
        path = next(path for path in self.folder.glob("*.onnx") if voice_id(self.name, path.stem) == voice.id)
        config, session = _config(path), _session(path)
        rate, inference = config["audio"]["sample_rate"], config.get("inference", {})
        speakers = {"sid": np.zeros(1, np.int64)} if config.get("num_speakers", 1) > 1 else {}

        def speaker(text: str, speed: float) -> Sound:
            ids = piper_ids(config, text)
            scales = (
                inference.get("noise_scale", 0.667),
                inference.get("length_scale", 1.0) / speed,
                inference.get("noise_w", 0.8),
            )
            inputs = {
                "input": np.asarray([ids], np.int64),
                "input_lengths": np.asarray([len(ids)], np.int64),
                "scales": np.asarray(scales, np.float32),
            }
            if len(ids) <= 3:  # nothing between BEGIN and END
                return Sound(np.zeros(0, np.float32), rate)
            return Sound(np.asarray(session.run(None, inputs | speakers)[0], np.float32).ravel(), rate)

        return speaker


def piper_ids(config: dict[str, Any], text: str) -> list[int]:
    """Returns what a voice of Piper reads: the numbers of the phonemes between BEGIN and END, with a PAD after each.

    Raises:
        MissingBackend: the phonemes need espeak-ng, which is not installed or fails.
    """
    if config.get("phoneme_type", "espeak") == "text":
        phonemes = unicodedata.normalize("NFD", text.casefold())
    else:
        program = shutil.which(espeak.PROGRAM)
        if program is None:
            raise MissingBackend(
                f"{espeak.PROGRAM} is not installed.", f"Ask the operator to install {espeak.PROGRAM}."
            )
        lines = espeak.run(
            program, ["-q", "--ipa", "-v", config["espeak"]["voice"], "-b", "1", "--stdin"], text
        ).decode()
        end = text[-1:] if text[-1:] in "?!" else "."
        phonemes = (
            unicodedata.normalize("NFD", ", ".join(line.strip() for line in lines.splitlines() if line.strip())) + end
        )
    known = config["phoneme_id_map"]
    ids = [*known[BEGIN], *known[PAD]]
    for phoneme in phonemes:
        if phoneme in known:
            ids += [*known[phoneme], *known[PAD]]
    return [*ids, *known[END]]


def _config(path: Path) -> dict[str, Any] | None:
    """The description of a voice of Piper; None if there is none."""
    try:
        config = json.loads(path.with_name(f"{path.name}.json").read_text())
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) and {"audio", "phoneme_id_map"} <= config.keys() else None


def _is_readable(config: dict[str, Any]) -> bool:
    kind = config.get("phoneme_type", "espeak")
    return kind == "text" or (kind == "espeak" and shutil.which(espeak.PROGRAM) is not None)


def _language(config: dict[str, Any]) -> str:
    code = config.get("language", {}).get("code") or config.get("espeak", {}).get("voice") or "und"
    return code.replace("_", "-")


def _licence(path: Path) -> str:
    try:
        return path.with_name(f"{path.stem}.licence.txt").read_text().strip().splitlines()[0][:200]
    except (OSError, IndexError):
        return UNKNOWN_LICENCE


def _session(path: Path) -> Any:
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no class in common
        raise MissingBackend(
            f"The voice in {path.name} cannot be loaded.", "Ask the operator to check the file.", details=error
        ) from error
