"""The servers probed by the end-to-end run: nginx and a Python WebSocket server, with a CA made by openssl.

Out: `Targets.start(folder)`, whose table says for each endpoint which module probes it and what must come out.
"""

import socket
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from world import Process, free_port, must

CA_CONFIG = """\
[ca]
default_ca = this
[this]
database = {folder}/{name}.index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
unique_subject = no
copy_extensions = copy
policy = policy
[policy]
commonName = supplied
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
"""

NGINX = """\
daemon off;
master_process off;
error_log stderr warn;
pid {folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  ssl_protocols TLSv1.2 TLSv1.3;
  default_type text/plain;
{servers}
}}
"""

# One server block per endpoint: certificate, protocol options, what it answers.
SERVER = """\
  server {{
    listen 127.0.0.1:{port} {listen};
    server_name {name};
    ssl_certificate {folder}/{cert}.pem;
    ssl_certificate_key {folder}/{cert}.key;
    {body}
  }}
"""


@dataclass(frozen=True)
class Expected:
    """One probe and its outcome; no reason means success."""

    module: str
    target: str
    phase: str = ""
    reason: str = ""
    has_certificate: bool = True


class Authority:
    """A certificate authority in a folder, its root in `root.pem`."""

    def __init__(self, folder):
        self.folder = folder
        self._self_signed("root")
        self.issue("intermediate", "Intermediate", ca=True)

    def _path(self, name):
        return self.folder / name

    def _key_options(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self._path(f"{name}.key")]

    def _self_signed(self, name):
        must(["openssl", "req", "-x509", *self._key_options(name), "-out", self._path(f"{name}.pem"), "-days", "30",
              "-subj", "/CN=End-to-end root", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])

    def issue(self, name, host, days=(-1, 30), issuer="root", ca=False):
        """A certificate for `host`, valid from and until so many days from now."""
        request = self._path(f"{name}.csr")
        extension = [] if ca else ["-addext", f"subjectAltName=DNS:{host}"]
        if issuer != "root":  # as public CAs do: where the intermediate can be had
            extension += ["-addext", f"authorityInfoAccess=caIssuers;URI:http://ca.invalid/{issuer}.der"]
        must(["openssl", "req", "-new", *self._key_options(name), "-out", request, "-subj", f"/CN={host}", *extension])
        config = self._path(f"{issuer}.cnf")
        config.write_text(CA_CONFIG.format(folder=self.folder, name=issuer))
        self._path(f"{issuer}.index").touch()
        start, end = ((datetime.now(timezone.utc) + timedelta(days=day)).strftime("%Y%m%d%H%M%SZ") for day in days)
        must(["openssl", "ca", "-batch", "-notext", "-config", config, "-extensions", "root" if ca else "leaf",
              "-cert", self._path(f"{issuer}.pem"), "-keyfile", self._path(f"{issuer}.key"),
              "-startdate", start, "-enddate", end, "-in", request, "-out", self._path(f"{name}.pem")])


class Targets:
    """Every server, running, and the table of what probing it must give."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {name: free_port() for name in
                      ("good", "expired", "wrong", "incomplete", "tls12", "http2", "redirect", "site", "plain", "wss")}
        self.closed = socket.socket()  # bound and not listening: refused, and nobody else's for as long as the run lasts
        self.closed.bind(("127.0.0.1", 0))
        self.ports["closed"] = self.closed.getsockname()[1]
        self.root = folder / "root.pem"
        self.processes = []

    def url(self, host, server=None, path="/", scheme="https"):
        """The URL of a server under a name; every name below localhost is 127.0.0.1."""
        return f"{scheme}://{host}.localhost:{self.ports[server or host]}{path}"

    def start(self):
        """Make the certificates and start the servers."""
        self._certificates()
        config = self.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.folder, servers=self._servers()))
        nginx = Process("nginx", ["nginx", "-e", "stderr", "-p", self.folder, "-c", config], self.folder)
        self.processes.append(nginx)
        script = Path(__file__).with_name("wss_server.py")
        wss = Process("wss", [sys.executable, script, self.ports["wss"], self.folder / "wss.pem", self.folder / "wss.key"], self.folder)
        self.processes.append(wss)
        nginx.listening_at(self.ports["good"])
        wss.listening_at(self.ports["wss"])
        return self

    def stop(self):
        """Stop the servers."""
        for process in self.processes:
            process.stop()
        self.closed.close()

    def _certificates(self):
        authority = Authority(self.folder)
        for name in ("good", "tls12", "http2", "redirect", "wss"):
            authority.issue(name, f"{name}.localhost")
        authority.issue("expired", "expired.localhost", days=(-30, -1))
        authority.issue("wrong", "other.localhost")
        authority.issue("incomplete", "incomplete.localhost", issuer="intermediate")
        authority.issue("site", "site.localhost,DNS:edge.localhost")

    def _servers(self):
        def server(name, body='return 200 "ok\\n";', listen="ssl", host="_", cert=None):
            port = self.ports[name]
            return SERVER.format(port=port, listen=listen, name=host, folder=self.folder, cert=cert or name, body=body)

        return "".join([
            server("good"),
            server("expired"),
            server("wrong"),
            server("incomplete"),
            server("tls12", 'ssl_protocols TLSv1.2; return 200 "ok\\n";'),
            server("http2", listen="ssl http2"),
            server("redirect", f"location /loop {{ return 302 /loop; }} location / {{ return 302 {self.url('good')}; }}"),
            server("site", 'return 403 "who are you\\n";', listen="ssl default_server"),
            server("site", host="site.localhost"),
            server("plain", listen="", cert="good"),
        ])

    def table(self):
        """What each probe must give."""
        https, wss = "https_2xx", "wss_upgrade"
        tls = lambda name: f"{name}.localhost:{self.ports[name]}"
        ws = lambda path: self.url("wss", path=path, scheme="wss")
        return [
            Expected(https, self.url("good")),
            Expected(https, self.url("tls12")),
            Expected(https, self.url("http2")),
            Expected(https, self.url("redirect")),
            Expected(https, self.url("site")),
            Expected(https, self.url("edge", "site"), "processing", "status"),
            Expected(https, self.url("redirect", path="/loop"), "processing", "redirect_limit"),
            Expected(https, self.url("expired"), "tls", "cert_expired"),
            Expected(https, self.url("wrong"), "tls", "cert_wrong_name"),
            Expected(https, self.url("incomplete"), "tls", "cert_chain_incomplete"),
            Expected(https, self.url("plain"), "tls", "not_tls", has_certificate=False),
            Expected(https, self.url("closed"), "connect", "refused", has_certificate=False),
            Expected("https_untrusted", self.url("good"), "tls", "cert_unknown_issuer"),
            Expected("https_body", self.url("good")),
            Expected(wss, ws("/")),
            Expected(wss, ws("/refuse"), "processing", "upgrade_refused"),
            Expected("wss_chat", ws("/")),
            Expected("wss_expect", ws("/silent"), "transfer", "timeout"),
            Expected("cert_expiry", tls("good")),
            Expected("cert_expiry", tls("expired"), "tls", "cert_expired"),
        ]
