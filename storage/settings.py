"""The service's settings, and the only reader of the environment.

The variable of a setting is `ADNERF_` and the field's name in capitals. docs/operations.md lists them with the same texts.
Only `load` reads the environment. A `.env` file is never read here: the one beside this project is Docker Compose's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from storage.errors import BadSetting

PREFIX = "ADNERF_"

LONGEST_S = 1e9
"""Longest time that a setting can name: 31 years, which all calculations with times can hold."""
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]

SHORTEST_LINK_S, LONGEST_LINK_S = 1.0, 7 * 86_400.0
"""Limits of a signed link's lifetime: it is in whole seconds, and S3's signatures last a week at most."""

NOTIFY_SOCKET = "NOTIFY_SOCKET"
"""The variable in which a supervisor, such as systemd, names its socket to its children; see `notify_socket`."""

RATE = re.compile(r"[1-9]\d* ?(/|per) ?([1-9]\d* ?)?(second|minute|hour|day|month|year)s?", re.IGNORECASE)
"""The rates that api/middleware/rate_limit.py understands."""

BUNDLE_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
"""32 bytes in Base64."""
BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9](/(?!\.)[^/?#]+)*/?")
"""A bucket by S3's rules for names, old ones included, and a folder in it whose parts do not begin with a dot."""

REGION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
"""The name of a region is a label of a host name, because it becomes one."""

WEB = ("http", "https"), "https://host:9000"
ADDRESSES = {
    "s3_endpoint_url": WEB,
    "s3_public_url": WEB,
    "timestamp_url": WEB,
    "speech_url": (WEB[0], "https://host/v1"),
    "recogniser_url": (WEB[0], "https://host/v1"),
    "broker_url": (("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "memory"), "redis://host:6379/0"),
}
"""The settings that are addresses: their schemes and an example. Several sentinels are separated by semicolons."""

OF_CLIENTS = ("ADNERF_URL", "ADNERF_API_KEY", "ADNERF_TOKEN_FILE")
"""Variables with the prefix that are not settings of the service: the client reads them."""


ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+")
"""What browsers send as Origin (RFC 6454, section 7)."""
LARGEST = ("max_video_bytes", "max_audio_bytes", "max_image_bytes", "max_consent_clip_bytes", "quota_stored_bytes")
MOST_BYTES = (1 << 63) - 1
"""The settings that the database compares with numbers of bytes, and its largest number."""


class Settings(BaseSettings):
    """The settings of one process. The defaults run the service on one machine, with SQLite and a local folder.

    Secrets, and URLs that may hold a password, are left out of the printed form. Sizes are in bytes, times in seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    data_dir: Path = Path("data")
    """Folder for everything that this machine stores: the SQLite database, objects, scratch files, lock files."""
    database_url: str = Field("", repr=False)
    """SQLAlchemy URL of the database; empty: SQLite in the data folder."""
    broker_url: str = Field("", repr=False)
    """URL of Celery's broker, such as `redis://host:6379/0`; empty: no broker, workers poll the database for jobs."""
    store_url: str = ""
    """Object store, such as `s3://bucket` or `s3://bucket/folder`; empty: a folder in the data folder."""
    s3_endpoint_url: str = ""
    """URL of an S3-compatible store; empty: Amazon S3."""
    s3_public_url: str = ""
    """URL at which clients reach the S3-compatible store, for download links; empty: the API streams downloads itself."""
    s3_region: str = "us-east-1"
    """Region of the bucket; the default is the one that S3-compatible stores usually expect."""
    s3_access_key: str = ""
    """Access key for the bucket; empty: boto3 searches its usual places (environment, profiles, roles)."""
    s3_secret_key: SecretStr = SecretStr("")
    """Secret that belongs to the access key."""
    link_s: Seconds = 3600.0
    """Lifetime of a signed download link; an hour lets a slow client resume a download, and limits what a leaked link gives."""
    log: Literal["auto", "human", "json"] = "auto"
    """Log format: `json` (one object per line), `human`, or `auto` (`human` if stderr is a terminal, otherwise `json`)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that workers compute on: `cpu`, `cuda`, or `auto` (CUDA if there is a GPU)."""
    cuda_graphs: bool = False
    """Whether trainings on CUDA capture their steps as CUDA graphs, which may save time. Never run on a GPU yet."""
    ffmpeg: str = ""
    """Path of the ffmpeg that workers run; empty: the packaged one. Another must have all that is needed, else their jobs fail."""
    max_video_bytes: PositiveInt = 2 << 30
    """Largest reference video; 2 GiB hold the 10 minutes that preprocessing reads, at up to 28 Mbit/s."""
    max_audio_bytes: PositiveInt = 200 << 20
    """Largest audio file; 200 MiB hold 18 minutes of uncompressed 48 kHz stereo (16 bit)."""
    max_image_bytes: PositiveInt = 20 << 20
    """Largest background image; 20 MiB hold an uncompressed picture of 7 megapixels."""
    consent_clip: Literal["off", "optional", "required"] = "off"
    """Whether new subjects take (`optional`) or need (`required`) a clip in which the person speaks the consent; `off`: they take none."""
    max_consent_clip_bytes: PositiveInt = 200 << 20
    """Largest clip of spoken consent; 200 MiB hold the longest one, 60 s, at up to 28 Mbit/s."""
    max_open_uploads: PositiveInt = 20
    """Unfinished or unused resumable uploads per owner; each may hold up to the largest file size on disk."""
    upload_idle_s: Seconds = 24 * 3600.0
    """A resumable upload that receives no bytes for this time is deleted; a day lets a client resume the next morning."""
    upload_total_s: Seconds = 72 * 3600.0
    """A resumable upload is deleted at this age even if it is still active, so that disk space cannot be held for ever."""
    streams: bool = True
    """Whether videos can be watched while they are rendered, for which workers store them a second time, as segments."""
    trash_s: Seconds = 7 * 86_400.0
    """Time for which an object that no row names stays in the store's trash; a week gives people time to notice a mistake."""
    undo_s: Seconds = 24 * 3600.0
    """Time for which a subject or video that was put into the trash can be restored; then it is deleted for good."""
    quota_subjects: PositiveInt = 10_000
    """Maximum number of subjects per owner; the default does not restrict an installation with few owners."""
    quota_videos: PositiveInt = 500_000
    """Maximum number of videos per owner, in any state, whose rows take 1 to 5 GB; the default is one a minute for a year."""
    quota_queued_jobs: PositiveInt = 10_000
    """Maximum number of queued jobs per owner; the default does not restrict an installation with few owners."""
    quota_verifications: PositiveInt = 20
    """Maximum number of pending verification requests per owner; each keeps a file and will occupy a worker."""
    quota_daily_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 7 * 86_400.0
    """Seconds of video rendered per owner and UTC day, after which new videos are refused; the default is a week of video."""
    quota_stored_bytes: PositiveInt = 1 << 43
    """Maximum number of stored bytes per owner; the default, 8 TiB, exceeds most disks."""
    cors_origins: str = ""
    """Origins whose pages may call the API from a browser (needs keys), such as `https://a.example,https://b.example`."""
    open_mode: Literal["user", "token"] = "user"
    """What callers need while no key exists: a connection of the service's own user (`user`), or always the local token (`token`)."""
    rate_limit: str = "1200/minute"
    """Requests per API key, such as `20/second`, or `off`; the default lets a client poll twenty resources every second."""
    address_rate_limit: str = "6000/minute"
    """Requests without a key per network address, or `off`; higher, because many clients may share one address."""
    event_streams: PositiveInt = 100
    """Event streams that an owner may have open in one API process; each takes a connection and about 60 kB."""
    trusted_proxies: str = ""
    """Networks of the proxies in front, such as `10.0.0.5, fd00::/8`: their X-Forwarded-For names the client for rates and logs."""
    signing_dir: str = ""
    """Folder with the keys that sign and watermark videos, the same for all workers; empty: `signing` in the data folder."""
    sign_certificate: str = ""
    """PEM file with your certificate for content credentials, then its issuers'; empty: a development certificate is made."""
    sign_key: str = ""
    """PEM file with the private key of that certificate; only workers should be able to read it."""
    timestamp_url: str = ""
    """URL of a time stamping authority (RFC 3161), called once per signature; empty: none, and workers call nobody."""
    lease_s: Seconds = 75.0
    """A running job without a heartbeat for this time returns to the queue. Above 60 s: a heartbeat may wait 30 s for the database, twice."""
    beat_s: Seconds = 1.0
    """Interval between heartbeats of a running job; a worker notices a cancellation after this time at the latest."""
    stall_s: Seconds = 900.0
    """A worker process whose job reports no progress for this time exits; far longer than the usual seconds between two reports."""
    grace_s: Seconds = 20.0
    """Time that work has to stop when told to, before its process exits; below the 45 s that Docker Compose waits to kill it."""
    poll_s: Seconds = 0.5
    """Interval at which an idle worker queries the queue; each query is one index lookup."""
    sweep_s: Seconds = 5.0
    """Interval between a worker's heartbeats, and between searches for jobs of lost workers and for unsent wake-ups."""
    wake_again_s: Seconds = 20.0
    """A queued job that is not claimed for this time gets another wake-up message, in case the broker lost the first."""
    worker_silence_s: Seconds = 60.0
    """A worker without a heartbeat for this time counts as gone: twelve missed heartbeats at the default `ADNERF_SWEEP_S`."""
    watchdog_s: Seconds = 45.0
    """A process of the service without a sign of life for this time is killed and replaced: with the restart, within 90 s."""
    preprocess_limit_s: Seconds = 4 * 3600.0
    """Longest run of one preprocessing attempt, after which the job fails, so that a job that hangs frees its worker."""
    train_limit_s: Seconds = 48 * 3600.0
    """Longest run of one training attempt, after which the job fails; longer, because training takes longest."""
    render_limit_s: Seconds = 12 * 3600.0
    """Longest run of one rendering attempt, after which the job fails."""
    webhook_key: SecretStr = SecretStr("")
    """Secret behind webhook secrets and links to videos, at least 32 characters; by default in a file; required with `ADNERF_DATABASE_URL`."""
    bundle_keys: str = ""
    """Public keys of the services whose bundles of subjects may be imported, Base64, separated by commas, besides this service's own."""
    webhook_networks: str = ""
    """Networks that webhooks may call besides the public internet, over http and on any port too, such as `10.1.0.0/16, fd00::/8`."""
    voices_dir: str = ""
    """Folder with voices of Kokoro or Piper (ONNX files) that read scripts, on each worker that renders; empty: none."""
    fonts_dir: str = ""
    """Folder with fonts (TTF, OTF, TTC) for captions and labels in pictures, on each worker that renders, besides the system's; empty: none."""
    speech_url: str = ""
    """Address of a server with OpenAI's `POST .../audio/speech`, such as `https://host/v1`; empty: none. It receives scripts."""
    speech_key: SecretStr = SecretStr("")
    """Key that is sent to that server as `Authorization: Bearer`."""
    speech_model: str = "tts-1"
    """Name of the server's model."""
    speech_voices: str = "alloy"
    """Names of the server's voices, separated by commas."""
    speech_licence: str = "terms of the server"
    """What clients are told about the licence of the server's voices."""
    speech_networks: str = ""
    """Networks in which this server and the next may be besides the public internet, over http and on any port too, such as `127.0.0.0/8`."""
    recogniser_url: str = ""
    """Address of a server with OpenAI's `POST .../audio/transcriptions`, which hears speech for captions; empty: Moonshine, English."""
    recogniser_key: SecretStr = SecretStr("")
    """Key that is sent to that server as `Authorization: Bearer`."""
    recogniser_model: str = "whisper-1"
    """Name of that server's model."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Takes values from the arguments alone: variables of a shell must not redirect tests to a real database."""
        return (init_settings,)

    def replace(self, **changes: Any) -> Settings:
        """Returns a copy in which `changes` (field names and values) are set and validated."""
        return Settings(**self.model_dump() | changes)

    @property
    def max_upload_bytes(self) -> int:
        """The largest file of any kind."""
        return max(self.max_video_bytes, self.max_audio_bytes, self.max_image_bytes)

    def trusted_bundle_keys(self) -> list[str]:
        """Returns the public keys in `bundle_keys`."""
        return [key for each in self.bundle_keys.split(",") if (key := each.strip())]

    def limit_s(self, kind: str) -> float:
        """Returns the longest run, in seconds, of one attempt at a job of this kind."""
        return getattr(self, f"{kind}_limit_s")

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'adnerf.db').absolute()}"

    @property
    def objects(self) -> Path:
        """The folder of the local object store."""
        return self.data_dir / "objects"

    @property
    def work(self) -> Path:
        """The folder of the workers' scratch files, all of which can be made again from the store."""
        return self.data_dir / "work"

    @property
    def signing(self) -> Path:
        """The folder with the keys that sign and watermark videos."""
        return Path(self.signing_dir) if self.signing_dir else self.data_dir / "signing"

    @property
    def locks(self) -> Path:
        """The folder of the lock files, by which a process sees whether another one on this machine still runs."""
        return self.data_dir / "locks"


def load() -> Settings:
    """Reads the settings from the environment; an empty variable counts as unset. `warnings` finds unknown ones.

    Raises:
        BadSetting: a value is impossible by itself or beside another one; the message names each such variable.
    """
    try:
        settings = Settings(**EnvSettingsSource(Settings)())
    except ValidationError as error:
        raise BadSetting(" ".join(map(_explain, error.errors()))) from None
    if wrong := list(_contradictions(settings)):
        raise BadSetting(" ".join(wrong))
    return settings


def warnings() -> list[str]:
    """Returns a sentence for each variable of the environment that looks like a setting and is none."""
    known = {variable_name(field) for field in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in {*known, *OF_CLIENTS})
    sentences = []
    for name in unknown:
        similar = get_close_matches(name.removeprefix(PREFIX).lower(), Settings.model_fields, n=1)
        meant = f" Is {variable_name(similar[0])} meant?" if similar else ""
        sentences.append(f"{name} is no setting and changes nothing.{meant}")
    return sentences


def variable_name(field: str) -> str:
    """Returns the environment variable of a setting."""
    return PREFIX + field.upper()


def notify_socket() -> str:
    """Returns the socket on which a supervisor expects signs of life (sd_notify(3)); empty if there is none."""
    return os.environ.get(NOTIFY_SOCKET, "")


INHERITED = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "IMAGEIO_FFMPEG_EXE",
    "ADNERF_FFMPEG",
)
"""The variables that programs need to start: search paths, locale, temporary folder. None of them is secret."""


def bare_environment() -> dict[str, str]:
    """Returns the environment for a child process that reads untrusted files: without any setting or secret."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {"OMP_NUM_THREADS": "1"}


def environment_of(settings: Settings) -> dict[str, str]:
    """Returns the environment for a child process that uses the same settings."""
    values = {variable_name(field): value for field, value in settings}
    return os.environ | {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in values.items()
    }


CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
"""The variable in which CUDA reads, when a process first uses it, which GPUs the process may see."""


def cuda_devices() -> str | None:
    """Returns the GPUs that this process may see; None: all."""
    return os.environ.get(CUDA_DEVICES)


def set_cuda_devices(device: str) -> None:
    """Restricts this process, which has not used CUDA yet, to one GPU."""
    os.environ[CUDA_DEVICES] = device


def _contradictions(settings: Settings) -> Iterator[str]:
    """One sentence for each value that cannot work, alone or beside the value of another setting."""
    for shorter, longer, why in (
        ("beat_s", "lease_s", "a job would be taken from its worker between two heartbeats"),
        ("sweep_s", "worker_silence_s", "a worker would count as gone between two heartbeats"),
    ):
        values = getattr(settings, shorter), getattr(settings, longer)
        if values[0] >= values[1]:
            names = variable_name(shorter), variable_name(longer)
            yield f"{names[0]}={values[0]:g} must be less than {names[1]}={values[1]:g}, or {why}."
    if (url := settings.store_url) and not BUCKET.fullmatch(url):
        yield f"{variable_name('store_url')}={url!r} must be an address such as s3://bucket or s3://bucket/folder."
    if not SHORTEST_LINK_S <= settings.link_s <= LONGEST_LINK_S:
        yield f"{variable_name('link_s')}='{settings.link_s:g}' must be from 1 to 604800 (7 days)."
    for field, (schemes, example) in ADDRESSES.items():
        # Not shown: it may hold a password.
        if (url := getattr(settings, field)) and not all(_is_address(each, schemes) for each in url.split(";")):
            yield f"{variable_name(field)} must be an address such as {example}."
    if not REGION.fullmatch(settings.s3_region):
        yield f"{variable_name('s3_region')}={settings.s3_region!r} must be the name of a region, such as us-east-1."
    if not all(BUNDLE_KEY.fullmatch(key) for key in settings.trusted_bundle_keys()):
        yield f"{variable_name('bundle_keys')}={settings.bundle_keys!r} must be keys as `bundle_refused` names them, separated by commas."
    if not all(map(ORIGIN.fullmatch, filter(None, map(str.strip, settings.cors_origins.split(","))))):
        yield f"{variable_name('cors_origins')}={settings.cors_origins!r} must be origins such as https://a.example, without a path."
    for field in ("trusted_proxies", "webhook_networks", "speech_networks"):
        try:
            for network in filter(None, map(str.strip, getattr(settings, field).split(","))):
                ip_network(network)
        except ValueError as error:
            yield f"{variable_name(field)}={getattr(settings, field)!r} must be networks: {error}."
    for field in LARGEST:
        if (value := getattr(settings, field)) > MOST_BYTES:
            yield f"{variable_name(field)}='{value}' must be at most {MOST_BYTES}."
    for field in ("rate_limit", "address_rate_limit"):
        rate = getattr(settings, field)
        if rate != "off" and not RATE.fullmatch(rate):
            yield f"{variable_name(field)}={rate!r} must be a rate such as 1200/minute, or off."


def _is_address(url: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss") and not re.fullmatch(r"/?\d*", parts.path):
            return False  # it is the number of a database
        return parts.scheme in schemes and (bool(parts.hostname) or schemes is not WEB[0]) and parts.port != 0
    except ValueError:  # a port that is no number, or brackets that are not closed
        return False


def _explain(problem: Any) -> str:
    """One sentence for one of pydantic's errors. No setting that is checked holds a secret."""
    (field,) = problem["loc"]
    annotation, start = Settings.model_fields[field].annotation, f"{variable_name(field)}={problem['input']!r} must be"
    if choices := get_args(annotation):
        return f"{start} {', '.join(choices[:-1])} or {choices[-1]}."
    if problem["type"] == "less_than_equal":
        return f"{start} at most {LONGEST_S:.0f}."
    return f"{start} {'a whole number' if annotation is int else 'a number'} greater than 0."
