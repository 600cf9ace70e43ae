"""The Celery application for the settings in the environment: `celery -A worker.celery_app worker` and `... beat`."""

from __future__ import annotations

import warnings

from celery import signals
from celery.exceptions import CPendingDeprecationWarning

from storage.errors import BadSetting
from storage.private_files import restrict_umask
from storage.settings import load
from worker import logs, watchdog
from worker.broker import make_app

restrict_umask()
_settings = load()
if not _settings.broker_url:
    raise BadSetting("There is no broker.", "Set ADNERF_BROKER_URL, such as redis://127.0.0.1:6379/0.")

app = make_app(_settings.broker_url)

# Celery warns at each lost connection that running tasks go on. That is intended: see make_app.
warnings.filterwarnings("ignore", "\nIn Celery 5.1 we introduced", CPendingDeprecationWarning)


@signals.setup_logging.connect
def _log(**_) -> None:
    """In the main process of a worker, in each of its worker processes, and in beat: replaces Celery's own logging.

    These are the processes that a supervisor watches, and this is the first signal that all of them receive.
    """
    logs.configure(_settings.log)
    watchdog.start_notifying(_settings)
