"""A scene: a speaker in a room, seen by a camera; with other faces, cuts, and things that pass before the mouth, if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np

from adnerf_core.config import FPS
from demo.looks import Speaker, paint
from demo.motion import bump, drift
from demo.passing import paint_hand, paint_microphone
from demo.portrait import Puppet, Shape, lay_over
from demo.room import paint_desk, paint_poster, paint_room, paint_screen, paint_title

FACE_UNITS = 1.75
"""Height of a face, units: from the brows to the chin."""

MOUTH_BELOW_EYES = 0.87
"""How far the mouth is below the eyes, units."""

PASS_EVERY_S, PASS_S = 5.0, 1.1
"""How often something passes before the mouth, and how long it stays there, s."""

CARD_S = 1.6
"""How long a title card stands, s."""

SKIN = (226, 184, 160)
"""Colour of the hand of a speaker with the skin of the picture, RGB."""


@dataclass(frozen=True)
class Scene:
    """Where and how a speaker is filmed.

    Attributes:
        width, height: of the frame, px.
        closeness: size of the speaker: 1 shows head and shoulders in the height of the frame.
        eyes: where the eyes are, shares of width and height.
        room: number of the room.
        screen: whether a moving picture is shown on a screen behind the speaker.
        desk: whether the speaker sits behind a desk, which hides the body below `eyes` + 0.3 of the height.
        camera: how the camera moves.
        other: a second person, who does not speak unless as a guest.
        other_as: a listener or a guest beside the speaker, or a poster on the wall, which does not move.
        passing: what passes before the mouth.
        takes: one, or two with a title card between them, the second closer.
        turn: range of the head's motion, over the usual one.
        grain: standard deviation of the camera's noise, grey levels.
        light: brightness of all, over that of a well-lit room.
        backlight: how much brighter the room is than the speaker.
    """

    width: int = 1024
    height: int = 576
    closeness: float = 1.0
    eyes: tuple[float, float] = (0.5, 0.355)
    room: int = 0
    screen: bool = False
    desk: bool = False
    camera: Literal["still", "pan", "zoom", "handheld"] = "still"
    other: Speaker | None = None
    other_as: Literal["listener", "poster", "guest"] = "listener"
    passing: Literal["hand", "microphone"] | None = None
    takes: Literal[1, 2] = 1
    turn: float = 1.0
    grain: float = 0.0
    light: float = 1.0
    backlight: float = 1.0


class Stage:
    """Draws the frames of a scene.

    Attributes:
        frames: their number.
        camera: [frames, 3]: the frame shows the scene enlarged by the third about its middle, then shifted by the first two,
            shares of width and height.
        covered: [frames] bool: something is before the mouth.
        titles: [frames] bool: a title card is shown.
    """

    def __init__(self, speaker: Speaker, scene: Scene, frames: int, seed: int, guest: Sequence[Shape] = ()):
        """Sets the stage; `guest` has the movement of the other person, if that one speaks, too."""
        self.guest = guest
        self.speaker, self.scene, self.frames = speaker, scene, frames
        self.scale = scene.closeness * scene.height / 300
        self.puppet = Puppet(paint(speaker), self.scale)
        self.place = self._place(self.puppet, scene.eyes)
        self.random = np.random.default_rng((seed, 7))
        self.other_motion = drift(self.random, frames, 3.0)
        self.camera = self._camera_track()
        self.titles = np.zeros(frames, bool)
        if scene.takes == 2:
            card = round(CARD_S * FPS)
            self.titles[(frames - card) // 2 : (frames + card) // 2] = True
            self.camera[(frames + card) // 2 :] = (0.03, 0.06, 1.22)
        self.near_mouth = self._pass_track()
        self.covered = self.near_mouth > 0.8

    def draw(self, k: int, shape: Shape) -> np.ndarray:
        """Returns frame `k`, [height, width, 3] uint8 RGB."""
        scene = self.scene
        if self.titles[k]:
            return self._title
        frame = self._room.copy() if scene.backlight == 1 else cv2.convertScaleAbs(self._room, alpha=scene.backlight)
        if scene.screen:
            self._show_screen(frame, k)
        if scene.other is not None:
            _lay_at(frame, self._draw_other(k), self._other[1])
        _lay_at(frame, self.puppet(shape), self.place)
        if self._desk is not None:
            lay_over(frame, self._desk)
        if self.near_mouth[k] > 0:
            self._pass_by(frame, shape, float(self.near_mouth[k]))
        if scene.camera != "still" or scene.takes == 2:
            frame = self._seen(frame, k)
        if scene.light != 1:
            frame = cv2.convertScaleAbs(frame, alpha=scene.light)
        if scene.grain:
            frame = self._noisy(frame)
        return frame

    def eyes_at(self, k: int, shape: Shape) -> tuple[float, float, float]:
        """Returns where the point between the eyes is in frame `k` (x, y) and how long a unit is there, px."""
        view = self._view(k)
        x, y = view @ (*(self.puppet.eyes(shape) + self.place), 1)
        return float(x), float(y), float(self.puppet.unit * view[0, 0])

    def _place(self, puppet: Puppet, eyes: tuple[float, float]) -> tuple[int, int]:
        """Returns where the upper left corner of a drawing goes, so that the eyes are at `eyes`, shares of the frame."""
        at = np.array(eyes) * (self.scene.width, self.scene.height) - puppet.eyes_at
        return round(at[0]), round(at[1])

    @cached_property
    def _room(self) -> np.ndarray:
        return paint_room(self.scene.width, self.scene.height, self.scene.room)

    @cached_property
    def _desk(self) -> np.ndarray | None:
        scene = self.scene
        return paint_desk(scene.width, scene.height, scene.eyes[1] + 0.3) if scene.desk else None

    @cached_property
    def _title(self) -> np.ndarray:
        return paint_title(self.scene.width, self.scene.height, "Part two")

    @cached_property
    def _other(self) -> tuple[Puppet, tuple[int, int]]:
        """The other person, and the place of the drawing."""
        poster = self.scene.other_as == "poster"
        puppet = Puppet(paint(self.scene.other), self.scale * (0.55 if poster else 0.86))
        return puppet, self._place(puppet, (0.84, 0.24) if poster else (0.8, 0.42))

    @cached_property
    def _poster(self) -> np.ndarray:
        return paint_poster(self._other[0](Shape(rounding=0.3)))

    def _draw_other(self, k: int) -> np.ndarray:
        if self.scene.other_as == "poster":
            return self._poster
        if self.guest:
            return self._other[0](self.guest[k])
        yaw, blinking = self.other_motion[k] - 8, k % 83 < 4
        return self._other[0](Shape(rounding=0.3, yaw=yaw, pitch=-0.3 * yaw, eyes=0.0 if blinking else 1.0))

    @cached_property
    def _screen(self) -> np.ndarray:
        return paint_screen(round(0.56 * self.scene.width), round(0.6 * self.scene.height))

    def _show_screen(self, frame: np.ndarray, k: int) -> None:
        high, wide = self._screen.shape[0], self._screen.shape[1] // 3
        left, top = round(0.4 * self.scene.width), round(0.05 * self.scene.height)
        start = round(k * 0.0024 * self.scene.width) % (2 * wide)
        frame[top - 6 : top + high + 6, left - 6 : left + wide + 6] = 24
        frame[top : top + high, left : left + wide] = self._screen[:, start : start + wide]

    def _camera_track(self) -> np.ndarray:
        """Returns the camera's motion, [frames, 3]."""
        phase = 2 * np.pi * np.arange(self.frames) / max(1, self.frames)
        track = np.tile([0.0, 0.0, 1.0], (self.frames, 1))
        if self.scene.camera == "pan":
            track[:, 0], track[:, 2] = 0.07 * np.sin(phase), 1.16
        elif self.scene.camera == "zoom":
            track[:, 2] = 1.15 - 0.15 * np.cos(phase)
        elif self.scene.camera == "handheld":
            track[:, 0], track[:, 1] = (drift(self.random, self.frames, s, fastest=1.6) for s in (0.009, 0.012))
            track[:, 2] = 1.08
        return track

    def _view(self, k: int) -> np.ndarray:
        """Returns the affine map from the scene to frame `k`, [2, 3]."""
        x, y, zoom = self.camera[k]
        width, height = self.scene.width, self.scene.height
        return np.array([[zoom, 0, (0.5 - zoom / 2 + x) * width], [0, zoom, (0.5 - zoom / 2 + y) * height]])

    def _seen(self, frame: np.ndarray, k: int) -> np.ndarray:
        size = self.scene.width, self.scene.height
        return cv2.warpAffine(frame, self._view(k), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _noisy(self, frame: np.ndarray) -> np.ndarray:
        noise = self.random.normal(scale=self.scene.grain, size=(*frame.shape[:2], 1)).astype(np.float32)
        return np.clip(frame + noise, 0, 255).astype(np.uint8)

    def _pass_track(self) -> np.ndarray:
        """Returns how near to the mouth the passing thing is, [frames]: 0 is out of the frame, 1 is before the mouth."""
        near = np.zeros(self.frames)
        if self.scene.passing:
            for start in np.arange(0.45 * PASS_EVERY_S, self.frames / FPS, PASS_EVERY_S):
                near = np.maximum(near, bump(np.arange(self.frames) / FPS - start, PASS_S))
        return near

    @cached_property
    def _thing(self) -> np.ndarray:
        face = FACE_UNITS * self.puppet.unit
        return (
            paint_microphone(face)
            if self.scene.passing == "microphone"
            else paint_hand(face, self.speaker.skin or SKIN)
        )

    def _pass_by(self, frame: np.ndarray, shape: Shape, near: float) -> None:
        unit, half = self.puppet.unit, self._thing.shape[0] / 2
        away = (1 - near) * 4.2 * unit
        x, y = self.puppet.eyes(shape) + self.place
        x, y = x + 0.55 * away, y + (MOUTH_BELOW_EYES + 0.12) * unit + away
        turn = cv2.getRotationMatrix2D((half, half), 14 + 12 * (1 - near), 1.0)
        thing = cv2.warpAffine(self._thing, turn, self._thing.shape[1::-1])
        _lay_at(frame, thing, (round(x - half), round(y - half)))


def _lay_at(frame: np.ndarray, layer: np.ndarray, place: tuple[int, int]) -> None:
    """Lays an RGBA layer over a frame, its upper left corner at `place`; what is beyond the frame is cut off."""
    left, top = max(0, place[0]), max(0, place[1])
    right, bottom = min(frame.shape[1], place[0] + layer.shape[1]), min(frame.shape[0], place[1] + layer.shape[0])
    if left < right and top < bottom:
        part = layer[top - place[1] : bottom - place[1], left - place[0] : right - place[0]]
        lay_over(frame[top:bottom, left:right], part)
