"""The errors of the core. Each class has a stable `code` and a `remedy`; its docstring says when it is raised.

    AdnerfError                 internal_error
    ├── MediaError              media_error
    │   ├── NotMedia            not_media
    │   ├── NoVideo             no_video
    │   ├── NoAudio             no_audio
    │   ├── SilentAudio         silent_audio
    │   ├── NoSpeech            no_speech
    │   ├── AudioTooShort       audio_too_short
    │   ├── MediaTooLong        media_too_long
    │   └── MediaTooLarge       media_too_large
    ├── FootageError            footage_error
    │   ├── TooShort            too_short
    │   ├── NoFaceFound         no_face_found
    │   ├── SeveralFaces        several_faces
    │   ├── FaceTooSmall        face_too_small
    │   ├── SceneCut            scene_cut
    │   ├── FaceTurned          face_turned
    │   └── FaceOutOfView       face_out_of_view
    ├── TrainingCollapsed       training_collapsed
    ├── NotReady                not_ready
    ├── FullFrameUnavailable    full_frame_unavailable
    ├── BadFolder               bad_folder
    ├── NothingToSay            nothing_to_say
    ├── CaptionsUnavailable     captions_unavailable
    ├── LabelUnavailable        label_unavailable
    ├── MissingBackend          missing_backend
    ├── NoSuchDevice            no_such_device
    ├── DiskFull                disk_full
    └── OutOfMemory             out_of_memory

`Cancelled` (progress.py) is not among them: it is raised by the caller's Progress to stop the work.
"""

from __future__ import annotations

ACCEPTED_MEDIA = (
    "Send an MP4, MOV, MKV, WebM, AVI, MTS or WMV video, "
    "or WAV, MP3, M4A, FLAC, OGG, AAC, AC-3, AIFF, CAF, AMR, AU, W64 or WMA audio"
)
"""The formats that are read, as the start of a remedy. 3GP and M4V are kinds of MP4, TS of MTS."""


class AdnerfError(Exception):
    """Base of all errors of the core: `code` is stable, `message` says what is wrong, `remedy` how to correct it.

    `details` are texts of libraries, for logs and the command line; a service does not show them to its clients.
    """

    code = "internal_error"
    remedy = "Try again; if it happens again, report it to the operator, with the job's id if there is one."

    def __init__(self, message: str, remedy: str | None = None, *, details: object = ""):
        """Makes an error; `remedy` replaces that of the class."""
        super().__init__(message)
        self.message, self.details = message, str(details)
        if remedy is not None:
            self.remedy = remedy

    def __str__(self) -> str:
        details = f" ({self.details})" if self.details else ""
        return f"{self.message}{details} {self.remedy}"


class MediaError(AdnerfError):
    """A video or audio file that cannot be used."""

    code = "media_error"


class NotMedia(MediaError):
    """The file cannot be read by ffmpeg, or its format is not allowed."""

    code = "not_media"
    remedy = f"{ACCEPTED_MEDIA}, whole and undamaged."


class NoVideo(MediaError):
    """The file has no video stream, but one is needed."""

    code = "no_video"
    remedy = "Send a video file in which the person can be seen."


class NoAudio(MediaError):
    """The file has no audio stream, but one is needed."""

    code = "no_audio"
    remedy = "Send a file with a sound track."


class SilentAudio(MediaError):
    """The audio is silent."""

    code = "silent_audio"
    remedy = "Check the microphone, and send a recording in which the speech can be heard."


class NoSpeech(MediaError):
    """The audio is not silent, but it does not match the lips."""

    code = "no_speech"
    remedy = "Send footage in which the person speaks, with the voice of that person as its audio."


class AudioTooShort(MediaError):
    """The speech is shorter than 0.3 s."""

    code = "audio_too_short"
    remedy = "Send at least 0.3 s of audio."


class MediaTooLong(MediaError):
    """The file is longer than the limit."""

    code = "media_too_long"
    remedy = "Cut the file into shorter parts."


class MediaTooLarge(MediaError):
    """A frame has more pixels than the limit."""

    code = "media_too_large"
    remedy = "Scale the video down to at most 4096x4096 pixels."


class FootageError(AdnerfError):
    """A reference video that plays, but is not suitable for making a subject."""

    code = "footage_error"


class TooShort(FootageError):
    """Less than 8 s of the footage are usable."""

    code = "too_short"
    remedy = "Record at least 8 s of speech facing the camera; one to three minutes are best."


class NoFaceFound(FootageError):
    """Hardly any frame shows a face."""

    code = "no_face_found"
    remedy = "Record one person, facing the camera, well lit, head and shoulders in the picture."


class SeveralFaces(FootageError):
    """The footage shows more than one person, and it cannot be told which one speaks."""

    code = "several_faces"
    remedy = "Say with `face` where the person is and when, crop the video to that person, or record one person alone."


class FaceTooSmall(FootageError):
    """The face has too few pixels."""

    code = "face_too_small"
    remedy = "Move the camera closer: the face should be at least 48 pixels high, 250 or more are best."


class SceneCut(FootageError):
    """No person is seen for long enough in one framing, because the footage has cuts."""

    code = "scene_cut"
    remedy = "Send footage in which the same person speaks for at least 8 s in the same framing; cuts are allowed."


class FaceTurned(FootageError):
    """The picture stands on its head or lies on its side."""

    code = "face_turned"
    remedy = "Turn the video upright in any video editor, and send it again."


class FaceOutOfView(FootageError):
    """The face is out of view, or not whole, in so much of the footage that too little is left."""

    code = "face_out_of_view"
    remedy = "Stay in the picture and face the camera for at least 8 s."


class TrainingCollapsed(AdnerfError):
    """The trained fields render only background, even after all restarts."""

    code = "training_collapsed"
    remedy = "Retry; if it happens again, record with even light and a background that differs from the person."


class NotReady(AdnerfError):
    """A dataset or a run is unfinished or damaged."""

    code = "not_ready"
    remedy = "Let the earlier step finish first."


class FullFrameUnavailable(AdnerfError):
    """A full frame is requested of a run without footage, which an earlier version made, or without a frame that may be shown."""

    code = "full_frame_unavailable"
    remedy = "Create the subject again from its footage, or ask for frame `portrait`."


class BadFolder(AdnerfError):
    """A folder to import is not as AD-NeRF's preprocessing writes it."""

    code = "bad_folder"
    remedy = (
        "Give a complete folder as AD-NeRF's preprocessing writes it, with transforms_train.json, transforms_val.json, aud.npy, "
        "ori_imgs, parsing and bc.jpg."
    )


class NothingToSay(AdnerfError):
    """The voice can read nothing of a script, for example because it is written in the letters of another language."""

    code = "nothing_to_say"
    remedy = (
        "Write the script in the language of the voice, or choose a voice of the script's language (GET /v1/voices)."
    )


class CaptionsUnavailable(AdnerfError):
    """The words of a recording are not known: no recogniser understands its language. A video is made without captions then."""

    code = "captions_unavailable"
    remedy = "Send the text as `script`, or ask the operator for a recogniser of this language (ADNERF_RECOGNISER_URL)."


class LabelUnavailable(AdnerfError):
    """No font has the letters of a visible label. A video is made with the usual label then."""

    code = "label_unavailable"
    remedy = (
        "Ask the operator to install a font of this script (apt install fonts-noto-cjk, or a file in ADNERF_FONTS_DIR)."
    )


class MissingBackend(AdnerfError):
    """An optional library or model file is missing."""

    code = "missing_backend"
    remedy = "Install it, or ask the operator to install it."


class NoSuchDevice(AdnerfError):
    """CUDA is requested, but not available."""

    code = "no_such_device"
    remedy = "Use the CPU (--device cpu; for a worker, ADNERF_DEVICE=cpu), or install a CUDA build of torch and a driver for the GPU."


class DiskFull(AdnerfError):
    """There is no space left for the output."""

    code = "disk_full"
    remedy = "Free disk space where the data are stored, then retry: the work continues where it stopped."


class OutOfMemory(AdnerfError):
    """The memory does not suffice."""

    code = "out_of_memory"
    remedy = "For a video, choose a smaller size; for a subject, a smaller preset. Or use a machine with more memory."
