"""A family of drawn clips, each with one thing that people's own footage has, and the truth about each of them as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adnerf_core.config import FPS
from adnerf_core.files.run_dir import write_json
from demo.looks import Speaker
from demo.scene import CARD_S, Scene, Stage
from demo.speaker import Truth, film, perform
from demo.speech import PAUSE_S, Speech, join, speak

TEXTS = (
    "I moved to this town about five years ago. People ask me why, and I say: because of the bakery. "
    "Every morning they make bread with figs and walnuts, and before six the whole street smells of it. "
    "My father was a baker as well, so maybe that is the reason. I would not want to live anywhere else.",
    "Welcome back to the workshop. Today we repair a wooden chair, and for that we need glue, a clamp and some patience. "
    "First, we remove the old glue with a knife. Then we warm the joint a little. Move slowly, or the wood will break. "
    "By tomorrow evening you may sit on it again.",
    "The weather changes this week. From the west comes a mild wind, with showers on Monday and Wednesday. "
    "Above four hundred metres there may be fog in the morning. From Friday on we expect more sun, and up to "
    "twenty degrees. Farmers should be careful: the nights remain cool.",
    "When I began to play the piano, my fingers were too short for an octave. My teacher said: play what you can reach. "
    "So I wrote my own pieces, very small ones. Some of them I perform even now. "
    "What you lack at first may become what people remember you by.",
)
"""What the speakers say, about 18 s each; nothing in it is about anybody who lives."""

QUESTION = "Thank you, that was very clear. Now tell me, how did all of this begin, and who helped you at that time?"
"""What an interviewer asks, about 6 s."""

FOREIGN_TEXT = "Nobody who is shown here has ever said this. Perhaps you will believe me more if my lips move properly."
"""What a foreign voice says, about 6 s."""

BREAK_S = CARD_S + 0.4
"""Silence between the two takes of a clip, s: the title card, and a breath before and after it."""


@dataclass(frozen=True)
class Clip:
    """One drawn clip: its name, who speaks, where, and the number of the text in TEXTS.

    With `asked`, somebody else asks a question after the text, and the speaker answers with the text before it.
    """

    name: str
    speaker: Speaker
    scene: Scene
    text: int
    asked: bool = False


OLDER = Speaker(
    skin=(218, 172, 148),
    hair=(140, 137, 132),
    cut="short",
    clothes=(70, 84, 108),
    jaw=1.1,
    nose=1.14,
    eyes=0.93,
    voice="en-us+m3",
    pitch=36,
)
BEARDED = replace(
    OLDER, hair=(74, 50, 36), beard=0.9, clothes=(64, 92, 76), skin=(214, 168, 140), voice="en-gb-x-rp+m1"
)
DARK_MAN = Speaker(
    (120, 80, 60),
    (40, 33, 30),
    "short",
    clothes=(168, 146, 92),
    jaw=1.07,
    nose=1.2,
    lips=1.2,
    voice="en-us+m7",
    pitch=34,
)
DARK_WOMAN = Speaker((142, 98, 74), (40, 32, 30), "long", clothes=(142, 58, 66), nose=1.12, lips=1.22, voice="en-us+f2")
LONG_HAIRED = Speaker(
    (222, 176, 150), (84, 52, 36), "long", clothes=(58, 88, 122), eyes=1.06, jaw=0.95, voice="en-us+f4", pitch=56
)
WITH_GLASSES = Speaker(
    (226, 182, 158), (112, 62, 40), glasses=True, clothes=(122, 100, 132), nose=0.94, lips=1.1, voice="en-gb-x-rp+f1"
)
WITH_CAP = Speaker(
    (196, 146, 112), (48, 38, 34), hat=(122, 44, 52), clothes=(188, 178, 158), eyes=1.08, jaw=0.93, voice="en-us+f5"
)
YOUNG_MAN = Speaker(
    (206, 156, 122), (44, 36, 32), "short", clothes=(96, 104, 112), jaw=1.04, lips=1.08, voice="en-us+m1", pitch=44
)

HD = Scene(1280, 720)
FAMILY = (
    Clip("beard", BEARDED, replace(HD, room=1), 1),
    Clip("glasses", WITH_GLASSES, Scene(room=2), 0),
    Clip("long_hair", LONG_HAIRED, replace(HD, room=3, grain=2.0), 3),
    Clip("dark_skin", DARK_MAN, replace(HD, room=4, eyes=(0.42, 0.355)), 2),
    Clip("cap", WITH_CAP, Scene(960, 540, closeness=0.9, eyes=(0.5, 0.42), room=1), 0),
    Clip("moving_background", YOUNG_MAN, replace(HD, room=2, screen=True, eyes=(0.36, 0.355)), 2),
    Clip("camera_pan", DARK_WOMAN, Scene(closeness=0.9, eyes=(0.5, 0.4), room=0, camera="pan"), 3),
    Clip("camera_zoom", OLDER, Scene(closeness=0.85, eyes=(0.5, 0.42), room=4, camera="zoom"), 1),
    Clip("camera_handheld", LONG_HAIRED, replace(HD, closeness=0.95, eyes=(0.5, 0.38), room=6, camera="handheld"), 0),
    Clip("cuts", WITH_GLASSES, replace(HD, room=7, takes=2), 2),
    Clip("listener", BEARDED, replace(HD, room=8, eyes=(0.34, 0.38), other=DARK_WOMAN), 3),
    Clip("poster", YOUNG_MAN, Scene(room=5, eyes=(0.36, 0.38), other=WITH_GLASSES, other_as="poster"), 1),
    Clip("small_face", DARK_WOMAN, replace(HD, closeness=0.42, eyes=(0.46, 0.46), desk=True, room=9), 2),
    Clip("vertical", LONG_HAIRED, Scene(540, 960, closeness=0.52, eyes=(0.5, 0.4), room=11, grain=2.0), 0),
    Clip("hand", OLDER, replace(HD, room=10, passing="hand"), 3),
    Clip("microphone", DARK_MAN, Scene(room=12, passing="microphone"), 1),
    Clip("interviewer", WITH_GLASSES, Scene(room=6), 3, asked=True),
    Clip(
        "conversation",
        YOUNG_MAN,
        replace(HD, room=9, eyes=(0.32, 0.38), other=DARK_WOMAN, other_as="guest"),
        1,
        asked=True,
    ),
    Clip("sunglasses", replace(YOUNG_MAN, glasses="dark"), Scene(room=3), 2),
    Clip("mask", replace(LONG_HAIRED, mask=(120, 160, 190)), Scene(room=1), 1),
    Clip("window", OLDER, replace(HD, room=2, light=0.55, backlight=1.7), 0),
    Clip("turning", WITH_CAP, replace(HD, closeness=0.9, eyes=(0.5, 0.42), room=13, turn=2.0), 3),
)
"""The clips. Skin, hair, sex, age, framing, room and voice vary over all of them."""


def draw(
    clip: Clip,
    folder: Path,
    *,
    seconds: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Draws a clip into `folder`, and its truth beside it as NAME.json; a clip that is there already is left as it is.

    Args:
        clip: the clip.
        folder: where NAME.mp4 and NAME.json are written.
        seconds: if given, each take is cut to this length.
        progress: called with the number of frames done and of all frames.

    Returns:
        The video file.
    """
    video, seed = folder / f"{clip.name}.mp4", sum(clip.name.encode())
    if not video.with_suffix(".json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        speech, others = say(clip, seconds)
        truth = perform(speech, seed, clip.scene.turn)
        guest = list(perform(others, seed + 1).shapes()) if clip.scene.other_as == "guest" else []
        stage = Stage(clip.speaker, clip.scene, len(truth.opening), seed, guest)
        film(video, stage, truth, speech, progress)
        write_json(video.with_suffix(".json"), describe(clip, stage, truth))
    return video


def say(clip: Clip, seconds: float | None) -> tuple[Speech, Speech]:
    """Returns what is heard in a clip, with the phonemes of the speaker, and with those of anybody else.

    `seconds` cuts each of the speaker's texts to this length.
    """
    parts = []
    for text in (clip.text, clip.text - 1)[: 2 if clip.asked else clip.scene.takes]:
        part = speak(TEXTS[text], voice=clip.speaker.voice, pitch=clip.speaker.pitch)
        if seconds is not None:
            said = [phoneme for phoneme in part.phonemes if phoneme.start < seconds]
            part = part._replace(samples=part.samples[: round(seconds * part.rate)], phonemes=said)
        parts.append(part)
    if not clip.asked:
        return join(parts, BREAK_S), join(parts, BREAK_S)._replace(phonemes=[])
    asks = speak(QUESTION, voice=(clip.scene.other or OLDER).voice, pitch=40)
    parts = [parts[0], asks, parts[1]]
    mute = [part._replace(phonemes=[]) for part in parts]
    return join([parts[0], mute[1], parts[2]], PAUSE_S), join([mute[0], parts[1], mute[2]], PAUSE_S)


def describe(clip: Clip, stage: Stage, truth: Truth) -> dict[str, Any]:
    """Returns the truth about a clip, for its JSON file.

    `takes` are ranges of frames, [start, end); `faces` say who is seen and who `speaks`; for the speaker, `eyes_at` is the
    point between the eyes in each frame and the distance of the outer eye corners (x, y, unit; px). `motion` has the fields of
    Shape. `covered` are the frames in which something is before the mouth.
    """
    scene, title = clip.scene, np.flatnonzero(stage.titles)
    takes = [[0, int(title[0])], [int(title[-1]) + 1, stage.frames]] if len(title) else [[0, stage.frames]]
    eyes = [stage.eyes_at(k, shape) for k, shape in enumerate(truth.shapes())]
    faces: list[dict[str, Any]] = [{"who": "speaker", "speaks": True, "eyes_at": np.round(eyes, 2).tolist()}]
    if scene.other is not None:
        faces.append({"who": scene.other_as, "speaks": scene.other_as == "guest"})
    return {
        "name": clip.name,
        "fps": FPS,
        "frames": stage.frames,
        "width": scene.width,
        "height": scene.height,
        "text": TEXTS[clip.text],
        "takes": takes,
        "camera": scene.camera,
        "background_moves": scene.screen,
        "faces": faces,
        "covered": np.flatnonzero(stage.covered).tolist(),
        "motion": {name: np.round(values, 4).tolist() for name, values in truth._asdict().items()},
    }


def choose(names: Iterable[str] | None) -> list[Clip]:
    """Returns the clips of these names, or all. Raises ValueError for a name that no clip has."""
    known = {clip.name: clip for clip in FAMILY}
    if unknown := set(names or ()) - known.keys():
        raise ValueError(f"There is no clip {', '.join(sorted(unknown))}; the clips are {', '.join(known)}.")
    return [known[name] for name in names or known]
