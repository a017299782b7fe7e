#!/usr/bin/env python3
"""Looks names up by name servers that nobody here wrote: dnsmasq and unbound, by UDP, TCP and TLS, with what they refuse.

Needs openssl 3, dnsmasq and unbound, and PyPI's websockets for what it shares with edges.py.

    tests/e2e/dns_peers.py path/to/edgeprobe
"""

import contextlib
import http.server
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from edges import expect, free_port, listens, openssl, verdict, wait

UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  interface: 127.0.0.1@{tls_port}
  tls-port: {tls_port}
  tls-service-key: "{folder}/dns.key"
  tls-service-pem: "{folder}/dns.pem"
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  module-config: "iterator"
  local-zone: "test." static
  local-data: "web.test. 60 IN A 127.0.0.1"
  local-data: "mail.test. 60 IN MX 10 web.test."
  local-zone: "refused.test." refuse
{many}
remote-control:
  control-enable: no
"""
# More than fit into one packet by UDP.
MANY = [f"127.0.1.{n}" for n in range(1, 120)]


def program_path(name):
    return shutil.which(name) or f"/usr/sbin/{name}"


class World:
    """Both name servers, a web server, and the program under test."""

    def __init__(self, program, folder, stack):
        self.program, self.folder = Path(program).resolve(), Path(folder)
        self.web = self.start_web(stack)
        self.make_certificate()
        self.dnsmasq = self.start_dnsmasq(stack)
        self.unbound, self.unbound_tls = self.start_unbound(stack)

    def start_web(self, stack):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
        server.RequestHandlerClass.log_message = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        return server.server_address[1]

    def make_certificate(self):
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        openssl("req", "-x509", *ec, "-subj", "/CN=e2e root", "-keyout", "ca.key", "-out", "ca.pem", folder=self.folder)
        openssl("req", *ec[:-2], "-subj", "/CN=dns.test", "-addext", "subjectAltName=DNS:dns.test",
                "-keyout", "dns.key", "-out", "dns.csr", folder=self.folder)
        openssl("x509", "-req", "-in", "dns.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-copy_extensions", "copy", "-out", "dns.pem", folder=self.folder)

    def start(self, command, port, stack):
        with (self.folder / f"{Path(command[0]).name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        stack.callback(process.wait, 10)
        stack.callback(process.send_signal, signal.SIGTERM)
        wait(f"{command[0]} listens", lambda: listens("127.0.0.1", port), process)
        return port

    def start_dnsmasq(self, stack):
        port = free_port()
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root"]
        zone = ["--local=/test/", "--host-record=web.test,127.0.0.1", "--cname=alias.test,web.test"]
        listen = [f"--port={port}", "--listen-address=127.0.0.1", f"--pid-file={self.folder}/dnsmasq.pid"]
        return self.start([program_path("dnsmasq"), *options, *zone, *listen], port, stack)

    def start_unbound(self, stack):
        port, tls_port = free_port(), free_port()
        many = "\n".join(f'  local-data: "many.test. 60 IN A {address}"' for address in MANY)
        config = self.folder / "unbound.conf"
        config.write_text(UNBOUND.format(port=port, tls_port=tls_port, folder=self.folder, many=many))
        self.start([program_path("unbound"), "-d", "-p", "-c", config], port, stack)
        return port, tls_port

    def look_up(self, name, server, more=""):
        """The JSON report of a probe that asks only this server."""
        config = self.folder / "edgeprobe.yml"
        config.write_text(
            f'modules: {{m: {{prober: http, timeout: 10s, resolver: {{servers: ["{server}"], attempts: 1{more}}}}}}}\n'
        )
        command = [self.program, "probe", f"http://{name}:{self.web}/", "--module", "m", "--format", "json"]
        done = subprocess.run([*command, "--config.file", config], capture_output=True, text=True, timeout=60, cwd=self.folder)
        if not done.stdout:
            raise AssertionError(f"no report: {done.stderr}")
        return json.loads(done.stdout)


def check(world, name, server, expected, code=None, more="", addresses=None):
    report = world.look_up(name, server, more)
    expect(name, verdict(report), expected)
    lookup = report["hops"][0]["lookup"]
    answers = lookup["answers"] or []
    if code and code not in [answer["code"] for answer in answers]:
        raise AssertionError(f"{name}: {answers}")
    if addresses is not None:
        expect(f"addresses of {name}", len(lookup["addresses"]), addresses)


def checks(world):
    dnsmasq, unbound = f"127.0.0.1:{world.dnsmasq}", f"127.0.0.1:{world.unbound}"
    tls = f"127.0.0.1:{world.unbound_tls}"
    ca = ", ca_file: ca.pem"
    yield "dnsmasq", ("web.test", dnsmasq, "success", "NOERROR")
    yield "dnsmasq, alias", ("alias.test", dnsmasq, "success", "NOERROR")
    yield "dnsmasq, no such name", ("gone.test", dnsmasq, "resolve/name_not_found", "NXDOMAIN")
    yield "dnsmasq, asked about the world", ("www.example.com", dnsmasq, "resolve/resolver_refused", "REFUSED")
    yield "unbound by UDP", ("web.test", unbound, "success", "NOERROR")
    yield "unbound by TCP", ("web.test", f"tcp://{unbound}", "success", "NOERROR")
    yield "unbound by TLS", ("web.test", f"tls://{tls}#dns.test", "success", "NOERROR", ca)
    yield "unbound by TLS, another name", ("web.test", f"tls://{tls}#other.test", "resolve/resolver_failed", None, ca)
    yield "unbound by TLS, not trusted", ("web.test", f"tls://{tls}#dns.test", "resolve/resolver_failed")
    yield "unbound, too long for UDP", ("many.test", unbound, "connect/refused", "NOERROR", "", len(MANY))
    yield "unbound, no address", ("mail.test", unbound, "resolve/no_address", "NOERROR")
    yield "unbound, no such name", ("gone.test", unbound, "resolve/name_not_found", "NXDOMAIN")
    yield "unbound refuses", ("refused.test", unbound, "resolve/resolver_refused", "REFUSED")
    yield "nobody there", ("web.test", f"127.0.0.1:{free_port()}", "resolve/resolver_failed")


def main(program):
    failed = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        world = World(program, folder, stack)
        for name, arguments in checks(world):
            try:
                check(world, *arguments)
                print(f"ok      {name}")
            except AssertionError as error:
                failed += 1
                print(f"FAILED  {name}\n        {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
