//! Every way a source can go wrong or away, and what stays in force.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use super::super::file;
use super::super::testing::{folder, lists, names, replace, set};
use super::*;

/// The order file `id` for `name`.
fn order(id: &str, name: &str) -> String {
    format!("id = \"{id}\"\nauthority = \"Test\"\ndomains = [\"{name}\"]\n")
}

/// Fails on a refused list, whatever its format: a web page.
const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n";

#[test]
fn unchanged_sources_keep_their_parsed_rules() {
    let (_guard, dir) = folder();
    fs::write(dir.join("a.txt"), "a.example\nb.example\n").expect("written");
    let lists = lists(&dir, &["a.txt"]);
    let mut loader = Loader::new(None);
    let first = loader.load(&lists);
    assert!(first.changed && matches!(first.reports[0].state, State::Fresh), "{first:?}");
    assert_eq!((first.reports[0].entries, first.rules()), (2, 2));
    replace(&dir.join("a.txt"), "a.example\nb.example\n");
    loader.distrust();
    let second = loader.load(&lists);
    assert!(!second.changed && Arc::ptr_eq(&first.parts[0].rules, &second.parts[0].rules));
    assert!(matches!(second.reports[0].state, State::Unchanged));
}

#[test]
fn a_change_with_the_old_size_and_date_is_noticed() {
    let (_guard, dir) = folder();
    let path = dir.join("a.txt");
    fs::write(&path, "a.example\n").expect("written");
    let lists = lists(&dir, &["a.txt"]);
    let mut loader = Loader::new(None);
    loader.load(&lists);
    let date = fs::metadata(&path).and_then(|meta| meta.modified()).expect("a date");
    fs::write(&path, "b.example\n").expect("written");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(date)).expect("dated");
    assert_eq!(names(&loader.load(&lists)), set(&["b.example"]));
}

#[test]
fn a_file_that_is_refused_missing_or_a_folder_leaves_its_last_good_rules() {
    let (_guard, dir) = folder();
    let path = dir.join("a.txt");
    fs::write(&path, "a.example\n").expect("written");
    let lists = lists(&dir, &["a.txt"]);
    let mut loader = Loader::new(None);
    let first = loader.load(&lists);
    let stays = |loader: &mut Loader, what: &str| {
        for _ in 0..2 {
            let loaded = loader.load(&lists);
            assert_eq!(names(&loaded), set(&["a.example"]), "{what}");
            assert!(!loaded.changed && loaded.missing.is_empty(), "{what}");
            let report = &loaded.reports[0];
            assert!(matches!(report.state, State::LastGood { .. }), "{what}: {report:?}");
            assert!(
                report.error.as_ref().is_some_and(|error| error.to_string().contains("a.txt")),
                "{what}: {report:?}"
            );
        }
    };
    fs::write(&path, PAGE).expect("written");
    stays(&mut loader, "a web page");
    fs::write(&path, "").expect("written");
    stays(&mut loader, "empty");
    fs::remove_file(&path).expect("removed");
    stays(&mut loader, "missing");
    symlink("nowhere", &path).expect("linked");
    stays(&mut loader, "a link to nothing");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "a.example\n").expect("written");
    let back = loader.load(&lists);
    assert!(!back.changed && matches!(back.reports[0].state, State::Unchanged), "{back:?}");
    assert_eq!(back.reports[0].files[0].accepted, first.reports[0].files[0].accepted);
}

#[test]
fn a_broken_order_keeps_its_rules_and_a_removed_one_lifts_them() {
    let (_guard, dir) = folder();
    let orders = dir.join("orders");
    fs::create_dir(&orders).expect("made");
    fs::write(orders.join("1.toml"), order("1", "one.example")).expect("written");
    fs::write(orders.join("2.toml"), order("2", "two.example")).expect("written");
    let lists = lists(&dir, &["orders"]);
    let mut loader = Loader::new(None);
    assert_eq!(names(&loader.load(&lists)), set(&["one.example", "two.example"]));
    fs::write(orders.join("1.toml"), PAGE).expect("written");
    fs::write(orders.join("3.toml"), order("3", "three.example")).expect("written");
    fs::write(orders.join("4.toml"), PAGE).expect("written");
    let loaded = loader.load(&lists);
    assert_eq!(names(&loaded), set(&["one.example", "two.example", "three.example"]));
    let states = |loaded: &Loaded| loaded.reports[0].files.iter().map(|file| file.state.rank()).collect::<Vec<_>>();
    assert_eq!(states(&loaded), [2, 0, 1, 3], "last good, unchanged, fresh, not used");
    assert!(matches!(loaded.reports[0].state, State::LastGood { .. }) && loaded.missing.is_empty());
    fs::remove_file(orders.join("1.toml")).expect("removed");
    assert_eq!(names(&loader.load(&lists)), set(&["two.example", "three.example"]));
    for file in ["2.toml", "3.toml", "4.toml"] {
        fs::remove_file(orders.join(file)).expect("removed");
    }
    let empty = loader.load(&lists);
    assert!(empty.parts.is_empty() && empty.changed && empty.missing.is_empty(), "an emptied folder is an answer");
    assert!(matches!(empty.reports[0].state, State::Fresh));
}

#[test]
fn a_folder_that_vanished_lifts_nothing() {
    let (_guard, dir) = folder();
    let orders = dir.join("orders");
    fs::create_dir(&orders).expect("made");
    fs::write(orders.join("1.toml"), order("1", "one.example")).expect("written");
    fs::write(dir.join("far.toml"), order("2", "far.example")).expect("written");
    symlink("../far.toml", orders.join("2.toml")).expect("linked");
    let lists = lists(&dir, &["orders"]);
    let mut loader = Loader::new(None);
    let both = set(&["one.example", "far.example"]);
    assert_eq!(names(&loader.load(&lists)), both);
    fs::remove_file(dir.join("far.toml")).expect("removed");
    let dangling = loader.load(&lists);
    assert_eq!(names(&dangling), both, "a link whose target is away is not a removed file: {dangling:?}");
    assert!(matches!(dangling.reports[0].state, State::LastGood { .. }));
    fs::rename(&orders, dir.join("elsewhere")).expect("renamed");
    let away = loader.load(&lists);
    assert_eq!(names(&away), both);
    assert!(matches!(away.reports[0].state, State::LastGood { .. }));
    fs::create_dir(&orders).expect("made");
    assert!(loader.load(&lists).parts.is_empty(), "a folder that is there is believed");
}

#[test]
fn a_new_list_that_cannot_be_read_is_reported_and_the_others_go_on() {
    let (_guard, dir) = folder();
    fs::write(dir.join("a.txt"), "a.example\n").expect("written");
    let mut loader = Loader::new(None);
    loader.load(&lists(&dir, &["a.txt"]));
    let loaded = loader.load(&lists(&dir, &["a.txt", "b.txt"]));
    assert_eq!(names(&loaded), set(&["a.example"]));
    assert_eq!(loaded.missing.len(), 1);
    assert_eq!(loaded.missing[0].list, "l1");
    assert!(matches!(loaded.reports[1].state, State::NotUsed { .. }));
    assert!(loader.load(&lists(&dir, &[])).parts.is_empty(), "a list taken out of the configuration is lifted");
}

#[test]
fn a_source_mistyped_in_the_configuration_lifts_nothing() {
    let (_guard, dir) = folder();
    fs::write(dir.join("a.txt"), "a.example\n").expect("written");
    let mut loader = Loader::new(None);
    loader.load(&lists(&dir, &["a.txt"]));
    assert_eq!(names(&loader.load(&lists(&dir, &["aa.txt"]))), set(&["a.example"]));
    fs::write(dir.join("b.txt"), "b.example\n").expect("written");
    assert_eq!(names(&loader.load(&lists(&dir, &["b.txt"]))), set(&["b.example"]));
}

#[test]
fn a_restart_finds_everything_in_the_state_folder() {
    let (_guard, dir) = folder();
    let orders = dir.join("orders");
    fs::create_dir(&orders).expect("made");
    fs::write(orders.join("1.toml"), order("1", "one.example")).expect("written");
    fs::write(orders.join("2.toml"), order("2", "two.example")).expect("written");
    fs::write(dir.join("a.txt"), "a.example\n").expect("written");
    let lists = lists(&dir, &["orders", "a.txt"]);
    let state = Some(dir.join("state"));
    let mut loader = Loader::new(state.clone());
    let first = loader.load(&lists);
    assert!(loader.keep().is_empty());
    fs::remove_dir_all(&orders).expect("removed");
    fs::write(dir.join("a.txt"), PAGE).expect("written");
    let mut again = Loader::new(state.clone());
    let restarted = again.load(&lists);
    assert_eq!(names(&restarted), names(&first));
    assert!(restarted.missing.is_empty());
    assert!(restarted.reports.iter().all(|report| matches!(report.state, State::LastGood { .. })));
    assert_eq!(restarted.reports[0].files[1].path, first.reports[0].files[1].path);
    assert!(again.keep().is_empty());
    // Still there for the restart after the next, and gone when the operator removes an order.
    assert_eq!(names(&Loader::new(state.clone()).load(&lists)), names(&first));
    fs::create_dir(&orders).expect("made");
    fs::write(orders.join("2.toml"), order("2", "two.example")).expect("written");
    assert_eq!(names(&again.load(&lists)), set(&["two.example", "a.example"]));
    assert!(again.keep().is_empty());
    fs::remove_dir_all(&orders).expect("removed");
    assert_eq!(names(&Loader::new(state).load(&lists)), set(&["two.example", "a.example"]));
    assert_eq!(Loader::new(None).load(&lists).missing.len(), 2, "without a state folder both are missing");
}

#[test]
fn a_damaged_copy_is_told_ignored_and_written_again() {
    let (_guard, dir) = folder();
    let path = dir.join("a.txt");
    fs::write(&path, "a.example\n").expect("written");
    let lists = lists(&dir, &["a.txt"]);
    let state = dir.join("state");
    let mut loader = Loader::new(Some(state.clone()));
    loader.load(&lists);
    assert!(loader.keep().is_empty());
    let kept = fs::read_dir(state.join("lists")).expect("listed").flatten().next().expect("a list").path();
    let files = || fs::read_dir(&kept).expect("listed").flatten().map(|entry| entry.path());
    let copy = files().find(|path| path.extension().is_some_and(|end| end == "copy")).expect("a copy");
    fs::write(&copy, "b.example\n").expect("written");
    fs::rename(&path, dir.join("away")).expect("renamed");
    let mut damaged = Loader::new(Some(state.clone()));
    let loaded = damaged.load(&lists);
    assert!(loaded.parts.is_empty() && loaded.missing.len() == 1);
    let troubles = damaged.keep();
    assert!(troubles.iter().any(|trouble| trouble.to_string().contains("damaged")), "{troubles:?}");
    fs::rename(dir.join("away"), &path).expect("renamed");
    let mut mended = Loader::new(Some(state));
    mended.load(&lists);
    assert_eq!(mended.keep().len(), 1, "told once");
    assert!(mended.keep().is_empty());
    assert_eq!(fs::read_to_string(&copy).expect("read"), "a.example\n");
}

#[test]
fn a_state_folder_that_cannot_be_written_never_stops_a_list() {
    let (_guard, dir) = folder();
    let path = dir.join("a.txt");
    fs::write(&path, "a.example\n").expect("written");
    fs::write(dir.join("state"), "a file in the way").expect("written");
    let lists = lists(&dir, &["a.txt"]);
    let mut loader = Loader::new(Some(dir.join("state")));
    assert_eq!(names(&loader.load(&lists)), set(&["a.example"]));
    let troubles: Vec<String> = loader.keep().iter().map(ToString::to_string).collect();
    assert!(troubles.iter().any(|trouble| trouble.contains("state_dir is writable")), "{troubles:?}");
    fs::remove_file(dir.join("state")).expect("removed");
    assert!(loader.keep().is_empty(), "tried again, from the source");
    fs::remove_dir_all(dir.join("state")).expect("removed");
    assert!(loader.keep().is_empty(), "and again when somebody emptied the folder");
    fs::remove_file(&path).expect("removed");
    assert_eq!(names(&Loader::new(Some(dir.join("state"))).load(&lists)), set(&["a.example"]));
}

#[test]
fn settings_of_a_list_read_it_anew_and_wrong_ones_keep_it() {
    let (_guard, dir) = folder();
    fs::write(dir.join("a.txt"), "a.example\n").expect("written");
    let mut lists = lists(&dir, &["a.txt"]);
    let mut loader = Loader::new(None);
    loader.load(&lists);
    lists.lists[0].spec.urls = list::Urls::Host;
    let loaded = loader.load(&lists);
    assert!(loaded.changed && matches!(loaded.reports[0].state, State::Fresh));
    assert_eq!(names(&loaded), set(&["a.example"]));
}

#[test]
fn a_file_whose_stamps_are_old_enough_is_not_read_again() {
    let (_guard, dir) = folder();
    let path = dir.join("a.txt");
    fs::write(&path, "a.example\n").expect("written");
    let lists = lists(&dir, &["a.txt"]);
    let mut loader = Loader::new(None);
    // Until the stamp proves something every load reads; after that none does.
    let deadline = SystemTime::now() + Duration::from_secs(30);
    let proven = |loader: &Loader| {
        let held = loader.lists.values().flat_map(|known| known.files.values()).next()?;
        let stat = file::Stat::of(&path).ok()?;
        Some(held.good.as_ref()?.seen?.proves(&stat))
    };
    while proven(&loader) != Some(true) {
        assert!(SystemTime::now() < deadline, "a stamp never proves anything");
        loader.load(&lists);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!loader.load(&lists).changed);
}
