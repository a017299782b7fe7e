"""A real Prometheus for the end-to-end run: its configuration, made from the shipped one, and its HTTP API."""

import copy
import json
import urllib.parse

import yaml

from world import Process, expect, free_port, get

FORMATS = ("OpenMetricsText1.0.0", "PrometheusText0.0.4")
INTERVAL = "3s"


def config(shipped, table, addresses, scrape_format):
    """The shipped scrape configuration, pointed at this run's exporters, with a /probe job per module of `table`."""
    folder = shipped.parent
    settings = yaml.safe_load(shipped.read_text())
    settings["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL,
                          "scrape_protocols": [scrape_format]}
    settings["rule_files"] = [str(folder / file) for file in settings["rule_files"]]
    del settings["alerting"]
    jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
    own = jobs["edgeprobe"]
    own["static_configs"][0]["targets"] = [addresses[name] for name in own["static_configs"][0]["targets"]]
    settings["scrape_configs"] = [own]
    for module in sorted({expected.module for expected in table}):
        job = copy.deepcopy(jobs["edgeprobe-https"])
        del job["file_sd_configs"]
        job["job_name"] = pull_job(module)
        job["params"] = {"module": [module]}
        job["static_configs"] = [{"targets": [e.target for e in table if e.module == module]}]
        for rule in job["relabel_configs"]:
            rule["replacement"] = addresses.get(rule.get("replacement"), rule.get("replacement", "$1"))
        settings["scrape_configs"].append(job)
    return settings


def pull_job(module):
    """The job that scrapes /probe with `module`."""
    return f"pull-{module}"


def scheduled_job(module):
    """The job of the exporter's own scheduler that probes with `module`."""
    return f"scheduled-{module}"


class Prometheus:
    """One server that scrapes in one format."""

    def __init__(self, binary, settings, scrape_format, folder):
        self.format = scrape_format
        self.port = free_port()
        self.file = folder / f"prometheus-{scrape_format}.yml"
        self.file.write_text(yaml.safe_dump(settings, sort_keys=False))
        command = [binary, f"--config.file={self.file}", f"--web.listen-address=127.0.0.1:{self.port}",
                   f"--storage.tsdb.path={folder / scrape_format}"]
        self.process = Process(f"prometheus-{scrape_format}", command, folder)

    def ready(self):
        """Wait until it serves queries."""
        self.process.ready_at(f"http://127.0.0.1:{self.port}/-/ready")
        return self

    def api(self, path, **parameters):
        """The `data` of an API answer; an error of the query is a Failure."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        answer = get(f"http://127.0.0.1:{self.port}/api/v1/{path}{query}")
        document = json.loads(answer.body)
        expect(document["status"] == "success", f"{path}{parameters}: {document.get('error')}")
        return document["data"]

    def query(self, expression):
        """The result of an instant query: a list of (labels, value)."""
        return [(row["metric"], float(row["value"][1])) for row in self.api("query", query=expression)["result"]]

    def value(self, expression):
        """The value of a query that must have exactly one result."""
        rows = self.query(expression)
        expect(len(rows) == 1, f"{self.format}: `{expression}` has {len(rows)} results, not one")
        return rows[0][1]
