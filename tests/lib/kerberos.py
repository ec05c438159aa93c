"""A real Kerberos KDC on loopback, with keytabs."""
import shutil
import struct
from pathlib import Path

from . import maven
from .failure import Failure, wait_until
from .ports import free_port
from .process import Process

REALM = "HOLDFAST.TEST"


def _principal(entry):
    """Of a keytab's entry (format 5.2): the number of its parts, the realm, the parts."""
    count, at, parts = struct.unpack_from(">H", entry)[0], 2, []
    for _ in range(count + 1):
        size = struct.unpack_from(">H", entry, at)[0]
        parts.append(entry[at + 2:at + 2 + size].decode())
        at += 2 + size
    return "/".join(parts[1:])


class Kdc:
    """principals: name or name/host, all in one keytab; keytab_of() makes one for a client."""

    def __init__(self, work, principals, ticket_s=3600):
        from .flink import java
        self.work = Path(work) / "kdc"
        self.work.mkdir(parents=True)
        self.keytab = self.work / "all.keytab"
        self.config = self.work / "krb5.conf"
        self.port = free_port()
        settings = {"org.name": "HOLDFAST", "org.domain": "TEST", "kdc.bind.address": "localhost", "kdc.port": self.port,
                    "instance": "DefaultKrbServer", "max.ticket.lifetime": ticket_s * 1000,
                    "max.renewable.lifetime": 604800000, "transport": "TCP", "debug": "false"}
        properties = self.work / "kdc.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), "utf-8")
        self.process = Process(
            "kdc", [java(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
                    "--add-exports", "java.security.jgss/sun.security.krb5=ALL-UNNAMED", "--add-exports",
                    "java.security.jgss/sun.security.krb5.internal=ALL-UNNAMED", "-cp", f"{maven.kdc_lib()}/*",
                    "org.apache.hadoop.minikdc.MiniKdc", self.work, properties, self.keytab, *principals],
            self.work / "kdc.log")

    def keytab_of(self, principal):
        """A keytab with this principal only."""
        data, at, kept = self.keytab.read_bytes(), 2, []
        while at < len(data):
            size = struct.unpack_from(">i", data, at)[0]
            if size > 0 and _principal(data[at + 4:at + 4 + size]) == principal:
                kept.append(data[at:at + 4 + size])
            at += 4 + abs(size)
        if not kept:
            raise Failure(f"{self.keytab} has no key of {principal}")
        path = self.work / f"{principal.replace('/', '-')}.keytab"
        path.write_bytes(data[:2] + b"".join(kept))
        return path

    def environment(self, principal):
        """For a client by the C library: where the KDC is, and who it is."""
        return {"KRB5_CONFIG": str(self.config), "KRB5_CLIENT_KTNAME": str(self.keytab_of(principal)),
                "KRB5CCNAME": "MEMORY:test"}

    @property
    def java_options(self):
        return [f"-Djava.security.krb5.conf={self.config}"]

    def start(self):
        self.process.start()

        def written():
            self.process.require_alive()
            return self.keytab.exists() and self.config.exists() and "Standalone MiniKdc Running" in self.log()
        wait_until(written, 90, f"the KDC to run; its log: {self.process.log}", poll=0.1)
        return self

    def log(self):
        return self.process.log.read_text("utf-8", "replace")

    def stop(self):
        if self.process.alive():
            self.process.kill()
        shutil.rmtree(self.work, ignore_errors=True)
