"""docs/operations.md and docs/alerts.yml agree with the code: settings, metrics, alerts."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.middleware.request_log import RequestMetrics
from api.monitoring import metrics, readiness
from storage.database.engine import Database
from storage.objects.open_store import open_store
from storage.settings import PREFIX, Settings, variable_name
from storage.tables import counters, workers
from tests.tables import create_tables
from worker.processes import supervisor

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "operations.md").read_text()
SCRAPE = yaml.safe_load(re.search(r"```yaml\n(scrape_configs:.*?)```", PAGE, re.DOTALL)[1])["scrape_configs"][0]
RULES = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"][0]["rules"]


@pytest.fixture
def exposed(tmp_path) -> dict[str, set[str]]:
    """Label names of every sample that the API exposes, by the name of the sample."""
    settings = Settings(data_dir=tmp_path)
    database, store = Database(settings.database), open_store(settings)
    create_tables(database)
    with database.session() as session:
        workers.register(session, "w", host="h", queues=["cpu"], device={"name": "cpu", "disk_free_bytes": 1})
        counters.add(session, counters.STAGE, "train", "head", 1.0)
    ready = readiness.Readiness(settings, database, store)
    registry = metrics.registry(settings, database, ready)
    RequestMetrics(registry).seconds.labels("GET", "/v1/jobs/{job_id}", "200").observe(0.1)
    text = generate_latest(registry).decode()
    ready.close()
    database.close()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def test_the_page_lists_the_settings_of_the_code():
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| `?([^`|]*?)`? \| (.*) \|$", PAGE, re.MULTILINE)
    fields = Settings.model_fields.items()
    assert rows == [(variable_name(name), str(field.default), field.description) for name, field in fields]


def test_the_page_lists_the_metrics_of_the_service(exposed):
    table = PAGE[PAGE.index("| figure |") :].split("\n\n")[0]
    documented = re.findall(r"`(adnerf_\w+)(?:\{([\w,]+)\})?`", table)
    for name, labels in documented:
        assert set(filter(None, labels.split(","))) <= exposed.get(name, exposed.get(f"{name}_count")), name
    bases = {re.sub(r"_(sum|count|bucket|created)$", "", name) for name in exposed if name.startswith("adnerf_")}
    assert bases == {name for name, _ in documented}


def selectors(node):
    """Yields all vector selectors in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for child in ("expr", "lhs", "rhs", "vector_selector"):
        if getattr(node, child, None) is not None:
            yield from selectors(getattr(node, child))
    for argument in getattr(node, "args", None) or []:
        yield from selectors(argument)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_uses_existing_metrics_and_labels(rule, exposed):
    used = list(selectors(promql_parser.parse(rule["expr"])))
    assert used
    for selector in used:
        if selector.name == "up":  # Prometheus's own, of each scrape
            assert [str(each.value) for each in selector.matchers.matchers] == [SCRAPE["job_name"]]
            continue
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= exposed[selector.name] | {"le"}, selector.name
    assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket")


def test_an_api_that_is_away_raises_an_alert():
    """The scrapes of all processes fail, or there are none: no target is configured, or the job has another name."""
    (rule,) = (rule for rule in RULES if rule["alert"] == "AdnerfApiDown")
    assert rule["expr"].split(" or ") == ['max(up{job="adnerf"}) == 0', "absent(adnerf_up)"]
    assert SCRAPE["authorization"]["credentials_file"] and SCRAPE["metrics_path"] == "/metrics"


def test_the_page_explains_every_alert():
    assert re.findall(r"^\| `(Adnerf\w+)` \|", PAGE, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_the_unit_of_systemd_fits_the_program(tmp_path):
    unit = re.search(r"```ini\n(.*?)```", PAGE, re.DOTALL)[1]
    parser = configparser.ConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string(unit)
    service = parser["Service"]
    assert float(service["TimeoutStopSec"]) > supervisor.STOP_S
    assert service["KillMode"] == "mixed"  # the children are stopped by `serve`, not by systemd
    assert service["ExecStart"].split()[1:] == ["serve"]
    names = re.findall(r"(ADNERF_\w+)=", service["Environment"])
    assert names and set(names) <= {variable_name(field) for field in Settings.model_fields}
    if shutil.which("systemd-analyze"):
        path = tmp_path / "adnerf.service"
        path.write_text(re.sub("ExecStart=.*", "ExecStart=/bin/true", unit))
        checked = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
        assert "Unknown" not in checked.stderr
