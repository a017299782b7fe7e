"""What Prometheus must have after scraping, checked on each server (one per exposition format)."""

import json

import dashboard_lint
from prometheus import pull_job, scheduled_job
from world import Failure, expect, wait_until

# Queries of shipped dashboards that may be empty in this run, with the reason: (dashboard title, panel, refId).
MAY_BE_EMPTY = {}

# What the dashboards and alert packs written for blackbox_exporter ask, with the target in place of the variable.
BLACKBOX_QUERIES = {
    "https": ("probe_success{{{s}}}", "probe_duration_seconds{{{s}}}", "avg(probe_duration_seconds{{{s}}}) by (instance)",
              "sum(probe_http_duration_seconds{{{s}}}) by (instance)", 'probe_http_duration_seconds{{{s},phase="tls"}}',
              "probe_http_status_code{{{s}}}", "probe_http_ssl{{{s}}}", "probe_http_version{{{s}}}",
              "probe_dns_lookup_time_seconds{{{s}}}", "probe_ip_protocol{{{s}}}",
              "probe_ssl_earliest_cert_expiry{{{s}}} - time()", "probe_tls_version_info{{{s}}}"),
    "wss": ("probe_success{{{s}}}", "probe_websocket_connection_upgraded{{{s}}} == 1", "probe_websocket_status_code{{{s}}} == 101",
            "sum(probe_websocket_duration_seconds{{{s}}}) by (instance)"),
}

def selectors(expected):
    """The same probe as /probe gives it and as /metrics does."""
    target = json.dumps(expected.target)
    yield f'job="{pull_job(expected.module)}",instance={target}'
    yield f'job="{scheduled_job(expected.module)}",instance={target},module="{expected.module}"'


def check_every_scrape_succeeds(world, server):
    """`up` is 1 for every target, and no scrape has failed."""

    def attempt():
        targets = server.api("targets", state="active")["activeTargets"]
        expect(len(targets) == len(world.table) + 2, f"{len(targets)} targets, not {len(world.table) + 2}")
        for target in targets:
            expect(target["health"] == "up", f"{server.format}: {target['scrapeUrl']}: {target['health']} {target['lastError']}")

    wait_until("every target up", attempt)


def check_verdicts(world, server):
    """Each endpoint has its expected verdict, one phase and one reason, on both ways."""
    wrong = []
    for expected in world.table:
        for selector in selectors(expected):
            try:
                wait_until("verdict", lambda e=expected, s=selector: verdict(server, e, s), seconds=40)
            except Failure as failure:
                wrong.append(str(failure))
    expect(not wrong, "\n".join(wrong))


def verdict(server, expected, selector):
    """The verdict of one endpoint on one way."""
    success = server.value(f"probe_success{{{selector}}}")
    failures = [(labels["phase"], labels["reason"]) for labels, _ in server.query(f"probe_failure_info{{{selector}}}")]
    wanted = [(expected.phase, expected.reason)] if expected.reason else []
    expect(failures == wanted, f"{server.format}: {{{selector}}}: {failures}, not {wanted}")
    expect(success == (0 if wanted else 1), f"{server.format}: {{{selector}}}: probe_success is {success}")


def check_certificate_facts_survive_failure(world, server):
    """Whoever sent a certificate has its expiry, whatever the verdict; the demonstration's endpoints too."""

    def attempt():
        for expected in world.table:
            for selector in selectors(expected):
                found = len(server.query(f"probe_ssl_earliest_cert_expiry{{{selector}}}"))
                expect(found == int(expected.has_certificate), f"{server.format}: {{{selector}}}: {found} expiry series")
        lost = server.query("(probe_tls_handshake_completed == 1) unless on (job, instance, module) probe_ssl_earliest_cert_expiry")
        expect(not lost, f"{server.format}: handshake completed but no expiry: {lost}")

    # A scrape that came too late leaves a gap until the next one.
    wait_until("the facts", attempt)


def check_blackbox_queries(world, server):
    """Dashboards written for blackbox_exporter work by `instance`, on both ways."""
    for expected in world.table:
        kind = "wss" if expected.module == "wss_upgrade" else "https" if expected.module == "https_2xx" else None
        if kind is None or expected.reason:
            continue
        for selector in selectors(expected):
            for query in BLACKBOX_QUERIES[kind]:
                expression = query.format(s=selector)
                wait_until("query", lambda e=expression: expect(server.query(e), f"{server.format}: `{e}` has no result"))


def check_demo_shows_its_verdicts(_world, server):
    """Each endpoint of the demonstration has the one verdict that its label `expected` announces."""

    def attempt():
        verdicts = {labels["instance"] + labels["module"]: ["success", labels["expected"]]
                    for labels, _ in server.query('probe_success{expected!=""}')}
        expect(len(verdicts) > 20, f"only {len(verdicts)} endpoints in the demonstration")
        failures = server.query('probe_failure_info{expected!=""}')
        for labels, _ in failures:
            verdicts[labels["instance"] + labels["module"]][0] = f"{labels['phase']}/{labels['reason']}"
        wrong = {key: verdict for key, verdict in verdicts.items() if not as_announced(*verdict)}
        expect(not wrong, f"{server.format}: (what is, what must be): {wrong}")
        failed = server.query('probe_success{expected!=""} == 0')
        expect(len(failed) == len(failures), f"{server.format}: {len(failed)} failed, {len(failures)} reasons")

    wait_until("the demonstration's verdicts", attempt)


def as_announced(verdict, announced):
    """Whether a verdict is the announced one; how a missing name fails depends on the machine's resolver."""
    if announced.startswith("resolve/"):
        return verdict.startswith("resolve/")
    return verdict == announced


def check_dashboards(world, server):
    """Every query of every shipped dashboard returns data."""
    empty = []
    for file in sorted((world.root / "dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        for panel, ref, expression in dashboard_lint.expressions(dashboard):
            if (dashboard["title"], panel, ref) in MAY_BE_EMPTY:
                continue
            query = substitute(expression, dashboard)
            try:
                wait_until("query", lambda q=query: expect(server.query(q), "no data"), seconds=40)
            except Failure as failure:
                empty.append(f"{server.format}: {panel} {ref}: {failure}: {query}")
    expect(not empty, "\n".join(empty))


def substitute(expression, dashboard):
    """A query with Grafana's variables filled in as `All` would."""
    for name in dashboard_lint.variables(dashboard):
        expression = expression.replace(f"${name}", ".+")
    return expression.replace("$__rate_interval", "30s").replace("$__range", "5m")


def check_alerts(world, server):
    """Every rule evaluates without error, and those that must be on their way to firing are."""

    def attempt():
        rules = [rule for group in server.api("rules")["groups"] for rule in group["rules"]]
        for rule in rules:
            expect(rule["health"] == "ok", f"{server.format}: {rule['name']}: {rule['health']} {rule.get('lastError')}")
        active = {rule["name"] for rule in rules if rule["state"] != "inactive"}
        wanted = {"EdgeprobeTargetDown", "EdgeprobeCertificateExpired", "EdgeprobeCertificateExpiresSoon",
                  "EdgeprobeVerificationFailed", "EdgeprobeHandshakeFailing"}
        expect(wanted <= active, f"{server.format}: not pending: {sorted(wanted - active)}")
        unwanted = active & {"EdgeprobeProberDown", "EdgeprobeResultsStale", "EdgeprobeConfigReloadFailed"}
        expect(not unwanted, f"{server.format}: pending without cause: {sorted(unwanted)}")
        texts = [alert["annotations"]["description"] for rule in rules for alert in rule["alerts"]
                 if rule["name"] == "EdgeprobeTargetDown" and alert["labels"]["instance"] == refused]
        expect(len(texts) == 2 and all("in phase connect: refused" in text for text in texts),
               f"{server.format}: alerts of {refused}: {texts}")

    refused = next(expected.target for expected in world.table if expected.reason == "refused")
    wait_until("alerts", attempt)
