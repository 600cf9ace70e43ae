"""The errors of the core. Each class has a stable `code`, and every message is followed by a remedy.

    AdnerfError                 code                 raised when
    ├── MediaError
    │   ├── NotMedia            not_media            ffmpeg cannot read it, or its container is not on the allow-list
    │   ├── NoVideo             no_video             no video stream where one is needed
    │   ├── NoAudio             no_audio             no audio stream where one is needed
    │   ├── SilentAudio         silent_audio         nothing can be heard
    │   ├── NoSpeech            no_speech            there is sound, but the lips do not go with it
    │   ├── AudioTooShort       audio_too_short      less than 0.3 s of audio to speak
    │   ├── MediaTooLong        media_too_long       longer than the limit
    │   └── MediaTooLarge       media_too_large      more pixels a frame than the limit
    ├── FootageError            (the video plays, but no subject can be made of it)
    │   ├── TooShort            too_short            less than 8 s usable
    │   ├── NoFaceFound         no_face_found        no face in (nearly) all frames
    │   ├── SeveralFaces        several_faces        more than one person
    │   ├── FaceTooSmall        face_too_small       the face has too few pixels
    │   ├── SceneCut            scene_cut            the picture jumps
    │   ├── MovingCamera        moving_camera        the background moves
    │   └── FaceOutOfView       face_out_of_view     the face is away for too long at a time
    ├── TrainingCollapsed       training_collapsed   only background is rendered, after all restarts
    ├── NotReady                not_ready            a dataset or run is unfinished or damaged
    ├── BadFolder               bad_folder           a folder to import is not as AD-NeRF's preprocessing writes it
    ├── MissingBackend          missing_backend      an optional library or model file is not there
    ├── NoSuchDevice            no_such_device       CUDA was asked for and is not there
    ├── DiskFull                disk_full            no space left where output is written
    └── OutOfMemory             out_of_memory        a limit on memory was hit

`Cancelled` is no error of ours: the caller's Progress raises it to stop the work (see progress.py).
"""

from __future__ import annotations


class AdnerfError(Exception):
    """Base of all errors of the core. `code` is stable, `message` says what is wrong, `remedy` what to do about it."""

    code = "internal_error"
    remedy = "Try again; if it happens again, report it with the log."

    def __init__(self, message: str, remedy: str | None = None):
        super().__init__(message)
        self.message = message
        if remedy is not None:
            self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"


class MediaError(AdnerfError):
    """A file that cannot be used as the medium it is meant to be."""

    code = "media_error"


class NotMedia(MediaError):
    code = "not_media"
    remedy = "Send an MP4, MOV, MKV, WebM or AVI video, or WAV, MP3, M4A, FLAC, OGG or AAC audio, whole and undamaged."


class NoVideo(MediaError):
    code = "no_video"
    remedy = "Send a video file in which the person can be seen."


class NoAudio(MediaError):
    code = "no_audio"
    remedy = "Send a file with a sound track."


class SilentAudio(MediaError):
    code = "silent_audio"
    remedy = "Check the microphone, and send a recording in which the speech can be heard."


class NoSpeech(MediaError):
    code = "no_speech"
    remedy = "Send footage of the person speaking, with their own voice as its sound."


class AudioTooShort(MediaError):
    code = "audio_too_short"
    remedy = "Send at least 0.3 s of audio."


class MediaTooLong(MediaError):
    code = "media_too_long"
    remedy = "Cut the file into shorter parts."


class MediaTooLarge(MediaError):
    code = "media_too_large"
    remedy = "Scale the video down to at most 4096x4096 pixels."


class FootageError(AdnerfError):
    """Footage that plays, but of which no subject can be made."""

    code = "footage_error"


class TooShort(FootageError):
    code = "too_short"
    remedy = "Record at least 8 s of speech facing the camera; one to three minutes are best."


class NoFaceFound(FootageError):
    code = "no_face_found"
    remedy = "Record one person, facing the camera, well lit, head and shoulders in the picture."


class SeveralFaces(FootageError):
    code = "several_faces"
    remedy = "Record one person alone, or crop the video to that person."


class FaceTooSmall(FootageError):
    code = "face_too_small"
    remedy = "Move the camera closer: the face should be at least 80 pixels high, 250 or more are best."


class SceneCut(FootageError):
    code = "scene_cut"
    remedy = "Send one continuous take; cut the file at the places named and send the longest part."


class MovingCamera(FootageError):
    code = "moving_camera"
    remedy = "Put the camera on a stand and record against a background that does not move."


class FaceOutOfView(FootageError):
    code = "face_out_of_view"
    remedy = "Stay in the picture and face the camera; cut out the part in which the face is away."


class TrainingCollapsed(AdnerfError):
    code = "training_collapsed"
    remedy = "Retry; if it happens again, record with even light and a background that differs from the person."


class NotReady(AdnerfError):
    code = "not_ready"
    remedy = "Run the earlier step to its end first."


class BadFolder(AdnerfError):
    code = "bad_folder"
    remedy = "Name a whole folder of AD-NeRF's: transforms_train.json, transforms_val.json, aud.npy, ori_imgs, parsing, bc.jpg."


class MissingBackend(AdnerfError):
    code = "missing_backend"
    remedy = "Install what the message names."


class NoSuchDevice(AdnerfError):
    code = "no_such_device"
    remedy = "Use --device cpu, or install a CUDA build of torch and a driver."


class DiskFull(AdnerfError):
    code = "disk_full"
    remedy = "Free some space where the data lie, then retry: the work goes on from what stands."


class OutOfMemory(AdnerfError):
    code = "out_of_memory"
    remedy = "Use a smaller preset or a machine with more memory."
