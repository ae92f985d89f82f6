//! What systemd is told, and the sockets it passes in.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::support::client::{Ask, Tcp, Udp, rtype};
use crate::support::mock::{Mock, dead_address};
use crate::support::server::{Folder, Server, Setup, eventually, serve, within};

#[test]
fn the_service_manager_learns_when_it_is_ready_reloads_and_stops() {
    let folder = Folder::new();
    folder.write("a.txt", "a.example\n");
    folder.write("config.toml", Setup::new(dead_address()).list("a", "a.txt", "").text());
    let socket = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a time-out");
    let mut command = serve(&folder);
    // A watchdog of a tenth of a second shows in no time.
    command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "100000");
    let server = Server::start_by(&folder, &mut command);
    let mut told = String::new();
    let mut waits_for = |words: &[&str]| {
        let mut buffer = [0; 4096];
        let said = std::cell::RefCell::new(&mut told);
        eventually(
            &format!("systemd is told {words:?}"),
            || {
                if let Ok(len) = socket.recv(&mut buffer) {
                    said.borrow_mut().push_str(&String::from_utf8_lossy(&buffer[..len]));
                    said.borrow_mut().push('\n');
                }
                words.iter().all(|word| said.borrow().contains(word))
            },
            || format!("{:?}", said.borrow()),
        );
        told.clear();
    };
    waits_for(&["READY=1", "STATUS=answering on 127.0.0.1:", "WATCHDOG=1"]);
    server.signal("HUP");
    waits_for(&["RELOADING=1", "MONOTONIC_USEC=", "READY=1", "STATUS=1 lists, 1 rules"]);
    server.signal("TERM");
    waits_for(&["STOPPING=1"]);
}

#[test]
fn passed_sockets_are_served_instead_of_configured_addresses() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    for tcp in [false, true] {
        let folder = Folder::new();
        folder.write("a.txt", "a.example\n");
        folder.write("config.toml", Setup::new(mock.address()).list("a", "a.txt", "").text());
        let (address, fd): (_, OwnedFd) = if tcp {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            (listener.local_addr().expect("bound"), listener.into())
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            (socket.local_addr().expect("bound"), socket.into())
        };
        // The shell makes its standard input descriptor 3, where systemd puts the first socket.
        let script = "exec env LISTEN_FDS=1 LISTEN_PID=$$ \"$0\" serve --config config.toml 3<&0 </dev/null";
        let mut command = within(&folder, "sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_qalqan")]).stdin(Stdio::from(fd));
        let server = Server::start_by(&folder, &mut command);
        let all = [&server.udp[..], &server.tcp].concat();
        assert_eq!((all, server.tcp.len()), (vec![address], usize::from(tcp)));
        for (name, expected) in [("a.example", "0.0.0.0"), ("free.example", "198.51.100.7")] {
            let ask = Ask::new(name, rtype::A);
            let reply = if tcp { Tcp::to(address).ask(&ask) } else { Udp::to(address).ask(&ask).expect("an answer") };
            assert!(reply.is_address(expected), "{name}: {reply:?}");
        }
    }
}
