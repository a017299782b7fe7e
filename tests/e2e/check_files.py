"""The files that users import: rules, scrape and Alertmanager configuration, dashboards, runbooks, compose file."""

import re

import dashboard_lint
import yaml

from world import expect, must


def check_rules(world):
    """Rules are valid and behave as their tests say."""
    rules = world.root / "config/prometheus/rules"
    must([world.promtool, "check", "rules", rules / "edgeprobe.yml"])
    must([world.promtool, "test", "rules", rules / "edgeprobe_test.yml"])


def check_every_alert_is_tested(world):
    """Each alert has a case that fires, one that stays silent, and a runbook; no runbook is left over."""
    rules = yaml.safe_load((world.root / "config/prometheus/rules/edgeprobe.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((world.root / "config/prometheus/rules/edgeprobe_test.yml").read_text())
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    expect(firing == alerts, f"no firing case: {sorted(alerts - firing)}")
    expect(silent == alerts, f"no silent case: {sorted(alerts - silent)}")
    runbooks = {file.stem: file.read_text() for file in (world.root / "docs/runbooks").glob("*.md")}
    expect(set(runbooks) == alerts, f"runbooks and alerts differ: {sorted(alerts ^ set(runbooks))}")
    for name, text in runbooks.items():
        headings = re.findall(r"^## (.+)$", text, re.M)
        expect(headings == ["Meaning", "Impact", "Diagnosis", "Mitigation"], f"{name}: {headings}")


def check_prometheus_config(world):
    """promtool accepts the shipped scrape configuration and the one of this run."""
    must([world.promtool, "check", "config", world.root / "config/prometheus/prometheus.yml"])
    for server in world.servers:
        must([world.promtool, "check", "config", server.file])


def check_alertmanager_config(world):
    """amtool accepts the shipped routes, where there is an amtool."""
    if world.amtool:
        must([world.amtool, "check-config", world.root / "config/alertmanager/alertmanager.yml"])


def check_dashboard_lint(world):
    """The dashboards follow the linter's rules, tables included."""
    for file in sorted((world.root / "dashboards").glob("*.json")):
        findings = dashboard_lint.lint(file)
        expect(not findings, "\n".join(findings))


def check_compose(world):
    """Every mounted path exists, images are pinned, ports are bound to the loopback address, all are health-checked."""
    services = yaml.safe_load((world.root / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        image = service["image"]
        expect(re.fullmatch(r".+:v?\d+\.\d+\.\d+", image), f"{name}: image {image} is not pinned")
        expect("healthcheck" in service, f"{name}: no health check")
        for port in service.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"{name}: port {port} is published beyond the loopback address")
        for volume in service.get("volumes", []):
            path = world.root / volume.split(":")[0]
            expect(path.exists(), f"{name}: {path} is mounted but does not exist")
        for other in service.get("depends_on", {}):
            expect(other in services, f"{name}: depends on {other}, which does not exist")
