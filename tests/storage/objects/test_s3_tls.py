"""S3Store over https, on a store that knows no content with a checksum behind it (`aws-chunked`), as several do not."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import Counter

import pytest
import trustme
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from storage.errors import ObjectDamaged
from storage.objects import s3
from storage.objects.base import Stored
from storage.objects.s3 import S3Store
from storage.settings import Settings
from tests.servers import BUCKET, S3_KEYS
from tests.storage.objects.test_objects import PAYLOAD

LARGE = bytes(range(251)) * (s3.PART_BYTES // 250)
"""Two parts."""
REFUSED = (
    b"<Error><Code>MissingContentLength</Code><Message>You must provide the Content-Length header.</Message></Error>"
)


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        """Writes no line for each request."""


@pytest.fixture(scope="module")
def strict_store(tmp_path_factory):
    """(settings, requests): a store behind TLS, and how many requests with content it has taken and refused."""
    moto, requests = DomainDispatcherApplication(create_backend_app), Counter()

    def application(environ, start_response):
        chunked = "aws-chunked" in environ.get("HTTP_CONTENT_ENCODING", "") or "HTTP_X_AMZ_TRAILER" in environ
        if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") > 1:
            measured = "CONTENT_LENGTH" in environ and "HTTP_X_AMZ_CHECKSUM_SHA256" in environ
            requests["refused" if chunked else "measured" if measured else "without a checksum"] += 1
        if chunked:
            # The body is read first: a client that still sends may not see the response.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", -1)))
            start_response("411 Length Required", [("Content-Type", "application/xml")])
            return [REFUSED]
        return moto(environ, start_response)

    authority = trustme.CA()
    bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    with authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.tempfile() as pem:
        server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet, ssl_context=(pem, None))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", str(bundle))
        url = {"s3_endpoint_url": f"https://127.0.0.1:{server.port}", "store_url": f"s3://{BUCKET}/tls"}
        settings = Settings(**S3_KEYS, **url)
        S3Store(settings)._writer.create_bucket(Bucket=BUCKET)
        yield settings, requests
    server.shutdown()
    thread.join()


@pytest.fixture
def store(strict_store, tmp_path):
    return S3Store(strict_store[0].replace(data_dir=tmp_path))


def test_the_store_refuses_content_with_a_checksum_behind_it(store):
    with pytest.raises(ClientError, match="MissingContentLength"):
        store._writer.put_object(Bucket=BUCKET, Key="tls/a", Body=io.BytesIO(PAYLOAD), ChecksumAlgorithm="SHA256")


@pytest.mark.parametrize(("content", "requests_made"), [(PAYLOAD, 1), (LARGE, 2)], ids=["one PUT", "parts"])
@pytest.mark.parametrize("how", ["put", "put_incoming"])
def test_objects_are_stored_with_their_checksum_in_the_head(store, strict_store, content, requests_made, how):
    strict_store[1].clear()
    if how == "put":
        stored = store.put("a", io.BytesIO(content))
    else:
        with store.create_incoming() as incoming:
            incoming.write(content)
            stored = store.put_incoming("a", incoming)
    assert strict_store[1] == {"measured": requests_made}
    assert stored == Stored("a", len(content), hashlib.sha256(content).hexdigest())
    with store.open("a") as file:
        assert file.read() == content


def test_parts_that_change_while_they_are_sent_are_no_object(store):
    class Changing(io.BytesIO):
        def seek(self, *where):
            self.getbuffer()[-1] ^= 1
            return super().seek(*where)

    with pytest.raises(ObjectDamaged, match="changed"):
        store.put("b", Changing(LARGE))
    assert not store.exists("b") and list(store._uploads("tls/b")) == []


def test_objects_are_joined_moved_and_deleted(store):
    store.put("u/1", io.BytesIO(LARGE))
    store.put("u/2", io.BytesIO(PAYLOAD))
    store.put_joined("joined", ["u/1", "u/2"])
    store.move("joined", "moved")
    with store.open("moved") as file:
        assert file.read() == LARGE + PAYLOAD
    store.delete_prefix("u/")
    assert not store.exists("u/1")
