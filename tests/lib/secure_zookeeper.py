"""ZooKeeper servers that want TLS or Kerberos, and the container image's holdfastd, whose client library can do both."""
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .failure import Failure
from .kerberos import REALM
from .kube import Authority
from .paths import BUILD, CACHE, ROOT, cache_lock
from .zookeeper import Ensemble

SERVICE = "zookeeper"
PRINCIPAL = f"{SERVICE}/localhost"  # of every server here: what 127.0.0.1 is called
_SCRIPT = ROOT / "scripts" / "zookeeper-client"


def _packaged():
    """The release of Debian's own client library, whose source is built here."""
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libzookeeper-mt-dev"], capture_output=True, text=True)
    if shown.returncode:
        raise Failure("libzookeeper-mt-dev is not installed: run scripts/install")
    return shown.stdout


def client_library():
    """The folder with the client library that has both, built on first use: less than a minute."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (_SCRIPT, _SCRIPT.with_suffix(".h"))))
    target = CACHE / f"zookeeper-client-{_packaged()}-{digest.hexdigest()[:12]}"
    with cache_lock("zookeeper-client"):
        if not target.is_dir():
            print("building ZooKeeper's client with TLS and SASL, once", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".zookeeper-client-") as scratch:
                built = Path(scratch) / "built"
                if subprocess.run([_SCRIPT, built], stdin=subprocess.DEVNULL).returncode:
                    raise Failure(f"{_SCRIPT} failed; it has said why")
                built.rename(target)
    return target


def image():
    """A folder with what deploy/Containerfile puts into the image, built as it is built there."""
    prefix, folder = client_library(), BUILD.parent / "secure"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    with open(log, "wb") as out:
        if subprocess.run([ROOT / "deploy" / "build", prefix, folder / "image", folder / "cmake"], stdin=subprocess.DEVNULL,
                          stdout=out, stderr=subprocess.STDOUT).returncode:
            raise Failure(f"deploy/build failed: see {log}")
    return folder / "image"


def runtime_packages():
    """What the container file installs into the last of its stages."""
    stage = (ROOT / "deploy" / "Containerfile").read_text("utf-8").rsplit("\nFROM ", 1)[1]
    names = re.search(r"apt-get install -y --no-install-recommends([^&]*)&&", stage)
    return names[1].replace("\\", " ").split()


def kerberos_ensemble(work, kdc, tick_ms):
    """Its servers take nobody who has not shown who they are by SASL."""
    jaas = Path(work) / "jaas.conf"
    jaas.write_text(f"""Server {{
  com.sun.security.auth.module.Krb5LoginModule required
  useKeyTab=true storeKey=true useTicketCache=false keyTab="{kdc.keytab_of(PRINCIPAL)}" principal="{PRINCIPAL}@{REALM}";
}};
""", "utf-8")
    return Ensemble(
        work, 3, tick_ms=tick_ms, extra=["authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider"],
        java_flags=("-XX:TieredStopAtLevel=1", f"-Djava.security.auth.login.config={jaas}",
                    "-Dzookeeper.sessionRequireClientSASLAuth=true", *kdc.java_options))


def tls_ensemble(work, authority, tick_ms):
    """Its servers take clients on their tls_port that have a certificate of the authority; without TLS on the other."""
    certificate, key = authority.sign("zookeeper-server", "/CN=zookeeper", "DNS:localhost,IP:127.0.0.1")
    pem = authority.folder / "zookeeper-server.pem"
    pem.write_bytes(key.read_bytes() + certificate.read_bytes())
    trusted = authority.folder / "trusted.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    return Ensemble(
        work, 3, tick_ms=tick_ms,
        extra=["secureClientPort={member.tls_port}", "secureClientPortAddress=127.0.0.1",
               "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory", f"ssl.keyStore.location={pem}",
               f"ssl.trustStore.location={trusted}", "ssl.clientAuth=need", "ssl.hostnameVerification=false"])


def tls_settings(authority, certificate, key):
    return {"election.zookeeper.tls.ca-file": authority.certificate, "election.zookeeper.tls.certificate-file": certificate,
            "election.zookeeper.tls.key-file": key}
