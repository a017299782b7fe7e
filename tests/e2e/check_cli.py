"""The command line against servers that nobody here wrote: exit codes and the words a person needs."""

import json

from world import expect, run


def check_probe_tells_a_person(world):
    """`edgeprobe probe` exits 0 on success and 1 on failure, and names target, phase and reason."""
    for expected in world.table:
        done = world.cli("probe", expected.target, "--module", expected.module, "--config.file", world.config)
        where = f"probe {expected.target} --module {expected.module}:\n{done.text}"
        expect(done.code == (1 if expected.reason else 0), f"exit code {done.code}: {where}")
        host = expected.target.split("//")[-1].split("/")[0].split(":")[0]
        for phrase in (host, expected.phase, expected.reason):
            expect(phrase in done.stdout, f"no `{phrase}` in {where}")


def check_probe_shows_the_handshake(world):
    """A good probe shows protocol version, issuer and the phases it went through."""
    done = world.cli("probe", world.targets.url("good"), "--module", "https_2xx", "--config.file", world.config)
    for phrase in ("TLS 1.3", "End-to-end root", "resolve", "connect", "tls", "processing", "transfer"):
        expect(phrase in done.stdout, f"no `{phrase}` in:\n{done.text}")


def check_probe_formats(world):
    """`--format json` is JSON with the verdict, `--format prometheus` passes promtool."""
    command = ("probe", world.targets.url("expired"), "--module", "https_2xx", "--config.file", world.config)
    report = world.cli(*command, "--format", "json")
    expect(report.code == 1, f"exit code {report.code}:\n{report.text}")
    expect("cert_expired" in json.dumps(json.loads(report.stdout)), f"no verdict in:\n{report.stdout}")
    page = world.cli(*command, "--format", "prometheus")
    expect('probe_failure_info{phase="tls",reason="cert_expired"} 1' in page.stdout, f"no verdict in:\n{page.text}")
    lint = run([world.promtool, "check", "metrics"], stdin=page.stdout)
    expect(lint.code == 0, f"promtool: {lint.text}")


def check_config_is_accepted(world):
    """`check-config` says 0 to the configuration in use and to the shipped ones."""
    shipped = sorted((world.root / "config").glob("edgeprobe*.yml"))
    expect(shipped, "config/edgeprobe.yml is missing")
    for file in (world.config, *shipped):
        done = world.cli("check-config", file)
        expect(done.code == 0, f"check-config {file}: {done.code}\n{done.text}")


def check_bad_config_names_every_place(world):
    """All errors at once, each with file, line and path; exit code 1 from check-config and from serve."""
    bad = world.folder / "bad.yml"
    bad.write_text("modules:\n  web:\n    prober: http\n    timeout: soon\n    http:\n      valid_status_code: [200]\n")
    for command in (("check-config", bad), (f"--config.file={bad}", f"--web.listen-address={world.free_address()}")):
        done = world.cli(*command)
        expect(done.code == 1, f"exit code {done.code}: {done.text}")
        for phrase in ("bad.yml:4: modules.web.timeout", "soon", "bad.yml:6: modules.web.http", "valid_status_code"):
            expect(phrase in done.text, f"no `{phrase}` in:\n{done.text}")


def check_missing_ca_file(world):
    """A CA file that is not there is named, with exit code 1."""
    bad = world.folder / "missing-ca.yml"
    bad.write_text("modules:\n  web:\n    prober: http\n    http: {tls_config: {ca_file: /nowhere/ca.pem}}\n")
    for command in (("check-config", bad), (f"--config.file={bad}", f"--web.listen-address={world.free_address()}")):
        done = world.cli(*command)
        expect(done.code == 1, f"exit code {done.code}: {done.text}")
        expect("/nowhere/ca.pem" in done.text and "web" in done.text, f"the file or module is not named:\n{done.text}")


def check_missing_config_file(world):
    """A configuration file that is not there is named, with exit code 1."""
    done = world.cli("check-config", world.folder / "absent.yml")
    expect(done.code == 1 and "absent.yml" in done.text, f"exit code {done.code}:\n{done.text}")


def check_port_in_use(world):
    """A port that is taken is named, with exit code 1."""
    address = world.exporter.removeprefix("http://")
    done = world.cli(f"--config.file={world.config}", f"--web.listen-address={address}")
    expect(done.code == 1 and address in done.text, f"exit code {done.code}:\n{done.text}")


def check_unknown_module(world):
    """A module that does not exist is named, with exit code 1, and the known ones are too."""
    done = world.cli("probe", world.targets.url("good"), "--module", "nope", "--config.file", world.config)
    expect(done.code == 1 and "nope" in done.text and "https_2xx" in done.text, f"exit code {done.code}:\n{done.text}")


def check_healthcheck(world):
    """`healthcheck` exits 0 against a healthy exporter and 1 against nobody."""
    healthy = world.cli("healthcheck", "--url", f"{world.exporter}/-/healthy")
    expect(healthy.code == 0, f"exit code {healthy.code}:\n{healthy.text}")
    gone = world.cli("healthcheck", "--url", f"http://{world.free_address()}/-/healthy")
    expect(gone.code == 1, f"exit code {gone.code}:\n{gone.text}")
