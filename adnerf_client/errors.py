"""The errors of the client. Each has a stable `code`, says in `detail` what is wrong and in `remedy` what to do about it.

AdnerfError                 code                  raised when
├── Problem                 (the service's)       the service answered with an error; `status` is HTTP's
│   ├── NotAllowed          unauthorized, ...     401, 403: the key is missing, wrong, or may not do this
│   ├── NotFound            not_found, ...        404
│   ├── Conflict            subject_not_ready ... 409: the state of things does not allow it (yet)
│   ├── Invalid             validation_failed ... any other 4xx: what was sent is wrong; `errors` points at it
│   ├── TooMany             rate_limited, ...     429: a rate or a quota is used up
│   └── Unavailable         unavailable, ...      5xx: the service cannot answer now, or is at fault
├── Unreachable             unreachable           there was no answer at all
├── NotServed               not_served            the service, an older one, does not offer this
├── BadAnswer               bad_answer            what answered is not this service
├── JobFailed               (the job's)           the work ended with an error; `job` tells more
├── JobCancelled            cancelled             the work was cancelled; `job` tells more
├── StillRunning            still_running         the time for waiting is over and the work goes on; `job` tells more
├── NoSpace                 no_space              this machine has no room for a download
├── Damaged                 damaged               a download is not what the service has, again and again
└── BadUse                  bad_use               an argument that cannot be sent: an address, a key, an id, a file
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adnerf_client.models import Job


class AdnerfError(Exception):
    """Base of all errors of the client."""

    code = "error"
    remedy = "Try again; if it happens again, report it."
    status: int | None = None

    def __init__(self, detail: str, remedy: str | None = None, *, code: str | None = None):
        super().__init__(detail)
        self.detail = detail
        if remedy is not None:
            self.remedy = remedy
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the attributes: the arguments of __init__ cannot be had from `args`."""
        return _restore, (type(self), self.args, vars(self))

    def __str__(self) -> str:
        return self.detail if self.remedy in self.detail else f"{self.detail} {self.remedy}"


def _restore(kind: type[AdnerfError], args: tuple[Any, ...], attributes: dict[str, Any]) -> AdnerfError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class Problem(AdnerfError):
    """The service answered with an error.

    `status` is HTTP's; `errors` are dicts with `detail` and `pointer` or `parameter`, for wrong values;
    `retry_after_s` is when to come back, where the service says so; `request_id` finds the request in its log.
    """

    def __init__(
        self,
        detail: str,
        remedy: str,
        *,
        code: str,
        status: int,
        errors: Sequence[dict[str, Any]] = (),
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ):
        super().__init__(detail, remedy, code=code)
        self.status, self.errors = status, list(errors)
        self.retry_after_s, self.request_id = retry_after_s, request_id


class NotAllowed(Problem):
    """The key is missing or wrong, or may not do this."""


class NotFound(Problem):
    """There is no such thing, or it belongs to somebody else."""


class Conflict(Problem):
    """The state of things does not allow what was asked, or not yet."""


class Invalid(Problem):
    """What was sent is wrong."""


class TooMany(Problem):
    """A rate or a quota is used up."""


class Unavailable(Problem):
    """The service cannot answer now, or is at fault."""


class Unreachable(AdnerfError):
    """There was no answer. `stranger`: nobody has ever answered at this address."""

    code = "unreachable"
    remedy = "Check the address and the network, and whether the service runs."

    def __init__(self, detail: str, *, stranger: bool = False):
        super().__init__(detail)
        self.stranger = stranger


class NotServed(AdnerfError):
    code = "not_served"
    remedy = "Do without it, or ask who runs the service for a newer version."


class BadAnswer(AdnerfError):
    code = "bad_answer"
    remedy = "Check the address: something else may listen there."


class _OfJob(AdnerfError):
    def __init__(self, detail: str, remedy: str, *, job: Job | None, code: str | None = None):
        super().__init__(detail, remedy, code=code)
        self.job = job


class JobFailed(_OfJob):
    """The work ended with an error: `code` is the job's, such as `no_face_found`."""


class JobCancelled(_OfJob):
    code = "cancelled"


class StillRunning(_OfJob):
    code = "still_running"


class NoSpace(AdnerfError):
    code = "no_space"
    remedy = "Free some space, or choose another place; what was saved so far is not needed again."


class Damaged(AdnerfError):
    code = "damaged"
    remedy = "Try again; if it stays so, ask who runs the service."


class BadUse(AdnerfError):
    code = "bad_use"
    remedy = "Correct it."
