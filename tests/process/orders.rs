//! The life of orders: several on a name, deadlines, and what `qalqan orders` and `why` say of them.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::server::{Folder, Ran, Server, Setup, eventually};

/// What the mock says.
const FREE: &str = "198.51.100.7";
/// A list of order files.
const ORDERS: &str = "format = \"orders\"";

/// This many seconds from now, as a date of an order file.
fn soon(seconds: i64) -> (i64, String) {
    let at = jiff::Timestamp::now().as_second() + seconds;
    (at, jiff::Timestamp::from_second(at).expect("a time").to_string())
}

/// An order file of the Agency.
fn order(id: &str, dates: &str, domains: &str) -> String {
    format!("id = \"{id}\"\nauthority = \"Agency\"\n{dates}\ndomains = [{domains}]\n")
}

/// What a verb prints with `--json`, line by line.
fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    ran.stdout.lines().map(parse).collect()
}

#[test]
fn a_block_lifts_when_the_last_of_its_orders_ends_and_not_before() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let (end, expires) = soon(10);
    folder.write("orders/1.toml", order("1", "", "\"both.example\""));
    folder.write("orders/2.toml", order("2", &format!("expires = {expires}"), "\"both.example\", \"=both.example\""));
    let setup = Setup::new(mock.address()).uncached().list("orders", "orders", ORDERS);
    let server = Server::start(&folder, &setup);
    assert!(server.a("both.example").is_address("0.0.0.0"));
    let resting = server.run(&["orders", "for", "both.example", "--json"]).json();
    assert_eq!((&resting["blocked"], &resting["outlook"]), (&json!(true), &json!("open")), "{resting}");

    folder.replace("orders/1.toml", order("1", "revoked = 2020-01-01", "\"both.example\""));
    server.says("lists published");
    eventually(
        "order 1 is revoked",
        || server.run(&["lists", "--json"]).json()["orders"]["revoked"] == json!(1),
        || server.stderr(),
    );
    assert!(server.a("both.example").is_address("0.0.0.0"), "order 2 still asks for it");
    let resting = server.run(&["orders", "for", "both.example", "--json"]).json();
    assert_eq!((&resting["outlook"], &resting["at"]), (&json!("lifts"), &json!(expires)), "{resting}");
    let orders = resting["orders"].as_array().expect("orders");
    let states: Vec<_> = orders.iter().map(|on| (&on["id"], &on["state"], &on["rule"])).collect();
    let [two, one] = [json!("2"), json!("1")];
    let (in_force, revoked) = (json!("in force"), json!("revoked"));
    let (exact, plain) = (json!("=both.example"), json!("both.example"));
    assert_eq!(states, [(&two, &in_force, &plain), (&two, &in_force, &exact), (&one, &revoked, &plain)]);

    // Nothing is touched from here on.
    eventually(
        "the block lifts",
        || {
            let reply = server.a("both.example");
            if jiff::Timestamp::now().as_second() < end {
                assert!(reply.is_address("0.0.0.0"), "before its time: {reply:?}");
            }
            reply.is_address(FREE)
        },
        || server.stderr(),
    );
    let ran = server.run(&["orders", "for", "both.example"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("both.example: not blocked\n"), "{ran:?}");
    let ran = server.run(&["why", "both.example"]);
    for text in [&format!("2 of Agency, expired since {expires}"), "1 of Agency, revoked since 2020-01-01"] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
}

#[test]
fn a_deadline_is_warned_of_before_and_after_once_each() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let (_, deadline) = soon(8);
    let dates = format!("deadline = {deadline}");
    folder.write("orders/on.toml", order("on", &dates, "\"on.example\""));
    folder.write("trial/late.toml", order("late", &dates, "\"late.example\""));
    let setup = Setup::new(mock.address()).list("orders", "orders", ORDERS).more("[orders]\nwarn = \"1h\"");
    let trial = setup.clone().list("trial", "trial", &format!("{ORDERS}\nmode = \"shadow\""));
    let server = Server::start(&folder, &trial);
    server.says("the deadline of this order is near: 1 name only in shadow mode (list trial)");
    let ran = server.run(&["lists"]);
    let due = format!("order late of Agency is due, deadline {deadline}: 1 name only in shadow mode (list trial)");
    assert!(ran.code == Some(1) && ran.stdout.contains(&due), "{ran:?}");
    server.says("the deadline of this order has passed");
    let overdue = || server.run(&["lists", "--json"]).json()["orders"]["overdue"] == json!(1);
    eventually("it is overdue in numbers", overdue, || server.stderr());
    let ran = server.run(&["orders", "overdue", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let rows = lines(&ran);
    assert_eq!((rows.len(), &rows[0]["id"], &rows[0]["standing"]), (1, &json!("late"), &json!("overdue")));

    folder.replace("config.toml", setup.clone().list("trial", "trial", ORDERS).text());
    server.blocks("late.example");
    server.says("all that this order asks for is enforced");
    eventually("all is well", || server.run(&["lists"]).code == Some(0), || server.stderr());
    assert_eq!(server.run(&["orders", "overdue"]).code, Some(0));
    let said = server.stop();
    for text in ["of this order is near", "of this order has passed"] {
        assert_eq!(said.matches(text).count(), 1, "{said}");
    }
}

#[test]
fn an_order_in_a_version_refused_for_its_size_is_known_and_its_deadline_watched() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    let names = |letter: char, count: usize| {
        (0..count).map(|number| format!("\"{letter}{number}.example\"")).collect::<Vec<_>>().join(", ")
    };
    folder.write("orders/1.toml", order("old", "", &names('o', 150)));
    let setup = Setup::new(mock.address()).list("orders", "orders", ORDERS).more("[reload]\nquiet = \"100ms\"");
    let mut server = Server::start(&folder, &setup);
    assert!(server.a("o7.example").is_address("0.0.0.0"));
    folder.write("orders/2.toml", order("new", "deadline = 2020-01-01", &names('n', 400)));
    let waits = "400 names only in a version of the list that is refused as a whole";
    for round in 0..2 {
        // The log says why, though every file that is in force is as it was.
        server.says("it would grow from 150 to 550 entries at once (`max_growth` is 100%)");
        server.says(&format!("the deadline of this order has passed: {waits}"));
        let ran = server.run(&["orders", "overdue"]);
        assert!(ran.code == Some(1) && ran.stdout.contains(&format!("new of Agency: {waits}\n")), "{ran:?}");
        assert!(server.a("n7.example").is_address(FREE) && server.a("o7.example").is_address("0.0.0.0"));
        if round == 0 {
            server.stop();
            server = Server::start(&folder, &setup);
        }
    }
    let ran = server.run(&["release", "orders", "--whole", "--reason", "the letter names them all"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(server.a("n7.example").is_address("0.0.0.0"));
    server.says("all that this order asks for is enforced");
    assert_eq!(server.run(&["orders", "overdue"]).code, Some(0));
}

#[test]
fn an_order_that_names_nothing_yet_is_known() {
    let folder = Folder::new();
    folder.write("orders/1.toml", order("7", "deadline = 2020-01-01", ""));
    let order = "order = { id = \"list\", authority = \"Agency\" }";
    let setup =
        Setup::new("192.0.2.1:53".parse().expect("an address")).list("orders", "orders", &format!("{ORDERS}\n{order}"));
    folder.write("config.toml", setup.text());
    let ran = Ran::of(&folder, &["orders", "show", "7"]);
    for text in ["7 of Agency: in force\n", "names         0, 0 enforced", "orders/1.toml, list orders (enforce)"] {
        assert!(ran.code == Some(0) && ran.stdout.contains(text), "{text}: {ran:?}");
    }
    assert_eq!(lines(&Ran::of(&folder, &["orders", "--json"])).len(), 1, "the list's own order blocks nothing here");
}

#[test]
fn orders_are_listed_and_shown_whatever_files_they_stand_in() {
    let folder = Folder::new();
    folder.write("a/1.toml", order("7", "deadline = 2020-01-01\nexpires = 2999-01-01", "\"a.example\", \"no name\""));
    folder.write("a/2.toml", order("8", "effective = 2999-01-01", "\"b.example\""));
    let other = order("7", "", "\"c.example\"").replace("Agency", "Court");
    folder.write("a/3.toml", other);
    folder
        .write("b.csv", "domain,id,authority,expires\na.example,7,Agency,2998-01-01\nx.example,7,Agency,2998-01-01\n");
    folder.write("allow.txt", "c.example\n");
    let setup = Setup::new("192.0.2.1:53".parse().expect("an address"))
        .list("a", "a", &format!("{ORDERS}\nmax_rejected = \"100%\""))
        .list("b", "b.csv", "format = \"csv\"")
        .list("allow", "allow.txt", "role = \"allow\"");
    folder.write("config.toml", setup.text());
    let ran = Ran::of(&folder, &["orders", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let rows = lines(&ran);
    let row = |row: &Value| {
        json!([row["id"], row["authority"], row["state"], row["standing"], row["names"], row["enforced"]])
    };
    let expected = [
        json!(["7", "Agency", "in force", "overdue", 2, 2]),
        json!(["7", "Court", "in force", "fine", 1, 0]),
        json!(["8", "Agency", "pending", "fine", 1, 0]),
    ];
    assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), expected);
    assert_eq!((&rows[0]["lists"], &rows[0]["conflict"]), (&json!(["a", "b"]), &json!(true)));
    assert_eq!(rows[0]["missing"], "1 entry rejected as no usable names");
    assert_eq!(rows[1]["missing"], "1 name taken back by allow rules");

    let ran = Ran::of(&folder, &["orders", "show", "7", "--authority", "agency"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for text in [
        "7 of Agency: in force, overdue\n",
        "  names         2, 2 enforced\n",
        "  differs       expires: 2999-01-01 in a/1.toml (list a), 2998-01-01 in b.csv (list b)\n",
        "  file          b.csv, list b (enforce)\n",
        "which no server has accepted yet",
        "  name          x.example, b.csv:3\n",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    assert_eq!(lines(&Ran::of(&folder, &["orders", "show", "7", "--json"])).len(), 2, "two authorities");
    let ran = Ran::of(&folder, &["orders", "show", "9"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("no list names an order 9"), "{ran:?}");

    let ids = |args: &[&str]| -> Vec<Value> {
        lines(&Ran::of(&folder, args)).into_iter().map(|row| row["id"].clone()).collect()
    };
    assert!(ids(&["orders", "expiring", "--json"]).is_empty());
    assert_eq!(ids(&["orders", "expiring", "--within", "366000d", "--json"]), [json!("7")]);
    assert_eq!(ids(&["orders", "--authority", "Court", "--json"]), [json!("7")]);
    let ran = Ran::of(&folder, &["orders"]);
    assert!(ran.stdout.contains("7      Agency     in force, overdue") && ran.code == Some(1), "{ran:?}");
    let ran = Ran::of(&folder, &["orders", "for", "c.example", "b.example"]);
    for text in [
        "c.example: not blocked; an exception takes it back\n",
        "b.example: not blocked; it will be from 2999-01-01 on\n",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
}

#[test]
fn why_tells_since_when_and_under_which_version_an_order_is_enforced() {
    let mock = Mock::fixed([198, 51, 100, 7]);
    let folder = Folder::new();
    folder.write("orders/1.toml", order("1", "effective = 2020-01-01", "\"a.example\""));
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let server = Server::start(&folder, &Setup::new(mock.address()).list("orders", "orders", ORDERS));
    // What was accepted in the very second of the question is not told from what the question itself reads.
    let since = || server.run(&["why", "a.example", "--json"]).json()["rules"][0]["order"]["enforced_since"].clone();
    eventually("why knows since when", || !since().is_null(), || since().to_string());
    let since = since();
    let at: jiff::Timestamp = since["at"].as_str().expect("a time").parse().expect("a time");
    assert!(at.as_second() >= before as i64 && since["or_before"] == json!(true), "{since}");
    let ran = server.run(&["why", "a.example"]);
    let lists = server.run(&["lists", "--json"]).json();
    let sha256 = lists["lists"][0]["files"][0]["sha256"].as_str().expect("a hash").to_owned();
    assert!(ran.stdout.contains(&format!("or before, version {sha256}\n")), "{ran:?}");
    let shown = server.run(&["orders", "show", "1"]);
    assert!(shown.stdout.contains(&format!("version {sha256}, accepted {at}")), "{shown:?}");
}
