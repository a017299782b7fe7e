#!/usr/bin/env python3
"""The founding case with servers that nobody here wrote: three nginx edges behind one name, a WebSocket server behind each.

An edge answers only where SNI and Host both name its site, as a CDN's do. Three edges have the new certificate or the old
one; edgeprobe has to tell which. Needs openssl 3, nginx and PyPI's websockets.

    tests/e2e/edges.py path/to/edgeprobe
"""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

SITE = "shop.example"
EDGES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
STALE = EDGES[1]
CONFIG = """
modules:
  page: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: ca.pem}}}}}}
  socket:
    prober: websocket
    timeout: 5s
    websocket: {{preferred_ip_protocol: ip4, ping: true, http_config: {{tls_config: {{ca_file: ca.pem}}}}}}
jobs:
- job_name: edges
  modules: [page, socket]
  interval: 5s
  connect_to: {edges}
  static_configs:
  - {{targets: ["https://{site}:{port}/"], labels: {{__param_module: page}}}}
  - {{targets: ["wss://{site}:{port}/socket"], labels: {{__param_module: socket}}}}
- job_name: held
  modules: [socket]
  interval: 5s
  hold: 1h
  static_configs: [{{targets: ["wss://{site}:{port}/socket"], labels: {{__param_connect_to: "{edge}:{port}"}}}}]
"""
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {servers}
}}
"""
SERVERS = """
  server {{
    listen {edge}:{port} ssl default_server; server_name _;
    ssl_certificate {cert}.pem; ssl_certificate_key {cert}.key;
    return 403;
  }}
  server {{
    listen {edge}:{port} ssl; server_name {site};
    ssl_certificate {cert}.pem; ssl_certificate_key {cert}.key;
    if ($ssl_server_name != {site}) {{ return 403; }}
    location / {{ return 200 "hello from {edge}\\n"; }}
    location /socket {{
      proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
    }}
  }}
"""


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)


def make_certificates(folder):
    """An authority, and two certificates of one site: `new` for 90 days, `old` for 5."""
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-days", "900", "-subj", "/CN=e2e root", "-keyout", "ca.key", "-out", "ca.pem", folder=folder)
    for name, days in (("new", "90"), ("old", "5")):
        openssl("req", *ec, "-subj", f"/CN={SITE}", "-addext", f"subjectAltName=DNS:{SITE}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days,
                "-copy_extensions", "copy", "-out", f"{name}.pem", folder=folder)


def echo(connection):
    """Sends every message back until the client, or the edge in between, goes away."""
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            connection.send(message)


class World:
    """The edges, what is behind them, and the program under test."""

    def __init__(self, program, folder, stack):
        self.program, self.folder = Path(program).resolve(), Path(folder)
        make_certificates(folder)
        backend = stack.enter_context(serve(echo, "127.0.0.1", 0))
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        self.port = free_port(EDGES[0])
        self.start_nginx(backend.socket.getsockname()[1], stack)
        config = CONFIG.format(edges=json.dumps([f"{edge}:{self.port}" for edge in EDGES]), site=SITE, edge=EDGES[0], port=self.port)
        (self.folder / "edgeprobe.yml").write_text(config)

    def start_nginx(self, backend, stack):
        shared = {"port": self.port, "site": SITE, "backend": backend}
        cert = {edge: "old" if edge == STALE else "new" for edge in EDGES}
        servers = "".join(SERVERS.format(edge=edge, cert=self.folder / cert[edge], **shared) for edge in EDGES)
        (self.folder / "nginx.conf").write_text(NGINX.format(folder=self.folder, servers=servers))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.nginx = process = self.start([nginx, "-c", self.folder / "nginx.conf", "-p", self.folder, "-e", "stderr"], stack)
        wait("nginx listens", lambda: listens(EDGES[-1], self.port), process)

    def start(self, command, stack):
        with (self.folder / f"{Path(command[0]).name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        stack.callback(process.wait, 10)
        stack.callback(process.send_signal, signal.SIGTERM)
        return process

    def probe(self, target, *options):
        """The JSON report of one probe."""
        command = [self.program, "probe", target, "--format", "json", "--config.file", self.folder / "edgeprobe.yml", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.folder)
        if not done.stdout:
            raise AssertionError(f"no report: {done.stderr}")
        return json.loads(done.stdout)

    def serve(self, stack):
        """Starts the exporter with the edges' job and gives its address once every series has a result."""
        listen = f"127.0.0.1:{free_port()}"
        command = [self.program, "--config.file", self.folder / "edgeprobe.yml", f"--web.listen-address={listen}"]
        process = self.start(command, stack)
        wait("every series has a result", lambda: answers(f"http://{listen}/-/ready"), process)
        return f"http://{listen}"


def wait(what, happened, process, patience=20):
    """Until `happened`, as long as the process lives."""
    end = time.monotonic() + patience
    while time.monotonic() < end and process.poll() is None:
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited in vain until {what}")


def listens(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, expected {expected!r}")


def verdict(report):
    return "success" if report["success"] else f"{report['failure']['phase']}/{report['failure']['reason']}"


def check_names_set(world):
    """By address, with SNI and Host set: 101 on each edge, and 200."""
    for edge in EDGES:
        for scheme, path, module, status in (("wss", "socket", "socket", 101), ("https", "", "page", 200)):
            report = world.probe(f"{scheme}://{edge}:{world.port}/{path}", "--module", module, "--hostname", SITE)
            expect(f"{scheme} {edge}", (verdict(report), report["hops"][0]["http"]["status"]), ("success", status))
            expect("hint", report["hint"], None)


def check_only_sni_set(world):
    """By address, with SNI alone: 403, and the report says that the names clash."""
    for scheme, path, module, expected in (
        ("wss", "socket", "socket", "processing/upgrade_refused"),
        ("https", "", "page", "processing/status"),
    ):
        report = world.probe(f"{scheme}://{EDGES[0]}:{world.port}/{path}", "--module", module, "--sni", SITE)
        expect(scheme, (verdict(report), report["hops"][0]["http"]["status"]), (expected, 403))
        if SITE not in (report["hint"] or ""):
            raise AssertionError(f"the hint names no site: {report['hint']}")


def check_connect_to(world):
    """By name, connected to each edge: nothing has to be resolved, and the stale edge shows its own certificate."""
    serials = {}
    for edge in EDGES:
        report = world.probe(f"https://{SITE}:{world.port}/", "--module", "page", "--connect-to", edge)
        expect(edge, verdict(report), "success")
        expect(f"peer of {edge}", report["hops"][0]["peer"], f"{edge}:{world.port}")
        serials[edge] = report["hops"][0]["tls"]["chain"][0]["serial"]
    expect("stale edges", [edge for edge in EDGES if serials[edge] != serials[EDGES[0]]], [STALE])


def samples(page, name):
    lines = [line for line in page.splitlines() if line.startswith(name + "{")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def check_job(world):
    """As a job: one series per edge, the roll-ups see two certificates, and discovery lists the healthy edges."""
    with contextlib.ExitStack() as stack:
        base = world.serve(stack)
        page = get(f"{base}/metrics")
        good = samples(page, "probe_success")
        expect("series", len(good), 2 * len(EDGES) + 1)
        expect("failed series", [key for key, value in good.items() if value != 1], [])
        expect("distinct", set(samples(page, "probe_edge_certificates_distinct").values()), {2.0})
        expiry = samples(page, "probe_ssl_earliest_cert_expiry")
        newest = max(expiry.values())
        stale = {key for key, value in expiry.items() if value < newest - 86_400}
        if len(stale) != 2 or any(f'edge="{STALE}:{world.port}"' not in key for key in stale):
            raise AssertionError(f"stale: {stale}")
        healthy = json.loads(get(f"{base}/sd/healthy?job=edges&module=page"))
        targets = sorted(target for group in healthy for target in group["targets"])
        expect("healthy", targets, [f"{edge}:{world.port}" for edge in EDGES])


def check_hold(world):
    """Held open, a WebSocket that its edge drops is counted with the time it lived."""
    with contextlib.ExitStack() as stack:
        base = world.serve(stack)
        expect("up", list(samples(get(f"{base}/metrics"), "probe_websocket_hold_up").values()), [1.0])
        world.nginx.send_signal(signal.SIGTERM)
        world.nginx.wait(10)
        end = time.monotonic() + 20
        while not (drops := samples(get(f"{base}/metrics"), "probe_websocket_hold_drops_total")):
            if time.monotonic() > end:
                raise AssertionError("the drop was not counted")
            time.sleep(0.1)
        expect("drops", list(drops.values()), [1.0])
        expect("up", list(samples(get(f"{base}/metrics"), "probe_websocket_hold_up").values()), [0.0])


def main(program):
    failed = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        world = World(program, folder, stack)
        for check in (check_names_set, check_only_sni_set, check_connect_to, check_job, check_hold):
            try:
                check(world)
                print(f"ok      {check.__doc__}")
            except (AssertionError, urllib.error.URLError) as error:
                failed += 1
                print(f"FAILED  {check.__doc__}\n        {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
