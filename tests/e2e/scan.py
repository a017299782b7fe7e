#!/usr/bin/env python3
"""Scans servers that nobody here wrote and compares what is found with how they were configured, three times each.

Starts `openssl s_server` and nginx on free loopback ports, one after the other. Needs openssl 3 and nginx.

    tests/e2e/scan.py path/to/edgeprobe [NAME_PART]
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from world import free_port

RUNS = 3
CONFIG = """
modules:
  scan:
    prober: tls_scan
    timeout: 30s
    tls_scan: {preferred_ip_protocol: ip4, server_name: scan.example}
  list:
    prober: tls_scan
    timeout: 60s
    tls_scan: {preferred_ip_protocol: ip4, server_name: scan.example, list_ciphers: true}
"""

TLS10, TLS11, TLS12, TLS13 = "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"
AEAD, CBC, RSA = "forward_secret_aead", "forward_secret_cbc", "static_rsa"
P256, P384, P521, X25519, X448 = "secp256r1", "secp384r1", "secp521r1", "X25519", "X448"
DEFAULT_GROUPS = {X25519, P256, X448, P384, P521}
# Mozilla's Server Side TLS guideline, version 5.7, as its generator writes it for nginx.
INTERMEDIATE = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
OLD = INTERMEDIATE + (
    ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:"
    "AES128-SHA:AES256-SHA:DES-CBC3-SHA"
)
MOZILLA_CURVES = "X25519:prime256v1:secp384r1"


@dataclass
class Case:
    """A server's configuration, and what it therefore accepts."""

    name: str
    server: tuple
    versions: set
    classes: set
    groups: set
    # What may stay unknown: groups that a certificate's own curve hides.
    hidden: frozenset = frozenset()


def s_server(*options, cert="rsa"):
    return ("openssl", cert, options)


def nginx(protocols, ciphers, curves, *certs):
    return ("nginx", protocols, ciphers, curves, certs)


ALL0 = ("-cipher", "ALL:@SECLEVEL=0")
CASES = [
    Case("s_server default", s_server(), {TLS12, TLS13}, {AEAD, CBC, RSA}, DEFAULT_GROUPS),
    Case("s_server tls1_3", s_server("-tls1_3"), {TLS13}, set(), DEFAULT_GROUPS),
    Case("s_server tls1_2", s_server("-tls1_2"), {TLS12}, {AEAD, CBC, RSA}, DEFAULT_GROUPS),
    Case("s_server tls1_1", s_server("-tls1_1", *ALL0), {TLS11}, {CBC, RSA}, DEFAULT_GROUPS),
    Case("s_server tls1", s_server("-tls1", *ALL0), {TLS10}, {CBC, RSA}, DEFAULT_GROUPS),
    Case("s_server ecdsa", s_server(cert="P-256"), {TLS12, TLS13}, {AEAD, CBC}, DEFAULT_GROUPS),
    Case("s_server static rsa", s_server("-tls1_2", "-cipher", "kRSA"), {TLS12}, {RSA}, set()),
    Case("s_server dhe", s_server("-tls1_2", "-cipher", "kDHE+AESGCM"), {TLS12}, {AEAD}, set()),
    *[
        Case(f"s_server {curve} rsa {version}", s_server(option, "-groups", curve), {version}, classes, {group})
        for curve, group in (("P-256", P256), ("P-384", P384), ("P-521", P521), ("X25519", X25519))
        for option, version, classes in (("-tls1_3", TLS13, set()), ("-tls1_2", TLS12, {AEAD, CBC, RSA}))
    ],
    *[
        Case(f"s_server {curve} ecdsa", s_server("-groups", curve, cert=curve), {TLS12, TLS13}, {AEAD, CBC}, {group})
        for curve, group in (("P-256", P256), ("P-384", P384), ("P-521", P521))
    ],
    Case(
        "s_server P-384 ecdsa TLS 1.2",
        s_server("-tls1_2", "-groups", "P-384", cert="P-384"),
        {TLS12},
        {AEAD, CBC},
        {P384},
        frozenset({X25519, P256, P521, X448}),
    ),
    Case(
        "nginx modern",
        nginx("TLSv1.3", None, MOZILLA_CURVES, "P-256"),
        {TLS13},
        set(),
        {X25519, P256, P384},
    ),
    Case(
        "nginx intermediate",
        nginx("TLSv1.2 TLSv1.3", INTERMEDIATE, MOZILLA_CURVES, "rsa", "P-256"),
        {TLS12, TLS13},
        {AEAD},
        {X25519, P256, P384},
    ),
    Case(
        "nginx old",
        nginx("TLSv1 TLSv1.1 TLSv1.2 TLSv1.3", "@SECLEVEL=0:" + OLD, MOZILLA_CURVES, "rsa", "P-256"),
        {TLS10, TLS11, TLS12, TLS13},
        {AEAD, CBC, RSA},
        {X25519, P256, P384},
    ),
    Case(
        "nginx 1.0 and 1.1",
        nginx("TLSv1 TLSv1.1", "ALL:@SECLEVEL=0", "prime256v1", "rsa"),
        {TLS10, TLS11},
        {CBC, RSA},
        {P256},
    ),
    Case("nginx 1.2 rsa", nginx("TLSv1.2", INTERMEDIATE, "X25519:prime256v1", "rsa"), {TLS12}, {AEAD}, {X25519, P256}),
    Case(
        "nginx 1.2 ecdsa",
        nginx("TLSv1.2", INTERMEDIATE, MOZILLA_CURVES, "P-256"),
        {TLS12},
        {AEAD},
        {X25519, P256, P384},
        frozenset({P521, X448}),
    ),
    Case("nginx 1.3 rsa", nginx("TLSv1.3", None, "X25519:secp521r1", "rsa"), {TLS13}, set(), {X25519, P521}),
]


class World:
    """A folder with certificates, and the program under test."""

    def __init__(self, program, folder):
        self.program, self.folder = Path(program).resolve(), Path(folder)
        self.config = self.folder / "edgeprobe.yml"
        self.config.write_text(CONFIG)
        for kind in ("rsa", "P-256", "P-384", "P-521"):
            self.make_certificate(kind)

    def pem(self, kind):
        return self.folder / f"{kind}.pem", self.folder / f"{kind}.key"

    def make_certificate(self, kind):
        algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
        cert, key = self.pem(kind)
        command = ["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "2", "-subj", "/CN=scan.example"]
        subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)

    def scan(self, port, module):
        """The scan part of the JSON report."""
        command = [self.program, "probe", f"127.0.0.1:{port}", "--module", module, "--format", "json"]
        done = subprocess.run([*command, "--config.file", self.config], capture_output=True, text=True, timeout=120)
        report = json.loads(done.stdout)
        if not report["success"]:
            raise AssertionError(f"the probe failed: {report['failure']}")
        return report["hops"][0]["scan"]

    @contextlib.contextmanager
    def running(self, server):
        """Runs a server and gives its port."""
        port = free_port()
        kind, *settings = server
        command = self.nginx(port, *settings) if kind == "nginx" else self.s_server(port, *settings)
        log = self.folder / "server.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.folder)
        try:
            wait_for(port, process, log)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def s_server(self, port, cert, options):
        cert, key = self.pem(cert)
        return ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key, "-www", *options]

    def nginx(self, port, protocols, ciphers, curves, certs):
        pems = "".join("ssl_certificate {}; ssl_certificate_key {};\n".format(*self.pem(cert)) for cert in certs)
        config = self.folder / "nginx.conf"
        config.write_text(
            f"""daemon off; master_process off; pid {self.folder}/nginx.pid; error_log stderr;
            events {{}}
            http {{
              access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder};
              fastcgi_temp_path {self.folder}; uwsgi_temp_path {self.folder}; scgi_temp_path {self.folder};
              server {{
                listen 127.0.0.1:{port} ssl; server_name scan.example; {pems}
                ssl_protocols {protocols}; ssl_ecdh_curve {curves};
                {f'ssl_ciphers {ciphers};' if ciphers else ''}
                ssl_dhparam {self.dhparam()};
                return 204;
              }}
            }}"""
        )
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-c", config, "-p", self.folder, "-e", "stderr"]

    def dhparam(self):
        """RFC 7919's 2048 bit group: OpenSSL knows it, so nothing has to be searched for."""
        path = self.folder / "dh.pem"
        if not path.exists():
            command = ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"]
            subprocess.run([*command, "-out", path], check=True, capture_output=True)
        return path


def wait_for(port, process, log, patience=60):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')}")


def compare(case, scan):
    """Each difference between what a scan found and what the server was told to accept."""
    wrong = []
    for kind, expected in (("versions", case.versions), ("cipher_classes", case.classes), ("groups", case.groups)):
        for name, finding in scan[kind].items():
            allowed = {"yes"} if name in expected else {"no"}
            if kind == "groups" and name in case.hidden:
                allowed = {"no", "unknown"}
            if finding["answer"] not in allowed:
                wrong.append(f"{name}: {finding['answer']}, expected {' or '.join(allowed)} ({finding['why']})")
    if TLS13 in case.versions and scan["big_hello"] not in ("ok", None):
        wrong.append(f"large hello: {scan['big_hello']}")
    return wrong


def answers(scan):
    kinds = ("versions", "cipher_classes", "groups")
    return {kind: {name: finding["answer"] for name, finding in scan[kind].items()} for kind in kinds}


def check(world, case):
    with world.running(case.server) as port:
        scans = [world.scan(port, "scan") for _ in range(RUNS)]
    wrong = compare(case, scans[0])
    wrong += [f"run {n + 1} differs from run 1" for n in range(1, RUNS) if answers(scans[n]) != answers(scans[0])]
    return wrong, scans[0]["connections"]


def check_list(world):
    """The list of accepted suites is the one that nginx was given."""
    wanted = INTERMEDIATE.split(":")
    with world.running(nginx("TLSv1.2", INTERMEDIATE, MOZILLA_CURVES, "rsa", "P-256")) as port:
        scan = world.scan(port, "list")
    shown = subprocess.run(["openssl", "ciphers", "-stdname", "-tls1_2", INTERMEDIATE], capture_output=True, text=True)
    rows = (line.split() for line in shown.stdout.splitlines())
    expected = {row[0] for row in rows if row[2] in wanted}
    found = {entry["cipher"] for entry in scan["ciphers"]}
    wrong = [] if found == expected else [f"listed {sorted(found)}, expected {sorted(expected)}"]
    return wrong + ([] if scan["ciphers_complete"] else ["the list is not complete"]), scan["connections"]


def main(program, part=""):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(program, folder)
        checks = [(case.name, lambda case=case: check(world, case)) for case in CASES]
        checks.append(("list of suites", lambda: check_list(world)))
        for name, run in checks:
            if part not in name:
                continue
            try:
                wrong, connections = run()
            except AssertionError as error:
                wrong, connections = [str(error)], 0
            failed += bool(wrong)
            print(f"{'FAILED' if wrong else 'ok':6}  {name}, {connections} connections", *wrong, sep="\n        ")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    os.environ.pop("OPENSSL_CONF", None)
    sys.exit(main(*sys.argv[1:]))
