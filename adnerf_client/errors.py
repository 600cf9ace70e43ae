"""The errors of the client. Each has a stable `code`; `detail` says what is wrong, and `remedy` what to do about it.

AdnerfError                 code                  meaning
├── Problem                 (the service's)       the service answered with an error; `status` is the HTTP status
│   ├── NotAllowed          unauthorized, ...     401, 403: the key is missing, wrong, or not sufficient
│   ├── NotFound            not_found, ...        404
│   ├── Conflict            subject_not_ready ... 409: the state of the resource does not allow the request (yet)
│   ├── Invalid             validation_failed ... any other 4xx: the request is wrong; `errors` points at the values
│   ├── TooMany             rate_limited, ...     429: a rate limit or a quota is exhausted
│   └── Unavailable         unavailable, ...      5xx: the service cannot answer now, or has a fault
├── Unreachable             unreachable           the service did not answer
├── NotServed               not_served            the service, an older one, does not offer this
├── BadAnswer               bad_answer            the response does not come from this service
├── JobFailed               (the job's)           the work ended with an error; `job` holds the details
├── JobCancelled            cancelled             the work was cancelled; `job` holds the details
├── StillRunning            still_running         the time to wait is over and the work continues; `job` holds the details
├── Lost                    lost                  the worker whose video was watched was lost; another one begins from the start
├── NoSpace                 no_space              this machine has no space for a download
├── Damaged                 damaged               a download differs from the service's file, repeatedly
└── BadUse                  bad_use               an argument cannot be used: an address, a key, an id, a file
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adnerf_client.models import Job


class AdnerfError(Exception):
    """The base class of all errors of the client.

    Args:
        detail: What is wrong.
        remedy: What to do about it; None takes the remedy of the class.
        code: The stable code; None takes that of the class.
    """

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

    Args:
        detail: What is wrong.
        remedy: What to do about it.
        code: The service's code of the problem.
        status: The HTTP status.
        errors: The wrong values of the request: dicts with `detail`, and `pointer` or `parameter`.
        retry_after_s: Seconds after which to try again, if the service names them.
        request_id: The id of the request in the service's log.
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
    """The API key is missing or wrong, or does not permit the request."""


class NotFound(Problem):
    """The resource does not exist, or belongs to another owner."""


class Conflict(Problem):
    """The state of the resource does not allow the request, or not yet."""


class Invalid(Problem):
    """The request is wrong."""


class TooMany(Problem):
    """A rate limit or a quota is exhausted."""


class Unavailable(Problem):
    """The service cannot answer now, or has a fault."""


class Unreachable(AdnerfError):
    """The service did not answer. `stranger` is True if no request to this address was ever answered."""

    code = "unreachable"
    remedy = "Check the address and the network, and whether the service runs."

    def __init__(self, detail: str, *, stranger: bool = False):
        super().__init__(detail)
        self.stranger = stranger


class NotServed(AdnerfError):
    """The service does not offer this function."""

    code = "not_served"
    remedy = "Ask the operator of the service for a newer version."


class BadAnswer(AdnerfError):
    """The response is not one of this service."""

    code = "bad_answer"
    remedy = "Check the address: another program may listen there."


class _OfJob(AdnerfError):
    """An error about a job, which `job` holds (None: of a verification)."""

    def __init__(self, detail: str, remedy: str, *, job: Job | None, code: str | None = None):
        super().__init__(detail, remedy, code=code)
        self.job = job


class JobFailed(_OfJob):
    """The work failed; `code` is the code of the job's error, such as `no_face_found`."""


class JobCancelled(_OfJob):
    """The work was cancelled."""

    code = "cancelled"


class StillRunning(_OfJob):
    """The time to wait is over, and the work continues."""

    code = "still_running"


class Lost(AdnerfError):
    """The worker whose video was watched was lost; another one begins from the start."""

    code = "lost"
    remedy = "Watch the video again."


class NoSpace(AdnerfError):
    """The disk of this machine is full."""

    code = "no_space"
    remedy = "Free some space, or save to another disk."


class Damaged(AdnerfError):
    """A downloaded file differs from the service's."""

    code = "damaged"
    remedy = "Try again; if it happens again, ask the operator of the service."


class BadUse(AdnerfError):
    """An argument cannot be used."""

    code = "bad_use"
    remedy = "Correct the argument."
