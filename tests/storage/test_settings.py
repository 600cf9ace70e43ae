"""Settings: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from storage.errors import BadSetting
from storage.settings import Settings, environment_of, load, variable_name


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
    ],
)
def test_an_unusable_value_is_refused_with_its_variable_and_the_remedy(name, text, problem, environment):
    environment.setenv(f"ADNERF_{name}", text)
    with pytest.raises(BadSetting) as refused:
        load()
    assert str(refused.value) == f"ADNERF_{name}='{text}' {problem}. Correct the variable or unset it."


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
