"""A core that does next to nothing, and does it as the uploaded files say: they are orders in JSON.

{"steps": 5, "pause": 0.01, "at": {"3": "crash"}, "train": {orders for the training}}
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import time
from types import SimpleNamespace

from adnerf_core.errors import CaptionsUnavailable, NoFaceFound, NothingToSay, NotReady
from adnerf_core.files.fragments import Piece
from adnerf_core.files.run_dir import read_json, write_json
from adnerf_core.progress import Cancelled, silent
from worker.jobs.core_functions import CoreFunctions

FOOTAGE = {"duration_s": 12.0, "fps": 25.0, "width": 640, "height": 480, "frames": 300, "warnings": []}
LOADED = []
"""The runs that were loaded, and a None where the memory was freed."""
READ = []
"""The voice and the speed of each script that was read."""
QUALITY = {
    "psnr": 30.0,
    "ssim": 0.95,
    "mouth_psnr": 28.0,
    "lmd_px": 1.2,
    "lip_sync": 0.8,
    "sync_offset_ms": 40.0,
    "sync_confidence": 2.1,
    "held_out_frames": 27,
    "full_psnr": 41.0,
    "full_ssim": 0.99,
    "region_psnr": 31.0,
    "seam": 0.98,
}

VIEW_LIMITS = {"yaw_deg": [-12.0, 14.0], "pitch_deg": [-13.0, 11.0], "roll_deg": [-18.0, 17.0]}

FULL_FRAME = {"width": 1280, "height": 720}
"""The size of full frames, unless the training has the order `"old": true`: such a subject is as an earlier version made it."""

VIEWS = {"columns": 3, "rows": 1, "yaw_deg": [-12.0, 0.0, 14.0], "pitch_deg": [0.0], "tile_px": 8}


def crash():
    raise RuntimeError("a bug")


def refuse():
    raise NoFaceFound("No face in 290 of 300 frames.")


def fill_disk():
    raise OSError(errno.ENOSPC, "No space left on device")


def fill_memory():
    raise MemoryError


def fill_memory_of_torch():
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")


ACTIONS = {
    "crash": crash,
    "refuse": refuse,
    "fill_disk": fill_disk,
    "fill_memory": fill_memory,
    "fill_memory_of_torch": fill_memory_of_torch,
    "hang": lambda: time.sleep(600),
    "hold_gil": lambda: ctypes.PyDLL(None).sleep(600),  # PyDLL keeps the GIL, so no thread of the process runs
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def work(orders, stage, progress, start=0, after_step=lambda step: None):
    steps = orders.get("steps", 3)
    for step in range(start, steps):
        progress(stage, step, steps)
        time.sleep(orders.get("pause", 0.0))
        if action := orders.get("at", {}).get(str(step)):
            ACTIONS[action]()
        after_step(step)
    progress(stage, steps, steps)


def preprocess(video, out, config, progress, *, source_sha256=None):
    orders = json.loads(video.read_bytes())
    out.mkdir(parents=True, exist_ok=True)
    seen = {"faces": 1 if config.face is None else 2} | (
        {"audio_track": config.audio_track} if config.audio_track else {}
    )
    write_json(out / "footage.json", FOOTAGE | seen)
    (out / "frames").write_bytes(b"f" * orders.get("bytes", 0))
    for name in ("features.npy", "track.npz"):
        (out / name).write_bytes(b"heard and measured")
    work(orders, "track", progress)
    write_json(out / "dataset.json", orders.get("train", {}))


def train(dataset, run, config, progress):
    """A checkpoint each step; metrics tell which steps were really made."""
    orders = read_json(dataset / "dataset.json")
    write_json(run.manifest, {"dataset": str(dataset), "config": config.model_dump(by_alias=True)})
    done = int(run.checkpoint.read_text()) if run.checkpoint.exists() else 0
    if config.lip_prior:
        assert config.lip_prior.read_bytes() == b"prior"
        run.append_metrics(phase="audio", lip_prior=config.lip_prior.stem)

    def save():
        """Writes the checkpoint, complete or not at all: the process may be killed at any moment."""
        run.checkpoint.parent.mkdir(exist_ok=True)
        unfinished = run.checkpoint.with_suffix(".unfinished")
        unfinished.write_text(str(done))
        unfinished.replace(run.checkpoint)

    def after_step(step):
        nonlocal done
        done = step + 1
        run.append_metrics(step=step)
        save()
        if orders.get("previews"):
            run.previews.mkdir(exist_ok=True)
            (run.previews / "preview.jpg").write_bytes(b"picture %d" % step)

    try:
        work(orders, "head", progress, done, after_step)
    except Cancelled:
        save()
        raise
    run.model.write_text("model")
    footage = {"footage": FULL_FRAME | {"crop": [400, 60, 512], "sha256": "ab" * 32}}
    write_json(run.subject, {"view_limits": VIEW_LIMITS} | ({} if orders.get("old") else footage))
    write_json(run.result, {})


def check_prior(prior):
    if prior.read_bytes() != b"prior":
        raise NotReady("It is of another version.", "Learn it again.")


def learn_prior(datasets, out, progress):
    """It is better unless the order of one of the people says otherwise; no picture may be there."""
    assert not any((folder / "frames").exists() for folder in datasets.values())
    orders = [read_json(folder / "dataset.json") for folder in datasets.values()]
    for each in orders:
        work(each.get("learn", {}), "audio", progress)
    out.write_bytes(b"prior")
    figures = {"before": {"correlation": 0.5, "amplitude": 0.6}, "after": {"correlation": 0.6, "amplitude": 0.7}}
    better = all(each.get("better", True) for each in orders)
    return figures | {"people": dict.fromkeys(datasets, figures), "better": better}


def evaluate(run, progress, *, device, name):
    progress("evaluate", 1, 1)
    run.report.write_text(f"<p>{name} is good</p>")
    return QUALITY | {"seconds": 1.0}


def views(run, progress, *, device):
    progress("views", 1, 1)
    run.views.write_bytes(b"views")
    return VIEWS


def still(run, options, *, background=None, device="cpu", load=None, fonts=None):
    load(run, device)
    if options.label == "crash":
        crash()
    return f"{run.model.read_text()} {options.frame} {options.background.kind}".encode() + (
        background.read_bytes() if background else b""
    )


def load(run, device):
    LOADED.append(run.root)
    return run.model.read_bytes()


def free():
    LOADED.append(None)


class NoSeal:
    """What this core renders is text, which can neither be marked nor signed."""

    def __init__(self, settings):
        pass

    def check(self):
        pass

    def mark(self, number):
        return None

    def sign(self, path, video, subject, frame):
        return path, None

    def record_certificate(self, session):
        pass


class StubVoices:
    """A voice that reads a script as orders: its speech is the text itself."""

    def __init__(self, settings):
        pass

    def voices(self):
        return [SimpleNamespace(id="stub-ada", name="Ada", language="en", engine="stub", licence="CC0-1.0")]

    def speak(self, script, voice_id, out, *, speed=1.0, progress=silent):
        if "nothing" in script:
            raise NothingToSay("The voice can say nothing of this script.")
        READ.append((voice_id, speed))
        progress("speech", 1, 1)
        out.write_bytes(script.encode())
        # Imported here and below, since it loads SciPy, which each worker of a test would do.
        from adnerf_core.speech.speak import SpokenPassage

        return [SpokenPassage(0.0, 0.8, script)]


class StubTranscriber:
    """Hears one word."""

    def __init__(self, settings):
        pass

    def words(self, audio, spoken, progress=silent):
        progress("captions", 1, 1)
        if b"unheard" in audio.read_bytes():
            raise CaptionsUnavailable("The speech was not recognised as English.")
        from adnerf_core.speech.timing import Word

        return [Word(0.1, 0.8, spoken[0][2][:5] if spoken else "heard", False)]


def render(
    run,
    audio,
    out,
    options,
    progress,
    *,
    background=None,
    device="cpu",
    load=load,
    mark=None,
    duration_s=None,
    watch=None,
    fonts=None,
):
    """With the order `watch`, a text of its own is a segment of each step, and they have as many frames as the list says."""
    assert (audio is None) != (duration_s is None)
    subject = load(run, device)
    behind = background.read_bytes() if background else b""
    speech = audio.read_bytes() if audio else b"{}"
    orders = json.loads(speech)
    watched = orders.get("watch", [])

    def after_step(step):
        if step == 0:
            watch(Piece(b"header", 0))
        watch(Piece(b"piece %d of process %d" % (step, os.getpid()), watched[step]))

    work(orders, "render", progress, after_step=after_step if watched else lambda step: None)
    out.write_bytes(b"%s says %s before %s" % (subject, speech, behind))
    view = options.view.model_copy(update={"yaw_deg": min(options.view.yaw_deg, VIEW_LIMITS["yaw_deg"][1])})
    full = "footage" in read_json(run.subject) and options.frame != "portrait" and not options.portrait_only()
    size = FULL_FRAME if full else {"width": 64, "height": 64}
    frames = sum(watched) or round(25 * (duration_s or 1.0))
    return SimpleNamespace(
        frame="full" if full else "portrait", frames=frames, duration_s=frames / 25, **size, view=view
    )


CORE = CoreFunctions(
    preprocess=preprocess,
    train=train,
    check_prior=check_prior,
    learn_prior=learn_prior,
    evaluate=evaluate,
    views=views,
    still=still,
    load=load,
    render=render,
    weights={"preprocess": {"track": 1}, "train": {"head": 9, "evaluate": 1}, "render": {"render": 1}},
    ffmpeg=lambda: "9.0.2, packaged",
    gpu=lambda: None,
    free=free,
    provenance=NoSeal,
    speech=StubVoices,
    transcriber=StubTranscriber,
    thumbnail=lambda video, out: out.write_bytes(b"picture of " + video.read_bytes()[:5]),
    clip=lambda video, out: out.write_bytes(b"clip"),
)
