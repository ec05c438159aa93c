"""HttpFS: the gateway before an HDFS (hdfs.Hdfs), one address that speaks the NameNodes' protocol and passes the data on."""
import getpass

from . import http, maven
from .failure import wait_until
from .flink import java
from .hdfs import _OPTIONS
from .ports import free_port
from .process import Process


def _properties(values):
    return "".join(f"<property><name>{key}</name><value>{value}</value></property>\n" for key, value in values.items())


def allow(cluster):
    """Before the cluster starts: whoever runs the gateway may act for the users who come to it."""
    user = getpass.getuser()
    path = cluster.conf / "core-site.xml"
    more = _properties({f"hadoop.proxyuser.{user}.hosts": "*", f"hadoop.proxyuser.{user}.groups": "*"})
    path.write_text(path.read_text("utf-8").replace("</configuration>", more + "</configuration>"), "utf-8")


class HttpFs(Process):
    def __init__(self, cluster):
        home = cluster.work / "httpfs"
        for folder in ("conf", "log", "temp"):
            (home / folder).mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        site = {"httpfs.http.port": port, "httpfs.http.hostname": "127.0.0.1", "httpfs.hadoop.config.dir": cluster.conf}
        (home / "conf" / "httpfs-site.xml").write_text(f"<configuration>\n{_properties(site)}</configuration>\n", "utf-8")
        (home / "conf" / "httpfs-signature.secret").write_text("of the tests", "utf-8")
        flags = [f"-Dhttpfs.home.dir={home}", f"-Dhttpfs.config.dir={home}/conf", f"-Dhttpfs.log.dir={home}/log",
                 f"-Dhttpfs.temp.dir={home}/temp"]
        argv = [java(), *_OPTIONS, *flags, "-cp", f"{home}/conf:{cluster.conf}:{maven.hadoop_lib()}/*",
                "org.apache.hadoop.fs.http.server.HttpFSServerWebServer"]
        super().__init__("httpfs", argv, cluster.work / "httpfs.log", cluster.environment)

    def wait_ready(self):
        def ready():
            self.require_alive()
            return http.call("GET", f"{self.url}/webhdfs/v1/?op=LISTSTATUS&user.name={getpass.getuser()}", timeout=5)[0] == 200
        wait_until(ready, 120, "HttpFS to be ready", poll=0.1)
        return self
