"""Routes of samples: an animated photograph and a synthetic speech, for those who have nothing at hand."""

from __future__ import annotations

from pathlib import Path

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.auth import CallerDep
from api.deps import SettingsDep
from api.openapi import responses
from api.openapi.responses import problems
from api.schemas import resources
from api.services import samples
from storage.settings import Settings

router = APIRouter(prefix="/v1/samples", tags=["samples"])

_maker = CapacityLimiter(1)
"""The thread that makes the samples: whoever asks meanwhile waits for it, and not in a thread that all requests share."""
MEDIA_TYPES = {"person": "video/mp4", "speech": "audio/wav"}


@router.get("", summary="Are there samples?")
def get_samples(caller: CallerDep) -> resources.Samples:
    """Whether this installation can make them."""
    return resources.Samples(available=samples.available())


@router.get(
    "/{sample_name}",
    summary="Get a sample to try the service with",
    response_class=FileResponse,
    responses={
        200: responses.file("the file", *MEDIA_TYPES.values()),
        **problems("not_found", "validation_failed"),
    },
)
async def get_sample(sample_name: samples.SampleName, caller: CallerDep, settings: SettingsDep) -> FileResponse:
    """`person`: an animated photograph of a person who speaks; `speech`: a synthetic speech. The first request waits until they are made."""
    return FileResponse(await sample_file(settings, sample_name), media_type=MEDIA_TYPES[sample_name])


async def sample_file(settings: Settings, name: samples.SampleName) -> Path:
    """Returns the path of a sample, once it is made. Raises NotFound."""
    return await to_thread.run_sync(samples.sample, settings, name, limiter=_maker)
