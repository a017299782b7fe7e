"""Status codes and messages of the exporter's HTTP side, reload, and the way it ends."""

import signal

from world import expect, get, get_ok, wait_until


def check_status_codes(world):
    """What blackbox_exporter's users rely on, and 404 for what does not exist."""
    good = world.targets.url("good")
    for method, path, status, phrase in (
        ("GET", "/probe?target=x&module=nope", 400, 'Unknown module "nope"'),
        ("GET", "/probe?module=https_2xx", 400, "Target parameter is missing"),
        ("GET", "/-/healthy", 200, "Healthy"),
        ("GET", "/-/ready", 200, ""),
        ("GET", "/-/reload", 405, "This endpoint requires a POST request."),
        ("POST", "/-/reload", 200, ""),
        ("GET", "/config", 200, "https_2xx"),
        ("GET", f"/logs?target={good}", 200, "Logs for the probe:"),
        ("GET", "/logs", 400, "http query parameters"),
        ("GET", "/", 200, "good.localhost"),
        ("GET", "/nothing", 404, ""),
    ):
        answer = get(world.exporter + path, method=method)
        expect(answer.status == status and phrase in answer.body, f"{method} {path}: {answer.status}: {answer.body[:300]}")


def check_timeout_header(world):
    """A timeout header that is no number is refused by name; one that is sets the probe's limit."""
    page = world.probe_url(world.targets.url("good"), "https_2xx")
    broken = get(page, {"X-Prometheus-Scrape-Timeout-Seconds": "soon"})
    told = "Failed to parse timeout from Prometheus header" in broken.body
    expect(broken.status == 500 and told, f"{broken.status}: {broken.body}")
    limited = get_ok(page, {"X-Prometheus-Scrape-Timeout-Seconds": "2"})
    expect("\nprobe_timeout_seconds 1.5\n" in limited, "probe_timeout_seconds is not the header less the offset")


def check_debug_report(world):
    """`debug=true` gives the three parts, the reason and the curl line."""
    report = get_ok(world.probe_url(world.targets.url("expired"), "https_2xx") + "&debug=true")
    for phrase in ("Logs for the probe:", "Metrics that would have been returned:", "Module configuration:",
                   "cert_expired", "probe_success 0", "curl ", "--connect-to"):
        expect(phrase in report, f"no `{phrase}` in:\n{report}")


def check_reload(world):
    """SIGHUP takes a good file, keeps the old configuration on a bad one, and says so; POST does the same."""
    file = world.folder / "reload.yml"
    original = world.config.read_text()
    file.write_text(original)
    exporter, address = world.start_exporter("reload", file)

    def reloaded(phrase, successful):
        metrics = get_ok(f"{address}/metrics")
        for name in ("edgeprobe", "blackbox_exporter"):
            line = f"{name}_config_last_reload_successful {successful}"
            expect(line in metrics, f"no `{line}`")
        expect(phrase in get_ok(f"{address}/config"), f"`{phrase}` is not in /config")

    try:
        file.write_text(original.replace("cert_expiry", "cert_renamed"))
        exporter.signal(signal.SIGHUP)
        wait_until("reload by SIGHUP", lambda: reloaded("cert_renamed", 1))
        file.write_text("modules: {broken: {prober: telepathy}}\n")
        exporter.signal(signal.SIGHUP)
        wait_until("refused reload", lambda: reloaded("cert_renamed", 0))
        refused = get(f"{address}/-/reload", method="POST")
        expect(refused.status == 500 and "telepathy" in refused.body, f"POST: {refused.status}: {refused.body}")
        file.write_text(original)
        expect(get(f"{address}/-/reload", method="POST").status == 200, "POST refused a good file")
        reloaded("cert_expiry", 1)
    finally:
        code = exporter.stop()
    expect(code == 0, f"SIGTERM: exit code {code}\n{exporter.tail()}")


def check_secrets_are_masked(world):
    """No page shows the password of the configuration."""
    for page in (f"{world.exporter}/config", world.probe_url(world.targets.url("good"), "https_body") + "&debug=true"):
        body = get_ok(page)
        expect("open sesame" not in body, f"{page} shows a secret")
        expect("<secret>" in body, f"{page} masks nothing")
