//! A ClickHouse of one's own: Debian's server, or the current engine behind `tests/clickhouse/front.py`.
#![allow(dead_code)] // Each test binary uses its own part.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::server::{eventually, repository};

/// A running one; dropping it kills it.
pub struct ClickHouse {
    child: Child,
    folder: tempfile::TempDir,
    pub address: SocketAddr,
}

impl ClickHouse {
    /// Debian's, 18.16; `None`, said aloud, where it is not installed.
    pub fn debian() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        // Two ports that were free a moment ago.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [http, tcp] = ports.map(|listener| listener.local_addr().expect("bound").port());
        let path = folder.path().display();
        let config = format!(
            "<yandex><logger><level>warning</level><console>1</console></logger><listen_host>127.0.0.1</listen_host>\
             <http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><path>{path}/data/</path><tmp_path>{path}/tmp/</tmp_path>\
             <format_schema_path>{path}/schemas/</format_schema_path><users_config>users.xml</users_config>\
             <default_profile>default</default_profile><default_database>default</default_database>\
             <mark_cache_size>5368709</mark_cache_size></yandex>"
        );
        // SHA-256 of "secret".
        let users = "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><qalqan>\
             <password_sha256_hex>2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b</password_sha256_hex>\
             <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></qalqan></users></yandex>";
        for (name, text) in [("config.xml", config.as_str()), ("users.xml", users)] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new("clickhouse-server");
        command.arg("--config-file=config.xml").current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = match command.stderr(log).spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIPPED: no clickhouse-server here: {error}");
                return None;
            }
        };
        let server = Self { child, folder, address: SocketAddr::from(([127, 0, 0, 1], http)) };
        let ready = || TcpStream::connect(server.address).is_ok();
        eventually("ClickHouse answers", ready, || server.log());
        Some(server)
    }

    /// The current engine; `None`, said aloud, where the package is not installed.
    pub fn current() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let venv = repository().join("target/chdb/bin/python");
        let python = if venv.exists() { venv } else { PathBuf::from("python3") };
        let there = Command::new(&python).args(["-c", "import chdb"]).current_dir(folder.path()).output();
        if !there.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: no chdb-core for {}", python.display());
            return None;
        }
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(python);
        command.arg(repository().join("tests/clickhouse/front.py")).arg(folder.path());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().expect("python is there");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut port).expect("a line");
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let port = port.trim().parse().unwrap_or_else(|_| panic!("no port; it said:\n{log}"));
        Some(Self { child, folder, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// What it has said.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks it in the tables' database; panics if it refuses.
    pub fn ask(&self, statement: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "POST /?database=qalqan&wait_end_of_query=1 HTTP/1.0\r\nX-ClickHouse-User: qalqan\r\nX-ClickHouse-Key: secret\r\n\
             Content-Length: {}\r\n\r\n{statement}",
            statement.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(" 200 "), "{statement}: {answer}");
        body.trim().to_owned()
    }

    /// Sends a signal by name, as `kill` knows it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("ClickHouse said:\n{}", self.log());
        }
    }
}

/// Stands between and hangs up instead of passing the answers on whose numbers are given.
pub struct Cutting(pub SocketAddr);

impl Cutting {
    /// Before this server; cuts answers by number, the first is 1.
    pub fn before(server: SocketAddr, cut: &'static [usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let count = std::sync::Arc::clone(&count);
                thread::spawn(move || {
                    let server = TcpStream::connect(server)?;
                    let (mut up, mut from) = (server.try_clone()?, client.try_clone()?);
                    thread::spawn(move || std::io::copy(&mut from, &mut up));
                    let (mut server, mut client) = (server, client);
                    let mut buffer = [0; 1 << 16];
                    loop {
                        // The server writes each of its short answers at once.
                        let read = server.read(&mut buffer)?;
                        // Its end of an idle connection is no answer.
                        let answer = || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                        if read == 0 || cut.contains(&answer()) {
                            client.shutdown(std::net::Shutdown::Both)?;
                            return server.shutdown(std::net::Shutdown::Both);
                        }
                        client.write_all(&buffer[..read])?;
                    }
                });
            }
        });
        Self(address)
    }
}

/// Waits a little for something that must not happen.
pub fn pause(time: Duration) {
    thread::sleep(time);
}

/// Whether a folder has a file with this ending.
pub fn has(folder: &Path, ending: &str) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.into_iter().any(|entry| entry.path().to_string_lossy().ends_with(ending))
}
