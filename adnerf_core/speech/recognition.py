"""Recognises English speech with Moonshine tiny, whose weights audio/moonshine.py describes, phrase by phrase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from adnerf_core.audio.chunking import HOP, RATE
from adnerf_core.audio.moonshine import open_session, weights_file
from adnerf_core.audio.phonemes import voice_activity
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import CaptionsUnavailable
from adnerf_core.speech.speak import SpokenPassage

WINDOW_S = 60.0
"""Sound that is cut into phrases at a time, s; what the last phrase of it has begun is left to the next window."""
PAUSE_S = 0.3
"""Silence that ends a phrase, s: shorter ones are within words and between the words of a phrase."""
PHRASE_S, LONGEST_PHRASE_S = 4.0, 12.0
"""Phrases are joined up to the first length, since a recogniser hears words better in their context; none is longer than the second."""
EDGE_S = 0.2
"""Sound before and after a phrase that the recogniser also hears, s."""
TOKENS_PER_SECOND = 6.5
"""Most tokens per second: more are an endless repetition, and not speech (Moonshine's own limit)."""
START, END = 1, 2
LAYERS, HEADS, WIDTH = 6, 8, 36
"""Numbers of the tokens that begin and end a text; sizes of the decoder."""
LEAST_CONFIDENCE = -0.45
"""Mean log-probability of the tokens below which the speech is not English, or not speech. Clips of English had -0.12 to -0.27; Chinese,
French, German, Spanish, Russian and noise -0.62 to -1.17."""


class MoonshineRecogniser:
    """Recognises English speech. Raises MissingBackend if ONNX Runtime or the weights are not installed."""

    def __init__(self):
        needs = "Recognition of speech"
        self._encoder, self._decoder = (
            open_session(f"{name}.ort", needs) for name in ("encoder_model", "decoder_model_merged")
        )
        self._tokens = _read_tokens(weights_file("tokenizer.bin", needs).read_bytes())

    def __call__(self, pieces: Iterable[Float[np.ndarray, " _"]]) -> list[SpokenPassage]:
        """Returns the phrases of a recording.

        Args:
            pieces: consecutive samples, mono, -1..1, at SAMPLE_RATE, in arrays of any lengths.

        Raises:
            CaptionsUnavailable: there is no speech, or it is not English.
        """
        found, scores = [], []
        for start, samples, before in _phrases(pieces):
            text, confidences = self._recognise(samples)
            if text:
                speech = start + before / SAMPLE_RATE
                found.append(SpokenPassage(speech, start + (len(samples) - before) / SAMPLE_RATE, text))
                scores += confidences
        if not found:
            raise CaptionsUnavailable("No speech was recognised in the audio.")
        if np.mean(scores) < LEAST_CONFIDENCE:
            raise CaptionsUnavailable("The speech was not recognised as English.")
        return found

    def _recognise(self, samples: Float[np.ndarray, " samples"]) -> tuple[str, list[float]]:
        """Returns the text of a phrase, and the log-probability of each token: greedy decoding."""
        # A mask of the samples, for the decoder too, which takes every 384th value.
        mask = np.ones((1, len(samples)), np.int64)
        states = self._encoder.run(None, {"input_values": samples[None].astype(np.float32), "attention_mask": mask})[0]
        fixed = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        names = [each.name for each in self._decoder.get_outputs()][1:]
        empty = np.zeros((1, HEADS, 0, WIDTH), np.float32)
        cache = {name.replace("present", "past_key_values"): empty for name in names}
        token, tokens, confidences = START, [], []
        for step in range(int(len(samples) / SAMPLE_RATE * TOKENS_PER_SECOND) + 2):
            feed = {"input_ids": np.array([[token]], np.int64), "use_cache_branch": np.array([step > 0])}
            logits, *present = self._decoder.run(None, fixed | cache | feed)
            for name, value in zip(names, present, strict=True):
                if step == 0 or ".decoder." in name:  # the keys of the encoder stay those of the first step
                    cache[name.replace("present", "past_key_values")] = value
            row = logits[0, -1].astype(np.float64)
            token = int(row.argmax())
            confidences.append(float(row[token] - row.max() - np.log(np.exp(row - row.max()).sum())))
            if token == END:
                break
            tokens.append(token)
        text = b"".join(self._tokens[each] for each in tokens).replace("\u2581".encode(), b" ")
        return text.decode(errors="replace").strip(), confidences


def _phrases(pieces: Iterable[Float[np.ndarray, " _"]]) -> Iterator[tuple[float, Float[np.ndarray, " samples"], int]]:
    """Yields phrases: the time of the first sample in seconds, the samples, and how many of them are before (and after) the speech."""
    buffer, offset = np.zeros(0, np.float32), 0
    for piece in pieces:
        buffer = np.concatenate([buffer, piece.astype(np.float32, copy=False)])
        if len(buffer) >= WINDOW_S * SAMPLE_RATE:
            spans = _spans(voice_activity(buffer) > 0.5)
            yield from (_cut(buffer, offset, span) for span in spans[:-1])
            used = spans[-1][0] * HOP if len(spans) > 1 else len(buffer)
            if len(spans) == 1:
                yield _cut(buffer, offset, spans[0])
            buffer, offset = buffer[used:], offset + used
    if len(buffer):
        yield from (_cut(buffer, offset, span) for span in _spans(voice_activity(buffer) > 0.5))


def _cut(samples: Float[np.ndarray, " _"], offset: int, span: tuple[int, int]) -> tuple[float, Any, int]:
    edge = round(EDGE_S * SAMPLE_RATE)
    first, last = span[0] * HOP - edge, span[1] * HOP + edge
    inside = samples[max(0, first) : last]
    padded = np.pad(inside, (max(0, -first), max(0, last - len(samples))))
    return (offset + first) / SAMPLE_RATE, padded, edge


def _spans(active: Bool[np.ndarray, " steps"]) -> list[tuple[int, int]]:
    """Returns the first step and the step after the last one of each phrase."""
    (steps,) = np.nonzero(active)
    if not len(steps):
        return []
    breaks = np.flatnonzero(np.diff(steps) > PAUSE_S * RATE)
    speech = list(zip(steps[np.r_[0, breaks + 1]], steps[np.r_[breaks, -1]] + 1, strict=True))
    phrases: list[list[int]] = []
    for start, end in speech:
        if phrases and end - phrases[-1][0] <= PHRASE_S * RATE:
            phrases[-1][1] = int(end)
        else:
            phrases.append([int(start), int(end)])
    longest = round(LONGEST_PHRASE_S * RATE)
    return [(first, min(first + longest, end)) for start, end in phrases for first in range(start, end, longest)]


def _read_tokens(data: bytes) -> list[bytes]:
    """Reads Moonshine's vocabulary: each token after its length, of which 128 and more have two bytes."""
    tokens, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * data[at], at + 1
        tokens.append(data[at : at + length])
        at += length
    for special in [number for number, token in enumerate(tokens) if token.startswith(b"<<ST_")] + [0, START, END]:
        tokens[special] = b""
    return tokens
