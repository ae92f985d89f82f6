"""The servers bench/compare.py compares: how each is found, configured and started.

Every server gets one thread that answers, the same names (each blocked with all below it, answered with 0.0.0.0 and,
where the way of blocking tells types apart, nothing for other types), the same upstream, no DNSSEC validation, no query
log and no file outside its folder. Nothing is tuned beyond that: what a default does is part of the comparison.
"""
import os
import shutil
import subprocess

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

    def __init__(self, name):
        self.name = name
        self.path = find(self.binary)

    def version(self):
        """The version, as short as it can be said."""
        for word in run(self.path, self.version_flag).replace(",", " ").split():
            if word[0].isdigit() and "." in word:
                return word
        return "?"

    def start(self, folder, port, upstream, names):
        """Writes the configuration into `folder` and says the command."""
        raise NotImplementedError

    def write(self, folder, file, text):
        """Writes one file of the configuration; its path."""
        path = os.path.join(folder, file)
        with open(path, "w") as out:
            out.write(text)
        return path

    def rpz(self, folder, names):
        """The names as a response policy zone; its path."""
        head = "$TTL 30\n@ SOA localhost. root.localhost. 1 3600 600 86400 30\n@ NS localhost.\n"
        lines = [f"{name} A 0.0.0.0\n*.{name} A 0.0.0.0\n" for name in names]
        return self.write(folder, "rpz.zone", "$ORIGIN rpz.bench.\n" + head + "".join(lines))


class Qalqan(Peer):
    """Hits counted, hit log written, extended errors with the order's number and authority: what it does by default."""

    def __init__(self, name, path, log=True):
        self.name, self.log = name, log
        self.path = path if path and os.access(path, os.X_OK) else None
        self.package = f"cargo build --release ({path})"
        self.cached = bool(self.path) and self.knows_cache()

    def knows_cache(self):
        """Whether this build has a cache, told from what it says of a [cache] section."""
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            self.write(folder, "names.txt", "example.net\n")
            config = self.write(folder, "config.toml", '[cache]\n[[list]]\nname = "x"\nsource = "names.txt"\n')
            return 'unknown section "cache"' not in run(self.path, "check", "--config", config)

    def version(self):
        return run(self.path, "version").split()[1]

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
[[list]]
name = "bench"
source = "names.txt"
max_size = "1GiB"
order = {{ id = "25-01-25/4", authority = "Ministry of Examples" }}
''')
        return [self.path, "serve", "--config", config]


class Unbound(Peer):
    binary = package = "unbound"
    version_flag = "-V"

    def __init__(self, name, rpz):
        self.rpz_zone = rpz
        super().__init__(name)

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
 control-enable: no
forward-zone:
 name: "."
 forward-addr: 127.0.0.1@{upstream}
{zones}''')
        return [self.path, "-d", "-c", config]


class Dnsdist(Peer):
    binary = package = "dnsdist"

    def __init__(self, name, cache):
        self.cached = cache
        super().__init__(name)

    def start(self, folder, port, upstream, names):
        listed = self.write(folder, "names.txt", "\n".join(names) + "\n")
        cache = "getPool(''):setCache(newPacketCache(500000, {maxTTL=86400}))" if self.cached else ""
        config = self.write(folder, "dnsdist.conf", f'''
setSecurityPollSuffix("")
setLocal("127.0.0.1:{port}")
newServer({{address="127.0.0.1:{upstream}", name="mock"}})
{cache}
local blocked = newSuffixMatchNode()
for name in io.lines("{listed}") do blocked:add(newDNSName(name)) end
addAction(SuffixMatchNodeRule(blocked), SpoofAction({{"0.0.0.0"}}))
''')
        return [self.path, "--supervised", "--disable-syslog", "-C", config]


class Recursor(Peer):
    binary, package = "pdns_recursor", "pdns-recursor"

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
    binary, package = "kresd", "knot-resolver"

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
    binary, package = "named", "bind9"
    version_flag = "-v"

    def start(self, folder, port, upstream, names):
        zone = self.rpz(folder, names)
        config = self.write(folder, "named.conf", f'''
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
  response-policy {{ zone "rpz.bench"; }} qname-wait-recurse no break-dnssec yes;
}};
controls {{ }};
logging {{ category default {{ null; }}; category rpz {{ null; }}; }};
zone "rpz.bench" {{ type primary; file "{zone}"; notify no; }};
''')
        return [self.path, "-f", "-n", "1", "-c", config]


def peers(qalqan):
    """All of them; `qalqan` is the path of our own."""
    return [
        Qalqan("qalqan", qalqan),
        Qalqan("qalqan-nolog", qalqan, log=False),
        Unbound("unbound", rpz=False),
        Unbound("unbound-rpz", rpz=True),
        Dnsdist("dnsdist", cache=True),
        Dnsdist("dnsdist-nocache", cache=False),
        Recursor("pdns-recursor"),
        Knot("knot-resolver"),
        Dnsmasq("dnsmasq"),
        Bind("bind"),
    ]
