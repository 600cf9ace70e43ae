"""The tables. Ids are opaque, carry a prefix per table, and sort by creation time.

Most rows have an `owner`, the tenant whose API keys can read and change them (storage/database/queries.py). The videos and
jobs of a subject have the owner of the subject. Columns whose name ends in `_key` name objects in the store. A new column of
this kind gets a place of its own in the store (storage/object_places.py), which earlier versions do not know and leave alone.
"""

from storage.database.base import Base
from storage.database.rows.common import LOCAL, first_id, new_id, now
from storage.database.rows.files import Upload, UploadPart, Verification, VerificationState
from storage.database.rows.jobs import Counter, Job, JobEvent, JobKind, JobPriority, JobState, Voice, Worker
from storage.database.rows.lip_priors import LipPrior, LipPriorState
from storage.database.rows.owners import LARGE, LARGE_CHARS, Key, Owner, ResponseResource, StoredResponse, Usage
from storage.database.rows.pictures import PreviewFrame, PreviewFrameState, Share
from storage.database.rows.service import Certificate, Deletion, Identity
from storage.database.rows.subjects import Subject, SubjectState, Video, VideoState, Withdrawal, WithdrawnConsent
from storage.database.rows.webhooks import Delivery, DeliveryState, Webhook, WebhookEvent

__all__ = [
    "LARGE",
    "LARGE_CHARS",
    "LOCAL",
    "Base",
    "Certificate",
    "Counter",
    "Deletion",
    "Delivery",
    "DeliveryState",
    "Identity",
    "Job",
    "JobEvent",
    "JobKind",
    "JobPriority",
    "JobState",
    "Key",
    "LipPrior",
    "LipPriorState",
    "Owner",
    "PreviewFrame",
    "PreviewFrameState",
    "ResponseResource",
    "Share",
    "StoredResponse",
    "Subject",
    "SubjectState",
    "Upload",
    "UploadPart",
    "Usage",
    "Verification",
    "VerificationState",
    "Video",
    "VideoState",
    "Voice",
    "Webhook",
    "WebhookEvent",
    "Withdrawal",
    "WithdrawnConsent",
    "Worker",
    "first_id",
    "new_id",
    "now",
]
