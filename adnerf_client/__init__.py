"""A Python client of the adnerf service: `from adnerf_client import Client` (docs/client.md).

It uses only the HTTP API of the service and imports no other package of this project.
"""

from adnerf_client.client import Client
from adnerf_client.errors import AdnerfError, JobCancelled, JobFailed, NotFound, Problem, StillRunning, Unreachable
from adnerf_client.models import Background, BurntCaptions, Captions, Job, Options, Subject, Upload, Video, View, Voice

__all__ = [
    "AdnerfError",
    "Background",
    "BurntCaptions",
    "Captions",
    "Client",
    "Job",
    "JobCancelled",
    "JobFailed",
    "NotFound",
    "Options",
    "Problem",
    "StillRunning",
    "Subject",
    "Unreachable",
    "Upload",
    "Video",
    "View",
    "Voice",
]
