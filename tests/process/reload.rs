//! Every way a list can change, while somebody asks all the time: no gap, no time-out, no unfiltered answer.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::mock::Mock;
use crate::support::server::{Folder, Server, Setup};
use crate::support::steady::Steady;

/// What the mock says.
const FREE: &str = "198.51.100.7";

/// A server with one list, and three who ask it all the time.
struct Scene {
    folder: Arc<Folder>,
    server: Server,
    _mock: Mock,
    askers: Vec<Steady>,
}

/// A list that always blocks `always.example`, and `v{version}.example`.
fn list(version: u32) -> String {
    format!("# version {version}\nv{version}.example\nalways.example\n")
}

impl Scene {
    /// The list is read from `source`, which `prepare` makes; version 1 is to be there.
    fn new(source: &str, prepare: impl FnOnce(&Folder)) -> Self {
        Self::with(source, "", prepare)
    }

    /// With more sections. Sources are looked at once an hour, so that what is noticed was heard of.
    fn with(source: &str, keys: &str, prepare: impl FnOnce(&Folder)) -> Self {
        let mock = Mock::fixed([198, 51, 100, 7]);
        let folder = Folder::new();
        prepare(&folder);
        let quiet = if keys.contains("quiet") { "" } else { "quiet = \"100ms\"" };
        let reload = format!("[reload]\nrescan = \"1h\"\n{quiet}\n{keys}");
        let setup = Setup::new(mock.address()).list("list", source, "").more(&reload);
        let server = Server::start(&folder, &setup);
        assert!(server.a("v1.example").is_address("0.0.0.0"), "{}", server.stderr());
        let address = server.udp[0];
        let askers = vec![
            Steady::expect(address, "always.example", "0.0.0.0"),
            Steady::expect(address, "below.always.example", "0.0.0.0"),
            Steady::expect(address, "free.example", FREE),
        ];
        Self { folder, server, _mock: mock, askers }
    }

    /// Path of something in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// Waits until this version is in force, and none before it.
    fn takes(&self, version: u32) {
        let took = self.server.blocks(&format!("v{version}.example"));
        eprintln!("version {version} enforced {took:?} after the change");
        for old in 1..version {
            self.server.comes_to(&format!("v{old}.example"), FREE);
        }
    }

    /// Nobody who asked all the time saw anything wrong.
    fn end(self) {
        for asker in self.askers {
            asker.was_never_wrong();
        }
        let said = self.server.stop();
        assert!(!said.contains("ERROR") && !said.contains("panick"), "{said}");
    }
}

/// Makes `link` a symbolic link to `target`, atomically.
fn relink(target: impl AsRef<Path>, link: &Path) {
    let aside = link.with_file_name("aside");
    symlink(target, &aside).expect("a link");
    fs::rename(&aside, link).expect("renamed");
}

#[test]
fn rewritten_in_place() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    for version in 2..5 {
        scene.folder.write("list.txt", list(version));
        scene.takes(version);
    }
    scene.end();
}

#[test]
fn truncated_and_written_in_pieces() {
    // The pauses of the writer are far shorter than the quiet period, even on a busy machine.
    let scene = Scene::with("list.txt", "quiet = \"2s\"", |folder| folder.write("list.txt", list(1)));
    let mut file = OpenOptions::new().write(true).truncate(true).open(scene.path("list.txt")).expect("opened");
    for piece in ["# version 2\nv2.exa", "mple\nother.example\n", "always.ex", "ample\n"] {
        thread::sleep(Duration::from_millis(50));
        file.write_all(piece.as_bytes()).expect("written");
    }
    drop(file);
    scene.takes(2);
    scene.server.blocks("other.example");
    scene.end();
}

#[test]
fn replaced_by_an_atomic_rename_again_and_again() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    for version in 2..6 {
        scene.folder.replace("list.txt", list(version));
        scene.takes(version);
    }
    scene.end();
}

#[test]
fn saved_as_editors_do() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    for version in 2..4 {
        fs::rename(scene.path("list.txt"), scene.path("list.txt~")).expect("renamed");
        scene.folder.write("list.txt", list(version));
        scene.takes(version);
    }
    scene.end();
}

#[test]
fn deleted_and_created_again() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    fs::remove_file(scene.path("list.txt")).expect("removed");
    scene.server.says("list.txt: no such file");
    assert!(scene.server.a("v1.example").is_address("0.0.0.0"), "the last good state stays");
    scene.folder.write("list.txt", list(2));
    scene.takes(2);
    scene.end();
}

#[test]
fn a_symbolic_link_is_pointed_elsewhere() {
    let scene = Scene::new("list.txt", |folder| {
        folder.write("one/1.txt", list(1));
        folder.write("two/2.txt", list(2));
        symlink("one/1.txt", folder.path("list.txt")).expect("a link");
    });
    relink("two/2.txt", &scene.path("list.txt"));
    scene.takes(2);
    scene.folder.write("two/2.txt", list(3));
    scene.takes(3);
    scene.end();
}

#[test]
fn written_through_a_symbolic_link_into_another_folder() {
    let scene = Scene::new("here/list.txt", |folder| {
        folder.write("there/real.txt", list(1));
        fs::create_dir(folder.path("here")).expect("a folder");
        symlink("../there/real.txt", folder.path("here/list.txt")).expect("a link");
    });
    scene.folder.write("here/list.txt", list(2));
    scene.takes(2);
    scene.folder.replace("there/real.txt", list(3));
    scene.takes(3);
    scene.end();
}

#[test]
fn the_folder_of_the_list_is_replaced() {
    let scene = Scene::new("lists/list.txt", |folder| folder.write("lists/list.txt", list(1)));
    for version in 2..4 {
        scene.folder.write("new/list.txt", list(version));
        fs::rename(scene.path("lists"), scene.path(&format!("old{version}"))).expect("moved away");
        fs::rename(scene.path("new"), scene.path("lists")).expect("moved in");
        scene.takes(version);
    }
    scene.folder.write("lists/list.txt", list(4));
    scene.takes(4);
    scene.end();
}

#[test]
fn the_folder_of_the_list_is_removed_and_made_again() {
    let scene = Scene::new("lists/deep/list.txt", |folder| folder.write("lists/deep/list.txt", list(1)));
    fs::remove_dir_all(scene.path("lists")).expect("removed");
    scene.server.says("no such file");
    scene.folder.write("lists/deep/list.txt", list(2));
    scene.takes(2);
    scene.end();
}

#[test]
fn a_config_map_is_swapped() {
    let scene = Scene::new("map/list.txt", |folder| {
        folder.write("map/..2026_1/list.txt", list(1));
        symlink("..2026_1", folder.path("map/..data")).expect("a link");
        symlink("..data/list.txt", folder.path("map/list.txt")).expect("a link");
    });
    for version in 2..5 {
        scene.folder.write(&format!("map/..2026_{version}/list.txt"), list(version));
        relink(format!("..2026_{version}"), &scene.path("map/..data"));
        fs::remove_dir_all(scene.path(&format!("map/..2026_{}", version - 1))).expect("removed");
        scene.takes(version);
    }
    scene.end();
}

#[test]
fn a_hundred_quick_rewrites() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    for version in 2..=100 {
        scene.folder.replace("list.txt", list(version));
        thread::sleep(Duration::from_millis(5));
    }
    scene.server.blocks("v100.example");
    scene.server.comes_to("v99.example", FREE);
    scene.end();
}

#[test]
fn files_come_and_go_in_a_folder() {
    let order = |id: u32| format!("id = \"{id}\"\nauthority = \"Agency\"\ndomains = [\"v{id}.example\"]\n");
    let always = "id = \"0\"\nauthority = \"Agency\"\ndomains = [\"always.example\"]\n";
    let scene = Scene::new("orders", |folder| {
        folder.write("orders/0.toml", always);
        folder.write("orders/1.toml", order(1));
    });
    scene.folder.write("orders/2.toml", order(2));
    scene.server.blocks("v2.example");
    fs::remove_file(scene.path("orders/1.toml")).expect("removed");
    scene.server.comes_to("v1.example", FREE);
    // The folder is replaced by another one.
    scene.folder.write("new/0.toml", always);
    scene.folder.write("new/3.toml", order(3));
    fs::rename(scene.path("orders"), scene.path("old")).expect("moved away");
    fs::rename(scene.path("new"), scene.path("orders")).expect("moved in");
    scene.takes(3);
    // An order that cannot be read keeps nothing else from being enforced, nor what was in force of it.
    scene.folder.write("orders/3.toml", "id = \"3\"\nauthority = \n");
    scene.folder.write("orders/4.toml", order(4));
    scene.server.blocks("v4.example");
    scene.server.says("orders/3.toml");
    assert!(scene.server.a("v3.example").is_address("0.0.0.0"));
    scene.end();
}

#[test]
fn what_is_refused_or_unreadable_leaves_the_last_good_one_in_force() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    let many: String = (0..50).map(|index| format!("v2n{index}.example\nhttps://v2.example/{index}\n")).collect();
    let ways: [(&str, &str, &dyn Fn()); 4] = [
        ("a web page", "a web page", &|| {
            scene.folder.replace("list.txt", "<!DOCTYPE html>\n<html><body>404 v2.example</body></html>\n")
        }),
        ("too many rejected", "50 entries rejected", &|| scene.folder.write("list.txt", &many)),
        ("nothing", "the file is empty", &|| scene.folder.write("list.txt", "")),
        ("a link to nothing", "a symbolic link", &|| {
            fs::remove_file(scene.path("list.txt")).expect("removed");
            symlink("nowhere", scene.path("list.txt")).expect("a link");
        }),
    ];
    for (about, said, change) in ways {
        change();
        scene.server.says(said);
        assert!(scene.server.a("v1.example").is_address("0.0.0.0"), "{about}");
        assert!(scene.server.a("v2n1.example").is_address(FREE), "{about}");
    }
    fs::remove_file(scene.path("list.txt")).expect("removed");
    scene.folder.write("list.txt", list(2));
    scene.takes(2);
    scene.server.says("again");
    scene.end();
}

#[test]
fn some_rejected_lines_are_told_and_the_rest_is_used() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    let good: String = (0..200).map(|index| format!("g{index}.example\n")).collect();
    scene.folder.replace("list.txt", format!("{}{good}https://v2.example/path\n", list(2)));
    scene.takes(2);
    scene.server.blocks("g199.example");
    scene.server.says("list.txt:204:1: ");
    scene.end();
}

#[test]
fn a_hangup_reads_everything_again() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    // Nothing has changed, so nothing but the signal makes a new generation.
    scene.server.signal("HUP");
    scene.server.says("generation=2");
    scene.folder.write("list.txt", list(2));
    scene.server.signal("HUP");
    scene.takes(2);
    for _ in 0..20 {
        scene.server.signal("HUP");
    }
    scene.server.says("generation=4");
    scene.end();
}

#[test]
fn twenty_thousand_names_are_swapped_whole() {
    let scene = Scene::new("list.txt", |folder| folder.write("list.txt", list(1)));
    let names =
        |version: u32| -> String { (0..20_000).map(|index| format!("n{index}.v{version}x.example\n")).collect() };
    for version in 2..5 {
        scene.folder.replace("list.txt", format!("{}{}", names(version), list(version)));
        scene.takes(version);
        scene.server.blocks(&format!("n19999.v{version}x.example"));
    }
    scene.end();
}
