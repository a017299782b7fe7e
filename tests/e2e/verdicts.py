#!/usr/bin/env python3
"""Compares edgeprobe's verdicts with those of `openssl verify` and curl, certificate by certificate.

Usage: verdicts.py PATH_TO_EDGEPROBE

Makes every kind of certificate with the openssl command, serves each with `openssl s_server` and asks all three whether
it is valid. Differences must be among those that docs/verdicts.md explains, and edgeprobe's reason must be the expected
one. Prints a table; the exit code is 0 only if all is as it should be. Needs nothing but Python, openssl (3.0) and curl.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

NAME = "www.e2e.localhost"
PAST, FUTURE = ("20200101000000Z", "21200101000000Z")
ENDED = (PAST, "20210101000000Z")
YOUNG = ("21100101000000Z", FUTURE)

CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
SAN = f"subjectAltName=DNS:{NAME}\n"
LEAF = f"basicConstraints=CA:FALSE\n{SAN}"
SERVER = LEAF + "extendedKeyUsage=serverAuth\n"
AIA = "authorityInfoAccess=caIssuers;URI:http://pki.invalid/issuer.cer\n"

OPENSSL_CONFIG = """
[ca]
default_ca = e2e
[e2e]
database = index.txt
rand_serial = yes
new_certs_dir = .
policy = any
unique_subject = no
default_md = sha256
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Cert:
    """A certificate, its key, and the name they have in the folder."""

    name: str

    @property
    def pem(self):
        return f"{self.name}.pem"

    @property
    def key(self):
        return f"{self.name}.key"


@dataclass
class Case:
    """What is served, what is trusted, and what edgeprobe should say: a reason, or nothing where all is fine."""

    name: str
    leaf: Cert
    reason: str | None = None
    chain: list[Cert] = field(default_factory=list)
    trusted: list[Cert] = field(default_factory=list)
    host: str = NAME


# Differences that docs/verdicts.md explains: the case, and whose verdict is another one.
ALLOWED = {
    ("name in subject only", "openssl"),
    ("name in subject only", "curl"),
    ("version 1", "openssl"),
    ("version 1", "curl"),
    ("version 1, trusted itself", "openssl"),
    ("version 1, trusted itself", "curl"),
    ("CA as a leaf", "openssl"),
    ("CA as a leaf", "curl"),
    ("key usage not for TLS", "openssl"),
    ("key usage not for TLS", "curl"),
    ("leaf trusted itself", "openssl"),
    ("only the intermediate trusted", "openssl"),
}


class Maker:
    """Makes certificates in a folder."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "ca.cnf").write_text(OPENSSL_CONFIG)
        (folder / "index.txt").touch()

    def run(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"openssl {' '.join(arguments)}\n{done.stderr}")

    def key(self, cert, kind):
        algorithm = {
            "p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "ed25519": ["ED25519"],
        }.get(kind) or ["RSA", "-pkeyopt", f"rsa_keygen_bits:{kind.removeprefix('rsa')}"]
        self.run("genpkey", "-algorithm", *algorithm, "-out", cert.key)

    def issue(self, name, extensions, issuer=None, dates=(PAST, FUTURE), kind="p256", digest="sha256", subject=None):
        """A certificate signed by `issuer`, or by itself."""
        cert = Cert(name.replace(" ", "-").replace(",", ""))
        self.key(cert, kind)
        subject = subject or f"e2e {name}"
        self.run("req", "-new", "-key", cert.key, "-subj", f"/CN={subject}", "-config", "/dev/null", "-out", f"{cert.name}.csr")
        self.sign(cert, f"{cert.name}.csr", extensions, issuer or cert, dates, digest)
        return cert

    def reissue(self, name, of, extensions, issuer, dates=(PAST, FUTURE)):
        """Another certificate for the key and name of `of`."""
        cert = Cert(name)
        (self.folder / cert.key).write_bytes((self.folder / of.key).read_bytes())
        self.sign(cert, f"{of.name}.csr", extensions, issuer, dates, "sha256")
        return cert

    def sign(self, cert, request, extensions, issuer, dates, digest):
        by = ["-selfsign"] if issuer is cert else ["-cert", issuer.pem]
        arguments = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-keyfile", issuer.key, *by, "-in", request]
        arguments += ["-out", cert.pem, "-startdate", dates[0], "-enddate", dates[1]]
        if digest:
            arguments += ["-md", digest]
        if extensions:
            (self.folder / f"{cert.name}.ext").write_text(f"[all]\n{extensions}")
            arguments += ["-extfile", f"{cert.name}.ext", "-extensions", "all"]
        self.run(*arguments)

    def bundle(self, name, certs):
        path = self.folder / name
        path.write_text("".join((self.folder / cert.pem).read_text() for cert in certs))
        return path


def cases(maker):
    """Every case, its certificates made."""
    issue = maker.issue
    root = issue("root", CA)
    between = issue("intermediate", CA, root)
    stranger = issue("stranger", CA)
    usual = {"chain": [between], "trusted": [root]}

    def leaf(name, extensions=SERVER, issuer=between, **how):
        return issue(f"leaf {name}", extensions, issuer, **how)

    good = leaf("good")
    yield Case("good", good, **usual)
    for kind in ["rsa2048", "p384", "ed25519"]:
        yield Case(f"good, {kind}", leaf(kind, kind=kind, digest="sha256"), **usual)
    yield Case("no key usage said", leaf("plain", LEAF), **usual)
    yield Case("expired", leaf("expired", dates=ENDED), "cert_expired", **usual)
    yield Case("not yet valid", leaf("young", dates=YOUNG), "cert_not_yet_valid", **usual)
    other = SERVER.replace(NAME, "other.e2e.localhost")
    yield Case("wrong name", leaf("wrong name", other), "cert_wrong_name", **usual)
    yield Case("expired, wrong name", leaf("both", other, dates=ENDED), "cert_expired", **usual)
    nameless = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    yield Case("name in subject only", leaf("subject", nameless, subject=NAME), "cert_wrong_name", **usual)
    upper = SERVER.replace(NAME, NAME.upper())
    yield Case("name in upper case", leaf("upper", upper), **usual)
    wild = leaf("wildcard", SERVER.replace(NAME, "*.e2e.localhost"))
    yield Case("wildcard", wild, **usual)
    yield Case("wildcard, two labels", wild, "cert_wrong_name", host="a.www.e2e.localhost", **usual)
    yield Case("wildcard, no label", wild, "cert_wrong_name", host="e2e.localhost", **usual)
    address = leaf("address", SERVER.replace(f"DNS:{NAME}", "IP:127.0.0.1"))
    yield Case("address", address, host="127.0.0.1", **usual)
    yield Case("address not in it", good, "cert_wrong_name", host="127.0.0.1", **usual)

    for is_ca in ["FALSE", "TRUE"]:
        own = issue(f"self-signed {is_ca}", f"basicConstraints=CA:{is_ca}\n{SAN}")
        yield Case(f"self-signed, CA:{is_ca}", own, "cert_self_signed", trusted=[root])
        yield Case(f"self-signed, CA:{is_ca}, trusted", own, trusted=[own])
    old = issue("self-signed old", f"basicConstraints=CA:TRUE\n{SAN}", dates=ENDED)
    yield Case("self-signed, trusted, expired", old, "cert_expired", trusted=[old])
    elsewhere = issue("self-signed elsewhere", "basicConstraints=CA:TRUE\nsubjectAltName=DNS:other.e2e.localhost\n")
    yield Case("self-signed, trusted, wrong name", elsewhere, "cert_wrong_name", trusted=[elsewhere])

    yield Case("unknown CA", leaf("unknown", issuer=stranger), "cert_unknown_issuer", [stranger], [root])
    yield Case("intermediate missing", good, "cert_unknown_issuer", trusted=[root])
    located = leaf("located", SERVER + AIA)
    yield Case("intermediate missing, location told", located, "cert_chain_incomplete", trusted=[root])
    yield Case("leaf trusted itself", good, trusted=[good])
    yield Case("only the intermediate trusted", good, trusted=[between])
    namesake = issue("namesake", CA, subject="e2e root")
    yield Case("CA of the same name", leaf("direct", issuer=root), "cert_unknown_issuer", trusted=[namesake])

    client = leaf("client", LEAF + "extendedKeyUsage=clientAuth\n")
    yield Case("for clients only", client, "cert_wrong_purpose", **usual)
    anything = leaf("any", LEAF + "extendedKeyUsage=anyExtendedKeyUsage\n")
    yield Case("for any purpose", anything, "cert_wrong_purpose", **usual)
    sign_only = leaf("signing", SERVER + "keyUsage=critical,keyCertSign\n")
    yield Case("key usage not for TLS", sign_only, **usual)
    yield Case("CA as a leaf", leaf("ca", SERVER.replace("CA:FALSE", "CA:TRUE")), "cert_invalid", **usual)
    yield Case("SHA-1", leaf("sha1", digest="sha1"), "cert_weak", **usual)
    by_rsa = issue("RSA intermediate", CA, root, kind="rsa2048")
    yield Case("MD5", leaf("md5", issuer=by_rsa, digest="md5"), "cert_weak", [by_rsa], [root])
    yield Case("RSA 1024", leaf("rsa1024", kind="rsa1024"), "cert_weak", **usual)
    weak = issue("weak intermediate", CA, root, kind="rsa1024")
    yield Case("RSA 1024 issuer", leaf("of weak", issuer=weak), "cert_weak", [weak], [root])
    version1 = leaf("v1", "", subject=NAME)
    yield Case("version 1", version1, "cert_malformed", **usual)
    own1 = issue("own v1", "", subject=NAME)
    yield Case("version 1, trusted itself", own1, "cert_wrong_name", trusted=[own1])
    critical = leaf("critical", SERVER + "1.3.6.1.4.1.32473.1=critical,ASN1:NULL\n")
    yield Case("unknown critical extension", critical, "cert_invalid", **usual)

    narrow = issue("narrow", CA + "nameConstraints=critical,permitted;DNS:other.example\n", root)
    yield Case("name constraint", leaf("constrained", issuer=narrow), "cert_invalid", [narrow], [root])
    short = issue("short", CA.replace("CA:TRUE", "CA:TRUE,pathlen:0"), root)
    below = issue("below short", CA, short)
    yield Case("path length", leaf("too deep", issuer=below), "cert_invalid", [below, short], [root])
    yield Case("signed by no CA", leaf("of leaf", issuer=good), "cert_invalid", [good, between], [root])
    ended = issue("ended", CA, root, dates=ENDED)
    yield Case("expired intermediate", leaf("of ended", issuer=ended), "cert_expired", [ended], [root])
    ended_root = issue("ended root", CA, dates=ENDED)
    yield Case("expired root", leaf("of ended root", issuer=ended_root), "cert_expired", trusted=[ended_root])

    second = issue("second", CA, between)
    third = issue("third", CA, second)
    deep = leaf("deep", issuer=third)
    yield Case("long chain", deep, chain=[third, second, between], trusted=[root])
    yield Case("wrong order", deep, chain=[between, second, third], trusted=[root])
    yield Case("duplicates", deep, chain=[third, second, third, between, deep, second], trusted=[root])
    yield Case("root sent", good, chain=[between, root], trusted=[root])
    yield Case("stray expired root sent", good, chain=[between, ended_root], trusted=[root])
    crossed = maker.reissue("crossed", between, CA, root, dates=ENDED)
    yield Case("cross-signed, good first", good, chain=[between, crossed], trusted=[root])
    yield Case("cross-signed, expired first", good, chain=[crossed, between], trusted=[root])


class Server:
    """`openssl s_server` on a free port, for as long as the block lasts."""

    def __init__(self, folder, case):
        chain = case.chain and ["-cert_chain", "chain.pem"]
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cipher", "ALL:@SECLEVEL=0"]
        command += ["-cert", case.leaf.pem, "-key", case.leaf.key, *(chain or ["-no-CAfile", "-no-CApath", "-no-CAstore"])]
        self.log = (folder / "server.log").open("w")
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def __enter__(self):
        for line in self.process.stdout:
            if line.startswith("ACCEPT"):
                return int(line.rsplit(":", 1)[1])
        sys.exit("openssl s_server did not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def by_openssl(folder, case):
    """Level 2 is what OpenSSL's own TLS clients use."""
    host = ["-verify_ip" if case.host[0].isdigit() else "-verify_hostname", case.host]
    command = ["openssl", "verify", "-auth_level", "2", "-purpose", "sslserver", *host]
    command += ["-no-CApath", "-no-CAstore", "-CAfile", "trusted.pem"]
    command += ["-untrusted", "chain.pem"] if case.chain else []
    return subprocess.run([*command, case.leaf.pem], cwd=folder, capture_output=True, check=False).returncode == 0


def by_curl(folder, case, port):
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "10", "--output", "/dev/null"]
    command += ["--resolve", f"{case.host}:{port}:127.0.0.1", "--capath", "/nonexistent", "--cacert", "trusted.pem"]
    return subprocess.run([*command, f"https://{case.host}:{port}/"], cwd=folder, check=False).returncode == 0


def by_edgeprobe(program, folder, case, port):
    """The reason, or nothing if the probe succeeded."""
    (folder / "edgeprobe.yml").write_text(
        "modules: {cert: {prober: tls, timeout: 10s, tls: {tls_config: {ca_file: trusted.pem}}}}\n"
    )
    command = [program, "probe", "--config.file", "edgeprobe.yml", "--module", "cert", "--format", "json"]
    command += ["--connect-to", f"127.0.0.1:{port}", f"{case.host}:{port}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"{case.name}: edgeprobe printed no report: {done.stdout}{done.stderr}")
    return report["failure"] and report["failure"]["reason"]


def judge(program, folder, maker, case):
    """A row of the table, and what is wrong with it."""
    maker.bundle("trusted.pem", case.trusted)
    maker.bundle("chain.pem", case.chain)
    with Server(folder, case) as port:
        reason = by_edgeprobe(program, folder, case, port)
        others = {"openssl": by_openssl(folder, case), "curl": by_curl(folder, case, port)}
    faults = [] if reason == case.reason else [f"expected {case.reason or 'valid'}"]
    for other, valid in others.items():
        if valid != (reason is None) and (case.name, other) not in ALLOWED:
            faults.append(f"{other} differs and no document says why")
    words = ["valid" if valid else "invalid" for valid in others.values()]
    notes = [f"{other} differs, see docs/verdicts.md" for other in others if others[other] != (reason is None)]
    return [case.name, reason or "valid", *words, "; ".join(faults or notes)], faults


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = str(Path(sys.argv[1]).resolve())
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = Maker(folder)
        print(f"{'case':<36} {'edgeprobe':<22} {'openssl':<8} {'curl':<8} note")
        for case in cases(maker):
            row, faults = judge(program, folder, maker, case)
            failed += bool(faults)
            print(f"{row[0]:<36} {row[1]:<22} {row[2]:<8} {row[3]:<8} {'WRONG: ' if faults else ''}{row[4]}", flush=True)
    print(f"{failed} wrong" if failed else "all as it should be")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
