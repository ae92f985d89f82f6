//! The whole way from hits to a server that behaves well or badly, and counts what it is told.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::testing::{hit, settings, why};
use super::*;
use crate::event::{Hit, Outcome, Sink};
use crate::util::Now;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Does it and says so.
    Well,
    /// Says 500 and does nothing.
    Refuse,
    /// Does it and hangs up in the middle of the answer.
    HalfAnswer,
    /// Does it and says nothing, until the client gives up.
    Hang,
    /// Says nothing, and does it when the client is gone.
    Late,
    /// Says it cannot read the rows.
    Unreadable,
}

/// A stupid ClickHouse: it knows the statements of [`server`] by their beginnings, and tables by their row counts.
#[derive(Default)]
struct Tables {
    /// Sessions and the bytes that have come into them.
    arriving: HashMap<String, usize>,
    /// Batches in `hits` and in `hits_hour`, and how often each was inserted.
    hits: HashMap<String, u32>,
    hours: HashMap<String, u64>,
    requests: usize,
}

/// The server, and how it treats its next requests; after them, well.
struct Mock {
    url: String,
    tables: Arc<Mutex<Tables>>,
}

impl Mock {
    fn new(manners: impl FnMut(usize) -> Manner + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let tables = Arc::new(Mutex::new(Tables::default()));
        let (serving, manners) = (Arc::clone(&tables), Arc::new(Mutex::new(manners)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serving, manners) = (Arc::clone(&serving), Arc::clone(&manners));
                thread::spawn(move || while talk(&stream, &serving, &manners).is_some() {});
            }
        });
        Self { url, tables }
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every batch is there once, and all of them have so many rows.
    fn has(&self, rows: u64) {
        let tables = self.tables();
        assert!(tables.hits.values().all(|&times| times == 1), "{:?}", tables.hits);
        assert_eq!(tables.hours.values().sum::<u64>(), rows);
    }
}

/// One request; `None` ends the connection.
fn talk(stream: &TcpStream, tables: &Mutex<Tables>, manners: &Mutex<impl FnMut(usize) -> Manner>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|&read| read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let url = url::Url::parse(&format!("http://x{}", first.split(' ').nth(1)?)).ok()?;
    let params: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let manner = {
        let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.requests += 1;
        (manners.lock().unwrap_or_else(PoisonError::into_inner))(tables.requests)
    };
    let mut stream = stream;
    let answer = match manner {
        Manner::Refuse => {
            let text = "Code: 241, e.displayText() = DB::Exception: Memory limit exceeded";
            write!(stream, "HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{text}", text.len()).ok()?;
            return Some(());
        }
        Manner::Unreadable => {
            let text = "Code: 33, e.displayText() = DB::Exception: Cannot read all data: 192.0.2.1";
            write!(stream, "HTTP/1.1 400 No\r\nContent-Length: {}\r\n\r\n{text}", text.len()).ok()?;
            return Some(());
        }
        Manner::Late => {
            // The end of the client's patience.
            let _ = reader.read(&mut [0]);
            work(tables, &params, &body);
            return None;
        }
        _ => work(tables, &params, &body),
    };
    match manner {
        Manner::Hang => {
            let _ = reader.read(&mut [0]);
            None
        }
        Manner::HalfAnswer => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{answer}").ok()?;
            None
        }
        _ => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).ok(),
    }
}

/// Does what a statement says, in the way ClickHouse would.
fn work(tables: &Mutex<Tables>, params: &HashMap<String, String>, body: &[u8]) -> String {
    let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
    let statement = params.get("query").cloned().unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let session = params.get("session_id").cloned().unwrap_or_default();
    let after = |mark: &str| -> String {
        let rest = statement.split_once(mark).map(|(_, rest)| rest).unwrap_or_default();
        rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
    };
    if statement.starts_with("CREATE TEMPORARY TABLE arriving") {
        tables.arriving.insert(session, 0);
    } else if statement.starts_with("INSERT INTO arriving") {
        *tables.arriving.entry(session).or_default() += body.len();
    } else if statement.starts_with("INSERT INTO hits (") {
        assert!(tables.arriving.get(&session).is_some_and(|&bytes| bytes > 0), "{session} has sent nothing");
        let id = after("batch = '");
        assert_eq!(params.get("query_id"), Some(&id));
        tables.hits.entry(id).or_insert(1);
    } else if statement.starts_with("INSERT INTO hits_hour (") {
        let (id, rows) = (after("batch = '"), after("') = "));
        if tables.hits.contains_key(&id) {
            tables.hours.entry(id).or_insert(rows.parse().expect("a number"));
        }
    } else if statement.starts_with("SELECT sum(hits)") {
        return format!("{}\n", tables.hours.get(&after("batch = '")).copied().unwrap_or(0));
    } else {
        assert_eq!(statement, "DROP TEMPORARY TABLE arriving");
        tables.arriving.remove(&session);
    }
    String::new()
}

/// Sends so many hits of one second.
fn send(sink: &mut ShipSink, hits: usize) {
    let why = why(1, Outcome::Blocked, "example", &[("7", "Agency")]);
    let now = Now::read();
    for _ in 0..hits {
        sink.take(&Hit { unix_ms: now.unix_ms, ..hit(b"\x07example\0") }, &why);
    }
}

fn start(settings: Settings) -> (ShipSink, Ship) {
    Ship::start(settings).expect("started")
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "it never comes true that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn waiting(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("spool")).expect("listed").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "batch")).count()
}

#[test]
fn what_is_taken_arrives_and_the_spool_is_empty() {
    let dir = tempfile::tempdir().expect("a folder");
    let mock = Mock::new(|_| Manner::Well);
    for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
        mock.tables().hours.clear();
        let (mut sink, ship) = start(Settings { rows: 100, coding, ..settings(&mock.url, dir.path()) });
        send(&mut sink, 250);
        drop(sink);
        let totals = ship.close();
        assert_eq!((totals.taken, totals.shipped, totals.batches), (250, 250, 3), "{totals:?}");
        mock.has(250);
        assert_eq!(waiting(dir.path()), 0);
    }
    assert!(mock.tables().arriving.is_empty(), "every session is tidied up");
}

#[test]
fn whatever_goes_wrong_a_batch_counts_once() {
    for bad in [Manner::Refuse, Manner::HalfAnswer, Manner::Hang, Manner::Late] {
        // Each request of a batch is treated so once: create, insert, take, count, confirm.
        let dir = tempfile::tempdir().expect("a folder");
        let mut at = 0;
        let mut times = 0;
        let mock = Mock::new(move |_| {
            at += 1;
            if times < 5 && at == times + 1 {
                (at, times) = (0, times + 1);
                return bad;
            }
            Manner::Well
        });
        let server = ServerSettings { timeout: Duration::from_millis(300), ..settings(&mock.url, dir.path()).server };
        let (mut sink, ship) = start(Settings { server, ..settings(&mock.url, dir.path()) });
        send(&mut sink, 7);
        sink.rest(Now { unix_ms: i64::MAX });
        // It would wait up to half a minute in all between its tries.
        let counters = ship.counters();
        eventually("the batch has arrived", || {
            ship.spool.hurry();
            counters.read().shipped == 7
        });
        assert_eq!(counters.read().failures, 5, "{bad:?}");
        mock.has(7);
        drop(sink);
        ship.close();
    }
}

#[test]
fn a_server_that_hangs_holds_up_nobody_and_the_rest_goes_out_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let hanging = Mock::new(|_| Manner::Hang);
    let (mut sink, ship) = start(Settings { rows: 10, ..settings(&hanging.url, dir.path()) });
    for _ in 0..20 {
        send(&mut sink, 10);
        eventually("the disk has kept up", || ship.counters().read().waiting + 10 >= ship.counters().read().taken);
    }
    drop(sink);
    // The process ends here, a try under way; nothing is awaited.
    eventually("all is on disk", || waiting(dir.path()) == 20);
    assert_eq!(ship.counters().read().dropped_full, 0);
    let well = Mock::new(|_| Manner::Well);
    let (sink, ship) = start(settings(&well.url, dir.path()));
    eventually("all has arrived", || ship.counters().read().shipped == 200);
    well.has(200);
    drop(sink);
    assert_eq!((ship.close().waiting, waiting(dir.path())), (0, 0));
}

#[test]
fn rows_nobody_can_read_are_set_aside_and_do_not_hold_up_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let mock =
        Mock::new(
            |request| if request <= 10 { [Manner::Well, Manner::Unreadable][(request + 1) % 2] } else { Manner::Well },
        );
    let (mut sink, ship) = start(Settings { rows: 5, ..settings(&mock.url, dir.path()) });
    send(&mut sink, 10);
    sink.rest(Now { unix_ms: i64::MAX });
    eventually("the second batch has arrived", || {
        ship.spool.hurry();
        ship.counters().read().shipped == 5
    });
    assert_eq!((ship.counters().read().refused, ship.counters().read().failures), (5, 5));
    let text = fs::read_to_string(dir.path().join("spool/status.json")).unwrap_or_default();
    assert!(!text.contains("192.0.2.1"), "rows are not quoted: {text}");
    drop(sink);
    ship.close();
}

#[test]
fn a_status_says_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let mock = Mock::new(|_| Manner::Refuse);
    let (mut sink, ship) = start(settings(&mock.url, dir.path()));
    send(&mut sink, 3);
    sink.rest(Now { unix_ms: i64::MAX });
    let status = || read_status(&dir.path().join("spool")).expect("read");
    eventually("it is written", || status().is_some_and(|status| status.error.is_some()));
    let status = status().expect("written");
    assert_eq!((status.totals.taken, status.totals.waiting, status.arrived_at), (3, 3, None));
    assert!(status.error.is_some_and(|error| error.contains("Memory limit exceeded")));
    drop(sink);
    ship.close();
}

#[test]
fn errors_say_what_to_do() {
    let of = |status, text: &str| ShipError::refused(status, text.as_bytes()).to_string();
    assert!(
        of(404, "Code: 60, e.displayText() = DB::Exception: Table qalqan.hits doesn't exist.").contains("ship apply")
    );
    assert!(of(500, "Code: 216. DB::Exception: Query with id = x is already running.").contains("busy"));
    assert!(of(403, "Code: 516. DB::Exception: default: Authentication failed").contains("password_file"));
    assert!(of(500, "Code: 89, Unknown Content-Encoding of HTTP request: zstd").contains("gzip"));
    assert!(of(502, "<html>\u{7}bad gateway").contains("502: <html>bad gateway"));
    assert!(!of(400, "Code: 27. Cannot parse: 192.0.2.1").contains("192.0.2.1"));
    assert!(of(500, &"x".repeat(100_000)).len() < 1_000);
}
