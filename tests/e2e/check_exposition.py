"""Every page the exporter serves, read by promtool (text) and by the Python client's parser (OpenMetrics)."""

import urllib.parse

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from world import Failure, expect, get, run

TEXT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def pages(world):
    """The address of every page with metrics."""
    for exporter in (world.exporter, world.demo):
        yield f"{exporter}/metrics"
    for expected in world.table:
        yield world.probe_url(expected.target, expected.module)


def check_every_page(world):
    """Both formats of every page are valid, and each says what it is."""
    wrong = []
    for page in pages(world):
        for check in (check_text, check_openmetrics):
            try:
                check(world, page)
            except Failure as failure:
                wrong.append(str(failure))
    expect(not wrong, "\n".join(wrong))


def check_text(world, page):
    """The text format passes promtool's lint."""
    answer = get(page, {"Accept": TEXT})
    expect(answer.headers["content-type"].startswith("text/plain; version=0.0.4"), f"{page}: {answer.headers['content-type']}")
    lint = run([world.promtool, "check", "metrics"], stdin=answer.body)
    expect(lint.code == 0, f"{page}: promtool: {lint.text}")


def check_openmetrics(_world, page):
    """The OpenMetrics format parses, and no series appears twice (which the parser would accept)."""
    answer = get(page, {"Accept": OPENMETRICS})
    content_type = answer.headers["content-type"]
    expect(content_type.startswith("application/openmetrics-text; version=1.0.0"), f"{page}: {content_type}")
    try:
        families = list(text_string_to_metric_families(answer.body))
    except ValueError as error:
        raise Failure(f"{page}: {error}") from None
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples]
    expect(len(series) == len(set(series)), f"{page}: the same series twice")
    expect("probe_success" in {family.name for family in families}, f"{page}: no probe_success")


def check_gzip_only_on_request(world):
    """The page is compressed for who asks, and plain for who does not."""
    page = f"{world.exporter}/metrics"
    expect("content-encoding" not in get(page).headers, "compressed though nobody asked")
    compressed = run(["curl", "-sS", "-H", "Accept-Encoding: gzip", "-D", "-", "-o", "/dev/null", page]).stdout.lower()
    expect("content-encoding: gzip" in compressed, f"not compressed:\n{compressed}")


def check_hostname_parameter(world):
    """`hostname` names the site apart from the address: the edge answers 403 to its own name and 200 to the site's."""
    edge = world.targets.url("edge", "site")
    site = {"hostname": "site.localhost"}
    expect("\nprobe_success 0\n" in get(world.probe_url(edge, "https_2xx")).body, "the edge accepted its own name")
    url = f"{world.probe_url(edge, 'https_2xx')}&{urllib.parse.urlencode(site)}"
    expect("\nprobe_success 1\n" in get(url).body, f"{url}: the edge refused the site's name")
