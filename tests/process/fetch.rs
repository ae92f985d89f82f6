//! Lists from the web, as a server lives with them: at the start, when they change, when their server is gone.

use std::sync::Arc;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup, eventually};
use crate::support::web::{Authority, How, Page, Web};

/// What the mock says.
const FREE: &str = "198.51.100.7";

/// A web server with one list, and everything a resolver needs to fetch it.
struct Scene {
    folder: Arc<Folder>,
    mock: Mock,
    authority: Authority,
    web: Web,
}

impl Scene {
    /// `/list` blocks `one.example`.
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let web = Web::secure(&authority);
        web.put("/list", Page::ok("one.example\n").header("ETag", "\"1\""));
        folder.write("ca.pem", authority.pem());
        Self { folder, mock: Mock::fixed([198, 51, 100, 7]), authority, web }
    }

    /// A configuration with this list. Nothing is found by the rescan within a test.
    fn setup(&self, url: &str) -> Setup {
        Setup::new(self.mock.address())
            .list("web", url, "fetch = { ca_file = \"ca.pem\" }")
            .more("[reload]\nrescan = \"1h\"\nquiet = \"100ms\"")
    }

    /// A server that blocks `one.example` because the web says so.
    fn start(&self) -> Server {
        let server = Server::start(&self.folder, &self.setup(&self.web.url("/list")));
        assert!(server.a("one.example").is_address("0.0.0.0"), "in force from the first answer on");
        server
    }

    /// Has the list fetched now, and waits until it was asked for.
    fn again(&self, server: &Server) {
        let before = self.web.count("/list");
        server.signal("HUP");
        eventually("the list is asked for", || self.web.count("/list") > before, || server.stderr());
    }
}

#[test]
fn a_start_fetches_first_and_changes_are_in_force_at_once() {
    let scene = Scene::new();
    let server = scene.start();
    assert_eq!(scene.web.count("/list"), 1, "{}", server.stderr());
    scene.again(&server);
    assert_eq!(scene.web.asked()[1].headers.get("if-none-match").map(String::as_str), Some("\"1\""));
    scene.web.put("/list", Page::ok("one.example\ntwo.example\n").header("ETag", "\"2\"").sent(How::Chunked));
    scene.again(&server);
    let took = server.blocks("two.example");
    eprintln!("enforced {took:?} after it was asked for");
    let status = meta(&scene.folder);
    assert_eq!((status["etag"].as_str(), status["failures"].as_u64()), (Some("\"2\""), Some(0)), "{status}");
    assert_eq!(status["bytes"], 24);
    assert!(status["next_try"].as_i64() > status["last_success"].as_i64(), "{status}");
    let said = server.stop();
    assert!(said.contains("fetched https://127.0.0.1:"), "{said}");
}

#[test]
fn what_a_list_must_not_become_changes_nothing() {
    let scene = Scene::new();
    let server = scene.start();
    let ones = "one.example\n".repeat(20);
    for (page, says) in [
        (Page::ok("<!doctype html><title>Moved</title>"), "gave a web page"),
        (Page::ok(""), "gave an empty file"),
        (Page::ok(&ones).sent(How::Cut), "cut off"),
        (Page::ok(&ones).sent(How::ChunkedCut), "cut off"),
        (Page::status(404), "answered 404; check the address"),
        (Page::status(503), "answered 503; the server has a problem"),
    ] {
        scene.web.put("/list", page);
        scene.again(&server);
        server.says(says);
        assert!(server.a("one.example").is_address("0.0.0.0"), "{says}");
    }
    assert!(server.stderr().contains("what was fetched before stays"));
    assert!(meta(&scene.folder)["last_error"].as_str().is_some_and(|error| error.contains("503")));
    // What is wrong as a list is for the reload to find; the last good rules stay.
    scene.web.put("/list", Page::ok("no list at all\n<p>\n!!\n"));
    scene.again(&server);
    server.says("refused");
    assert!(server.a("one.example").is_address("0.0.0.0"));
    // Tenfold growth is for the gate to judge, and without one it is taken.
    let many: String = (0..1000).map(|at| format!("g{at}.example\n")).collect();
    scene.web.put("/list", Page::ok(format!("one.example\n{many}")));
    scene.again(&server);
    server.blocks("g999.example");
    server.says("12902 bytes");
}

#[test]
fn a_start_without_network_uses_the_copy() {
    let scene = Scene::new();
    scene.start().stop();
    let Scene { folder, mock, authority, web } = scene;
    let (url, address) = (web.url("/list"), web.address());
    drop(web);
    let web = Web::plain();
    let scene = Scene { folder, mock, authority, web };
    let server = Server::start(&scene.folder, &scene.setup(&url));
    assert!(server.a("one.example").is_address("0.0.0.0"));
    server.signal("HUP");
    server.says("cannot fetch https://127.0.0.1:");
    assert!(server.a("one.example").is_address("0.0.0.0"));
    // And when it is there again, it is found by itself.
    let back = Web::again(&scene.authority, address);
    back.put("/list", Page::ok("three.example\n"));
    server.blocks("three.example");
    server.comes_to("one.example", FREE);
}

#[test]
fn a_list_that_never_came_keeps_a_server_from_starting_unless_told_otherwise() {
    let scene = Scene::new();
    scene.web.put("/list", Page::status(500));
    let setup = scene.setup(&scene.web.url("/list"));
    let (code, said) = Server::refuses(&scene.folder, &setup.text());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("answered 500") && said.contains("not fetched yet"), "{said}");
    assert!(meta(&scene.folder)["last_error"].as_str().is_some_and(|error| error.contains("500")));
    let server = Server::start(&scene.folder, &setup.top("start_without_lists = true"));
    assert!(server.a("one.example").is_address(FREE));
    let failures = || meta(&scene.folder)["failures"].as_u64().unwrap_or(0);
    let before = failures();
    eventually("it is tried again by itself", || failures() > before, || server.stderr());
    scene.web.put("/list", Page::ok("one.example\n"));
    server.blocks("one.example");
}

#[test]
fn a_new_address_in_the_configuration_is_fetched_and_the_old_list_stays_until_then() {
    let scene = Scene::new();
    let server = scene.start();
    let setup = scene.setup(&scene.web.url("/other"));
    scene.folder.replace("config.toml", setup.text());
    server.says("answered 404");
    assert!(server.a("one.example").is_address("0.0.0.0"), "the list of the old address");
    scene.web.put("/other", Page::ok("other.example\n"));
    server.signal("HUP");
    server.blocks("other.example");
    server.comes_to("one.example", FREE);
    eventually(
        "one copy is kept",
        || scene.folder.path("state/fetch").read_dir().expect("a folder").count() == 1,
        || server.stderr(),
    );
    // A second list is fetched as soon as it is there, one that is gone no more.
    scene.web.put("/second", Page::ok("second.example\n"));
    let keys = "fetch = { ca_file = \"ca.pem\" }";
    scene.folder.replace("config.toml", setup.list("second", &scene.web.url("/second"), keys).text());
    server.blocks("second.example");
    assert!(server.a("other.example").is_address("0.0.0.0"));
}

/// `meta.json` of the only list.
fn meta(folder: &Folder) -> serde_json::Value {
    let mut folders = folder.path("state/fetch").read_dir().expect("a folder");
    let place = folders.next().expect("a list").expect("listed").path();
    let text = std::fs::read(place.join("meta.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
