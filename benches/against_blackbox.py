#!/usr/bin/env python3
"""CPU per HTTPS probe of edgeprobe, as a ratio to blackbox_exporter's, in one run on one machine.

    benches/against_blackbox.py EDGEPROBE BLACKBOX_EXPORTER [--probes N] [--rounds N]

Starts nginx (one worker, TLS with an ECDSA P-256 certificate of its own CA) and both exporters with one configuration,
all on 127.0.0.1; asks each exporter in turn for N probes, 16 at once, and reads the CPU time from the exporter's own
process_cpu_seconds_total. Prints each round and the median of the ratios. Needs nginx and openssl.
"""

import argparse
import concurrent.futures
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

IN_FLIGHT = 16
MODULE = "https"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificates(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "leaf"):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-out", f"{name}.key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "30", "-subj", "/CN=bench CA", "-out", "ca.pem")
    openssl("req", "-new", "-key", "leaf.key", "-subj", "/CN=localhost", "-out", "leaf.csr")
    (folder / "leaf.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "leaf.ext", "-out", "leaf.pem")


def nginx_config(folder, port):
    return f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.key;
    location / {{ return 200 "ok"; }}
  }}
}}
"""


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def wait_for(url, child):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise SystemExit(f"{child.args[0]} ended with {child.returncode}")
        try:
            return get(url)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise SystemExit(f"{url} did not answer")


def cpu_seconds(port):
    page = get(f"http://127.0.0.1:{port}/metrics")
    return float(re.search(r"^process_cpu_seconds_total (\S+)", page, re.M)[1])


def cost(port, target, probes):
    """CPU milliseconds per probe of the exporter on this port."""
    url = f"http://127.0.0.1:{port}/probe?" + urllib.parse.urlencode({"module": MODULE, "target": target})
    before = cpu_seconds(port)
    with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
        pages = list(pool.map(lambda _: get(url), range(probes)))
    spent = cpu_seconds(port) - before
    failed = sum("\nprobe_success 1" not in page for page in pages)
    if failed:
        raise SystemExit(f"{failed} of {probes} probes failed on port {port}")
    return 1000 * spent / probes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgeprobe")
    parser.add_argument("blackbox")
    parser.add_argument("--probes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    children = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        make_certificates(folder)
        target_port = free_port()
        (folder / "nginx.conf").write_text(nginx_config(folder, target_port))
        (folder / "modules.yml").write_text(
            f"modules:\n  {MODULE}:\n    prober: http\n    timeout: 5s\n    http:\n      preferred_ip_protocol: ip4\n"
            f"      tls_config: {{ca_file: {folder}/ca.pem}}\n")
        try:
            children.append(subprocess.Popen(["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/nginx.log"]))
            ports = {}
            for label, binary in (("edgeprobe", arguments.edgeprobe), ("blackbox", arguments.blackbox)):
                ports[label] = free_port()
                command = [binary, f"--config.file={folder}/modules.yml", "--log.level=error", "--log.prober=error",
                           f"--web.listen-address=127.0.0.1:{ports[label]}"]
                child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
                children.append(child)
                wait_for(f"http://127.0.0.1:{ports[label]}/-/healthy", child)
            target = f"https://localhost:{target_port}/"
            for port in ports.values():
                cost(port, target, 100)
            ratios = []
            for number in range(1, arguments.rounds + 1):
                ours, theirs = cost(ports["edgeprobe"], target, arguments.probes), cost(
                    ports["blackbox"], target, arguments.probes)
                ratios.append(ours / theirs)
                print(f"round {number}: edgeprobe {ours:.2f} ms, blackbox_exporter {theirs:.2f} ms, "
                      f"ratio {ours / theirs:.2f}")
            print(f"median ratio {statistics.median(ratios):.2f}")
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(timeout=20)


if __name__ == "__main__":
    main()
