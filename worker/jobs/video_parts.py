"""What belongs to a video beside its frames: its speech, its captions, and pictures of it.

Captions and pictures are additions: an error in making them does not fail the video.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adnerf_core.config import Captions
from adnerf_core.errors import AdnerfError, CaptionsUnavailable
from adnerf_core.progress import Cancelled
from storage.database.models import Video
from storage.errors import StoreAway
from worker.jobs.attempt import Attempt
from worker.jobs.core_functions import CoreFunctions

log = logging.getLogger(__name__)

PICTURES = {"thumbnail_key": ".jpg", "clip_key": ".clip"}
"""The columns of a video that name pictures of it, and the suffixes of their keys."""
Sign = Callable[[Path, str], Path]
"""(file, what it shows: full or portrait) -> the signed file, which replaces it"""
Spoken = list[list[Any]]
"""When each passage of a script is said: start and end in seconds, and the text."""


def warning(error: AdnerfError) -> dict[str, str]:
    """Returns what a client is told about something that could not be done."""
    return {"code": error.code, "message": f"{error.message} {error.remedy}"}


class VideoSpeech:
    """The sound of a video, and its words.

    Args:
        voices: reads scripts (CoreFunctions.speech).
        transcriber: finds words and their times (CoreFunctions.transcriber).
    """

    def __init__(self, voices: Any, transcriber: Any):
        self.voices, self.transcriber = voices, transcriber

    def audio(self, attempt: Attempt, video: Video, sign: Sign) -> tuple[Path | None, Spoken | None]:
        """Returns the sound of a video, None if it is silent; and if it has a script, when each passage is said.

        The sound of a script is signed, stored and named at once: a later attempt does not read the script again.
        """
        if video.idle_s is not None:
            return None, None
        if video.script is None:
            return attempt.file(video.audio_key, "audio"), None
        if video.speech_key is not None:
            return attempt.file(video.speech_key, "speech.wav"), video.spoken
        path = attempt.folder / "speech.wav"
        passages = attempt.call_server(
            lambda: self.voices.speak(
                video.script, video.voice, path, speed=video.speed, progress=attempt.lease.progress
            )
        )
        path = sign(path, "portrait")  # all of it is generated
        spoken = [[round(start, 3), round(end, 3), text] for start, end, text in passages]
        key = attempt.key(f"videos/{video.id}", ".wav")
        size = attempt.put(key, path).size
        if not attempt.publish(speech_key=key, spoken=spoken, stored=size):
            raise Cancelled
        return path, spoken

    def words(
        self, attempt: Attempt, audio: Path | None, spoken: Spoken | None, captions: Captions
    ) -> tuple[list[Any], list[dict[str, str]]]:
        """Returns the words of a video if it is to have captions, and a warning if they cannot be found."""
        if not captions.wanted or audio is None:
            return [], []
        try:
            return attempt.call_server(lambda: self.transcriber.words(audio, spoken, attempt.lease.progress)), []
        except (Cancelled, StoreAway):
            raise
        except AdnerfError as error:
            reason = (
                error if isinstance(error, CaptionsUnavailable) else CaptionsUnavailable(error.message, error.remedy)
            )
            log.warning("%s has no captions: %s", attempt.job.id, error)
        except Exception:
            log.exception("%s has no captions", attempt.job.id)
            reason = CaptionsUnavailable("The words could not be found.")
        return [], [warning(reason)]


def store_captions(
    attempt: Attempt, video: Video, words: list[Any], duration_s: float, captions: Captions
) -> dict[str, str]:
    """Stores the caption file that is asked for; returns the column that names it, if there are words."""
    if captions.file is None or not words:
        return {}
    from adnerf_core.speech.captions import caption_file, make_cues

    text = caption_file(make_cues(words, duration_s), captions.file)
    key = attempt.key(f"videos/{video.id}", f".{captions.file}")
    attempt.wait_for_store(lambda: attempt.store.put(key, io.BytesIO(text.encode())))
    return {"captions_key": key}


def store_pictures(
    attempt: Attempt, video: Video, path: Path, core: CoreFunctions, sign: Callable[[Path], Path]
) -> dict[str, str]:
    """Stores a thumbnail and a clip of a finished video, both signed; returns the columns that name them."""
    keys = {column: attempt.key(f"videos/{video.id}", suffix) for column, suffix in PICTURES.items()}
    thumbnail = _store_picture(attempt, path, "thumbnail.jpg", keys["thumbnail_key"], core.thumbnail, sign)
    clip = _store_picture(attempt, path, "clip.mp4", keys["clip_key"], core.clip, sign)
    stored = {"thumbnail_key": thumbnail, "clip_key": clip}
    return {column: keys[column] for column, is_stored in stored.items() if is_stored}


def store_thumbnail(attempt: Attempt, footage: Path, core: CoreFunctions) -> dict[str, str]:
    """Stores a thumbnail of a subject's footage, which is not generated; returns the column that names it."""
    key = attempt.key("thumbnails", ".jpg")
    stored = _store_picture(attempt, footage, "thumbnail.jpg", key, core.thumbnail, lambda path: path)
    return {"thumbnail_key": key} if stored else {}


def _store_picture(
    attempt: Attempt,
    video: Path,
    name: str,
    key: str,
    write: Callable[[Path, Path], object],
    sign: Callable[[Path], Path],
) -> bool:
    """Writes, signs and stores a picture of a video; returns whether that succeeded."""
    path = attempt.folder / name
    try:
        write(video, path)
        attempt.put(key, sign(path))
    except (Cancelled, StoreAway):
        raise
    except Exception as error:
        log.warning("%s has no %s: %s", attempt.job.id, name, error, exc_info=not isinstance(error, AdnerfError))
        return False
    return True
