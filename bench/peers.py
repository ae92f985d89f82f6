"""The servers bench/compare.py compares: how each is found, configured, started and given a new list.

Every server gets one thread that answers, the same names (each blocked with all below it, answered with 0.0.0.0 and,
where the way of blocking tells types apart, nothing for other types), the same upstream, no DNSSEC validation, no query
log and no file outside its folder. Nothing is tuned beyond that: what a default does is part of the comparison.
"""
import base64
import os
import shutil
import subprocess
import tempfile
import time

from harness import free_port

SBIN = ["/usr/sbin", "/usr/local/sbin", "/sbin"]


def find(binary):
    """The path of a binary, also of those that only root has in PATH; None if it is not installed."""
    return shutil.which(binary, path=os.pathsep.join([os.environ.get("PATH", ""), *SBIN]))


def run(*argv):
    """What a command prints, on either stream."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, text=True)
    return done.stdout


class Peer:
    """One way to run one server."""

    binary = package = None
    version_flag = "--version"
    cached = True
    # How it takes a new list; "restart" if it has no way to.
    reload_by = "restart"

    def __init__(self, name):
        self.name = name
        self.path = find(self.binary)
        self.staged = None
        # For those that are controlled through a port.
        self.control_port = 0
        self.key = base64.b64encode(os.urandom(32)).decode()

    def version(self):
        """The version, as short as it can be said."""
        for word in run(self.path, self.version_flag).replace(",", " ").split():
            if word[0].isdigit() and "." in word:
                return word
        return "?"

    def start(self, folder, port, upstream, names):
        """Writes the configuration into `folder` and says the command."""
        raise NotImplementedError

    def stage(self, folder, port, upstream, names):
        """Writes the configuration with another list beside the one in force."""
        self.staged = []
        self.start(folder, port, upstream, names)

    def switch(self, folder):
        """Puts what was staged in its place and tells the server: the command that does, if there is one."""
        for path in self.staged:
            os.replace(path + ".new", path)
        self.staged = None
        argv = self.control(folder)
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True) if argv else None

    def control(self, folder):
        """The command that makes a running server read its list again; None if it sees to that by itself."""

    def write(self, folder, file, text):
        """Writes one file of the configuration; its path."""
        path = os.path.join(folder, file)
        if self.staged is not None:
            self.staged.append(path)
        with open(path if self.staged is None else path + ".new", "w") as out:
            out.write(text)
        return path

    def rpz(self, folder, names):
        """The names as a response policy zone; its path."""
        head = f"$TTL 30\n@ SOA localhost. root.localhost. {time.time():.0f} 3600 600 86400 30\n@ NS localhost.\n"
        lines = [f"{name} A 0.0.0.0\n*.{name} A 0.0.0.0\n" for name in names]
        return self.write(folder, "rpz.zone", "$ORIGIN rpz.bench.\n" + head + "".join(lines))


class Qalqan(Peer):
    """Hits counted, hit log written, extended errors with the order's number and authority: what it does by default."""

    reload_by = "file"

    def __init__(self, name, path, log=True, more=""):
        self.name, self.log, self.more, self.staged = name, log, more, None
        self.path = path if path and os.access(path, os.X_OK) else None
        self.package = f"cargo build --release ({path})"
        self.cached = bool(self.path) and self.knows("cache")
        self.admin = bool(self.path) and self.knows("admin")

    def knows(self, section):
        """Whether this build has a section, told from what it says of it."""
        with tempfile.TemporaryDirectory() as folder:
            self.write(folder, "names.txt", "example.net\n")
            config = self.write(folder, "config.toml", f'[{section}]\n[[list]]\nname = "x"\nsource = "names.txt"\n')
            return f'unknown section "{section}"' not in run(self.path, "check", "--config", config)

    def version(self):
        return run(self.path, "version").split()[1]

    def stage(self, folder, port, upstream, names):
        # The list alone: a configuration written anew is a second reload.
        self.staged = []
        self.write(folder, "names.txt", "\n".join(names) + "\n")

    def start(self, folder, port, upstream, names):
        self.write(folder, "names.txt", "\n".join(names) + "\n")
        config = self.write(folder, "config.toml", f'''
[server]
listen = ["127.0.0.1:{port}"]
workers = 1
[upstream]
servers = ["udp://127.0.0.1:{upstream}"]
[hits]
file = "{'hits.jsonl' if self.log else ''}"
{'[admin]' if self.admin else ''}
{'listen = []' if self.admin else ''}
[[list]]
name = "bench"
source = "names.txt"
max_size = "1GiB"
order = {{ id = "25-01-25/4", authority = "Ministry of Examples" }}
{self.more}''')
        return [self.path, "serve", "--config", config]


class Unbound(Peer):
    binary = package = "unbound"
    version_flag = "-V"

    def __init__(self, name, rpz):
        self.rpz_zone = rpz
        super().__init__(name)
        commands = run(find("unbound-control") or "true", "-h")
        keeps = "fast_reload" if "fast_reload" in commands else "reload_keep_cache"
        self.reload_by = "auth_zone_reload" if rpz else keeps

    def control(self, folder):
        words = [self.reload_by, "rpz.bench"] if self.rpz_zone else [self.reload_by]
        return [find("unbound-control"), "-c", os.path.join(folder, "unbound.conf"), *words]

    def start(self, folder, port, upstream, names):
        if self.rpz_zone:
            modules, zones = "respip iterator", f'rpz:\n name: "rpz.bench"\n zonefile: "{self.rpz(folder, names)}"\n'
        else:
            modules = "iterator"
            zones = "server:\n" + "".join(f' local-zone: "{name}." always_null\n' for name in names)
        config = self.write(folder, "unbound.conf", f'''server:
 chroot: ""
 username: ""
 directory: "{folder}"
 pidfile: "{folder}/pid"
 use-syslog: no
 interface: 127.0.0.1
 port: {port}
 num-threads: 1
 do-not-query-localhost: no
 module-config: "{modules}"
remote-control:
 control-enable: yes
 control-use-cert: no
 control-interface: "{folder}/control"
forward-zone:
 name: "."
 forward-addr: 127.0.0.1@{upstream}
{zones}''')
        return [self.path, "-d", "-c", config]


class Dnsdist(Peer):
    binary = package = "dnsdist"

    reload_by = "console"

    def __init__(self, name, cache):
        self.cached = cache
        super().__init__(name)

    def control(self, folder):
        return [self.path, "-k", self.key, "-c", f"127.0.0.1:{self.control_port}", "-e", "list()"]

    def start(self, folder, port, upstream, names):
        self.control_port = self.control_port or free_port()
        listed = self.write(folder, "names.txt", "\n".join(names) + "\n")
        cache = "getPool(''):setCache(newPacketCache(500000, {maxTTL=86400}))" if self.cached else ""
        config = self.write(folder, "dnsdist.conf", f'''
setSecurityPollSuffix("")
setLocal("127.0.0.1:{port}")
newServer({{address="127.0.0.1:{upstream}", name="mock"}})
{cache}
setKey("{self.key}")
controlSocket("127.0.0.1:{self.control_port}")
function list()
  local blocked = newSuffixMatchNode()
  for name in io.lines("{listed}") do blocked:add(newDNSName(name)) end
  setRules({{newRuleAction(SuffixMatchNodeRule(blocked), SpoofAction({{"0.0.0.0"}}))}})
end
list()
''')
        return [self.path, "--supervised", "--disable-syslog", "-C", config]


class Recursor(Peer):
    binary, package = "pdns_recursor", "pdns-recursor"
    reload_by = "reload-lua-config"

    def control(self, folder):
        return [find("rec_control"), f"--socket-dir={folder}", f"--config-dir={folder}", "reload-lua-config"]

    def start(self, folder, port, upstream, names):
        lua = self.write(folder, "rpz.lua", f'rpzFile("{self.rpz(folder, names)}", {{}})\n')
        self.write(folder, "recursor.conf", f'''
local-address=127.0.0.1
local-port={port}
threads=1
pdns-distributes-queries=no
daemon=no
write-pid=no
socket-dir={folder}
forward-zones-recurse=.=127.0.0.1:{upstream}
dont-query=
dnssec=off
hint-file=no
security-poll-suffix=
quiet=yes
disable-syslog=yes
lua-config-file={lua}
''')
        return [self.path, f"--config-dir={folder}"]


class Knot(Peer):
    """It watches the zone file if lua-cqueues is installed."""

    binary, package = "kresd", "knot-resolver"
    reload_by = "file" if os.path.isdir("/usr/share/lua/5.1/cqueues") else "restart"

    def start(self, folder, port, upstream, names):
        config = self.write(folder, "kresd.conf", f'''
net.ipv6 = false
net.listen("127.0.0.1", {port}, {{ kind = "dns" }})
trust_anchors.remove(".")
modules.unload("priming")
modules.unload("ta_update")
modules.unload("ta_signal_query")
cache.size = 200 * MB
policy.add(policy.rpz(policy.DENY, "{self.rpz(folder, names)}"))
policy.add(policy.all(policy.FORWARD({{"127.0.0.1@{upstream}"}})))
''')
        return [self.path, "-n", "-q", "-c", config, folder]


class Dnsmasq(Peer):
    """The cache holds 150 names by default, fewer than are asked. A larger `dns-forward-max` than the default costs
    it twice the time a query, even for names it knows; the load stays below the default."""

    binary, package = "dnsmasq", "dnsmasq-base"

    def start(self, folder, port, upstream, names):
        config = self.write(folder, "dnsmasq.conf", f'''
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
no-poll
user=root
pid-file=
cache-size=10000
server=127.0.0.1#{upstream}
''' + "".join(f"address=/{name}/0.0.0.0\n" for name in names))
        return [self.path, "--keep-in-foreground", "--log-facility=-", f"--conf-file={config}"]


class Bind(Peer):
    """By default a policy zone is put in force once a minute at most; here at once."""

    binary, package = "named", "bind9"
    version_flag = "-v"
    reload_by = "rndc reload"

    def control(self, folder):
        return [find("rndc"), "-c", os.path.join(folder, "rndc.conf"), "reload", "rpz.bench"]

    def start(self, folder, port, upstream, names):
        self.control_port = self.control_port or free_port()
        key = f'key "bench" {{ algorithm hmac-sha256; secret "{self.key}"; }};\n'
        self.write(folder, "rndc.conf", key + f'''options {{
  default-key "bench"; default-server 127.0.0.1; default-port {self.control_port};
}};
''')
        zone = self.rpz(folder, names)
        config = self.write(folder, "named.conf", f'''{key}
options {{
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  forward only;
  forwarders {{ 127.0.0.1 port {upstream}; }};
  dnssec-validation no;
  recursive-clients 10000;
  response-policy {{ zone "rpz.bench"; }} qname-wait-recurse no break-dnssec yes min-update-interval 1;
}};
controls {{ inet 127.0.0.1 port {self.control_port} allow {{ 127.0.0.1; }} keys {{ "bench"; }}; }};
logging {{ category default {{ null; }}; category rpz {{ null; }}; }};
zone "rpz.bench" {{ type primary; file "{zone}"; notify no; }};
''')
        return [self.path, "-f", "-n", "1", "-c", config]


def peers(qalqan, builds=()):
    """All of them; `qalqan` is the path of our own, `builds` names and paths of others of it."""
    return [
        Qalqan("qalqan", qalqan),
        Qalqan("qalqan-nolog", qalqan, log=False),
        *(Qalqan(name, path) for name, path in builds),
        Unbound("unbound", rpz=False),
        Unbound("unbound-rpz", rpz=True),
        Dnsdist("dnsdist", cache=True),
        Dnsdist("dnsdist-nocache", cache=False),
        Recursor("pdns-recursor"),
        Knot("knot-resolver"),
        Dnsmasq("dnsmasq"),
        Bind("bind"),
    ]
