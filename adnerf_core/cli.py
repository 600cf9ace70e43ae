"""The core's command line: parse, then call the function of the same name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from pydantic import TypeAdapter, ValidationError

from adnerf_core.cli_progress import progress_bar
from adnerf_core.config import (
    PRESETS,
    Background,
    DeviceName,
    FeatureName,
    PreprocessConfig,
    RenderOptions,
    TrackerName,
    ViewChange,
)
from adnerf_core.errors import AdnerfError
from adnerf_core.files.run_dir import RunDir

EXAMPLES = """examples:
  python -m adnerf_core preprocess me.mp4 --out data/me
  python -m adnerf_core train data/me --out runs/me --preset standard
  python -m adnerf_core render runs/me say.wav --out me_says.mp4 --yaw 10 --background '#20a040'
  python -m adnerf_core detect-mark me_says.mp4
  python -m adnerf_core evaluate runs/me --json figures.json
  python -m adnerf_core import-adnerf obama data/obama"""


FEATURES_HELP = "audio features: mel, mel+phones, wav2vec2[:WEIGHTS] or hubert[:WEIGHTS], a folder or a hub id"
KEY_HELP = "file with a secret, 32 hexadecimal digits or more (default: a key that is public)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, or 1 after printing the error's code, message and remedy."""
    given = make_parser().parse_args(arguments)
    try:
        given.run(given)
    except AdnerfError as error:
        print(f"{error.code}: {error.message}\n{error.remedy}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what stands is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="python -m adnerf_core",
        description="A person's video becomes a subject; speech becomes a video of that person saying it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_preprocess, _add_train, _add_render, _add_detect, _add_evaluate, _add_import, _add_export):
        add(commands)
    return parser


def _add_preprocess(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "preprocess", help="a reference video becomes a dataset: tracked, parsed, aligned with its sound"
    )
    p.add_argument("video", type=Path, help="one person speaking, camera still; any common format")
    p.add_argument(
        "--out", type=Path, required=True, metavar="DATASET", help="folder to write; an unfinished one is gone on with"
    )
    p.add_argument(
        "--tracker", choices=get_args(TrackerName), default="facemesh", help="face tracker (default: %(default)s)"
    )
    p.add_argument(
        "--tracker-model", metavar="FILE", help="model file of the landmarker tracker (face_landmarker.task)"
    )
    p.add_argument(
        "--features",
        type=_feature_name,
        default="mel+phones",
        metavar="NAME",
        help=f"{FEATURES_HELP} (default: %(default)s)",
    )
    p.add_argument(
        "--max-size",
        type=int,
        default=512,
        metavar="PX",
        help="edge of the stored portrait, at most (default: %(default)s)",
    )
    p.set_defaults(run=_preprocess)


def _add_train(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "train", help="a dataset becomes a run: the audio encoder, the head's field, the torso's field"
    )
    p.add_argument("dataset", type=Path, help="folder that preprocess wrote")
    p.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="folder to write; an unfinished run is gone on with"
    )
    p.add_argument(
        "--preset", choices=list(PRESETS), default="standard", help="size and length of training (default: %(default)s)"
    )
    p.add_argument(
        "--device", choices=get_args(DeviceName), default="cpu", help="where to train (default: %(default)s)"
    )
    p.add_argument("--size", type=int, metavar="PX", help="edge of the picture; default: the preset's")
    p.add_argument("--seed", type=int, default=0, help="equal seeds give equal runs (default: %(default)s)")
    p.set_defaults(run=_train)


def _add_render(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("render", help="speech becomes a video of the run's subject saying it")
    p.add_argument("subject", type=Path, metavar="RUN", help="folder that train wrote")
    p.add_argument("audio", type=Path, help="speech; any common format, or a video's sound")
    p.add_argument("--out", type=Path, required=True, metavar="OUT.mp4", help="video to write, .mp4 or .webm")
    p.add_argument("--size", type=int, metavar="PX", help="edge of the video (default: the subject's own)")
    p.add_argument(
        "--pose",
        choices=("track", "still"),
        default="track",
        help="head motion of the footage, or none (default: %(default)s)",
    )
    for name, what in (("yaw", "turn of the head"), ("pitch", "nod upwards"), ("roll", "tilt")):
        p.add_argument(
            f"--{name}", type=float, default=0.0, metavar="DEG", help=f"{what}, added to the pose, -30..30 degrees"
        )
    p.add_argument("--zoom", type=float, default=1.0, help="scale of the person, 0.5..2 (default: %(default)s)")
    p.add_argument("--x", type=float, default=0.0, help="shift to the right, in widths of the picture")
    p.add_argument("--y", type=float, default=0.0, help="shift down, in heights of the picture")
    p.add_argument(
        "--background",
        default="original",
        metavar="B",
        help="original, transparent (for .webm), #rrggbb, or a picture file",
    )
    p.add_argument("--seed", type=int, default=0, help="of blinks and sway in a still pose (default: %(default)s)")
    p.add_argument(
        "--label", nargs="?", const=True, default=False, metavar="WORDS", help="show words in a corner (AI-generated)"
    )
    p.add_argument(
        "--device", choices=get_args(DeviceName), default="cpu", help="where to render (default: %(default)s)"
    )
    p.add_argument(
        "--mark",
        type=_mark_number,
        metavar="NUMBER",
        help="number of up to 48 bits, written into the pictures invisibly",
    )
    p.add_argument("--key-file", type=_key, dest="key", metavar="FILE", help=f"{KEY_HELP}, to write the mark with")
    p.set_defaults(run=_render)


def _add_detect(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("detect-mark", help="the number that was written into a video, as JSON")
    p.add_argument("video", type=Path, help="any common format; scaled, cut or coded again since it was rendered")
    p.add_argument("--key-file", type=_key, dest="key", metavar="FILE", help=f"{KEY_HELP}, that it was written with")
    p.set_defaults(run=_detect)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "evaluate",
        help="figures and pictures on the part of the footage that training never saw, or with another's voice",
    )
    p.add_argument("subject", type=Path, metavar="RUN", help="folder that train wrote; its dataset must still be there")
    p.add_argument(
        "--reference",
        type=Path,
        metavar="VIDEO",
        help="another speaker: compare the lips that speech is given with theirs",
    )
    p.add_argument("--audio", type=Path, help="what the other speaker says (default: the sound of --reference)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    p.add_argument(
        "--device", choices=get_args(DeviceName), default="cpu", help="where to render (default: %(default)s)"
    )
    p.set_defaults(run=_evaluate, parser=p)


def _add_import(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("import-adnerf", help="a folder of AD-NeRF's preprocessing becomes a dataset")
    p.add_argument("folder", type=Path, help="with transforms_train.json, transforms_val.json, aud.npy, ori_imgs, ...")
    p.add_argument("dataset", type=Path, help="folder to write")
    p.add_argument(
        "--features",
        type=_feature_name,
        metavar="NAME",
        help="compute these from aud.wav, so that new speech can be rendered (default: keep the windows of aud.npy)",
    )
    p.add_argument(
        "--tracker", choices=get_args(TrackerName), default="facemesh", help="face tracker (default: %(default)s)"
    )
    p.add_argument("--tracker-model", metavar="FILE", help="model file of the landmarker tracker")
    p.set_defaults(run=_import)


def _add_export(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("export-adnerf", help="a dataset in the folder layout of AD-NeRF's preprocessing")
    p.add_argument("dataset", type=Path, help="folder that preprocess wrote")
    p.add_argument("folder", type=Path, help="folder to write")
    p.set_defaults(run=_export)


def _preprocess(given: argparse.Namespace) -> None:
    from adnerf_core.preprocess.pipeline import preprocess

    config = _checked(
        PreprocessConfig,
        tracker=given.tracker,
        tracker_model=given.tracker_model,
        features=given.features,
        max_size=given.max_size,
    )
    with progress_bar() as progress:
        dataset = preprocess(given.video, given.out, config, progress)
    print(json.dumps(json.loads((dataset.root / "footage.json").read_text()), indent=1))


def _train(given: argparse.Namespace) -> None:
    from adnerf_core.data.dataset import SubjectDataset
    from adnerf_core.training.train import train

    changes = {"device": given.device, "seed": given.seed} | ({"size": given.size} if given.size else {})
    config = _checked(type(PRESETS[given.preset]), **{**PRESETS[given.preset].model_dump(), **changes})
    with progress_bar() as progress:
        run = train(SubjectDataset(given.dataset), RunDir(given.out), config, progress)
    print(f"trained: {run.root}")


def _render(given: argparse.Namespace) -> None:
    from adnerf_core.synthesis.render import render
    from adnerf_core.watermark.spread_spectrum import PUBLIC_KEY, Watermark

    named = given.background in ("original", "transparent")
    kind = given.background if named else "color" if given.background.startswith("#") else "image"
    options = _checked(
        RenderOptions,
        size=given.size,
        pose=given.pose,
        view=_checked(
            ViewChange,
            yaw_deg=given.yaw,
            pitch_deg=given.pitch,
            roll_deg=given.roll,
            zoom=given.zoom,
            x=given.x,
            y=given.y,
        ),
        background=_checked(Background, kind=kind, color=given.background if kind == "color" else None),
        format=given.out.suffix.lower().removeprefix("."),
        seed=given.seed,
        label=given.label,
    )
    picture = Path(given.background) if kind == "image" else None
    mark = None if given.mark is None else Watermark(given.mark, given.key or PUBLIC_KEY)
    with progress_bar() as progress:
        done = render(
            RunDir(given.subject),
            given.audio,
            given.out,
            options,
            progress,
            background=picture,
            device=given.device,
            mark=mark,
        )
    print(f"{given.out}: {done.duration_s:.2f} s, {done.frames} frames of {done.width}x{done.height}")
    if done.view != options.view:
        used = done.view
        print(
            f"the footage supports less: yaw {used.yaw_deg:g}, pitch {used.pitch_deg:g}, roll {used.roll_deg:g} degrees"
        )


def _detect(given: argparse.Namespace) -> None:
    from adnerf_core.watermark.detect import detect
    from adnerf_core.watermark.spread_spectrum import PUBLIC_KEY

    found = detect(given.video, given.key or PUBLIC_KEY)
    print(json.dumps({"found": False} if found is None else {"found": True, **asdict(found)}))


def _evaluate(given: argparse.Namespace) -> None:
    from adnerf_core.evaluation.cross_driven import evaluate_cross_driven
    from adnerf_core.evaluation.evaluate import evaluate

    if given.audio and not given.reference:
        given.parser.error("--audio needs --reference, a video of the one who speaks")
    run = RunDir(given.subject)
    with progress_bar() as progress:
        if given.reference:
            figures = evaluate_cross_driven(run, given.reference, given.audio, progress, device=given.device)
        else:
            figures = evaluate(run, progress, device=given.device)
    text = json.dumps(figures, indent=1)
    if given.json:
        given.json.write_text(text + "\n")
    print(text)


def _import(given: argparse.Namespace) -> None:
    from adnerf_core.interop.import_adnerf import import_adnerf

    with progress_bar() as progress:
        dataset = import_adnerf(
            given.folder,
            given.dataset,
            progress,
            features=given.features,
            tracker=given.tracker,
            tracker_model=given.tracker_model,
        )
    kept = int(dataset.track().valid.sum())
    print(f"imported: {dataset.root}, {kept} frames with a face, {dataset.manifest['features']['name']} features")


def _export(given: argparse.Namespace) -> None:
    from adnerf_core.data.dataset import SubjectDataset
    from adnerf_core.interop.export_adnerf import export_adnerf

    with progress_bar() as progress:
        print(f"exported: {export_adnerf(SubjectDataset(given.dataset), given.folder, progress)}")


def _feature_name(text: str) -> str:
    """Raises the parser's kind of error for what is no FeatureName."""
    try:
        return TypeAdapter(FeatureName).validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} are no {FEATURES_HELP}") from error


def _mark_number(text: str) -> int:
    """Raises the parser's kind of error for what cannot be a mark's number."""
    from adnerf_core.watermark.spread_spectrum import BITS

    if not text.isdecimal() or int(text) >> BITS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 2**{BITS} - 1")
    return int(text)


def _key(text: str) -> bytes:
    """The bytes that a key file says. Raises the parser's kind of error for what cannot be one."""
    from adnerf_core.watermark.spread_spectrum import KEY_BYTES

    try:
        key = bytes.fromhex(Path(text).read_text())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} holds no hexadecimal digits") from error
    if len(key) < KEY_BYTES:
        raise argparse.ArgumentTypeError(f"{text} has {len(key)} bytes; a key has {KEY_BYTES} or more")
    return key


def _checked(model, **values):
    """A configuration model, or the parser's kind of exit with its complaint in words."""
    try:
        return model(**values)
    except ValidationError as error:
        for problem in error.errors():
            print(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}", file=sys.stderr)
        raise SystemExit(2) from error
