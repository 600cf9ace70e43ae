"""A client of the adnerf service: `from adnerf_client import Client` (docs/client.md).

It knows the service by HTTP alone: no other package of this project is loaded.
"""

from adnerf_client.client import Client
from adnerf_client.errors import AdnerfError, JobCancelled, JobFailed, NotFound, Problem, StillRunning, Unreachable
from adnerf_client.models import Background, Job, Options, Subject, Upload, Video, View

__all__ = [
    "AdnerfError",
    "Background",
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
]
