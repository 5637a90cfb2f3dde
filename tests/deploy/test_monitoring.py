"""The dashboard and the alert rules ask for metrics that the node exposes."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from dicom_node.corrections.register import CorrectionRegister
from dicom_node.receive.spool import Tally
from dicom_node.web.metrics import Metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus/hepar.rules.yml"
DASHBOARD = DEPLOY / "grafana/hepar.json"


def scrape(tmp_path):
    """Return what a node that has done nothing yet exposes."""
    node = SimpleNamespace(
        arriving=list,
        settings=SimpleNamespace(destinations={"archive": None}),
        spool=SimpleNamespace(tally=Tally()),
        data=SimpleNamespace(folder=tmp_path),
        algorithm=SimpleNamespace(name="toy", version="0.1", device="cpu", model="toy 0.1"),
        backlog_model="",
        plans=list,
        corrections=CorrectionRegister(tmp_path / "corrections.sqlite"),
    )
    jobs = SimpleNamespace(jobs=lambda last: [])
    health = SimpleNamespace(ready=lambda: [SimpleNamespace(check="disk", ok=True)])
    return Metrics(node, jobs, health).exposition().decode()


def exposed(tmp_path):
    """Return the names of the samples that a scrape may hold."""
    text = scrape(tmp_path)
    names = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    histograms = {name for name, kind in names.items() if kind == "histogram"}
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    return names.keys() - histograms | parts


def rules():
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def asked(expression):
    return set(re.findall(r"\bhepar_\w+", expression))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_exist_and_names_a_remedy(rule, tmp_path):
    names = asked(rule["expr"])
    assert names or "up{" in rule["expr"]
    assert names <= exposed(tmp_path)
    assert rule["annotations"]["remedy"]


def test_every_panel_asks_for_metrics_that_exist_and_every_metric_is_shown(tmp_path):
    shown = set()
    for panel in panels():
        names = {name for target in panel["targets"] for name in asked(target["expr"])}
        assert names, panel["title"]
        shown |= names
    known = exposed(tmp_path)
    assert shown <= known
    made = {name for name in known if not name.endswith(("_created", "_sum", "_count"))}
    assert made - shown == set()


def test_counters_begin_at_zero_so_that_the_first_failure_is_an_increase(tmp_path):
    text = scrape(tmp_path)
    assert 'hepar_deliveries_total{peer="archive",state="failed"} 0.0' in text
    assert 'hepar_series_total{state="failed"} 0.0' in text


def test_the_panels_lie_side_by_side():
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def promtool(*words, **more):
    if not (program := shutil.which("promtool")):
        pytest.skip("no promtool; Debian's package prometheus has it")
    run = subprocess.run([program, *words], capture_output=True, text=True, **more)
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_accepts_the_rules():
    promtool("check", "rules", RULES)


def test_promtool_accepts_the_metrics(tmp_path):
    promtool("check", "metrics", input=scrape(tmp_path))


def test_promtool_accepts_the_lines_that_scrape_a_node(tmp_path):
    head = RULES.read_text().partition("\ngroups:")[0].splitlines()
    lines = [line.removeprefix("# ") for line in head if line.startswith("#   ")]
    config = tmp_path / "prometheus.yml"
    config.write_text("\n".join(line.removeprefix("  ") for line in lines))
    (tmp_path / RULES.name).write_text(RULES.read_text())
    (job,) = yaml.safe_load(config.read_text())["scrape_configs"]
    job.pop("basic_auth")  # its file is on the machine of Prometheus
    assert job.pop("job_name") == "hepar"
    assert job == {"static_configs": [{"targets": ["127.0.0.1:11180"]}]}
    promtool("check", "config", "--syntax-only", config)
