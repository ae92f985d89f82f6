//! Every way a list is changed in the field, through the real watcher; the rescan is an hour away.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use super::super::testing::{folder, names, replace, set, settings, text};
use super::*;
use crate::audit::{self, RuleVerdict};
use crate::gate::{Decisions, Subject, Verdict};
use crate::history::History;

/// What a [`Double`] was told.
#[derive(Debug, Default)]
struct Told {
    published: Vec<BTreeSet<String>>,
    phases: Vec<Phase>,
    advanced: usize,
    failed: usize,
    next: Option<UnixTime>,
}

/// A target that remembers.
#[derive(Clone, Debug, Default)]
struct Double(Arc<Mutex<Told>>);

impl Target for Double {
    type Error = &'static str;

    fn publish(&mut self, _settings: &Settings, loaded: Loaded, _now: UnixTime) -> Result<Published, Self::Error> {
        let mut told = self.0.lock().expect("told");
        if names(&loaded).contains("too.much.example") {
            told.failed += 1;
            return Err("too many rules");
        }
        told.published.push(names(&loaded));
        Ok(Published { generation: told.published.len() as u64, next_change: told.next.take() })
    }

    fn advance(&mut self, _now: UnixTime) -> Published {
        let mut told = self.0.lock().expect("told");
        told.advanced += 1;
        Published { generation: told.published.len() as u64, next_change: None }
    }

    fn status(&mut self, _text: &str, phase: Phase) {
        self.0.lock().expect("told").phases.push(phase);
    }
}

/// A running control over the lists in a folder.
struct Running {
    dir: PathBuf,
    told: Double,
    triggers: mpsc::Sender<Trigger>,
    _runtime: tokio::runtime::Runtime,
    _guard: tempfile::TempDir,
}

impl Running {
    /// Prepares a folder, then starts with these sources.
    fn start(sources: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::start_with(sources, Double::default(), prepare)
    }

    fn start_with(sources: &[&str], told: Double, prepare: impl FnOnce(&Path)) -> Self {
        let (guard, dir) = folder();
        prepare(&dir);
        let settings = settings(&dir, sources);
        let mut loader = Loader::new(Some(settings.state_dir.clone()));
        let loaded = first(&settings, &mut loader).expect("lists");
        let published = told.clone().publish(&settings, loaded.clone(), Now::read().seconds()).expect("published");
        let state = settings.state_dir.clone();
        let control = Control::new(settings, loader, told.clone(), &loaded, published);
        let (triggers, receiver) = mpsc::channel(4);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.spawn(control.run(receiver));
        // The copies are the last thing the first look does; from then on only the watches tell.
        let kept = || fs::read_dir(state.join("lists")).is_ok_and(|lists| lists.count() == sources.len());
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !kept() {
            assert!(std::time::Instant::now() < deadline, "never looked");
            thread::sleep(Duration::from_millis(5));
        }
        Self { dir, told, triggers, _runtime: runtime, _guard: guard }
    }

    /// Waits until this holds of what was told.
    fn until(&self, what: &str, holds: impl Fn(&Told) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !holds(&self.told.0.lock().expect("told")) {
            assert!(std::time::Instant::now() < deadline, "{what}: {:?}", self.told.0.lock().expect("told").published);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until just these names are in force.
    fn in_force(&self, what: &str, names: &[&str]) {
        let names = set(names);
        self.until(what, |told| told.published.last() == Some(&names));
    }

    fn publishes(&self) -> usize {
        self.told.0.lock().expect("told").published.len()
    }
}

#[test]
fn a_file_rewritten_replaced_removed_and_made_again() {
    let running = Running::start(&["a.txt"], |dir| fs::write(dir.join("a.txt"), "a.example\n").expect("written"));
    let path = running.dir.join("a.txt");
    fs::write(&path, "b.example\n").expect("written");
    running.in_force("rewritten in place", &["b.example"]);
    for name in ["c.example", "d.example"] {
        replace(&path, name);
        running.in_force("renamed into place", &[name]);
    }
    fs::remove_file(&path).expect("removed");
    thread::sleep(Duration::from_millis(50));
    fs::write(&path, "e.example\n").expect("written");
    running.in_force("removed and made again", &["e.example"]);
    fs::File::options().append(true).open(&path).and_then(|mut file| file.write_all(b"f.example\n")).expect("appended");
    running.in_force("appended to", &["e.example", "f.example"]);
}

#[test]
fn a_file_written_in_pieces_and_a_hundred_quick_rewrites() {
    let running = Running::start(&["a.txt"], |dir| fs::write(dir.join("a.txt"), "a.example\n").expect("written"));
    let path = running.dir.join("a.txt");
    let all: Vec<String> = (0..50).map(|n| format!("n{n}.example")).collect();
    let mut file = fs::File::create(&path).expect("truncated");
    for name in &all {
        writeln!(file, "{name}").expect("written");
        thread::sleep(Duration::from_millis(5));
    }
    drop(file);
    running.in_force("in pieces", &all.iter().map(String::as_str).collect::<Vec<_>>());
    for n in 0..100 {
        replace(&path, &format!("v{n}.example\n"));
    }
    running.in_force("the last of a hundred", &["v99.example"]);
}

#[test]
fn a_writer_that_never_stops_holds_up_no_other_list() {
    let running = Running::start(&["a.txt", "b.txt"], |dir| {
        fs::write(dir.join("a.txt"), "a.example\n").expect("written");
        fs::write(dir.join("b.txt"), "b.example\n").expect("written");
    });
    let path = running.dir.join("a.txt");
    let stop = Arc::new(Mutex::new(false));
    let stopped = Arc::clone(&stop);
    let writer = thread::spawn(move || {
        let mut file = fs::File::options().append(true).open(&path).expect("opened");
        while !*stopped.lock().expect("a flag") {
            file.write_all(b"# more\n").expect("written");
            thread::sleep(Duration::from_millis(2));
        }
    });
    fs::write(running.dir.join("b.txt"), "c.example\n").expect("written");
    running.in_force("the other list", &["a.example", "c.example"]);
    *stop.lock().expect("a flag") = true;
    writer.join().expect("stopped");
}

#[test]
fn links_swapped_and_written_through() {
    let running = Running::start(&["list.txt", "orders"], |dir| {
        for folder in ["v1", "v2", "far/away", "orders"] {
            fs::create_dir_all(dir.join(folder)).expect("made");
        }
        fs::write(dir.join("v1/list.txt"), "one.example\n").expect("written");
        fs::write(dir.join("v2/list.txt"), "two.example\n").expect("written");
        fs::write(dir.join("far/away/b.txt"), "far.example\n").expect("written");
        symlink("v1/list.txt", dir.join("list.txt")).expect("linked");
        symlink("../far/away/b.txt", dir.join("orders/b.txt")).expect("linked");
    });
    let dir = &running.dir;
    symlink("v2/list.txt", dir.join("list.new")).expect("linked");
    fs::rename(dir.join("list.new"), dir.join("list.txt")).expect("renamed");
    running.in_force("link swapped", &["two.example", "far.example"]);
    fs::write(dir.join("v2/list.txt"), "three.example\n").expect("written");
    running.in_force("written behind the new link", &["three.example", "far.example"]);
    fs::write(dir.join("list.txt"), "four.example\n").expect("written");
    running.in_force("written through the link", &["four.example", "far.example"]);
    fs::write(dir.join("far/away/b.txt"), "near.example\n").expect("written");
    running.in_force("written behind a link inside a list folder", &["four.example", "near.example"]);
}

#[test]
fn a_config_map_swap_names_no_file() {
    let running = Running::start(&["map/list.txt"], |dir| {
        fs::create_dir_all(dir.join("map/..1")).expect("made");
        fs::write(dir.join("map/..1/list.txt"), "one.example\n").expect("written");
        symlink("..1", dir.join("map/..data")).expect("linked");
        symlink("..data/list.txt", dir.join("map/list.txt")).expect("linked");
    });
    let map = running.dir.join("map");
    for (version, name) in [("..2", "two.example"), ("..3", "three.example")] {
        fs::create_dir(map.join(version)).expect("made");
        fs::write(map.join(version).join("list.txt"), name).expect("written");
        symlink(version, map.join("..data_tmp")).expect("linked");
        fs::rename(map.join("..data_tmp"), map.join("..data")).expect("renamed");
        running.in_force("swapped", &[name]);
    }
}

#[test]
fn the_folder_itself_replaced() {
    let running = Running::start(&["lists"], |dir| {
        fs::create_dir(dir.join("lists")).expect("made");
        fs::write(dir.join("lists/a.txt"), "a.example\n").expect("written");
    });
    let (dir, lists) = (&running.dir, running.dir.join("lists"));
    for name in ["b.example", "c.example"] {
        fs::create_dir(dir.join("new")).expect("made");
        fs::write(dir.join("new/a.txt"), name).expect("written");
        fs::rename(&lists, dir.join("old")).expect("renamed");
        fs::rename(dir.join("new"), &lists).expect("renamed");
        running.in_force("moved aside and replaced", &[name]);
        fs::remove_dir_all(dir.join("old")).expect("removed");
    }
    fs::write(lists.join("d.txt"), "d.example\n").expect("written");
    running.in_force("a file in the new folder", &["c.example", "d.example"]);
    fs::remove_dir_all(&lists).expect("removed");
    fs::create_dir(&lists).expect("made");
    fs::write(lists.join("e.txt"), "e.example\n").expect("written");
    running.in_force("removed and made again", &["e.example"]);
    fs::write(lists.join("f.txt"), "f.example\n").expect("written");
    running.in_force("a file in the folder made again", &["e.example", "f.example"]);
    fs::remove_file(lists.join("e.txt")).expect("removed");
    running.in_force("a removed file", &["f.example"]);
}

#[test]
fn the_folder_above_replaced() {
    let make = |dir: &Path, name: &str| {
        fs::create_dir_all(dir.join("lists")).expect("made");
        fs::write(dir.join("lists/a.txt"), name).expect("written");
    };
    let running = Running::start(&["x/lists/a.txt"], |dir| make(&dir.join("x"), "a.example"));
    let dir = &running.dir;
    make(&dir.join("new"), "b.example");
    fs::rename(dir.join("x"), dir.join("old")).expect("renamed");
    fs::rename(dir.join("new"), dir.join("x")).expect("renamed");
    running.in_force("moved aside and replaced", &["b.example"]);
    fs::remove_dir_all(dir.join("x")).expect("removed");
    make(&dir.join("x"), "c.example");
    running.in_force("removed and made again", &["c.example"]);
}

#[test]
fn the_configuration_changes_lists_and_its_problems_change_nothing() {
    let running = Running::start(&["a.txt"], |dir| {
        fs::write(dir.join("a.txt"), "a.example\n").expect("written");
        fs::write(dir.join("b.txt"), "b.example\n").expect("written");
    });
    let path = running.dir.join("qalqan.toml");
    replace(&path, &text(&["a.txt", "b.txt"]));
    running.in_force("a list more", &["a.example", "b.example"]);
    fs::write(running.dir.join("b.txt"), "c.example\n").expect("written");
    running.in_force("the new list is watched", &["a.example", "c.example"]);
    let before = running.publishes();
    fs::write(&path, "[[list]\nname = ").expect("written");
    fs::write(running.dir.join("a.txt"), "d.example\n").expect("written");
    running.in_force("lists go on under the old settings", &["d.example", "c.example"]);
    assert_eq!(running.publishes(), before + 1, "the broken file published nothing itself");
    fs::remove_file(&path).expect("removed");
    replace(&path, &text(&["b.txt"]));
    running.in_force("a list less", &["c.example"]);
}

#[test]
fn a_hangup_publishes_though_nothing_changed() {
    let running = Running::start(&["a.txt"], |dir| fs::write(dir.join("a.txt"), "a.example\n").expect("written"));
    let before = running.publishes();
    running.triggers.blocking_send(Trigger::Hangup).expect("sent");
    running.until("published", |told| told.published.len() == before + 1 && told.phases.len() == 2);
    assert_eq!(running.told.0.lock().expect("told").phases, [Phase::Reloading, Phase::Ready]);
    fs::write(running.dir.join("a.txt"), "<html>\n").expect("written");
    running.triggers.blocking_send(Trigger::Hangup).expect("sent");
    running.in_force("a web page changes nothing", &["a.example"]);
}

#[test]
fn a_publish_that_fails_leaves_what_is_in_force() {
    let running = Running::start(&["a.txt"], |dir| fs::write(dir.join("a.txt"), "a.example\n").expect("written"));
    let path = running.dir.join("a.txt");
    fs::write(&path, "too.much.example\n").expect("written");
    running.until("tried", |told| told.failed > 0 && told.phases.last() == Some(&Phase::Ready));
    assert_eq!(running.publishes(), 1);
    fs::write(&path, "b.example\n").expect("written");
    running.in_force("the next change", &["b.example"]);
}

#[test]
fn order_dates_act_by_themselves() {
    let told = Double::default();
    told.0.lock().expect("told").next = Some(UnixTime(Now::read().seconds().0 + 1));
    let running =
        Running::start_with(&["a.txt"], told, |dir| fs::write(dir.join("a.txt"), "a.example\n").expect("written"));
    running.until("the date", |told| told.advanced == 1);
    assert_eq!(running.publishes(), 1);
}

#[test]
fn a_start_without_a_list_names_it() {
    let (_guard, dir) = folder();
    let mut settings = settings(&dir, &["away.txt"]);
    let error = first(&settings, &mut Loader::new(None)).expect_err("no list").to_string();
    assert!(error.contains("away.txt") && error.contains("start_without_lists"), "{error}");
    settings.start_without_lists = true;
    assert!(first(&settings, &mut Loader::new(None)).is_ok());
}

#[test]
fn decisions_are_kept_and_written_down_with_who_and_why() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "us.com\nmyshopify.com\nevil.example\n").expect("written");
    let settings = settings(&dir, &["feed.txt"]);
    let state = settings.state_dir.clone();
    let mut loader = Loader::new(Some(state.clone()));
    let loaded = first(&settings, &mut loader).expect("lists");
    let audit = Arc::new(Audit::open(&state, Now::read()).expect("a log"));
    let published = Published { generation: 1, next_change: None };
    let control = Control::new(settings, loader, Double::default(), &loaded, published).with_audit(Arc::clone(&audit));
    let mut work = control.work;
    let ruling = |verdict, names: &[&str], reason: &str| Ruling {
        list: "l0".into(),
        verdict,
        subjects: names.iter().map(|&name| Subject::Pattern(name.into())).collect(),
        by: "anna".into(),
        reason: reason.into(),
    };
    let released = Some(Verdict::Released);
    let rulings = [
        ruling(released, &["us.com"], "order 7/26"),
        ruling(released, &["myshopify.com", "evil.example"], "one is not held: neither is decided"),
        ruling(Some(Verdict::Dismissed), &["myshopify.com"], "a mistake"),
        ruling(None, &["us.com"], ""),
        ruling(None, &["us.com"], "twice"),
    ];
    let (asks, outcomes): (Asks, Vec<_>) = rulings
        .into_iter()
        .map(|ruling| {
            let (reply, outcome) = oneshot::channel();
            ((Operation::Decide(ruling), reply), outcome)
        })
        .unzip();
    let done = work.operate(asks);
    work.reload(Cause::Look);
    work.answer(done);
    let told: Vec<Outcome> = outcomes.into_iter().map(|mut outcome| outcome.try_recv().expect("an answer")).collect();
    let why = |outcome: &Outcome| outcome.as_ref().err().cloned().unwrap_or_default();
    assert_eq!(told.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true, false], "{told:?}");
    assert!(why(&told[1]).contains("evil.example is not held") && why(&told[1]).ends_with("nothing was decided"));
    let records = audit::records(&audit::folder(&state), None, None).expect("a log");
    let events: Vec<Event> = records
        .map(|record| record.expect("readable"))
        .inspect(|record| assert_eq!(record.by, Some(By::Cli("anna".into()))))
        .map(|record| record.event.expect("an event"))
        .collect();
    let said = |rule: &str, reason: &str| RuleVerdict { list: "l0".into(), rule: rule.into(), reason: reason.into() };
    let expected = [
        Event::Released(said("us.com", "order 7/26")),
        Event::Dismissed(said("myshopify.com", "a mistake")),
        Event::Undecided(said("us.com", "released by anna: order 7/26")),
    ];
    assert_eq!(events, expected);
    let kept = Decisions::load(&Decisions::path(&state)).expect("decisions");
    assert_eq!(kept.iter().map(|decision| decision.subject.to_string()).collect::<Vec<_>>(), ["myshopify.com"]);
}

#[test]
fn what_operators_do_to_versions_is_told_as_it_is() {
    let (_guard, dir) = folder();
    fs::write(dir.join("feed.txt"), "a.example\n").expect("written");
    let settings = settings(&dir, &["feed.txt"]);
    let (state, limits) = (settings.state_dir.clone(), settings.history);
    let mut loader = Loader::new(Some(state.clone()));
    let loaded = first(&settings, &mut loader).expect("lists");
    let audit = Arc::new(Audit::open(&state, Now::read()).expect("a log"));
    let published = Published { generation: 1, next_change: None };
    let control = Control::new(settings, loader, Double::default(), &loaded, published).with_audit(Arc::clone(&audit));
    let mut work = control.work;
    let mut step = |operation: Option<Operation>| {
        let (reply, mut outcome) = oneshot::channel();
        let done = work.operate(operation.map(|operation| (operation, reply)).into_iter().collect());
        work.reload(Cause::Asked);
        work.write_down();
        work.answer(done);
        outcome.try_recv().unwrap_or(Ok(()))
    };
    step(None).expect("kept");
    fs::write(dir.join("feed.txt"), "b.example\n").expect("written");
    step(None).expect("kept");
    // The third cannot be kept: somebody put a file where its content goes.
    let history = state.join("history").join(crate::util::slug("l0"));
    let kept = |number: u64| history.join(format!("v{number:06}.json"));
    fs::create_dir(kept(3)).expect("in the way");
    fs::write(dir.join("feed.txt"), "c.example\n").expect("written");
    step(None).expect("in force all the same");
    fs::remove_dir(kept(3)).expect("out of the way");
    let back = |version| Operation::Rollback { list: "l0".into(), version, reason: "r".into(), by: "anna".into() };
    step(Some(back(None))).expect("rolled back");
    let pin = History::new(&state, limits).pinned("l0").expect("read").expect("pinned");
    assert_eq!(pin.number, 2, "the one before is the newest that was kept");
    // A pin that cannot be read is taken away, and that is told.
    fs::write(history.join("pinned.json"), "{").expect("damaged");
    step(Some(Operation::Unpin { list: "l0".into(), reason: "mended".into(), by: "anna".into() })).expect("unpinned");
    let records = audit::records(&audit::folder(&state), None, None).expect("a log");
    let events = records.map(|record| record.expect("readable").event.expect("an event"));
    let unpinned: Vec<_> = events
        .filter_map(|event| match event {
            Event::Unpinned(change) => Some((change.version, change.reason.as_str().to_owned())),
            _ => None,
        })
        .collect();
    assert_eq!(unpinned, [(0, "mended".to_owned())]);
}
