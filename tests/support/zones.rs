//! A small DNS of our own on loopback: a root, a top-level domain and zones, signed by BIND's tools, served by NSD.
#![allow(dead_code)] // Each test uses its own part.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use super::client::{Ask, Udp, rtype};
use super::server::{Folder, eventually};

/// Where each world has its addresses: 127.53.N.x, so that tests run side by side.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// How a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Not at all.
    No,
    /// With NSEC.
    Nsec,
    /// With NSEC3.
    Nsec3,
    /// So that it is over.
    Expired,
    /// So that it has not begun.
    Early,
    /// With NSEC, and an address changed afterwards.
    Tampered,
}

/// A running world; dropping it ends its servers.
pub struct World {
    number: u8,
    folder: std::sync::Arc<Folder>,
    servers: Vec<Child>,
}

/// The programs that are needed, and rights to listen at port 53; `None`, said aloud, without.
pub fn possible() -> Option<()> {
    for program in ["/usr/sbin/nsd", "/usr/bin/dnssec-signzone", "/usr/bin/dnssec-keygen"] {
        if !PathBuf::from(program).exists() {
            eprintln!("SKIPPED: no {program} here");
            return None;
        }
    }
    if let Err(error) = UdpSocket::bind("127.53.0.1:53") {
        eprintln!("SKIPPED: no name server can be run on loopback: {error}");
        return None;
    }
    Some(())
}

impl World {
    /// Makes it all and starts the servers; `None`, said aloud, where that cannot be.
    pub fn start() -> Option<Self> {
        possible()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut world = Self { number, folder: Folder::new(), servers: Vec::new() };
        world.make();
        let [root, tld, zones, lame] = [1, 2, 3, 4].map(|host| world.ip(host));
        world.serve(root, &["."]);
        world.serve(tld, &["world."]);
        let all: Vec<String> = ZONES.iter().map(|(name, _)| format!("{name}.world.")).collect();
        world.serve(zones, &all.iter().map(String::as_str).collect::<Vec<_>>());
        // Knows none of the zones it is named for.
        world.serve(lame, &["elsewhere."]);
        for (ip, name) in [(root, "world"), (tld, "world"), (zones, "good.world"), (lame, "elsewhere")] {
            let address = SocketAddr::from((ip, 53));
            let answers = || Udp::to(address).ask(&Ask::new(name, rtype::SOA)).is_some();
            eventually(&format!("{address} answers"), answers, || world.log());
        }
        Some(world)
    }

    /// An address of this world: 1 the root, 2 `world`, 3 its zones, 4 who knows nothing, 9 nobody.
    pub fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 53, self.number, host)
    }

    /// Root hints.
    pub fn hints(&self) -> PathBuf {
        self.folder.path("hints")
    }

    /// The trust anchor of its root.
    pub fn anchor(&self) -> PathBuf {
        self.folder.path("anchor")
    }

    /// A resolver that passes signatures on and validates nothing: unbound without its validator.
    pub fn forwarder(&mut self) -> Option<SocketAddr> {
        if !PathBuf::from("/usr/sbin/unbound").exists() {
            eprintln!("SKIPPED: no unbound here");
            return None;
        }
        let ip = self.ip(10);
        let folder = self.folder.path("");
        let config = format!(
            "server:\n interface: {ip}@53\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{0}\"\n pidfile: \"\"\n \
             use-syslog: no\n module-config: \"iterator\"\n root-hints: \"{1}\"\n do-not-query-localhost: no\n \
             access-control: 127.0.0.0/8 allow\n do-ip6: no\n outgoing-interface: {ip}\nremote-control:\n control-enable: no\n",
            folder.display(),
            self.hints().display(),
        );
        self.folder.write("unbound.conf", config);
        self.run(Command::new("/usr/sbin/unbound").arg("-d").arg("-c").arg(self.folder.path("unbound.conf")));
        let address = SocketAddr::from((ip, 53));
        let answers = || {
            let reply = Udp::to(address).ask(&Ask::new("www.good.world", rtype::A));
            reply.is_some_and(|reply| reply.rcode == 0 && !reply.answers.is_empty())
        };
        eventually("unbound answers", answers, || self.log());
        Some(address)
    }

    /// What the servers said.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }

    /// Starts a server.
    fn run(&mut self, command: &mut Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path("log")).expect("a log");
        let err = log.try_clone().expect("a log");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(err).spawn().expect("it starts");
        self.servers.push(child);
    }

    /// Starts NSD with these zones.
    fn serve(&mut self, ip: Ipv4Addr, zones: &[&str]) {
        let folder = self.folder.path("");
        let at = folder.display();
        let mut config = format!(
            "server:\n ip-address: {ip}@53\n username: \"\"\n chroot: \"\"\n zonesdir: \"{at}\"\n database: \"\"\n \
             pidfile: \"{at}/{ip}.pid\"\n xfrdfile: \"{at}/{ip}.xfrd\"\n zonelistfile: \"{at}/{ip}.list\"\n \
             xfrdir: \"{at}\"\n server-count: 1\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n"
        );
        for zone in zones {
            let _ = write!(config, "zone:\n name: \"{zone}\"\n zonefile: \"{}\"\n", file(zone));
        }
        let name = format!("{ip}.conf");
        self.folder.write(&name, config);
        self.run(Command::new("/usr/sbin/nsd").arg("-d").arg("-c").arg(self.folder.path(&name)));
    }

    /// Writes and signs all zones, children first.
    fn make(&self) {
        let mut world = format!("{HEAD}ns IN A {}\n", self.ip(2));
        for (name, sign) in ZONES {
            let ds = self.zone(&format!("{name}.world."), &self.content(name), sign);
            match name {
                "wrong" => {
                    // Of another key.
                    let other = self.key("wrong.world.", "other");
                    world += &self.ds(&other);
                }
                "stripped" => world += &self.ds(&self.key("stripped.world.", "other")),
                _ => world += &ds,
            }
            let _ = match name {
                "lame" => writeln!(
                    world,
                    "lame IN NS a.lame\nlame IN NS b.lame\na.lame IN A {}\nb.lame IN A {}",
                    self.ip(4),
                    self.ip(3)
                ),
                "dead" => writeln!(
                    world,
                    "dead IN NS a.dead\ndead IN NS b.dead\na.dead IN A {}\nb.dead IN A {}",
                    self.ip(9),
                    self.ip(3)
                ),
                _ => writeln!(world, "{name} IN NS ns.{name}\nns.{name} IN A {}", self.ip(3)),
            };
        }
        world += "left IN NS ns.right\nright IN NS ns.left\n";
        let ds = self.zone("world.", &world, Sign::Nsec);
        let root =
            format!("{HEAD}world. IN NS ns.world.\nns.world. IN A {}\nns. IN A {}\n{ds}", self.ip(2), self.ip(1));
        let anchor = self.zone(".", &root, Sign::Nsec);
        self.folder.write("anchor", anchor);
        self.folder.write("hints", format!(". 3600000 NS ns.\nns. 3600000 A {}\n", self.ip(1)));
        self.zone("elsewhere.", HEAD, Sign::No);
    }

    /// What is in a zone.
    fn content(&self, name: &str) -> String {
        let ip = self.ip(3);
        let mut text = format!(
            "{HEAD}ns IN A {ip}\n@ IN A 192.0.2.1\nwww IN A 192.0.2.7\n*.wild IN A 192.0.2.8\nthere.is.more IN A 192.0.2.9\n\
             self IN CNAME www\nplain IN CNAME www.plain.world.\nhashed IN CNAME www.hashed.world.\n\
             gone IN CNAME nope.hashed.world.\nround IN CNAME about\nabout IN CNAME round\nold IN DNAME is.good.world.\n\
             there.is IN A 192.0.2.10\nblocked IN CNAME www.blocked.world.\n"
        );
        if name == "good" {
            for number in 0..12 {
                let _ = writeln!(text, "big IN TXT \"{number:0>200}\"");
            }
        }
        if matches!(name, "lame" | "dead") {
            text = text.replace("@ IN NS ns\n", "@ IN NS a\n@ IN NS b\n");
            let first = if name == "lame" { self.ip(4) } else { self.ip(9) };
            let _ = writeln!(text, "a IN A {first}\nb IN A {ip}");
        }
        text
    }

    /// Writes a zone, signs it, and gives the DS for its parent.
    fn zone(&self, name: &str, content: &str, sign: Sign) -> String {
        let file = file(name);
        if sign == Sign::No {
            self.folder.write(&file, format!("$ORIGIN {name}\n{content}"));
            return String::new();
        }
        let key = self.key(name, "key");
        let public = self.folder.read(&format!("{key}.key"));
        self.folder.write(&format!("{file}.unsigned"), format!("$ORIGIN {name}\n{content}{public}"));
        let (begin, end) = match sign {
            Sign::Expired => ("now-20d", "now-1d"),
            Sign::Early => ("now+1d", "now+20d"),
            _ => ("now-1h", "now+10d"),
        };
        let mut command = Command::new("/usr/bin/dnssec-signzone");
        command.current_dir(self.folder.path("")).args(["-q", "-P", "-z", "-x", "-o", name, "-s", begin, "-e", end]);
        if sign == Sign::Nsec3 {
            command.args(["-3", "aabb", "-H", "5"]);
        }
        let output = command.args(["-f", &file, &format!("{file}.unsigned"), &key]).output().expect("it runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        if sign == Sign::Tampered {
            let signed = self.folder.read(&file);
            assert!(signed.contains("192.0.2.7"));
            self.folder.write(&file, signed.replace("192.0.2.7", "192.0.2.66"));
        }
        self.ds(&key)
    }

    /// Makes a key; gives the name of its files.
    fn key(&self, zone: &str, kind: &str) -> String {
        let folder = self.folder.path(kind);
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new("/usr/bin/dnssec-keygen");
        let output = command.args(["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K"]).arg(&folder).arg(zone).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        format!("{kind}/{}", String::from_utf8_lossy(&output.stdout).trim())
    }

    /// The DS of a key.
    fn ds(&self, key: &str) -> String {
        let mut command = Command::new("/usr/bin/dnssec-dsfromkey");
        let output = command.arg("-2").arg(self.folder.path(&format!("{key}.key"))).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // NSD's children end with their parent only if it is asked to.
            let _ = Command::new("kill").args(["-s", "TERM", &server.id().to_string()]).status();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            eprintln!("the name servers said:\n{}", self.log());
        }
    }
}

/// The zones below `world`.
const ZONES: [(&str, Sign); 11] = [
    ("good", Sign::Nsec),
    ("hashed", Sign::Nsec3),
    ("plain", Sign::No),
    ("blocked", Sign::No),
    ("expired", Sign::Expired),
    ("early", Sign::Early),
    ("tampered", Sign::Tampered),
    ("wrong", Sign::Nsec),
    ("stripped", Sign::No),
    ("lame", Sign::No),
    ("dead", Sign::No),
];

/// How each zone begins.
const HEAD: &str = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\n";

/// The file of a zone.
fn file(zone: &str) -> String {
    if zone == "." { "root.zone".into() } else { format!("{zone}zone") }
}
