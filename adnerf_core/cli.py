"""The command line of the core: each command parses its options and calls the function that does the work.

torch is imported inside the commands, so that `--help` and refused options answer at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from pydantic import ValidationError
from typer import Argument, BadParameter, Option

from adnerf_core.cli_options import (
    FEATURES,
    DatasetArgument,
    DeviceOption,
    DurationOption,
    FrameOption,
    KeyOption,
    LabelOption,
    MarkOption,
    SpeechArgument,
    SubjectArgument,
    TrackerModelOption,
    TrackerOption,
    feature_name,
)
from adnerf_core.cli_progress import progress_bar
from adnerf_core.config import (
    PRESETS,
    Background,
    Config,
    FaceChoice,
    PreprocessConfig,
    PresetName,
    RenderOptions,
    ViewChange,
)
from adnerf_core.errors import AdnerfError
from adnerf_core.files.run_dir import RunDir

if TYPE_CHECKING:
    from adnerf_core.synthesis.render import RenderedVideo

EXAMPLES = """\b
Examples:
  python -m adnerf_core preprocess me.mp4 --out data/me
  python -m adnerf_core train data/me --out runs/me --preset standard
  python -m adnerf_core render runs/me say.wav --out me_says.mp4
  python -m adnerf_core render runs/me say.wav --out turned.mp4 --yaw 10 --background '#20a040'
  python -m adnerf_core detect-mark me_says.mp4
  python -m adnerf_core evaluate runs/me --json figures.json
  python -m adnerf_core import-adnerf obama data/obama"""

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C stops: 128 + SIGINT, as shells report it; typer exits with it."""

app = typer.Typer(
    help="Turns a video of a person into a subject, and speech into a video of that person saying it.",
    epilog=EXAMPLES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        from adnerf_core.files.ffmpeg_choice import ffmpeg_version

        print(f"adnerf {version('adnerf')}; ffmpeg {ffmpeg_version()}")
        raise typer.Exit


@app.callback()
def _program(
    versions: Annotated[
        bool | None,
        Option(
            "--version", is_eager=True, callback=_print_version, help="Print the versions of adnerf and its ffmpeg."
        ),
    ] = None,
) -> None:
    """Turns a video of a person into a subject, and speech into a video of that person saying it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The command line without the program's name; None takes it from sys.argv.

    Returns:
        0, or 1 after the code, message and remedy of an AdnerfError, or the name of a missing package, went to stderr, or 130 after Ctrl-C.

    Raises:
        SystemExit: With status 2 if the command line is wrong.
    """
    try:
        words = _fill_in_label(sys.argv[1:] if arguments is None else arguments)
        typer.main.get_command(app).main(words, prog_name="python -m adnerf_core")
    except AdnerfError as error:
        details = f" ({error.details})" if error.details else ""
        print(f"{error.code}: {error.message}{details}\n{error.remedy}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "adnerf").startswith("adnerf"):
            raise
        print(
            f"There is no {error.name}: pip install 'adnerf[worker]', then what README says under `Install it`.",
            file=sys.stderr,
        )
        return 1
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("stopped; finished work is kept, and the same command continues from there", file=sys.stderr)
        elif end.code:
            raise
        return int(end.code or 0)
    return 0


def _fill_in_label(arguments: Sequence[str]) -> list[str]:
    """Gives a bare `--label` its default text; typer has no options with an optional value."""
    words = list(arguments)
    for i, word in enumerate(words):
        if word == "--label" and (i + 1 == len(words) or words[i + 1].startswith("-")):
            from adnerf_core.synthesis.visible_label import DEFAULT_TEXT

            words[i] = f"--label={DEFAULT_TEXT}"
    return words


ConfigT = TypeVar("ConfigT", bound=Config)


def _checked(model: type[ConfigT], **values: Any) -> ConfigT:
    """Builds a configuration; a refused value becomes a usage error that names its field."""
    try:
        return model(**values)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise BadParameter("\n".join(problems)) from error


@app.command("preprocess")
def _preprocess(
    video: Annotated[Path, Argument(help="Video of a person speaking, any common format.")],
    out: Annotated[Path, Option(metavar="DATASET", help="Folder to write; an unfinished one is continued.")],
    tracker: TrackerOption = "facemesh",
    tracker_model: TrackerModelOption = None,
    features: Annotated[
        str, Option(parser=feature_name, metavar="NAME", help=f"Audio features: {FEATURES}.")
    ] = "mel+phones",
    max_size: Annotated[int, Option(metavar="PX", help="Largest edge of the stored square picture.")] = 512,
    audio_track: Annotated[
        int | None,
        Option(metavar="N", help="Sound track of the video, from 1 on.  [default: the one that holds speech]"),
    ] = None,
    face: Annotated[
        tuple[float, float, float] | None,
        Option(
            metavar="X Y SECOND",
            help="Which face, if there are several: its middle (0..1 from the upper left), and when.",
        ),
    ] = None,
) -> None:
    """Turns a reference video into a dataset: tracked, segmented, and aligned with its sound."""
    from adnerf_core.preprocess.pipeline import preprocess

    choice = face and _checked(FaceChoice, x=face[0], y=face[1], second=face[2])
    config = _checked(
        PreprocessConfig,
        tracker=tracker,
        tracker_model=tracker_model,
        features=features,
        max_size=max_size,
        audio_track=audio_track,
        face=choice,
    )
    with progress_bar() as progress:
        dataset = preprocess(video, out, config, progress)
    print(json.dumps(json.loads((dataset.root / "footage.json").read_text()), indent=1))


@app.command("train")
def _train(
    dataset: DatasetArgument,
    out: Annotated[Path, Option(metavar="RUN", help="Folder to write; an unfinished run is continued.")],
    preset: Annotated[PresetName, Option(help="Size and length of the training.")] = "standard",
    device: DeviceOption = "cpu",
    size: Annotated[int | None, Option(metavar="PX", help="Edge of the picture.  [default: the preset's]")] = None,
    seed: Annotated[int, Option(help="Equal seeds give equal runs.")] = 0,
) -> None:
    """Turns a dataset into a run: trains the audio encoder, the head field and the torso field."""
    from adnerf_core.data.dataset import SubjectDataset
    from adnerf_core.training.train import train

    changes = {"device": device, "seed": seed} | ({"size": size} if size else {})
    config = _checked(type(PRESETS[preset]), **{**PRESETS[preset].model_dump(), **changes})
    with progress_bar() as progress:
        run = train(SubjectDataset(dataset), RunDir(out), config, progress)
    print(f"trained: {run.root}")


@app.command("render")
def _render(
    subject: SubjectArgument,
    out: Annotated[Path, Option(metavar="OUT.mp4", help="Video to write, .mp4 or .webm.")],
    audio: SpeechArgument = None,
    duration: DurationOption = None,
    frame: FrameOption = None,
    size: Annotated[
        int | None, Option(metavar="PX", help="Longest edge of the video.  [default: the footage's or the portrait's]")
    ] = None,
    pose: Annotated[Literal["track", "still"], Option(help="Head motion of the footage, or a still pose.")] = "track",
    motion: Annotated[float, Option(help="Scale of the head's motion in a portrait, 0 (none) to 1.5.")] = 1.0,
    yaw: Annotated[float, Option(metavar="DEG", help="Turn of the head, added to the pose, -30..30 degrees.")] = 0.0,
    pitch: Annotated[float, Option(metavar="DEG", help="Nod upwards, likewise.")] = 0.0,
    roll: Annotated[float, Option(metavar="DEG", help="Tilt, likewise.")] = 0.0,
    zoom: Annotated[float, Option(help="Scale of the person, 0.5..2.")] = 1.0,
    x: Annotated[float, Option(help="Shift to the right, in widths of the picture.")] = 0.0,
    y: Annotated[float, Option(help="Shift down, in heights of the picture.")] = 0.0,
    background: Annotated[
        str, Option(metavar="B", help="original, transparent (for .webm), #rrggbb, or a picture file.")
    ] = "original",
    seed: Annotated[int, Option(help="Seed of the blinks and the sway of a still pose.")] = 0,
    label: LabelOption = None,
    device: DeviceOption = "cpu",
    mark: MarkOption = None,
    key: KeyOption = None,
) -> None:
    """Turns speech into a video of the run's subject saying it, or makes a silent loop."""
    from adnerf_core.synthesis.render import render
    from adnerf_core.watermark.spread_spectrum import PUBLIC_KEY, Watermark

    _check_length(audio, duration)
    kind, color, picture = _background(background)
    options = _checked(
        RenderOptions,
        frame=frame,
        size=size,
        pose=pose,
        motion=motion,
        view=_checked(ViewChange, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll, zoom=zoom, x=x, y=y),
        background=_checked(Background, kind=kind, color=color),
        format=out.suffix.lower().removeprefix("."),
        seed=seed,
        label=False if label is None else label,
    )
    watermark = None if mark is None else Watermark(mark, key or PUBLIC_KEY)
    inputs = {"duration_s": duration, "background": picture, "device": device, "mark": watermark}
    with progress_bar() as progress:
        result = render(RunDir(subject), audio, out, options, progress, **inputs)
    _report(out, result, options.view)


def _check_length(audio: Path | None, duration: float | None) -> None:
    """Refuses a video that has both speech and a duration, or neither, or a duration out of range."""
    from adnerf_core.synthesis.speech_codes import MAX_AUDIO_S, MIN_AUDIO_S

    if (audio is None) == (duration is None):
        raise BadParameter("give either AUDIO or --duration")
    if duration is not None and not MIN_AUDIO_S <= duration <= MAX_AUDIO_S:
        raise BadParameter(f"--duration is {MIN_AUDIO_S:g} to {MAX_AUDIO_S:g} s")


def _background(text: str) -> tuple[str, str | None, Path | None]:
    """Returns the kind of background that `--background` names, and its color or its picture."""
    if text in ("original", "transparent"):
        return text, None, None
    return ("color", text, None) if text.startswith("#") else ("image", None, Path(text))


def _report(out: Path, result: RenderedVideo, requested: ViewChange) -> None:
    """Prints what render wrote, and the view if the footage supports less than was requested."""
    print(f"{out}: {result.duration_s:.2f} s, {result.frames} frames of {result.width}x{result.height}, {result.frame}")
    view = result.view
    if view != requested:
        print(
            f"the footage supports less: yaw {view.yaw_deg:g}, pitch {view.pitch_deg:g}, roll {view.roll_deg:g} degrees"
        )


@app.command("detect-mark")
def _detect_mark(
    video: Annotated[Path, Argument(help="Any common format; also if it was scaled, cut or re-encoded since.")],
    key: KeyOption = None,
) -> None:
    """Prints the number that is embedded in a video as a watermark, as JSON."""
    from adnerf_core.watermark.detect import detect
    from adnerf_core.watermark.spread_spectrum import PUBLIC_KEY

    detection = detect(video, key or PUBLIC_KEY)
    print(json.dumps({"found": False} if detection is None else {"found": True, **asdict(detection)}))


@app.command("evaluate")
def _evaluate(
    subject: SubjectArgument,
    reference: Annotated[
        Path | None, Option(metavar="VIDEO", help="Video of another speaker, whose lips are compared instead.")
    ] = None,
    audio: Annotated[
        Path | None, Option(help="Speech of the other speaker.  [default: the sound of --reference]")
    ] = None,
    json_file: Annotated[Path | None, Option("--json", metavar="FILE", help="Write the figures there too.")] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Measures a run on its held-out footage (its dataset must still be there), or with another speaker's voice."""
    from adnerf_core.evaluation.cross_driven import evaluate_cross_driven
    from adnerf_core.evaluation.evaluate import evaluate

    if audio and not reference:
        raise BadParameter("--audio needs --reference, a video of the person who speaks")
    run = RunDir(subject)
    with progress_bar() as progress:
        figures = (
            evaluate_cross_driven(run, reference, audio, progress, device=device)
            if reference
            else evaluate(run, progress, device=device)
        )
    text = json.dumps(figures, indent=1)
    if json_file:
        json_file.write_text(text + "\n")
    print(text)


@app.command("import-adnerf")
def _import_adnerf(
    folder: Annotated[
        Path, Argument(help="Holds transforms_train.json, transforms_val.json, aud.npy, ori_imgs and so on.")
    ],
    dataset: Annotated[Path, Argument(help="Folder to write.")],
    features: Annotated[
        str | None,
        Option(
            parser=feature_name,
            metavar="NAME",
            help="Compute these from aud.wav, so that new speech can be rendered.  [default: the windows of aud.npy]",
        ),
    ] = None,
    tracker: TrackerOption = "facemesh",
    tracker_model: TrackerModelOption = None,
) -> None:
    """Turns a folder of AD-NeRF's preprocessing into a dataset."""
    from adnerf_core.interop.import_adnerf import import_adnerf

    with progress_bar() as progress:
        imported = import_adnerf(
            folder, dataset, progress, features=features, tracker=tracker, tracker_model=tracker_model
        )
    frames = int(imported.track().valid.sum())
    name = imported.manifest["features"]["name"]
    print(f"imported: {imported.root}, {frames} frames with a face, {name} features")


@app.command("export-adnerf")
def _export_adnerf(dataset: DatasetArgument, folder: Annotated[Path, Argument(help="Folder to write.")]) -> None:
    """Writes a dataset in the folder layout of AD-NeRF's preprocessing."""
    from adnerf_core.data.dataset import SubjectDataset
    from adnerf_core.interop.export_adnerf import export_adnerf

    with progress_bar() as progress:
        print(f"exported: {export_adnerf(SubjectDataset(dataset), folder, progress)}")
