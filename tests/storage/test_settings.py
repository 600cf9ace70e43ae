"""Settings: where they come from, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.middleware.rate_limit import RateLimiter
from storage.database.engine import parse_url
from storage.errors import BadSetting
from storage.settings import Settings, environment_of, load, variable_name
from worker import logs


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment without settings, into which the tests put theirs."""
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_name(field), raising=False)
    return monkeypatch


def test_settings_come_from_the_environment(environment):
    for name, value in {"DATA_DIR": "/d", "LEASE_S": "2.5", "MAX_AUDIO_BYTES": "10", "STORE_URL": ""}.items():
        environment.setenv(f"ADNERF_{name}", value)
    assert load() == Settings(data_dir=Path("/d"), lease_s=2.5, max_audio_bytes=10)
    assert load().database == "sqlite:////d/adnerf.db"
    environment.setenv("ADNERF_DATABASE_URL", "postgresql://h/d")
    assert load().database == "postgresql://h/d"


def test_settings_pass_through_an_environment(environment):
    settings = Settings(data_dir=Path("elsewhere"), stall_s=7.5, webhook_key="k" * 32)
    for name, value in environment_of(settings).items():
        environment.setenv(name, value)
    assert load() == settings


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("LEASE_S", "ten", "must be a number greater than 0"),
        ("LEASE_S", "-1", "must be a number greater than 0"),
        ("QUOTA_SUBJECTS", "0", "must be a whole number greater than 0"),
        ("QUOTA_SUBJECTS", "2.5", "must be a whole number greater than 0"),
        ("LEASE_S", "nan", "must be a number greater than 0"),
        ("LEASE_S", "inf", "must be a number greater than 0"),
        ("LINK_S", "1e30", "must be at most 1000000000"),
        ("LINK_S", "0.5", "must be from 1 to 604800 (7 days)"),
        ("LINK_S", "604801", "must be from 1 to 604800 (7 days)"),
        ("DEVICE", "gpu", "must be auto, cpu or cuda"),
        ("OPEN_MODE", "open", "must be user or token"),
        ("LOG", "xml", "must be auto, human or json"),
        ("STORE_URL", "bucket", "must be an address such as s3://bucket or s3://bucket/folder"),
        ("STORE_URL", "s3:///folder", "must be an address such as s3://bucket or s3://bucket/folder"),
        ("STORE_URL", "s3://Bad_Bucket*", "must be an address such as s3://bucket or s3://bucket/folder"),
        ("STORE_URL", "s3://b:99/x", "must be an address such as s3://bucket or s3://bucket/folder"),
        ("STORE_URL", "s3://bucket/../x", "must be an address such as s3://bucket or s3://bucket/folder"),
        ("S3_REGION", "nowhere land", "must be the name of a region, such as us-east-1"),
        ("RATE_LIMIT", "fast", "must be a rate such as 1200/minute, or off"),
        ("ADDRESS_RATE_LIMIT", "0/minute", "must be a rate such as 1200/minute, or off"),
        (
            "CORS_ORIGINS",
            "https://a.example, https://b.example/",
            "must be origins such as https://a.example, without a path",
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.5, proxy",
            "must be networks: 'proxy' does not appear to be an IPv4 or IPv6 network",
        ),
        ("SPEECH_NETWORKS", "10.0.0.5/8", "must be networks: 10.0.0.5/8 has host bits set"),
        ("MAX_VIDEO_BYTES", "99999999999999999999999", "must be at most 9223372036854775807"),
    ],
)
def test_an_unusable_value_is_refused_with_its_variable_and_the_remedy(name, text, problem, environment):
    environment.setenv(f"ADNERF_{name}", text)
    with pytest.raises(BadSetting) as refused:
        load()
    assert str(refused.value) == f"ADNERF_{name}='{text}' {problem}. Correct the variable or unset it."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[
            (name, text)
            for name in ("S3_ENDPOINT_URL", "S3_PUBLIC_URL", "TIMESTAMP_URL")
            for text in (
                "nonsense",
                "host:9000",
                "http://h:port",
                "http://h:99999",
                "ftp://h",
                "http://[::1",
                "https://",
            )
        ],
        ("BROKER_URL", "foo://bar"),
        ("BROKER_URL", "redis://127.0.0.1:port/0"),
        ("BROKER_URL", "redis://127.0.0.1:6379/queue"),
        ("BROKER_URL", "sentinel://a:1;redis://b:port"),
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(name, text, environment):
    environment.setenv(f"ADNERF_{name}", text)
    with pytest.raises(BadSetting, match=rf"^ADNERF_{name} must be an address such as \w+://[^ ]+\. Correct"):
        load()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("S3_ENDPOINT_URL", "http://[::1]:9000"),
        ("S3_PUBLIC_URL", "https://files.example"),
        ("BROKER_URL", "rediss://:pass@host:6379/0"),
        ("BROKER_URL", "sentinel://a:26379;sentinel://b:26379"),
        ("BROKER_URL", "redis+socket:///run/redis.sock"),
        ("STORE_URL", "s3://my.bucket/some folder/x/"),
    ],
)
def test_addresses_that_can_be_used(name, text, environment):
    environment.setenv(f"ADNERF_{name}", text)
    assert getattr(load(), name.lower()) == text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u@h:port/x",
        "postgresql+psycopg2://u@h/x",
        "postgresql+asyncpg://u@h/x",
        "sqlite+aiosqlite:///x.db",
        "postgres://u@h/x",
    ],
)
def test_a_database_that_no_driver_can_open_is_refused(url):
    with pytest.raises(BadSetting, match="ADNERF_DATABASE_URL is no URL such as"):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "sqlite:////data/adnerf.db?timeout=5&mode=ro",
            r"would be arguments \(timeout, mode\), and none are supported. Remove them",
        ),
        ("sqlite:////da?ta/adnerf.db", "The path of the database has a question mark"),
    ],
)
def test_a_question_mark_in_the_url_of_sqlite_is_told_as_what_it_is(url, sentence):
    with pytest.raises(BadSetting, match=sentence):
        parse_url(url)


@pytest.mark.parametrize("rate", ["20/second", "5 per minute", "10/2 hours", "off"])
def test_rates_that_can_be_used(rate, environment):
    environment.setenv("ADNERF_RATE_LIMIT", rate)
    assert RateLimiter(load()).items["key"] is None or rate != "off"


@pytest.mark.parametrize(("shorter", "longer"), [("BEAT_S", "LEASE_S"), ("SWEEP_S", "WORKER_SILENCE_S")])
def test_a_heartbeat_slower_than_the_time_to_miss_it_is_refused(shorter, longer, environment):
    environment.setenv(f"ADNERF_{shorter}", "8")
    environment.setenv(f"ADNERF_{longer}", "8")
    with pytest.raises(BadSetting, match=f"ADNERF_{shorter}=8 must be less than ADNERF_{longer}=8"):
        load()
    environment.setenv(f"ADNERF_{longer}", "8.5")
    load()


def test_an_unknown_variable_is_named_with_the_nearest_setting(environment):
    environment.setenv("ADNERF_LEASES", "5")
    environment.setenv("ADNERF_URL", "http://127.0.0.1:8000")
    environment.setenv("ADNERF_XYZZY", "5")
    written = io.StringIO()
    logs.configure("json", written)
    told = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["level"] for line in told] == ["warning", "warning"]
    assert "ADNERF_LEASES is no setting" in told[0]["message"] and "Is ADNERF_LEASE_S meant?" in told[0]["message"]
    assert "ADNERF_XYZZY" in told[1]["message"] and "meant" not in told[1]["message"]


def test_all_unusable_values_are_named_at_once(environment):
    environment.setenv("ADNERF_LEASE_S", "ten")
    environment.setenv("ADNERF_MAX_IMAGE_BYTES", "huge")
    with pytest.raises(BadSetting, match=r"ADNERF_MAX_IMAGE_BYTES='huge' .* ADNERF_LEASE_S='ten'"):
        load()


def test_unknown_variables_and_stray_env_files_change_nothing(environment, tmp_path):
    environment.setenv("ADNERF_LEASES", "5")
    (tmp_path / ".env").write_text("ADNERF_LEASE_S=5\nPOSTGRES_PASSWORD=secret\n")
    environment.chdir(tmp_path)
    assert load() == Settings()


def test_settings_made_in_code_do_not_depend_on_the_environment(environment):
    environment.setenv("ADNERF_DATABASE_URL", "postgresql://production/d")
    assert Settings(lease_s=5).database_url == ""


def test_a_copy_is_validated_too():
    assert Settings().replace(link_s=60, webhook_key="k").webhook_key.get_secret_value() == "k"
    with pytest.raises(ValidationError):
        Settings().replace(link_s=0)


def test_secrets_are_not_printed():
    settings = Settings(
        database_url="postgresql://me:sesame@h/d",
        broker_url="redis://:sesame@h/0",
        s3_secret_key="sesame",
        webhook_key="sesame",
    )
    assert "sesame" not in repr(settings) and "sesame" not in str(settings)
