//! Groups of clients, told apart by the loopback address they ask from, against a running server.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::client::{Ask, Reply, Udp, rcode, rtype};
use crate::support::http::get;
use crate::support::mock::{Mock, Say};
use crate::support::server::{Folder, Ran, Server, Setup, eventually};

/// What the mock says.
const FREE: &str = "198.51.100.7";
/// A client of the group of the file, of that nobody is told of, and of none.
const KID: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const QUIET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// The groups.
const GROUPS: &str = concat!(
    "[[clients]]\nname = \"kids\"\nfrom_file = \"kids.txt\"\nvia = [\"kids\"]\nlists = [\"adult\"]\n",
    "answer = { ipv4 = [\"192.0.2.53\"] }\n",
    "[[clients]]\nname = \"exempt\"\nfrom = [\"::1/128\"]\nexempt = true\n",
    "[[clients]]\nname = \"quiet\"\nfrom = [\"127.0.0.3\"]\nstatistics = false\nanswer = \"nxdomain\"\n",
    "[reload]\nquiet = \"100ms\"\n",
);

/// Lists, one of which also has what `alias.example` leads to, and a file with the clients of a group.
fn setup(mock: &Mock) -> (Arc<Folder>, Setup) {
    let folder = Folder::new();
    folder.write("ads.txt", "ads.example\n");
    folder.write("adult.txt", "adult.example\n");
    folder.write("trial.txt", "trial.example\n");
    folder.write("kids.txt", "# kids\n127.0.0.2/32\n10.0.0.0/8\n");
    let setup = Setup::new(mock.address())
        .listen("[\"127.0.0.1:0\", \"[::1]:0\"]")
        .list("ads", "ads.txt", "")
        .list("adult", "adult.txt", "")
        .list("trial", "trial.txt", "mode = \"shadow\"");
    (folder, setup)
}

/// An upstream with an alias of a name on the first list.
fn upstream() -> Mock {
    Mock::start(|asked| match asked.name.as_str() {
        "alias.example" => Say::Cname("ads.example".into(), [198, 51, 100, 7]),
        _ => Say::A([198, 51, 100, 7]),
    })
}

/// What a client gets.
fn from(client: Ipv4Addr, server: &Server, name: &str) -> Reply {
    let reply = Udp::from(client, server.udp[0]).ask(&Ask::new(name, rtype::A));
    reply.unwrap_or_else(|| panic!("no answer; it said:\n{}", server.stderr()))
}

/// What the exempt client gets.
fn from_exempt(server: &Server, name: &str) -> Reply {
    let server_v6 = server.udp.iter().find(|address| address.is_ipv6()).expect("::1 is listened at");
    Udp::to(*server_v6).ask(&Ask::new(name, rtype::A)).expect("an answer")
}

#[test]
fn each_group_has_its_lists_its_answers_or_none() {
    let mock = upstream();
    let (folder, setup) = setup(&mock);
    let server = Server::start(&folder, &setup.more(GROUPS));
    for _ in 0..2 {
        assert!(from(OTHER, &server, "ads.example").is_address("0.0.0.0"));
        assert!(from(OTHER, &server, "www.adult.example").is_address("0.0.0.0"));
        assert!(from(KID, &server, "ads.example").is_address(FREE), "not one of its lists");
        assert!(from(KID, &server, "www.adult.example").is_address("192.0.2.53"));
        assert_eq!(from(QUIET, &server, "ads.example").rcode, rcode::NXDOMAIN);
        for name in ["ads.example", "www.adult.example", "trial.example", "alias.example"] {
            assert!(from_exempt(&server, name).data(rtype::A).contains(&FREE), "{name}");
        }
        // From the cache or not: what is free for one is not for another.
        assert!(from(KID, &server, "alias.example").data(rtype::A).contains(&FREE));
        assert!(from(OTHER, &server, "alias.example").is_address("0.0.0.0"));
        assert_eq!(from(QUIET, &server, "alias.example").rcode, rcode::NXDOMAIN);
    }
    from(QUIET, &server, "trial.example");
    from(KID, &server, "trial.example");
    server.stop();
    let counters = folder.counters();
    let expected = json!([
        { "name": "exempt", "queries": 8, "blocked": 0, "shadow": 0 },
        { "name": "kids", "queries": 7, "blocked": 2, "shadow": 0 },
        { "name": "quiet", "queries": 5, "blocked": 4, "shadow": 1 },
    ]);
    assert_eq!(counters["groups"], expected);
    assert_eq!((&counters["queries"]["blocked"], &counters["queries"]["excepted"]), (&json!(12), &json!(0)));
    // Of the last group nobody was told.
    let hits = folder.hits();
    let of = |client: &str| hits.iter().filter(|hit| hit["client"] == client).collect::<Vec<_>>();
    assert_eq!((of("127.0.0.9").len(), of("127.0.0.2").len(), hits.len()), (6, 2, 8), "{hits:#?}");
    assert!(of("127.0.0.2").iter().all(|hit| hit["group"] == "kids" && hit["list"] == "adult"), "{hits:#?}");
    assert!(of("127.0.0.9").iter().all(|hit| hit.get("group").is_none()), "{hits:#?}");
    let told = &counters["hits"];
    assert_eq!(told["blocked"], json!(8), "{told}");
}

#[test]
fn files_and_groups_take_effect_without_a_restart() {
    let mock = upstream();
    let (folder, setup) = setup(&mock);
    let server = Server::start(&folder, &setup.clone().more(GROUPS));
    let comes_to = |client, address: &str| {
        let done = || from(client, &server, "ads.example").is_address(address);
        eventually(&format!("{client} gets {address}"), done, || server.stderr());
    };
    comes_to(KID, FREE);
    comes_to(OTHER, "0.0.0.0");
    folder.replace("kids.txt", "127.0.0.9\n");
    comes_to(KID, "0.0.0.0");
    comes_to(OTHER, FREE);
    // A broken file changes nothing, and says where it is broken; orders are enforced meanwhile.
    folder.replace("kids.txt", "127.0.0.2\n127.0.0.1/8\n");
    server.says("kids.txt:2:1: \"127.0.0.1/8\": bits are set behind the prefix");
    folder.replace("ads.txt", "ads.example\nmore.example\n");
    eventually(
        "the other list is taken",
        || from(KID, &server, "more.example").is_address("0.0.0.0"),
        || server.stderr(),
    );
    comes_to(OTHER, FREE);
    folder.replace("kids.txt", "127.0.0.2\n");
    comes_to(KID, FREE);
    let groups = GROUPS.replace("lists = [\"adult\"]\n", "lists = [\"ads\"]\n");
    folder.replace("config.toml", setup.clone().more(&groups).text());
    comes_to(KID, "192.0.2.53");
    folder.replace("config.toml", setup.text());
    comes_to(KID, "0.0.0.0");
    assert!(!server.stderr().contains("restart"), "{}", server.stderr());
}

#[test]
fn why_check_and_figures_know_groups() {
    let mock = upstream();
    let (folder, setup) = setup(&mock);
    let server = Server::start(&folder, &setup.admin("listen = [\"127.0.0.1:0\"]").more(GROUPS));
    let why = |args: &[&str]| -> Value { Ran::of(&folder, &[&["why", "ads.example", "--json"], args].concat()).json() };
    let short = |told: &Value| {
        let holds = told["rules"][0]["holds"].clone();
        (told["decision"].as_str().map(str::to_owned), told["group"].as_str().map(str::to_owned), holds)
    };
    let row = |decision: &str, group: Option<&str>, holds| {
        (Some(decision.to_owned()), group.map(str::to_owned), json!(holds))
    };
    assert_eq!(short(&why(&[])), row("blocked", None, true));
    assert_eq!(short(&why(&["--client", "127.0.0.9"])), row("blocked", None, true));
    assert_eq!(short(&why(&["--client", "127.0.0.2"])), row("passed", Some("kids"), false));
    assert_eq!(short(&why(&["--client", "127.0.0.9", "--via", "KIDS"])), row("passed", Some("kids"), false));
    assert_eq!(short(&why(&["--via", "kids"])), row("passed", Some("kids"), false));
    assert_eq!(short(&why(&["--client", "::1"])), row("exempt", Some("exempt"), false));
    let quiet = why(&["--client", "127.0.0.3"]);
    assert_eq!(short(&quiet), row("blocked", Some("quiet"), true));
    assert_eq!(quiet["reply"]["rcode"], "NXDOMAIN", "{quiet}");
    let text = Ran::of(&folder, &["why", "ads.example", "--client", "127.0.0.2"]).stdout;
    assert!(text.contains("group   kids") && text.contains("not for this client"), "{text}");
    let unknown = Ran::of(&folder, &["why", "ads.example", "--via", "nobody"]);
    assert!(unknown.stderr.contains("no [[clients]] has via = [\"nobody\"]"), "{}", unknown.stderr);

    let check = Ran::of(&folder, &["check", "--json"]).json();
    let rows: Vec<_> =
        check["clients"].as_array().expect("groups").iter().map(|row| (&row["name"], &row["blocks"])).collect();
    assert_eq!(rows, [(&json!("kids"), &json!(2)), (&json!("exempt"), &json!(1)), (&json!("quiet"), &json!(1))]);
    assert_eq!(check["clients"][0]["lists"], json!(["adult"]));
    from(KID, &server, "adult.example");
    from_exempt(&server, "adult.example");
    let body = get(server.http[0], "/metrics").body;
    for row in [
        "qalqan_clients_queries_total{clients=\"kids\"} 1",
        "qalqan_clients_blocked_total{clients=\"kids\"} 1",
        "qalqan_clients_queries_total{clients=\"exempt\"} 1",
        "qalqan_clients_blocked_total{clients=\"exempt\"} 0",
        "qalqan_clients_shadow_total{clients=\"quiet\"} 0",
    ] {
        assert!(body.contains(&format!("\n{row}\n")), "{row} in\n{body}");
    }
}

#[test]
fn a_start_wants_to_know_whose_every_address_is() {
    let mock = upstream();
    let (folder, setup) = setup(&mock);
    let setup = setup.more(GROUPS);
    folder.write("kids.txt", "127.0.0.2\n127.0.0.3\n");
    let (code, said) = Server::refuses(&folder, &setup.text());
    assert_eq!(code, Some(2), "{said}");
    let both = "127.0.0.3/32 stands in kids.txt:2 (clients \"kids\") and in `from` of the clients \"quiet\"";
    assert!(said.contains(both), "{said}");
    let check = Ran::of(&folder, &["check"]);
    assert!(check.code == Some(2) && check.stdout.contains(both), "{}", check.stdout);
    std::fs::remove_file(folder.path("kids.txt")).expect("removed");
    let (code, said) = Server::refuses(&folder, &setup.text());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot use from_file kids.txt of the clients \"kids\": "), "{said}");
}

#[test]
fn a_hundred_thousand_addresses_in_a_file_are_told_apart() {
    let mock = upstream();
    let (folder, setup) = setup(&mock);
    let line = |n: u32| format!("127.{}.{}.{}\n", 1 + (n >> 15), n >> 7 & 255, n << 1 & 255);
    folder.write("kids.txt", (0..100_000).map(line).collect::<String>());
    let server = Server::start(&folder, &setup.more(GROUPS));
    for (client, address) in
        [([127, 1, 0, 2], FREE), ([127, 1, 0, 3], "0.0.0.0"), ([127, 4, 13, 62], FREE), ([127, 4, 13, 64], "0.0.0.0")]
    {
        assert!(from(client.into(), &server, "ads.example").is_address(address), "{client:?}");
    }
}
