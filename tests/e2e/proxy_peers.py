#!/usr/bin/env python3
"""Probes servers through proxies that nobody here wrote: squid, tinyproxy, microsocks and danted, each with every prober.

Starts everything on free loopback ports. Needs root (for a resolver of its own), openssl, nginx, the four proxies, and the
PyPI package `websockets`.

    tests/e2e/proxy_peers.py path/to/edgeprobe [NAME_PART]
"""

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# Only squid knows it, from a hosts file of its own.
HIDDEN = "site.hidden.test"
USER, PASSWORD = "lab", "open sesame"
USER_INFO = "lab:open%20sesame@"
RESOLVER = "127.0.0.153"


class Failure(AssertionError):
    """A check that did not hold."""


def expect(condition, words):
    if not condition:
        raise Failure(words)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tool(name):
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    expect(found, f"{name} is not installed")
    return found


class Resolver(threading.Thread):
    """Takes note of every name that is asked for, and answers none."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        self.asked = []

    def run(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            labels, at = [], 12
            while packet[at]:
                labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
                at += packet[at] + 1
            self.asked.append(".".join(labels))
            # The same packet as a response: no such name.
            self.socket.sendto(packet[:2] + b"\x81\x83" + packet[4:6] + bytes(6) + packet[12 : at + 5], client)


class Smtp(threading.Thread):
    """A mail server that speaks first and switches to TLS on request."""

    def __init__(self, cert, key):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    def talk(self, client):
        with client, contextlib.suppress(OSError):
            lines = client.makefile("rb")
            client.sendall(b"220 mail.example ESMTP\r\n")
            for line in lines:
                if line.upper().startswith(b"EHLO"):
                    client.sendall(b"250-mail.example\r\n250 STARTTLS\r\n")
                else:
                    break
            client.sendall(b"220 go ahead\r\n")
            with self.context.wrap_socket(client, server_side=True) as encrypted:
                encrypted.recv(1)


@dataclass
class Proxy:
    """A running proxy, and what it was started for."""

    url: str
    # The name of the targets that it can look up.
    name: str
    log: Path


class World:
    """A folder with certificates, servers to probe, and the program under test."""

    def __init__(self, program, folder, stack):
        self.program, self.folder, self.stack = Path(program).resolve(), Path(folder), stack
        self.folder.chmod(0o777)
        self.make_certificate()
        self.https, self.http, self.wss = free_port(), free_port(), free_port()
        self.start("nginx", self.nginx(), self.https)
        wss_server = Path(__file__).with_name("wss_server.py").resolve()
        self.start("wss", [sys.executable, wss_server, self.wss, self.cert, self.key], self.wss)
        smtp = Smtp(self.cert, self.key)
        smtp.start()
        self.smtp = smtp.port
        self.resolver = Resolver()
        self.resolver.start()
        self.resolv_conf = self.folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {RESOLVER}\n")

    def make_certificate(self):
        self.cert, self.key = self.folder / "cert.pem", self.folder / "key.pem"
        names = f"subjectAltName=DNS:{HIDDEN},DNS:localhost,DNS:proxy.localhost"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", "/CN=lab", "-addext", names, "-keyout", self.key, "-out", self.cert]
        subprocess.run(command, check=True, capture_output=True)
        self.key.chmod(0o644)

    def start(self, name, command, port):
        """Runs a server until the end of the stack, and waits until it listens. Its log."""
        log = self.folder / f"{name}-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out, cwd=self.folder)
        self.stack.callback(stop, process)
        end = time.monotonic() + 20
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return log
            time.sleep(0.05)
        raise Failure(f"{name} did not start:\n{log.read_text(errors='replace')}")

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def nginx(self):
        config = self.write(
            "nginx.conf",
            f"""daemon off; master_process off; pid {self.folder}/nginx.pid; error_log stderr;
            events {{}}
            http {{
              access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder};
              fastcgi_temp_path {self.folder}; uwsgi_temp_path {self.folder}; scgi_temp_path {self.folder};
              server {{ listen 127.0.0.1:{self.http}; return 200 "$http_proxy_authorization|$host\\n"; }}
              server {{
                listen 127.0.0.1:{self.https} ssl http2; ssl_certificate {self.cert}; ssl_certificate_key {self.key};
                ssl_protocols TLSv1.2 TLSv1.3;
                return 200 "$http_proxy_authorization|$host|$ssl_server_name\\n";
              }}
            }}""",
        )
        return [tool("nginx"), "-c", config, "-p", self.folder, "-e", "stderr"]

    @staticmethod
    def hashed(password):
        command = ["openssl", "passwd", "-apr1", password]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    # === the proxies ===

    def squid(self, auth=False, encrypted=False, tunnels_to=""):
        port = free_port()
        hosts = self.write("hosts", f"127.0.0.1 localhost {HIDDEN}\n")
        users = self.write("squid-users", f"{USER}:{self.hashed(PASSWORD)}\n")
        keys = f"tls-cert={self.cert} tls-key={self.key}" if encrypted else ""
        rules = "http_access allow all"
        if auth:
            rules = f"""auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}
            auth_param basic realm the lab
            acl known proxy_auth REQUIRED
            http_access allow known
            http_access deny all"""
        if tunnels_to:
            rules = f"acl allowed port {tunnels_to}\nacl tunnel method CONNECT\nhttp_access deny tunnel !allowed\n{rules}"
        access = self.folder / f"squid-{port}.access"
        access.touch()
        access.chmod(0o666)
        config = self.write(
            f"squid-{port}.conf",
            f"""{'https_port' if encrypted else 'http_port'} 127.0.0.1:{port} {keys}
            visible_hostname localhost
            hosts_file {hosts}
            dns_nameservers {RESOLVER}
            pid_filename none
            cache_log /dev/stderr
            access_log stdio:{access}
            cache deny all
            shutdown_lifetime 0 seconds
            {rules}""".replace("\n            ", "\n"),
        )
        self.start("squid", [tool("squid"), "-N", "-f", config], port)
        scheme, host = ("https", "proxy.localhost") if encrypted else ("http", "127.0.0.1")
        return Proxy(f"{scheme}://{USER_INFO if auth else ''}{host}:{port}", HIDDEN, access)

    def tinyproxy(self, auth=False, tunnels_to=""):
        port = free_port()
        lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 50", "LogLevel Connect"]
        lines += [f"BasicAuth {USER} opensesame"] if auth else []
        lines += [f"ConnectPort {tunnels_to}"] if tunnels_to else []
        config = self.write(f"tinyproxy-{port}.conf", "\n".join(lines) + "\n")
        log = self.start("tinyproxy", [tool("tinyproxy"), "-d", "-c", config], port)
        return Proxy(f"http://{'lab:opensesame@' if auth else ''}127.0.0.1:{port}", "localhost", log)

    def microsocks(self, scheme="socks5h", auth=False):
        port = free_port()
        users = ["-u", USER, "-P", PASSWORD] if auth else []
        log = self.start("microsocks", [tool("microsocks"), "-i", "127.0.0.1", "-p", port, *users], port)
        return Proxy(f"{scheme}://{USER_INFO if auth else ''}127.0.0.1:{port}", "localhost", log)

    def danted(self, auth=False, blocks=False):
        port = free_port()
        config = self.write(
            f"danted-{port}.conf",
            f"""logoutput: stdout
            internal: 127.0.0.1 port = {port}
            external: lo
            clientmethod: none
            socksmethod: {'username' if auth else 'none'}
            user.privileged: root
            user.unprivileged: nobody
            client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
            socks {'block' if blocks else 'pass'} {{ from: 127.0.0.0/8 to: 0.0.0.0/0 log: connect }}
            """.replace("\n            ", "\n"),
        )
        log = self.start("danted", [tool("danted"), "-f", config, "-p", self.folder / f"danted-{port}.pid"], port)
        return Proxy(f"socks5h://127.0.0.1:{port}", "localhost", log)

    # === probing ===

    def probe(self, proxy, prober, url, more=""):
        """The JSON report of a probe through `proxy`, on a machine whose resolver is ours."""
        trust = "" if prober == "tls_scan" else f"tls_config: {{ca_file: {self.cert}}},"
        keys = f"proxy_url: '{proxy.url}', {trust} {more}"
        if proxy.url.startswith("https:"):
            keys += f" proxy_tls_config: {{ca_file: {self.cert}}},"
        block = f"http_config: {{{keys}}}" if prober == "websocket" else keys
        config = self.folder / "edgeprobe.yml"
        config.write_text(
            f"modules: {{m: {{prober: {prober}, timeout: 20s, {prober}: {{preferred_ip_protocol: ip4, {block}}}}}}}\n"
        )
        command = [self.program, "probe", url, "--module", "m", "--format", "json", "--config.file", config]
        quoted = " ".join(f"'{part}'" for part in command)
        script = f"mount --bind {self.resolv_conf} /etc/resolv.conf && exec {quoted}"
        self.resolver.asked.clear()
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
        expect(done.stdout.startswith("{"), f"no report: {done.stdout}{done.stderr}")
        expect("sesame" not in done.stdout + done.stderr, "the report shows the password")
        return json.loads(done.stdout)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def verdict(report):
    failure = report["failure"]
    return f"{failure['phase']}/{failure['reason']}: {failure['cause']}" if failure else "success"


PROBES = [
    ("http", "https://{}:{}/", "https", "fail_if_body_not_matches_regexp: ['^\\|{}\\|{}\\s$'],"),
    ("http", "http://{}:{}/", "http", "fail_if_body_not_matches_regexp: ['^\\|{}\\s$'],"),
    ("websocket", "wss://{}:{}/", "wss", ""),
    ("tls", "{}:{}", "https", ""),
    ("tls", "{}:{}", "smtp", "starttls: smtp,"),
    ("tls_scan", "{}:{}", "https", ""),
    ("tls_scan", "{}:{}", "smtp", "starttls: smtp,"),
]


def everything(world, proxy):
    """Every prober gets through; the name is left to the proxy; the target sees nothing of the proxy's."""
    for prober, url, port, more in PROBES:
        more = more.replace("{}", proxy.name.replace(".", "\\."))
        report = world.probe(proxy, prober, url.format(proxy.name, getattr(world, port)), more)
        case = f"{prober} {url} {more}"
        expect(report["success"], f"{case}: {verdict(report)}")
        hop = report["hops"][0]
        looked_up = proxy.url.startswith("socks5:")
        expect((hop["lookup"] is not None) == looked_up, f"{case}: lookup {hop['lookup']}")
        expect(world.resolver.asked == [], f"{case}: asked for {world.resolver.asked}")
        expect("proxy" in hop["phases"] and "connect" not in hop["phases"], f"{case}: phases {hop['phases']}")
        expect(hop["proxy"]["asked_for"].endswith(f":{getattr(world, port)}"), f"{case}: {hop['proxy']}")
        expect((hop["proxy"]["tls"] is not None) == proxy.url.startswith("https:"), f"{case}: TLS with the proxy")
        if prober == "tls":
            leaf = hop["tls"]["chain"][0]["dns_names"]
            expect(HIDDEN in leaf and hop["tls"]["verdict"]["name"]["ok"], f"{case}: {leaf}")
        if prober == "tls_scan":
            expect(hop["scan"]["versions"]["TLS 1.3"]["answer"] == "yes", f"{case}: {hop['scan']['versions']}")
    expect(proxy.log.stat().st_size > 0, "the proxy logged nothing: was it used at all?")


def refuses(world, proxy, expected, status, port=None, challenge=None):
    """The proxy says no, and the report says what it said."""
    report = world.probe(proxy, "http", f"https://{proxy.name}:{port or world.https}/")
    expect(verdict(report).startswith(f"proxy/{expected}: "), verdict(report))
    facts = report["hops"][0]["proxy"]
    expect(facts["status"] == status, f"status {facts['status']}")
    if challenge:
        expect(challenge in facts["challenge"] and challenge in report["failure"]["cause"], f"{facts['challenge']}")


def without_credentials(proxy):
    scheme, rest = proxy.url.split("://")
    return Proxy(f"{scheme}://{rest.split('@')[-1]}", proxy.name, proxy.log)


def with_password(proxy, password):
    plain = without_credentials(proxy).url.split("://")
    return Proxy(f"{plain[0]}://{USER}:{password}@{plain[1]}", proxy.name, proxy.log)


def checks(world):
    """Name and check of each case."""
    gone = free_port()
    yield "squid", lambda: everything(world, world.squid())
    yield "squid with a password", lambda: everything(world, world.squid(auth=True))
    yield "squid behind TLS", lambda: everything(world, world.squid(encrypted=True))
    yield "tinyproxy", lambda: everything(world, world.tinyproxy())
    yield "tinyproxy with a password", lambda: everything(world, world.tinyproxy(auth=True))
    yield "microsocks", lambda: everything(world, world.microsocks())
    yield "microsocks with a password", lambda: everything(world, world.microsocks(auth=True))
    yield "microsocks, name looked up here", lambda: everything(world, world.microsocks(scheme="socks5"))
    yield "danted", lambda: everything(world, world.danted())
    required = "proxy_auth_required"
    yield "squid wants a password", lambda: refuses(
        world, without_credentials(world.squid(auth=True)), required, 407, challenge='Basic realm="the lab"'
    )
    yield "tinyproxy wants a password", lambda: refuses(
        world, without_credentials(world.tinyproxy(auth=True)), required, 407, challenge="Basic realm="
    )
    yield "tinyproxy wants another password", lambda: refuses(
        world, with_password(world.tinyproxy(auth=True), "wrong"), required, 401
    )
    yield "squid wants another password", lambda: refuses(
        world, with_password(world.squid(auth=True), "wrong"), required, 407
    )
    yield "microsocks wants another password", lambda: refuses(
        world, with_password(world.microsocks(auth=True), "wrong"), required, None
    )
    yield "microsocks wants a password", lambda: refuses(
        world, without_credentials(world.microsocks(auth=True)), required, None
    )
    yield "danted wants a password", lambda: refuses(world, world.danted(auth=True), required, None)
    yield "squid allows other ports", lambda: refuses(world, world.squid(tunnels_to="1"), "proxy_refused", 403)
    yield "tinyproxy allows other ports", lambda: refuses(world, world.tinyproxy(tunnels_to="1"), "proxy_refused", 403)
    yield "danted blocks", lambda: refuses(world, world.danted(blocks=True), "proxy_refused", 2)
    yield "squid finds nobody there", lambda: refuses(world, world.squid(), "proxy_refused", 503, port=gone)
    yield "microsocks finds nobody there", lambda: refuses(world, world.microsocks(), "proxy_refused", 5, port=gone)
    yield "squid is no SOCKS", lambda: not_such_a_proxy(world)
    yield "a direct probe asks the resolver", lambda: asks_the_resolver(world)


def not_such_a_proxy(world):
    proxy = world.squid()
    proxy.url = proxy.url.replace("http:", "socks5h:")
    report = world.probe(proxy, "http", f"https://{HIDDEN}:{world.https}/")
    expect(verdict(report).startswith("proxy/"), verdict(report))


def asks_the_resolver(world):
    """The count of questions in the other checks means something: without a proxy there are some."""
    proxy = world.squid()
    report = world.probe(proxy, "http", f"https://{HIDDEN}:{world.https}/", f"no_proxy: {HIDDEN},")
    expect(verdict(report).startswith("resolve/name_not_found"), verdict(report))
    expect(HIDDEN in world.resolver.asked, f"asked for {world.resolver.asked}")


def main(program, part=""):
    failed = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        world = World(program, folder, servers)
        for name, run in checks(world):
            if part not in name:
                continue
            with contextlib.ExitStack() as world.stack:
                try:
                    run()
                    print(f"ok      {name}", flush=True)
                except Failure as failure:
                    failed += 1
                    print(f"FAILED  {name}\n        {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
