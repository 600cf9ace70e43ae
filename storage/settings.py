"""Settings: the only reader of the environment. Every variable is named ADNERF_ and the field's name in capitals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from storage.errors import BadSetting

PREFIX = "ADNERF_"


@dataclass(frozen=True)
class Settings:
    """One process's settings; the defaults are one machine with SQLite and a folder. What may hold a secret is not printed."""

    data_dir: Path = Path("data")
    """Everything that is kept on this machine: database, objects, work folders."""
    database_url: str = field(default="", repr=False)
    """SQLAlchemy URL; empty: SQLite in the data folder."""
    broker_url: str = field(default="", repr=False)
    """Celery's broker, such as `redis://host:6379/0`; empty: workers look for jobs in the database by themselves."""
    store_url: str = ""
    """Object store, such as `s3://bucket` or `s3://bucket/folder`; empty: a folder in the data folder."""
    s3_endpoint_url: str = ""
    """Address of an S3-compatible store; empty: Amazon's."""
    s3_public_url: str = ""
    """The same address as clients see it, for links to downloads; empty, with `s3_endpoint_url`: the API streams them."""
    s3_region: str = "us-east-1"
    """Region of the bucket."""
    s3_access_key: str = ""
    """Key to the bucket; empty: boto3 looks for credentials in its own places (roles, profiles)."""
    s3_secret_key: str = field(default="", repr=False)
    """The secret of `s3_access_key`."""
    link_s: float = 3600.0
    """How long a signed link to a download can be used."""
    log: str = "auto"
    """`json` (a line an event, for machines), `human`, or `auto`: `human` on a terminal only."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: CUDA where it is there."""
    max_video_bytes: int = 2 << 30
    """Largest reference video that is taken in."""
    max_audio_bytes: int = 200 << 20
    """Largest audio that is taken in."""
    max_image_bytes: int = 20 << 20
    """Largest background image that is taken in."""
    max_open_uploads: int = 20
    """Resumable uploads that one owner may have begun and not used yet."""
    upload_idle_s: float = 24 * 3600.0
    """A resumable upload of which nothing came, and which was not used, for so long is given up."""
    upload_total_s: float = 72 * 3600.0
    """A resumable upload so long after its beginning is given up."""
    quota_subjects: int = 10_000
    """Subjects that one owner may have."""
    quota_queued_jobs: int = 10_000
    """Jobs of one owner that may wait at once."""
    quota_verifications: int = 20
    """Files of one owner of which it was asked whether they were made here, and that was not answered yet."""
    quota_daily_seconds: float = 7 * 86_400.0
    """Seconds of video that are rendered for one owner in a day (UTC), before new ones are refused."""
    quota_stored_bytes: int = 1 << 43
    """Bytes of one owner that may be stored."""
    cors_origins: str = ""
    """Origins whose pages may use the service from a browser, such as `https://a.example,https://b.example`; empty: none."""
    rate_limit: str = "1200/minute"
    """Requests that one key may make, such as `20/second` or `1200/minute`; `off`: any number."""
    address_rate_limit: str = "6000/minute"
    """The same for one address, of requests without a key."""
    signing_dir: str = ""
    """Folder of what workers sign and mark videos with, the same for all of them; empty: `signing` in the data folder."""
    sign_certificate: str = ""
    """File with your own certificate for content credentials and its issuers' (PEM); empty: one for development is made."""
    sign_key: str = ""
    """File with its private key (PEM), which only workers should be able to read."""
    timestamp_url: str = ""
    """Time stamping authority (RFC 3161) that is asked at each signature; empty: none, and nothing goes out."""
    lease_s: float = 75.0
    """A running job that was not heard of for so long is given to another worker."""
    beat_s: float = 1.0
    """Time between heartbeats; also how soon a cancel is seen."""
    stall_s: float = 900.0
    """A job without any progress for so long is stuck: its worker process ends itself."""
    grace_s: float = 20.0
    """How long work may take to stop when told to, before its worker process ends itself."""
    poll_s: float = 0.5
    """Time between looks at the queue when it is empty."""
    sweep_s: float = 5.0
    """Time between looks for jobs whose worker is gone or whose wake-up was not sent, and between a worker's signs of life."""
    wake_again_s: float = 20.0
    """A queued job that nobody has claimed for so long is looked at again: perhaps the broker lost its wake-up."""
    worker_silence_s: float = 60.0
    """A worker that was not heard of for so long counts as gone."""
    preprocess_limit_s: float = 4 * 3600.0
    """The longest that one attempt at preprocessing may take; then it fails."""
    train_limit_s: float = 48 * 3600.0
    """The same for training."""
    render_limit_s: float = 12 * 3600.0
    """The same for rendering."""
    webhook_key: str = field(default="", repr=False)
    """Makes the secrets of webhooks, 32 characters at least; empty: a file in the data folder, if the database is there."""
    webhook_networks: str = ""
    """Networks that webhooks may reach beside the public internet, by http and at any port too: `10.1.0.0/16, fd00::/8`."""

    @property
    def max_upload_bytes(self) -> int:
        """The largest file of any kind."""
        return max(self.max_video_bytes, self.max_audio_bytes, self.max_image_bytes)

    def limit_s(self, kind: str) -> float:
        """The longest that one attempt at a job of this kind may take, in seconds."""
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
        """The folder of what videos are signed and marked with."""
        return Path(self.signing_dir) if self.signing_dir else self.data_dir / "signing"

    @property
    def locks(self) -> Path:
        """The folder of the lock files by which processes of this machine see each other alive."""
        return self.data_dir / "locks"


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment asks for. Raises BadSetting for a value that does not parse."""
    given = {}
    for setting in fields(Settings):
        name = PREFIX + setting.name.upper()
        text = environment.get(name, "")
        if text:
            given[setting.name] = _parse(name, text, type(setting.default))
    return Settings(**given)


PLAIN = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "IMAGEIO_FFMPEG_EXE")
"""What any program may need to run at all, and none of it secret."""


def bare_environment() -> dict[str, str]:
    """The environment for a child process that looks at strange files: it needs no settings, and shall know no secrets."""
    return {name: os.environ[name] for name in PLAIN if name in os.environ} | {"OMP_NUM_THREADS": "1"}


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment for a child process that must see the same settings."""
    ours = {PREFIX + setting.name.upper(): str(getattr(settings, setting.name)) for setting in fields(Settings)}
    return {**os.environ, **ours}


def _parse(name: str, text: str, kind: type):
    wanted = Path if issubclass(kind, Path) else kind
    try:
        value = wanted(text)
    except ValueError as error:
        raise BadSetting(f"{name}={text!r} is not a number.") from error
    if wanted in (int, float) and value <= 0:
        raise BadSetting(f"{name}={text!r} must be more than zero.")
    return value
