//! Order dates act by themselves, at their time.

use std::time::{Duration, SystemTime};

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};

/// What the mock says.
const FREE: &str = "198.51.100.7";

/// This many seconds from now, as a date of an order file.
fn soon(seconds: i64) -> (SystemTime, String) {
    let now = jiff::Timestamp::now().as_second();
    let then = jiff::Timestamp::from_second(now + seconds).expect("a time");
    (SystemTime::UNIX_EPOCH + Duration::from_secs((now + seconds) as u64), then.to_string())
}

/// An order on one name with these dates.
fn order(id: &str, dates: &str) -> String {
    format!("id = \"{id}\"\nauthority = \"Agency\"\n{dates}\ndomains = [\"{id}.example\"]\n")
}

/// Asks for `name` until it changes from `before` to `after`; up to its time only `before` is right.
fn changes(server: &Server, name: &str, before: &str, after: &str, at: SystemTime) {
    eventually(
        &format!("{name} changes from {before} to {after}"),
        || {
            let reply = server.a(name);
            if SystemTime::now() < at {
                assert!(reply.is_address(before), "{name} before its time: {reply:?}");
            }
            reply.is_address(after)
        },
        || server.stderr(),
    );
    assert!(SystemTime::now() >= at);
}

#[test]
fn orders_begin_and_end_at_their_time() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let (first, effective) = soon(3);
    let (second, expires) = soon(4);
    let (third, revoked) = soon(5);
    folder.write("orders/begins.toml", order("begins", &format!("effective = {effective}")));
    folder.write("orders/ends.toml", order("ends", &format!("expires = {expires}")));
    folder.write("orders/revoked.toml", order("revoked", &format!("revoked = {revoked}")));
    folder.write("orders/past.toml", order("past", "expires = 2020-01-01"));
    folder.write("orders/future.toml", order("future", "effective = 2999-01-01"));
    let server = Server::start(&folder, &Setup::new(mock.address()).list("orders", "orders", ""));
    changes(&server, "begins.example", FREE, "0.0.0.0", first);
    changes(&server, "ends.example", "0.0.0.0", FREE, second);
    changes(&server, "revoked.example", "0.0.0.0", FREE, third);
    for name in ["past.example", "future.example"] {
        assert!(server.a(name).is_address(FREE), "{name}");
    }
    assert!(server.a("begins.example").is_address("0.0.0.0"), "and stays in force");
}

#[test]
fn a_name_stays_blocked_until_its_last_order_ends() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let both = |id: &str, dates: &str| order(id, dates).replace(&format!("{id}.example"), "both.example");
    let (_, first) = soon(2);
    let (last, second) = soon(4);
    folder.write("orders/1.toml", both("1", &format!("expires = {first}")));
    folder.write("orders/2.toml", both("2", &format!("expires = {second}")));
    let server = Server::start(&folder, &Setup::new(mock.address()).list("orders", "orders", ""));
    changes(&server, "both.example", "0.0.0.0", FREE, last);
}
