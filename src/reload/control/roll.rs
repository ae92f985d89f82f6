//! What was written down of groups of clients: which addresses were whose, and when.

use std::collections::HashMap;

use super::super::clientele::Belonging;
use crate::audit::{By, ClientsChange, Event};
use crate::config::{ClientsSettings, Settings};
use crate::util::Digest;

/// Address blocks of each group as they were last written down: how many, and their hash.
#[derive(Debug, Default)]
pub(super) struct Roll(HashMap<String, (usize, Digest)>);

impl Roll {
    /// What has changed since this was asked last, and who brought it about: the file of a group, or the configuration.
    pub(super) fn changes(&mut self, settings: &Settings, now: &Belonging) -> Vec<(By, Event)> {
        let of = |group: &ClientsSettings| match &group.from_file {
            Some(file) => By::File(file.path.to_string_lossy().as_ref().into()),
            None => By::File(settings.path.to_string_lossy().as_ref().into()),
        };
        let mut events = Vec::new();
        for ((group, &blocks), &sha256) in settings.clients.iter().zip(&now.blocks).zip(&now.digests) {
            if self.0.insert(group.name.clone(), (blocks, sha256)) == Some((blocks, sha256)) {
                continue;
            }
            tracing::info!(clients = group.name, blocks, "address blocks of a group are in force");
            let change = ClientsChange { clients: group.name.as_str().into(), blocks: blocks as u64, sha256 };
            events.push((of(group), Event::ClientsChanged(change)));
        }
        // Of groups that left the configuration `config_changed` tells; should they come back, they are news again.
        self.0.retain(|name, _| settings.clients.iter().any(|group| group.name == *name));
        events
    }
}
