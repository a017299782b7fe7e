#!/usr/bin/env python3
"""Check dashboards by the rules of grafana/dashboard-linter, tables included, which the original passes over.

In: dashboard JSON files and the `.lint` file beside each. Out: one line per finding, exit 1 when there is one.
It does not parse PromQL: the end-to-end run sends every query to a real Prometheus.
"""

import json
import re
import sys
from pathlib import Path

import yaml

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
PANELS = ("stat", "gauge", "timeseries", "state-timeline", "table")
SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
COUNTER = re.compile(r"\b[a-z_]+_total\b")
RATED_COUNTER = re.compile(r"\b(?:rate|irate|increase)\(\s*[a-z_]+_total\b")
RATE_WINDOW = re.compile(r"\b(?:rate|irate|increase)\([^\[]*\[([^\]]*)\]")


def panels(dashboard):
    """Every panel that shows something, those inside collapsed rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def expressions(dashboard):
    """Every query of the dashboard: (panel title, refId, expression)."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["refId"], target["expr"]


def variables(dashboard):
    """The template variables by name."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def lint_dashboard(dashboard):
    """Findings about the dashboard itself and its variables: (rule, panel or None, what is wrong)."""
    if dashboard.get("editable") is not False:
        yield "uneditable-dashboard-rule", None, "must have `editable: false`"
    if dashboard.get("id") is not None or not 0 < len(dashboard.get("uid", "")) <= 40:
        yield "dashboard-identity", None, "must have `id: null` and a fixed uid of at most 40 characters"
    if dashboard.get("schemaVersion") != 39:
        yield "dashboard-identity", None, "must have schemaVersion 39"
    if dashboard.get("__inputs"):
        yield "template-datasource-rule", None, "must not have __inputs: provisioning does not resolve them"
    have = variables(dashboard)
    source = have.get("datasource", {})
    if (source.get("type"), source.get("query"), source.get("label")) != ("datasource", "prometheus", "Data source"):
        yield "template-datasource-rule", None, "must have a Prometheus data source variable `datasource`"
    for name, label in (("job", "Job"), ("instance", "Instance")):
        rule = f"template-{name}-rule"
        variable = have.get(name)
        if variable is None:
            yield rule, None, f"must have a variable `{name}`"
            continue
        wanted = {"type": "query", "label": label, "multi": True, "allValue": ".+", "datasource": DATASOURCE}
        for key, value in wanted.items():
            if variable.get(key) != value:
                yield rule, None, f"variable `{name}`: {key} must be {value!r}, not {variable.get(key)!r}"
    for name, variable in have.items():
        if variable["type"] != "query":
            continue
        if variable.get("refresh") != 2:
            yield "template-on-time-change-reload-rule", None, f"variable `{name}`: refresh must be 2"
        if not re.fullmatch(r"label_values\((.+, )?\w+\)", variable["query"]):
            yield "template-label-promql-rule", None, f"variable `{name}`: `{variable['query']}` is not label_values(...)"


def lint_panel(panel):
    """Findings about one panel and its queries."""
    title = panel.get("title") or f"panel {panel.get('id')}"
    if panel["type"] not in PANELS:
        yield "panel-type", title, f"type `{panel['type']}` is not one of {', '.join(PANELS)}"
        return
    if not panel.get("title") or not panel.get("description"):
        yield "panel-title-description-rule", title, "must have a title and a description"
    if panel.get("datasource") != DATASOURCE:
        yield "panel-datasource-rule", title, "must use ${datasource}"
    defaults = panel["fieldConfig"]["defaults"]
    if not defaults.get("unit") and not defaults.get("mappings"):
        yield "panel-units-rule", title, "must have a unit or value mappings"
    if not panel.get("targets"):
        yield "panel-no-targets-rule", title, "must have a query"
    for target in panel.get("targets", []):
        yield from lint_target(panel, target, title)


def lint_target(panel, target, title):
    """Findings about one query."""
    expr = target["expr"]
    if target.get("datasource") != DATASOURCE:
        yield "panel-datasource-rule", title, f"query {target['refId']} must use ${{datasource}}"
    if expr.count("(") != expr.count(")") or not SELECTOR.search(expr):
        yield "target-promql-rule", title, f"`{expr}` is no query with a selector in balanced parentheses"
    if re.search(r"\|[=~]|\| *(?:json|logfmt)\b", expr):
        yield "target-logql-rule", title, f"`{expr}` is LogQL"
    for window in RATE_WINDOW.findall(expr):
        if window != "$__rate_interval":
            yield "target-rate-interval-rule", title, f"rate over [{window}] must be over [$__rate_interval]"
    for name, matchers in SELECTOR.findall(expr):
        for label in ("job", "instance"):
            if f'{label}=~"${label}"' not in matchers:
                yield f"target-{label}-rule", title, f'`{name}` must be selected by {label}=~"${label}"'
    if len(COUNTER.findall(expr)) != len(RATED_COUNTER.findall(expr)):
        yield "target-counter-agg-rule", title, f"a counter in `{expr}` is not in rate, irate or increase"
    if panel["type"] == "table":
        if target.get("format") != "table" or not target.get("instant"):
            yield "table-query", title, f"query {target['refId']} must be instant and in table format"
        if "by (job, instance" not in expr:
            yield "table-query", title, f"query {target['refId']} must aggregate by (job, instance): the rows are joined on it"


def excluded(path):
    """What the `.lint` file beside the dashboard excuses: {(rule, dashboard, panel)}; each entry has a reason."""
    file = path.with_name(".lint")
    rules = yaml.safe_load(file.read_text())["exclusions"] if file.exists() else {}
    found = set()
    for rule, exclusion in rules.items():
        assert exclusion.get("reason"), f"{file}: {rule} needs a reason"
        found |= {(rule, entry["dashboard"], entry["panel"]) for entry in exclusion["entries"]}
    return found


def lint(path):
    """The findings in one file, as lines for a person."""
    dashboard = json.loads(path.read_text())
    name = dashboard["title"]
    excuses = excluded(path)
    findings = list(lint_dashboard(dashboard))
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        findings.append(("panel-id", None, "two panels have the same id"))
    for panel in panels(dashboard):
        findings += lint_panel(panel)
    used = {(rule, name, panel) for rule, panel, _ in findings} & excuses
    lines = [f"{path}: {panel or 'dashboard'}: {problem} ({rule})"
             for rule, panel, problem in findings if (rule, name, panel) not in excuses]
    lines += [f"{path}: .lint excuses {rule} in `{panel}`, which is not needed"
              for rule, board, panel in sorted(excuses - used) if board == name]
    return lines


def main(paths):
    """Print every finding; 1 when there is one."""
    lines = [line for path in paths for line in lint(Path(path))]
    print("\n".join(lines) or f"{len(paths)} dashboard(s): no findings")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
