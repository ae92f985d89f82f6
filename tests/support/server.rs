//! The real binary, in a folder of its own, on ports of its own.
#![allow(dead_code)] // Each test uses its own part.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Ask, Reply, Tcp, Udp};

/// How long anything may take that is to happen by itself. Only ever reached when it does not.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How often waiting looks again.
const TICK: Duration = Duration::from_millis(5);

/// Where a server's files are; outlives the server, so that another one can be started there.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// A new, empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(tempfile::tempdir().expect("a temporary folder")))
    }

    /// Path of something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file in place, folders made as needed.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file in the folder")).expect("folders");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes a file aside and renames it into place.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let aside = format!("{name}.aside");
        self.write(&aside, content);
        fs::rename(self.path(&aside), self.path(name)).expect("renamed");
    }

    /// A file as text.
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The hit log so far, whole lines only.
    pub fn hits(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("hits.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of the hit log is JSON")).collect()
    }

    /// `state/counters.json`.
    pub fn counters(&self) -> Value {
        serde_json::from_str(&self.read("state/counters.json")).expect("counters.json is JSON")
    }
}

/// A configuration, section by section.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    top: String,
    listen: Option<String>,
    server: String,
    servers: Vec<String>,
    upstream: String,
    hits: Option<String>,
    admin: Option<String>,
    rest: String,
}

impl Setup {
    /// Asks this upstream.
    pub fn new(upstream: SocketAddr) -> Self {
        Self { servers: vec![format!("udp://{upstream}")], ..Self::default() }
    }

    /// One more upstream.
    pub fn or(mut self, upstream: SocketAddr) -> Self {
        self.servers.push(format!("udp://{upstream}"));
        self
    }

    /// Keys of no section.
    pub fn top(mut self, text: &str) -> Self {
        self.top += &format!("{text}\n");
        self
    }

    /// What to listen at, as a TOML array.
    pub fn listen(mut self, array: &str) -> Self {
        self.listen = Some(array.into());
        self
    }

    /// Keys of `[server]`.
    pub fn server(mut self, text: &str) -> Self {
        self.server += &format!("{text}\n");
        self
    }

    /// Keys of `[upstream]`.
    pub fn upstream(mut self, text: &str) -> Self {
        self.upstream += &format!("{text}\n");
        self
    }

    /// Without a cache: every query that may be asked on is.
    pub fn uncached(self) -> Self {
        self.more("[cache]\nsize = \"0B\"")
    }

    /// All of `[hits]`.
    pub fn hits(mut self, text: &str) -> Self {
        self.hits = Some(text.into());
        self
    }

    /// All of `[admin]`; without it there is no admin listener, as tests run side by side.
    pub fn admin(mut self, text: &str) -> Self {
        self.admin = Some(text.into());
        self
    }

    /// A block list of the format `domains`, with more keys.
    pub fn list(self, name: &str, source: &str, keys: &str) -> Self {
        self.more(&format!("[[list]]\nname = \"{name}\"\nsource = \"{source}\"\n{keys}\n"))
    }

    /// Whole sections.
    pub fn more(mut self, text: &str) -> Self {
        self.rest += &format!("{text}\n");
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let Self { top, listen, server, servers, upstream, hits, admin, rest } = self;
        let listen = listen.as_deref().unwrap_or("[\"127.0.0.1:0\"]");
        let hits = hits.as_deref().unwrap_or("clients = \"full\"");
        let admin = admin.as_deref().unwrap_or("listen = []");
        format!(
            "{top}\n[server]\nlisten = {listen}\nready_file = \"ready.json\"\n{server}\n[upstream]\n\
             servers = {servers:?}\n{upstream}\n[hits]\n{hits}\n\n[admin]\n{admin}\n\n{rest}"
        )
    }
}

/// A running `qalqan serve`; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    /// Its files.
    pub folder: Arc<Folder>,
    /// UDP addresses, in the order of the ready file.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses, likewise.
    pub tcp: Vec<SocketAddr>,
    /// Addresses of the admin listener, likewise.
    pub http: Vec<SocketAddr>,
    /// Addresses of encrypted listeners, by transport.
    encrypted: Vec<(String, SocketAddr)>,
}

impl Server {
    /// Starts with this configuration and waits until it answers.
    pub fn start(folder: &Arc<Folder>, setup: &Setup) -> Self {
        folder.write("config.toml", setup.text());
        Self::start_as_is(folder)
    }

    /// Starts with the `config.toml` that stands in the folder.
    pub fn start_as_is(folder: &Arc<Folder>) -> Self {
        Self::start_by(folder, &mut serve(folder))
    }

    /// Starts by a command of one's own, which must become the server.
    pub fn start_by(folder: &Arc<Folder>, command: &mut Command) -> Self {
        let mut server = Self::spawn(folder, command);
        let ready = folder.path("ready.json");
        let started = Instant::now();
        let content = loop {
            if let Ok(content) = fs::read(&ready) {
                break content;
            }
            let ended = server.child.try_wait().expect("our own child");
            if ended.is_some() || started.elapsed() > DEADLINE {
                thread::sleep(20 * TICK);
                panic!("not ready, {ended:?}; it said:\n{}", server.stderr());
            }
            thread::sleep(TICK);
        };
        let ready: Value = serde_json::from_slice(&content).expect("the ready file is JSON, written whole");
        assert_eq!(ready["pid"], server.child.id());
        for entry in ready["listen"].as_array().expect("an array of addresses") {
            let address = entry["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
            match entry["transport"].as_str() {
                Some("udp") => server.udp.push(address),
                Some("tcp") => server.tcp.push(address),
                Some("http") => server.http.push(address),
                Some(other) => server.encrypted.push((other.into(), address)),
                None => panic!("an address without a transport: {entry}"),
            }
        }
        server
    }

    /// Starts and waits until it ends by itself; exit code and what it said.
    pub fn refuses(folder: &Arc<Folder>, config: &str) -> (Option<i32>, String) {
        folder.write("config.toml", config);
        let mut server = Self::spawn(folder, &mut serve(folder));
        let status = server.wait();
        (status.code(), server.stderr())
    }

    /// The process alone.
    fn spawn(folder: &Arc<Folder>, command: &mut Command) -> Self {
        let _ = fs::remove_file(folder.path("ready.json"));
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&stderr);
        let pipe = BufReader::new(child.stderr.take().expect("a pipe"));
        let reader = thread::spawn(move || {
            for line in pipe.split(b'\n').map_while(Result::ok) {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_str(&String::from_utf8_lossy(&line));
                said.push('\n');
            }
        });
        let folder = Arc::clone(folder);
        Self {
            child,
            stderr,
            reader: Some(reader),
            folder,
            udp: Vec::new(),
            tcp: Vec::new(),
            http: Vec::new(),
            encrypted: Vec::new(),
        }
    }

    /// The first address of an encrypted transport.
    pub fn at(&self, transport: &str) -> SocketAddr {
        let found = self.encrypted.iter().find(|(name, _)| name == transport);
        found.unwrap_or_else(|| panic!("no {transport} in the ready file")).1
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said this.
    pub fn says(&self, text: &str) {
        eventually(&format!("it says {text:?}"), || self.stderr().contains(text), || self.stderr());
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, as `kill` knows it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.expect("kill is there").success(), "no process to send {name} to");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => break status,
                None if started.elapsed() > DEADLINE => panic!("it does not end; it said:\n{}", self.stderr()),
                None => thread::sleep(TICK),
            }
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        status
    }

    /// SIGTERM, and waits; what it said.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}; it said:\n{}", self.stderr());
        self.stderr()
    }

    /// SIGKILL, and waits.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.wait();
    }

    /// Asks over UDP; there must be an answer.
    pub fn ask(&self, ask: &Ask) -> Reply {
        let reply = Udp::to(self.udp[0]).ask(ask);
        reply.unwrap_or_else(|| panic!("no answer to {ask:?}; it said:\n{}", self.stderr()))
    }

    /// Asks over TCP; there must be an answer.
    pub fn ask_tcp(&self, ask: &Ask) -> Reply {
        Tcp::to(self.tcp[0]).ask(ask)
    }

    /// Asks for an address over UDP.
    pub fn a(&self, name: &str) -> Reply {
        self.ask(&Ask::new(name, super::client::rtype::A))
    }

    /// Waits until `name` gets this address.
    pub fn comes_to(&self, name: &str, address: &str) -> Duration {
        let mut last = None;
        let shown = std::cell::RefCell::new(String::new());
        eventually(
            &format!("{name} gets {address}"),
            || {
                let reply = self.a(name);
                let done = reply.is_address(address);
                *shown.borrow_mut() = format!("{reply:?}");
                last = Some(reply);
                done
            },
            || format!("it gets {}\nit said:\n{}", shown.borrow(), self.stderr()),
        )
    }

    /// Runs another verb beside the server, with its configuration.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.folder, args)
    }

    /// Waits until `name` is answered by the sinkhole.
    pub fn blocks(&self, name: &str) -> Duration {
        self.comes_to(name, "0.0.0.0")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.stderr());
        }
    }
}

/// What a verb printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs a verb in `folder` to its end.
    pub fn of(folder: &Folder, args: &[&str]) -> Self {
        let output = binary(folder).args(args).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `qalqan serve`, to be run in `folder`.
pub fn serve(folder: &Folder) -> Command {
    let mut command = binary(folder);
    command.args(["serve", "--config", "config.toml"]);
    command
}

/// The binary, to be run in `folder`.
pub fn binary(folder: &Folder) -> Command {
    within(folder, env!("CARGO_BIN_EXE_qalqan"))
}

/// Another program, to be run in `folder`.
pub fn within(folder: &Folder, program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command.current_dir(folder.0.path()).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    command
}

/// Waits until something has come true, and says how long that took; `explain` is asked if it never does.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool, explain: impl Fn() -> String) -> Duration {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}; {}", explain());
        thread::sleep(TICK);
    }
    started.elapsed()
}

/// A folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
