//! `qalqan fetch`: whom it trusts, whom it tells what, and what it takes.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::server::{Folder, binary};
use crate::support::web::{Authority, How, Page, Proxy, Signer, Web};

/// A folder with a configuration of one list.
struct Scene {
    folder: Arc<Folder>,
    authority: Authority,
}

impl Scene {
    /// Its authority is in `ca.pem`.
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        folder.write("ca.pem", authority.pem());
        Self { folder, authority }
    }

    /// The list comes from `url`; `list` and `fetch` are more keys of `[[list]]` and `[list.fetch]`.
    fn set(&self, url: &str, list: &str, fetch: &str) {
        let text = format!("[[list]]\nname = \"web\"\nsource = \"{url}\"\n{list}\n[list.fetch]\n{fetch}\n");
        self.folder.write("config.toml", text);
    }

    /// `qalqan` with these arguments: exit code, what it printed, what it complained about.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let run = binary(&self.folder).args(arguments).output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (run.status.code(), text(run.stdout), text(run.stderr))
    }

    /// Fetches; what came of the list.
    fn fetch(&self, more: &[&str]) -> Value {
        let (code, printed, complained) = self.run(&[&["fetch", "--json"], more].concat());
        let Value::Array(mut lines) = serde_json::from_str(&printed).expect("JSON") else { panic!("{printed}") };
        let line = lines.remove(0);
        assert_eq!(code, Some(i32::from(!line["error"].is_null())), "{printed}{complained}");
        line
    }

    /// Fetches, which must fail; why.
    fn fails(&self) -> String {
        let line = self.fetch(&[]);
        assert_eq!(line["outcome"], "failed", "{line}");
        line["error"].as_str().expect("an error").to_owned()
    }

    /// Fetches, which must bring something new; the list.
    fn brings(&self, content: impl AsRef<[u8]>) {
        let line = self.fetch(&[]);
        assert_eq!(line["outcome"], "new", "{line}");
        assert_eq!(fs::read(self.copy()).expect("a copy"), content.as_ref());
    }

    /// Where the list is kept: there is one.
    fn copy(&self) -> PathBuf {
        let folders = fs::read_dir(self.folder.path("state/fetch")).expect("a folder");
        let mut files =
            folders.map(|folder| folder.expect("listed").path().join("web.list")).filter(|file| file.exists());
        let file = files.next().expect("a copy");
        assert_eq!(files.next(), None);
        file
    }
}

/// What every secure list needs.
const CA: &str = "ca_file = \"ca.pem\"";

#[test]
fn only_the_right_server_is_trusted() {
    let scene = Scene::new();
    let web = Web::secure(&scene.authority);
    web.put("/list", Page::ok("a.example\n"));
    scene.set(&web.url("/list"), "", "");
    assert!(scene.fails().contains("TLS: invalid peer certificate: UnknownIssuer"), "{}", scene.fails());
    let other = Web::misnamed(&scene.authority);
    scene.set(&other.url("/list"), "", CA);
    assert!(
        scene.fails().contains("TLS: invalid peer certificate: certificate not valid for name"),
        "{}",
        scene.fails()
    );
    scene.set(&web.url("/list"), "", CA);
    scene.brings("a.example\n");
    scene.folder.write("ca.pem", "");
    assert!(scene.fails().contains("`ca_file`"));
    // Not TLS at all.
    let plain = Web::plain();
    scene.folder.write("ca.pem", scene.authority.pem());
    scene.set(&plain.url("/list").replace("http:", "https:"), "", CA);
    let error = scene.fails();
    assert!(error.contains("TLS") || error.contains("hung up without an answer"), "{error}");
}

#[test]
fn a_proxy_is_asked_where_one_is_set() {
    let scene = Scene::new();
    let (web, proxy) = (Web::secure(&scene.authority), Proxy::start());
    web.put("/list", Page::ok("a.example\n"));
    scene.set(&web.url("/list"), "", &format!("{CA}\nproxy = \"http://{}\"", proxy.address()));
    scene.brings("a.example\n");
    assert_eq!(proxy.asked(), [format!("CONNECT {} HTTP/1.1", web.address())]);
    // What the environment says is for others.
    scene.set(&web.url("/list"), "", CA);
    let run = binary(&scene.folder).args(["fetch"]).env("HTTPS_PROXY", format!("http://{}", proxy.address())).output();
    assert!(run.expect("it runs").status.success());
    assert_eq!((proxy.asked().len(), web.count("/list")), (1, 2));
}

#[test]
fn a_client_certificate_opens_the_door() {
    let scene = Scene::new();
    let web = Web::for_members(&scene.authority);
    web.put("/list", Page::ok("a.example\n"));
    scene.set(&web.url("/list"), "", CA);
    let error = scene.fails();
    assert!(error.contains("TLS") || error.contains("hung up"), "{error}");
    let (certificate, key) = scene.authority.vouch("resolver.example");
    scene.folder.write("client.pem", certificate.pem());
    scene.folder.write("client.key", key.serialize_pem());
    let member = format!("{CA}\nclient_certificate = \"client.pem\"\nclient_key = \"client.key\"");
    scene.set(&web.url("/list"), "", &member);
    scene.brings("a.example\n");
    scene.folder.write("client.key", scene.authority.vouch("x").1.serialize_pem());
    assert!(scene.fails().contains("`client_key`"));
}

#[test]
fn redirects_are_followed_within_bounds_and_told_no_token() {
    let scene = Scene::new();
    let (web, other) = (Web::secure(&scene.authority), Web::secure(&scene.authority));
    scene.folder.write("token", "s3cret\n");
    let keys = format!("{CA}\ntoken_file = \"token\"");
    web.put("/list", Page::to("moved/here"));
    web.put("/moved/here", Page::to(&other.url("/list?key=hidden")));
    other.put("/list?key=hidden", Page::ok("a.example\n"));
    scene.set(&web.url("/list"), "", &keys);
    scene.brings("a.example\n");
    let tokens = |web: &Web| -> Vec<Option<String>> {
        web.asked().iter().map(|asked| asked.headers.get("authorization").cloned()).collect()
    };
    assert_eq!(tokens(&web), [Some("Bearer s3cret".to_owned()), Some("Bearer s3cret".to_owned())]);
    assert_eq!(tokens(&other), [None]);
    // A loop, the way back to http, and other traps.
    web.put("/list", Page::to("/list"));
    assert!(scene.fails().contains("more than 5 redirects"), "{}", scene.fails());
    web.put("/list", Page::to("http://127.0.0.1:1/list?key=hidden"));
    let error = scene.fails();
    assert!(error.contains("from https to http") && !error.contains("hidden"), "{error}");
    web.put("/list", Page::to("file:///etc/passwd"));
    assert!(scene.fails().contains("redirected to file:///etc/passwd, which is not followed"));
    web.put("/list", Page::status(302));
    assert!(scene.fails().contains("does not say where to"));
    web.put("/list", Page::status(401));
    assert!(scene.fails().contains("check `token_file`"));
    assert_eq!(fs::read(scene.copy()).expect("a copy"), b"a.example\n");
}

#[test]
fn compressed_lists_are_unpacked_whole_or_not_at_all() {
    let scene = Scene::new();
    let web = Web::secure(&scene.authority);
    scene.set(&web.url("/list"), "max_size = \"64KiB\"", &format!("{CA}\ntimeout = \"2s\""));
    let content: String = (0..1000).map(|at| format!("n{at}.example\n")).collect();
    let gzip = gzip(content.as_bytes());
    let zstd = zstd(content.as_bytes());
    web.put("/list", Page::ok(&gzip).header("Content-Encoding", "gzip").header("ETag", "\"1\""));
    scene.brings(&content);
    assert_eq!(web.asked()[0].headers.get("accept-encoding").map(String::as_str), Some("gzip, zstd"));
    assert_eq!(scene.fetch(&[])["outcome"], "unchanged");
    assert_eq!(web.asked()[1].headers.get("if-none-match").map(String::as_str), Some("\"1\""));
    // The same list as a file, packed in another way: nothing new.
    web.put("/list", Page::ok(&zstd));
    assert_eq!(scene.fetch(&[])["outcome"], "unchanged");
    web.put("/list", Page::ok(&zstd).header("Content-Encoding", "zstd").sent(How::Chunked));
    assert_eq!(scene.fetch(&[])["outcome"], "unchanged");
    web.put("/list", Page::ok(&gzip[..gzip.len() - 4]));
    assert!(scene.fails().contains("the gzip data are cut off"), "{}", scene.fails());
    web.put("/list", Page::ok(&zstd[..zstd.len() - 4]).header("Content-Encoding", "zstd"));
    assert!(scene.fails().contains("the zstd data are cut off"), "{}", scene.fails());
    for bomb in [self::gzip(&vec![b'#'; 1 << 20]), self::zstd(&vec![b'#'; 1 << 20])] {
        web.put("/list", Page::ok(bomb));
        assert!(scene.fails().contains("larger than 65536 bytes when unpacked"), "{}", scene.fails());
    }
    for how in [How::Whole, How::Chunked] {
        web.put("/list", Page::ok(vec![b'#'; 1 << 20]).sent(how));
        assert!(scene.fails().contains("larger than 65536 bytes; raise the list's `max_size`"), "{}", scene.fails());
    }
    web.put("/list", Page::ok(&content).header("Content-Encoding", "br"));
    assert!(scene.fails().contains("\"br\""));
    web.put("/list", Page::ok(&content).sent(How::Slowly));
    assert!(scene.fails().contains("not finished after 2s"), "{}", scene.fails());
    // A damaged copy is not what the server means by its name.
    web.put("/list", Page::ok(&gzip).header("ETag", "\"1\""));
    scene.fetch(&[]);
    fs::write(scene.copy(), "damaged").expect("written");
    scene.brings(&content);
}

#[test]
fn http_needs_a_hash_or_a_key() {
    let scene = Scene::new();
    let web = Web::plain();
    web.put("/list", Page::ok("a.example\n"));
    scene.set(&web.url("/list"), "", "");
    let (code, _, complained) = scene.run(&["check"]);
    assert_eq!(code, Some(2));
    assert!(complained.contains("config.toml:3:10:") && complained.contains("use https://"), "{complained}");
    let pin: String = Sha256::digest(b"a.example\n").iter().map(|byte| format!("{byte:02x}")).collect();
    scene.set(&web.url("/list"), "", &format!("sha256 = \"{pin}\""));
    scene.brings("a.example\n");
    web.put("/list", Page::ok("b.example\n"));
    assert!(scene.fails().contains("not the pinned one"));
    assert_eq!(fs::read(scene.copy()).expect("a copy"), b"a.example\n");
}

#[test]
fn signatures_vouch_for_lists_and_do_not_go_back() {
    let scene = Scene::new();
    let (web, signer, stranger) = (Web::plain(), Signer::new(), Signer::new());
    scene.set(&web.url("/list"), &format!("public_key = \"{}\"", signer.public_key()), "");
    let publish = |content: &str, signature: Option<String>| {
        web.put("/list", Page::ok(content));
        web.put("/list.minisig", signature.map_or(Page::status(404), Page::ok));
    };
    let one = "one.example\n";
    for (signature, says) in [
        (None, "answered 404 for the signature"),
        (Some(stranger.sign(one.as_bytes(), 100)), "made with another key"),
        (Some(signer.sign(b"other.example\n", 100)), "not of this content"),
        (Some("<html>".to_owned()), "no minisign signature"),
    ] {
        publish(one, signature);
        assert!(scene.fails().contains(says), "{}", scene.fails());
    }
    publish(one, Some(signer.sign(one.as_bytes(), 100)));
    scene.brings(one);
    let two = "two.example\n";
    publish(two, Some(signer.sign(two.as_bytes(), 99)));
    let error = scene.fails();
    assert!(error.contains("signature of 99 is older than 100") && error.contains("--accept-older"), "{error}");
    assert_eq!(fs::read_to_string(scene.copy()).expect("a copy"), one);
    assert_eq!(scene.fetch(&["web", "--accept-older"])["outcome"], "new");
    assert_eq!(fs::read_to_string(scene.copy()).expect("a copy"), two);
    // Signed before it was packed, or after.
    let three = "three.example\n";
    let packed = gzip(three.as_bytes());
    web.put("/list", Page::ok(&packed));
    web.put("/list.minisig", Page::ok(signer.sign(three.as_bytes(), 101)));
    scene.brings(three);
    web.put("/list.minisig", Page::ok(signer.sign(&packed, 102)));
    assert_eq!(scene.fetch(&[])["outcome"], "unchanged");
}

#[test]
fn zones_do_not_go_back() {
    let scene = Scene::new();
    let web = Web::secure(&scene.authority);
    scene.set(&web.url("/list"), "", CA);
    let zone = |serial: u64| format!("@ 60 IN SOA a. b. {serial} 60 60 60 60\nx.example CNAME .\n");
    web.put("/list", Page::ok(zone(202_401_020_304)));
    scene.brings(zone(202_401_020_304));
    web.put("/list", Page::ok(zone(202_401_020_303)));
    assert!(scene.fails().contains("serial 202401020303 is older than 202401020304"), "{}", scene.fails());
}

#[test]
fn check_asks_nobody_and_says_how_old_the_copy_is() {
    let scene = Scene::new();
    let web = Web::secure(&scene.authority);
    web.put("/list", Page::ok("a.example\n"));
    scene.set(&web.url("/list"), "", CA);
    let (code, printed, _) = scene.run(&["check"]);
    assert_eq!(code, Some(1), "a start would fetch it: {printed}");
    assert!(printed.contains("web: never fetched"), "{printed}");
    assert_eq!(web.asked().len(), 0);
    assert!(!scene.folder.path("state").exists(), "check writes nothing");
    scene.brings("a.example\n");
    let (code, printed, _) = scene.run(&["check"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("web: fetched ") && printed.contains(" s ago"), "{printed}");
    web.put("/list", Page::status(500));
    scene.fails();
    let (_, printed, _) = scene.run(&["check", "--json"]);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(report["lists"][0]["fetched"]["last_error"].as_str().is_some_and(|error| error.contains("500")));
    let (code, _, complained) = scene.run(&["fetch", "wbe"]);
    assert_eq!(code, Some(2));
    assert!(complained.contains("no list \"wbe\"") && complained.contains("these are: web"), "{complained}");
}

/// As a server would.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

/// Likewise.
fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).expect("memory")
}
