//! `[[clients]]` made ready for decisions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{ClientsSettings, Settings};
use crate::limit::Doors;
use crate::policy::{Answer, AnswerSettings};
use crate::reload::Loaded;
use crate::snapshot::{Clients, Group, Lists};
use crate::stats::Stats;

/// Answers that groups get, each once.
#[derive(Default)]
struct Answers {
    places: HashMap<AnswerSettings, u32>,
    made: Vec<Answer>,
}

impl Answers {
    /// The place of an answer.
    fn place(&mut self, settings: AnswerSettings) -> u32 {
        let Self { places, made } = self;
        *places.entry(settings).or_insert_with_key(|settings| {
            made.push(Answer::new(settings));
            // There are fewer than a thousand times a thousand.
            u32::try_from(made.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// What holds for which clients; `None` if the same does for all.
pub(super) fn compile(settings: &Settings, loaded: &Loaded, stats: &Stats, doors: &Doors) -> Option<Arc<Clients>> {
    if settings.clients.is_empty() {
        return None;
    }
    let mut answers = Answers::default();
    let group = |group: &ClientsSettings| {
        let name: Arc<str> = group.name.as_str().into();
        let over = group.answer.as_ref();
        let over = over.map(|over| settings.lists.iter().map(|list| answers.place(over.over(&list.answer))).collect());
        let lists = group.lists.as_ref().map_or(Lists::ALL, |places| Lists::only(places.iter().copied()));
        let slot = stats.group_slot(&name);
        Group { name, lists, answers: over, exempt: group.exempt, statistics: group.statistics, slot }
    };
    let groups = settings.clients.iter().map(group).collect();
    let mut by_door: Vec<u16> = Vec::new();
    for (number, group) in (1..).zip(&settings.clients) {
        for name in &group.via {
            let door = doors.open(name).number();
            if door == 0 {
                tracing::error!("`via` \"{name}\": too many doors since the start; restart to have this one used");
                continue;
            }
            by_door.resize(by_door.len().max(door + 1), 0);
            by_door[door] = number;
        }
    }
    let prefixes = Arc::clone(&loaded.clients.prefixes);
    Some(Arc::new(Clients { prefixes, doors: by_door.into(), groups, answers: answers.made.into() }))
}
