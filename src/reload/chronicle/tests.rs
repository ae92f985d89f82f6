use std::path::Path;

use super::super::testing::{folder, settings};
use super::*;

/// A chronicle over the lists in a folder.
struct Place {
    dir: std::path::PathBuf,
    _guard: tempfile::TempDir,
    settings: Settings,
    loader: Loader,
    chronicle: Chronicle,
}

impl Place {
    fn new(text: &str) -> Self {
        let (guard, dir) = folder();
        std::fs::write(dir.join("a.txt"), text).expect("written");
        let settings = settings(&dir, &["a.txt"]);
        let loader = Loader::new(Some(settings.state_dir.clone()));
        Self { dir, _guard: guard, settings, loader, chronicle: Chronicle::default() }
    }

    /// The same with a trial for every new version.
    fn tried(text: &str) -> Self {
        let mut place = Self::new(text);
        let path = place.dir.join("qalqan.toml");
        let config = std::fs::read_to_string(&path).expect("read") + "canary = { clients = [\"10.1.0.0/16\"] }\n";
        std::fs::write(&path, config).expect("written");
        place.settings = crate::config::load(&path).expect("settings");
        place
    }

    /// Killed before what was loaded last is written down, and started again.
    fn crash(&mut self) {
        self.loader.distrust();
        self.loader.load(&self.settings);
        assert!(self.loader.keep().is_empty());
        self.loader = Loader::new(Some(self.settings.state_dir.clone()));
        self.chronicle = Chronicle::default();
    }

    /// Loads, keeps and writes down; the events as JSON.
    fn update(&mut self, generation: u64) -> Vec<serde_json::Value> {
        self.loader.distrust();
        let loaded = self.loader.load(&self.settings);
        assert!(self.loader.keep().is_empty());
        let (now, news) = (UnixTime(1_800_000_000), self.loader.trial_news(&self.settings));
        let written = self.chronicle.update(&self.settings, &self.loader, &loaded.reports, generation, news, now);
        assert!(written.troubles.is_empty(), "{:?}", written.troubles);
        written.events.iter().map(|(_, event)| serde_json::to_value(event).expect("plain data")).collect()
    }

    fn history(&self) -> History {
        History::new(&self.settings.state_dir, self.settings.history)
    }

    fn write(&self, text: &str) {
        std::fs::write(Path::new(&self.dir).join("a.txt"), text).expect("written");
    }
}

/// The kinds of events.
fn kinds(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event"].as_str()).collect()
}

#[test]
fn every_version_is_kept_and_told_with_what_is_new() {
    let mut place = Place::new("a.example\nb.example\n");
    let events = place.update(1);
    assert_eq!(kinds(&events), ["list_accepted", "snapshot_published"]);
    assert_eq!((&events[0]["version"], &events[0]["added"]["count"]), (&1.into(), &2.into()));
    assert_eq!(events[1]["lists"][0]["sha256"], events[0]["after_sha256"]);
    assert!(place.update(1).is_empty(), "the same again is nothing new");
    place.write("# moved\nb.example\n*.c.example\n=c.example\n");
    let events = place.update(2);
    assert_eq!((&events[0]["version"], &events[0]["entries_before"]), (&2.into(), &2.into()));
    assert_eq!(events[0]["added"], serde_json::json!({ "count": 2, "sample": ["*.c.example", "=c.example"] }));
    assert_eq!(events[0]["removed"], serde_json::json!({ "count": 1, "sample": ["a.example"] }));
    let versions = place.history().versions("l0").expect("versions").whole;
    assert_eq!(versions.iter().map(|version| version.number).collect::<Vec<_>>(), [1, 2]);
    let bytes = place.history().bytes("l0", &versions[0].what.files[0]).expect("the first");
    assert_eq!(bytes, b"a.example\nb.example\n");

    // A restart knows which one it was.
    place.chronicle = Chronicle::default();
    assert_eq!(kinds(&place.update(1)), ["snapshot_published"]);
}

#[test]
fn what_is_refused_is_told_once_and_changes_nothing() {
    let mut place = Place::new("a.example\n");
    place.update(1);
    place.write("<!DOCTYPE html><html>error</html>");
    let events = place.update(1);
    assert_eq!(kinds(&events), ["list_refused"]);
    assert!(events[0]["reason"].as_str().expect("a text").contains("a web page"), "{events:?}");
    assert!(place.update(1).is_empty());
    place.write("a.example\n");
    assert!(place.update(1).is_empty(), "the same version as before");
    place.write("b.example\n");
    assert_eq!(kinds(&place.update(2)), ["list_accepted", "snapshot_published"]);
}

#[test]
fn a_pinned_list_stays_at_its_version_until_it_is_unpinned() {
    let mut place = Place::new("a.example\n");
    place.update(1);
    place.write("b.example\n");
    place.update(2);
    let pin = history::Pin { number: 1, since: jiff::Timestamp::UNIX_EPOCH, by: "x".into(), reason: "y".into() };
    place.history().pin("l0", &pin).expect("pinned");
    let patterns = |place: &Place| {
        let contents = place.loader.contents("l0");
        contents.iter().map(|(_, rules)| rules.rule(0).name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&place.update(3)), ["snapshot_published"]);
    assert_eq!(patterns(&place), ["a.example"]);
    place.write("c.example\n");
    assert!(place.update(3).is_empty(), "its source is not looked at");
    // A restart keeps to it, also without the history, from the last good copy.
    place.loader = Loader::new(Some(place.settings.state_dir.clone()));
    assert!(place.update(3).is_empty());
    assert_eq!(patterns(&place), ["a.example"]);
    place.history().unpin("l0").expect("unpinned");
    let events = place.update(4);
    assert_eq!((kinds(&events)[0], &events[0]["version"]), ("list_accepted", &3.into()));
    assert_eq!(patterns(&place), ["c.example"]);
}

#[test]
fn a_damaged_history_takes_nothing_out_of_force() {
    let mut place = Place::new("a.example\n");
    place.update(1);
    let pin = history::Pin { number: 1, since: jiff::Timestamp::UNIX_EPOCH, by: "x".into(), reason: "y".into() };
    place.history().pin("l0", &pin).expect("pinned");
    place.update(2);
    std::fs::remove_dir_all(place.settings.state_dir.join("history")).expect("removed");
    let loaded = place.loader.load(&place.settings);
    assert_eq!(loaded.rules(), 1, "it follows its source, which holds the same");
}

#[test]
fn a_version_on_trial_has_a_number_also_when_a_crash_kept_it_from_being_told() {
    let mut place = Place::tried("a.example\n");
    place.update(1);
    place.write("b.example\n");
    let events = place.update(2);
    assert_eq!(kinds(&events), ["canary_started", "snapshot_published"]);
    assert_eq!((&events[0]["version"], &events[0]["others"]), (&2.into(), &1.into()));
    assert_eq!(events[1]["lists"][0]["version"], 1, "what all have");
    assert_eq!(place.chronicle.tried().get("l0"), Some(&2));
    // It goes on after a crash; one that began just before the crash is told after it.
    place.crash();
    assert_eq!(kinds(&place.update(1)), ["snapshot_published"]);
    place.write("c.example\n");
    place.crash();
    let events = place.update(1);
    assert_eq!(kinds(&events), ["canary_ended", "canary_started", "snapshot_published"]);
    assert_eq!((&events[0]["version"], &events[0]["outcome"]), (&2.into(), &"superseded".into()));
    assert_eq!((&events[1]["version"], &events[1]["others"]), (&3.into(), &1.into()));
    // And so is the end of one.
    place.loader.promote("l0", "fine", By::System).expect("on trial");
    place.crash();
    let events = place.update(1);
    assert_eq!(kinds(&events), ["list_accepted", "canary_ended", "snapshot_published"]);
    assert_eq!((&events[0]["version"], &events[1]["version"]), (&3.into(), &3.into()));
    assert_eq!(events[1]["outcome"], "completed");
    place.write("d.example\n");
    place.update(2);
    place.loader.withdraw("l0", "a mistake", By::Cli("anna".into())).expect("on trial");
    let events = place.update(3);
    assert_eq!(kinds(&events), ["list_refused", "canary_ended", "snapshot_published"]);
    assert_eq!((&events[1]["version"], &events[1]["outcome"]), (&4.into(), &"rolled_back".into()));
    let marks: Vec<_> = place.history().versions("l0").expect("read").whole.iter().map(|v| v.trial).collect();
    use history::Trial::{Passed, Superseded, Withdrawn};
    assert_eq!(marks, [None, Some(Superseded), Some(Passed), Some(Withdrawn)]);
}

#[test]
fn other_held_entries_are_told_though_they_are_as_many() {
    let mut place = Place::new("us.com\na.example\n");
    let held = |events: &[serde_json::Value]| {
        let held = events.iter().find(|event| event["event"] == "held");
        held.map(|held| (held["version"].clone(), held["sample"][0]["rule"].clone()))
    };
    assert_eq!(held(&place.update(1)), Some((1.into(), "us.com".into())));
    assert_eq!(held(&place.update(1)), None);
    place.write("uk.com\na.example\n");
    assert_eq!(held(&place.update(2)), Some((2.into(), "uk.com".into())));
    place.write("a.example\n");
    let events = place.update(3);
    let none = events.iter().find(|event| event["event"] == "held").expect("told");
    assert_eq!((&none["version"], &none["entries"]), (&3.into(), &0.into()), "none any more");
}
