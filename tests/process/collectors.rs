//! Streams of hits, end to end: each kind, read by readers of our own and by other people's; readers that stall, come late, go
//! and come back.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Ask, Udp, rtype};
use crate::support::mock::Mock;
use crate::support::server::{DEADLINE, Folder, Server, Setup, eventually, within};

/// What dnstap's frames are called.
const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";

/// A folder with an order on `ordered.example`, and a shadow list.
fn lists(mock: &Mock, streams: &str) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    let order = "id = \"7/2025\"\nauthority = \"Agency \\\"A|B]\\\"\"\ndomains = [\"ordered.example\"]\n";
    folder.write("orders/7.toml", order);
    folder.write("shadow.txt", "*.shadow.example\n");
    let setup = Setup::new(mock.address()).list("orders", "orders", "answer = \"nxdomain\"");
    (folder, setup.list("shadow", "shadow.txt", "mode = \"shadow\"").more(streams))
}

/// The counters of stream number `at`; null while there are none yet.
fn stream(folder: &Folder, at: usize) -> Value {
    if !folder.path("state/counters.json").exists() {
        return Value::Null;
    }
    folder.counters()["streams"][at].clone()
}

/// Asks so many times for a blocked name, and gets every answer.
fn ask_blocked(server: &Server, times: usize) {
    let socket = Udp::to(server.udp[0]);
    for number in 0..times {
        let reply = socket.ask(&Ask::new(&format!("n{number}.ordered.example"), rtype::A));
        assert_eq!(reply.expect("an answer").rcode, 3);
    }
}

/// A control frame.
fn control(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut fields = kind.to_be_bytes().to_vec();
    if !content.is_empty() {
        fields.extend([1, content.len() as u32].iter().flat_map(|n| n.to_be_bytes()));
        fields.extend_from_slice(content);
    }
    [&[0; 4][..], &(fields.len() as u32).to_be_bytes(), &fields].concat()
}

/// What comes next in Frame Streams.
#[derive(Debug, PartialEq)]
enum Frame {
    /// A control frame's type.
    Control(u32),
    Data(Vec<u8>),
    /// The connection ended, between two frames or not.
    End {
        cut: bool,
    },
}

/// Reads one frame.
fn frame(from: &mut impl Read) -> Frame {
    let mut number = |end: Frame| -> Result<usize, Frame> {
        let mut octets = [0; 4];
        let mut read = 0;
        while read < 4 {
            match from.read(&mut octets[read..]) {
                Ok(0) if read == 0 => return Err(end),
                Ok(0) | Err(_) => return Err(Frame::End { cut: true }),
                Ok(more) => read += more,
            }
        }
        Ok(u32::from_be_bytes(octets) as usize)
    };
    let parts = number(Frame::End { cut: false }).and_then(|length| match length {
        0 => Ok((true, number(Frame::End { cut: true })?)),
        length => Ok((false, length)),
    });
    let (is_control, length) = match parts {
        Ok(parts) => parts,
        Err(end) => return end,
    };
    let mut octets = vec![0; length];
    if from.read_exact(&mut octets).is_err() {
        return Frame::End { cut: true };
    }
    match octets.first_chunk() {
        Some(kind) if is_control => Frame::Control(u32::from_be_bytes(*kind)),
        _ => Frame::Data(octets),
    }
}

/// Accepts a dnstap writer and greets it.
fn greet(listener: &UnixListener) -> UnixStream {
    let (mut connection, _) = listener.accept().expect("the server connects");
    connection.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    assert_eq!(frame(&mut connection), Frame::Control(4), "READY");
    connection.write_all(&control(1, CONTENT)).expect("ACCEPT");
    assert_eq!(frame(&mut connection), Frame::Control(2), "START");
    connection
}

/// Reads frames up to STOP, and says farewell.
fn read_all(connection: &mut UnixStream) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    loop {
        match frame(connection) {
            Frame::Data(octets) => frames.push(octets),
            Frame::Control(3) => break,
            other => panic!("{other:?} after {} frames", frames.len()),
        }
    }
    connection.write_all(&control(5, b"")).expect("FINISH");
    frames
}

/// The value of a length-delimited field of a protocol buffer, read without its schema.
fn field(mut octets: &[u8], wanted: u64) -> Option<Vec<u8>> {
    fn number(octets: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&octet, rest) = octets.split_first()?;
            *octets = rest;
            value |= u64::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut found = None;
    while !octets.is_empty() {
        let key = number(&mut octets)?;
        match key & 7 {
            0 => drop(number(&mut octets)?),
            2 => {
                let length = number(&mut octets)? as usize;
                let (value, rest) = octets.split_at_checked(length)?;
                octets = rest;
                if key >> 3 == wanted {
                    found = Some(value.to_vec());
                }
            }
            5 => octets = octets.get(4..)?,
            other => panic!("wire type {other}"),
        }
    }
    found
}

/// The `extra` of a frame.
fn extra(octets: &[u8]) -> Value {
    serde_json::from_slice(&field(octets, 3).expect("extra")).expect("JSON")
}

#[test]
fn dnstap_over_a_socket_tells_every_hit_with_its_policy() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock, "[[stream]]\nkind = \"dnstap\"\nto = \"unix:tap.sock\"\nclients = \"full\"");
    let listener = UnixListener::bind(folder.path("tap.sock")).expect("a socket");
    let reader = thread::spawn(move || read_all(&mut greet(&listener)));
    let server = Server::start(&folder, &setup);
    ask_blocked(&server, 500);
    server.a("a.shadow.example");
    server.a("free.example");
    server.stop();
    let frames = reader.join().expect("all frames are whole");
    assert_eq!(frames.len(), 501);
    let expected = json!({
        "outcome": "blocked", "list": "orders", "rule": "ordered.example",
        "orders": [{ "id": "7/2025", "authority": "Agency \"A|B]\"" }], "answer": "nxdomain", "client": "127.0.0.1",
    });
    let first = frames.iter().find(|octets| extra(octets)["outcome"] == "blocked").expect("one of them");
    assert_eq!(extra(first), expected);
    let message = field(first, 14).expect("a message");
    assert_eq!(field(&message, 4).as_deref(), Some(&[127, 0, 0, 1][..]), "query_address");
    let policy = field(&message, 15).expect("a policy");
    assert_eq!(field(&policy, 2).as_deref(), Some(&b"\x07ordered\x07example\0"[..]), "rule");
    assert_eq!(field(&policy, 5).as_deref(), Some(&b"\x02n0\x07ordered\x07example\0"[..]), "value");
    assert_eq!(frames.iter().filter(|octets| extra(octets)["outcome"] == "shadow").count(), 1);
    let counters = stream(&folder, 0);
    assert_eq!((&counters["sent"], &counters["name"]), (&json!(501), &json!("dnstap unix:tap.sock")), "{counters}");
}

#[test]
fn a_reader_that_stalls_holds_up_nothing_and_what_it_misses_is_counted() {
    const HITS: usize = 4000;
    let mock = Mock::fixed([198, 51, 100, 7]);
    let stalled = "[[stream]]\nkind = \"dnstap\"\nto = \"unix:tap.sock\"\nqueue = \"64KiB\"\n";
    let (folder, setup) = lists(&mock, &format!("{stalled}[[stream]]\nkind = \"cef\"\nto = \"file:hits.cef\""));
    let listener = UnixListener::bind(folder.path("tap.sock")).expect("a socket");
    let reader = thread::spawn(move || (greet(&listener), listener));
    let server = Server::start(&folder, &setup);
    let _held = reader.join().expect("it connects");
    ask_blocked(&server, HITS);
    server.says("the stream dnstap unix:tap.sock lost");
    server.stop();
    let counters = stream(&folder, 0);
    let of = |key: &str| counters[key].as_u64().expect("a number") as usize;
    assert!(of("lost_full") > 0, "{counters}");
    assert_eq!(of("sent") + of("lost_full") + of("lost_write"), HITS, "{counters}");
    // Everybody else has everything.
    assert_eq!(folder.read("hits.cef").lines().count(), HITS);
    assert_eq!(folder.hits().len(), HITS);
    assert_eq!(stream(&folder, 1)["sent"], HITS);
}

#[test]
fn a_reader_may_come_later_and_go_and_come_back() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock, "[[stream]]\nkind = \"dnstap\"\nto = \"unix:tap.sock\"");
    let server = Server::start(&folder, &setup);
    ask_blocked(&server, 100);
    server.says("the stream dnstap unix:tap.sock: No such file");
    // What came before the reader waited for it.
    let listener = UnixListener::bind(folder.path("tap.sock")).expect("a socket");
    let mut first = greet(&listener);
    for number in 0..100 {
        let Frame::Data(octets) = frame(&mut first) else { panic!("frame {number}") };
        assert_eq!(extra(&octets)["list"], "orders");
    }
    // One that has gone is noticed before anything is sent to it.
    drop(first);
    let gone = || stream(&folder, 0)["connected"] == false || stream(&folder, 0)["connects"] == 2;
    eventually("the server notices", gone, || server.stderr());
    ask_blocked(&server, 50);
    let mut second = greet(&listener);
    let reader = thread::spawn(move || read_all(&mut second));
    ask_blocked(&server, 50);
    server.stop();
    assert_eq!(reader.join().expect("whole frames").len(), 100);
    let counters = stream(&folder, 0);
    assert_eq!((&counters["sent"], &counters["connects"]), (&json!(200), &json!(2)), "{counters}");
    assert_eq!((&counters["lost_full"], &counters["lost_write"]), (&json!(0), &json!(0)), "{counters}");
}

#[test]
fn a_frame_that_was_cut_comes_again_as_a_whole() {
    const HITS: usize = 3000;
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock, "[[stream]]\nkind = \"dnstap\"\nto = \"unix:tap.sock\"");
    let listener = UnixListener::bind(folder.path("tap.sock")).expect("a socket");
    let reader = thread::spawn(move || {
        // The first reads one frame and leaves the rest; the writer is stuck by then, or soon.
        let mut first = greet(&listener);
        assert!(matches!(frame(&mut first), Frame::Data(_)));
        thread::sleep(Duration::from_millis(300));
        drop(first);
        read_all(&mut greet(&listener))
    });
    let server = Server::start(&folder, &setup);
    ask_blocked(&server, HITS);
    eventually("it is connected again", || stream(&folder, 0)["connects"] == 2, || server.stderr());
    server.stop();
    let frames = reader.join().expect("whole frames");
    let counters = stream(&folder, 0);
    assert_eq!(counters["sent"], HITS, "{counters}");
    assert!(!frames.is_empty() && frames.len() < HITS);
    // Nothing comes twice, and nothing out of order.
    let names: Vec<String> = frames
        .iter()
        .map(|octets| field(&field(octets, 14).expect("a message"), 15))
        .map(|policy| {
            let value = field(&policy.expect("a policy"), 5).expect("a value");
            String::from_utf8_lossy(&value[2..]).split('\u{7}').next().expect("a label").to_owned()
        })
        .collect();
    let numbers: Vec<usize> =
        names.iter().map(|name| name.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&(HITS - 1)));
}

#[test]
fn every_kind_reaches_its_reader() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = |listener: std::net::SocketAddr| listener.to_string();
    let streams = format!(
        "[[stream]]\nkind = \"cef\"\nto = \"udp:{}\"\n[[stream]]\nkind = \"syslog\"\nto = \"tcp:{}\"\n\
         [[stream]]\nkind = \"journald\"\nto = \"unix:journal.sock\"\n[[stream]]\nkind = \"json\"\nclients = \"full\"\n\
         outcomes = [\"excepted\", \"shadow\", \"blocked\"]\n[[stream]]\nkind = \"rpz\"\nto = \"file:rpz.log\"\nlists = [\"shadow\"]\n\
         [[list]]\nname = \"allow\"\nsource = \"allow.txt\"\nrole = \"allow\"",
        to(udp.local_addr().expect("bound")),
        to(tcp.local_addr().expect("bound")),
    );
    let (folder, setup) = lists(&mock, &streams);
    folder.write("allow.txt", "fine.ordered.example\n");
    let journal = UnixDatagram::bind(folder.path("journal.sock")).expect("a socket");
    let syslog = thread::spawn(move || {
        let mut text = String::new();
        let (mut connection, _) = tcp.accept().expect("it connects");
        connection.read_to_string(&mut text).expect("up to the end");
        text
    });
    folder.write("config.toml", setup.text());
    let mut shell = within(&folder, "sh");
    shell.args(["-c", &format!("exec {} serve --config config.toml > out.jsonl", env!("CARGO_BIN_EXE_qalqan"))]);
    let server = Server::start_by(&folder, &mut shell);
    // One socket is one worker, whose hits stay in order.
    let socket = Udp::to(server.udp[0]);
    for name in ["www.ordered.example", "a.shadow.example", "fine.ordered.example"] {
        socket.ask(&Ask::new(name, rtype::A)).expect("an answer");
    }
    server.stop();

    let mut datagram = vec![0; 65_535];
    udp.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let length = udp.recv(&mut datagram).expect("a datagram");
    let text = String::from_utf8_lossy(&datagram[..length]);
    let event = text.split_once(" qalqan ").expect("a header").1;
    let escaped = "cs3Label=orders cs3=7/2025 cs6Label=authorities cs6=Agency \"A|B]\" rt=";
    assert!(text.starts_with("<29>1 20") && event.contains("cef - CEF:0|qalqan|") && event.contains(escaped), "{text}");
    assert!(
        event.contains(" src=127.0.0.0 proto=UDP act=nxdomain destinationDnsDomain=www.ordered.example "),
        "{text}"
    );

    let text = syslog.join().expect("the end of the connection");
    let (length, message) = text.split_once(' ').expect("a count");
    let (first, rest) = message.split_at(length.parse().expect("digits"));
    assert!(
        first.contains("order=\"7/2025\" authority=\"Agency \\\"A|B\\]\\\"\" name=\"www.ordered.example\""),
        "{first}"
    );
    assert!(first.ends_with("] blocked www.ordered.example A for 127.0.0.0/24 by orders (order 7/2025)"), "{first}");
    let (length, second) = rest.split_once(' ').expect("another count");
    assert_eq!(second.len(), length.parse::<usize>().expect("digits"), "two messages and nothing else: {second}");
    assert!(second.starts_with("<30>1 ") && second.contains("outcome=\"shadow\""), "{second}");

    let length = journal.recv(&mut datagram).expect("an entry");
    let text = String::from_utf8_lossy(&datagram[..length]);
    assert!(
        text.contains("\nQALQAN_ORDER=7/2025\n") && text.contains("\nMESSAGE=blocked www.ordered.example A"),
        "{text}"
    );

    let lines = folder.read("out.jsonl");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let modes: Vec<_> = lines.iter().map(|line| (line["name"].as_str(), line["mode"].as_str())).collect();
    let expected =
        [("www.ordered.example", "enforce"), ("a.shadow.example", "shadow"), ("fine.ordered.example", "excepted")];
    assert_eq!(modes, expected.map(|(name, mode)| (Some(name), Some(mode))));
    assert_eq!(lines[0], folder.hits()[0], "the same as in the hit log, where clients are shown in full as well");

    let rpz = folder.read("rpz.log");
    let end = ": info: client @0x000000000000 127.0.0.0#0 (a.shadow.example): disabled rpz QNAME PASSTHRU rewrite \
               a.shadow.example/A/IN via *.shadow.example.shadow\n";
    assert!(rpz.ends_with(end) && rpz.lines().count() == 1, "{rpz}");
    for at in 0..5 {
        let counters = stream(&folder, at);
        assert_eq!((&counters["lost_full"], &counters["lost_write"]), (&json!(0), &json!(0)), "{counters}");
    }
}

#[test]
fn a_stream_that_cannot_begin_is_told_at_start() {
    let config = "[server]\nlisten = [\"127.0.0.1:0\"]\n[[stream]]\nkind = \"cef\"\nto = \"file:nowhere/hits.cef\"\n";
    let (code, said) = Server::refuses(&Folder::new(), config);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot open the file of the stream cef file:nowhere/hits.cef: No such file"), "{said}");
}

/// A program of other people's, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a program is. Says so aloud if it is not here; in CI it must be.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {program}");
        eprintln!("skipped: no {program} here");
    }
    found
}

/// What a program prints when it reads this.
fn fed(program: &Path, arguments: &[&str], input: &[u8]) -> io::Result<String> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("a pipe").write_all(input)?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{} {arguments:?}: {}", program.display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_tools_of_dnstap_read_what_we_write() {
    let (Some(capture), Some(read), Some(protoc)) = (find("fstrm_capture"), find("dnstap-read"), find("protoc")) else {
        return;
    };
    let mock = Mock::fixed([198, 51, 100, 7]);
    let file = "[[stream]]\nkind = \"dnstap\"\nto = \"file:own.tap\"\n";
    let (folder, setup) = lists(&mock, &format!("{file}[[stream]]\nkind = \"dnstap\"\nto = \"unix:tap.sock\""));
    let (socket, captured) = (folder.path("tap.sock"), folder.path("captured.tap"));
    let capture = Command::new(capture)
        .args(["-t", "protobuf:dnstap.Dnstap", "-u"])
        .args([&socket, Path::new("-w"), &captured])
        .stderr(Stdio::null())
        .spawn();
    let mut capture = Program(capture.expect("fstrm_capture starts"));
    let server = Server::start(&folder, &setup);
    let connected = || stream(&folder, 1)["connected"] == true;
    eventually("fstrm_capture takes it", connected, || server.stderr());
    ask_blocked(&server, 20);
    server.a("a.shadow.example");
    server.stop();
    let pid = capture.0.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().expect("kill is there").success());
    capture.0.wait().expect("it ends");
    for name in ["own.tap", "captured.tap"] {
        let output = Command::new(&read).arg(folder.path(name)).output().expect("dnstap-read starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {}{text}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 21, "{name}: {text}");
        let has = |kind: &str, end: &str| lines.iter().any(|line| line.contains(kind) && line.ends_with(end));
        assert!(has(" CR 127.0.0.0:0 ", " n0.ordered.example/IN/A"), "{text}");
        assert!(has(" CQ 127.0.0.0:0 ", " a.shadow.example/IN/A"), "{text}");
    }
    // What no tool of Debian's shows yet is at least where the schema has it.
    let mut tape = fs::File::open(folder.path("own.tap")).expect("the file");
    assert_eq!(frame(&mut tape), Frame::Control(2), "START");
    let Frame::Data(octets) = frame(&mut tape) else { panic!("a frame") };
    let text = fed(&protoc, &["--decode_raw"], &octets).expect("protoc starts");
    let policy = "  15 {\n    1: \"qalqan\"\n    2: \"\\007ordered\\007example\\000\"\n    3: 1\n    4: 1\n    5: \"\\002n0\\007ordered\\007example\\000\"\n  }\n";
    assert!(text.contains(policy), "{text}");
    assert!(text.ends_with("15: 1\n") && text.contains("\n14 {\n  1: 6\n  2: 1\n  3: 1\n"), "{text}");
}

#[test]
fn rsyslog_takes_our_messages_apart() {
    let Some(rsyslogd) = find("rsyslogd") else { return };
    let mock = Mock::fixed([198, 51, 100, 7]);
    let (folder, setup) = lists(&mock, "[[stream]]\nkind = \"syslog\"\nto = \"unix:log.sock\"");
    let at = |name: &str| folder.path(name).display().to_string();
    folder.write("rsyslog.conf", format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\nmodule(load=\"mmpstrucdata\")\n\
         input(type=\"imuxsock\" Socket=\"{}\" UseSpecialParser=\"off\" ParseHostname=\"on\" RateLimit.Interval=\"0\")\n\
         template(name=\"all\" type=\"list\") {{ property(name=\"app-name\") constant(value=\" \") property(name=\"msgid\")\n\
         constant(value=\" \") property(name=\"$!all-json\") constant(value=\" \") property(name=\"msg\") constant(value=\"\\n\") }}\n\
         action(type=\"mmpstrucdata\")\naction(type=\"omfile\" file=\"{}\" template=\"all\")\n",
        at("."), at("log.sock"), at("syslog.log"),
    ));
    let program = Command::new(rsyslogd).args(["-n", "-f", &at("rsyslog.conf"), "-i", &at("rsyslog.pid")]).spawn();
    let _rsyslog = Program(program.expect("rsyslogd starts"));
    eventually("rsyslogd listens", || folder.path("log.sock").exists(), String::new);
    let server = Server::start(&folder, &setup);
    ask_blocked(&server, 3);
    server.stop();
    let lines = || fs::read_to_string(folder.path("syslog.log")).unwrap_or_default();
    eventually("rsyslogd has written them", || lines().lines().count() == 3, lines);
    let text = lines();
    let (head, rest) = text.lines().next().and_then(|line| line.split_once(" {")).expect("a line");
    let (data, message) = rest.rsplit_once('}').expect("an object");
    assert_eq!(head, "qalqan hit");
    let data: Value = serde_json::from_str(&format!("{{{data}}}")).expect("JSON");
    let data = &data["rfc5424-sd"]["qalqan@32473"];
    assert_eq!((&data["order"], &data["authority"]), (&json!("7/2025"), &json!("Agency \"A|B]\"")), "{text}");
    assert_eq!((&data["name"], &data["answer"]), (&json!("n0.ordered.example"), &json!("nxdomain")), "{text}");
    assert!(message.ends_with("blocked n0.ordered.example A for 127.0.0.0/24 by orders (order 7/2025)"), "{text}");
}
