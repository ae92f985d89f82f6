//! The configuration file as a source among the others.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::report::Digest;
use crate::audit::{ConfigChange, Names};
use crate::config::{self, Settings};

/// A larger file is no configuration.
const MAX_BYTES: u64 = 16 << 20;

/// What was last seen of the file.
#[derive(Debug)]
pub(super) struct Configuration {
    path: PathBuf,
    seen: Option<Digest>,
    /// Of the content the settings in force are from.
    taken: Digest,
    unreadable: bool,
    /// What was read last has problems.
    wrong: bool,
}

impl Configuration {
    /// Nothing seen yet: the first look reads it, for it may have changed since the settings were read.
    pub(super) fn new(path: &Path) -> Self {
        let mut new = Self { path: path.to_owned(), seen: None, taken: Digest::ZERO, unreadable: false, wrong: false };
        // The settings were read a moment ago, most likely from this content.
        new.taken = new.digest().unwrap_or(Digest::ZERO);
        new
    }

    /// Takes over changed settings, and says what changed, or that the file is in flux: then look again soon.
    ///
    /// Problems are reported and leave the settings as they are; the same content is not reported twice, unless
    /// somebody `asked` for a reload.
    pub(super) fn look(&mut self, settings: &mut Settings, asked: bool) -> (Option<ConfigChange>, bool) {
        let before = match self.digest() {
            Ok(digest) => digest,
            Err(error) => {
                if !self.unreadable || asked {
                    let path = self.path.display();
                    tracing::warn!("cannot read {path}: {error}; the settings in force stay, restore the file");
                }
                self.unreadable = true;
                self.seen = None;
                return (None, false);
            }
        };
        self.unreadable = false;
        if self.seen == Some(before) && !asked {
            return (None, false);
        }
        let read = config::load(&self.path);
        if !self.digest().is_ok_and(|after| after == before) {
            return (None, true);
        }
        self.seen = Some(before);
        self.wrong = read.is_err();
        let taken = std::mem::replace(&mut self.taken, before);
        match read {
            Ok(new) if new == *settings => (None, false),
            Ok(new) => {
                for key in settings.restart_needed(&new) {
                    tracing::warn!("{key} changed in {}: takes effect with a restart", self.path.display());
                }
                tracing::info!("settings changed in {}", self.path.display());
                let keys = Names::of(settings.changed(&new));
                *settings = new;
                (Some(ConfigChange { before_sha256: taken, after_sha256: before, keys }), false)
            }
            Err(problems) => {
                tracing::warn!("{problems}");
                tracing::warn!("{} has problems: the settings in force stay", self.path.display());
                self.taken = taken;
                (None, false)
            }
        }
    }

    /// The file cannot be used as it is.
    pub(super) fn is_broken(&self) -> bool {
        self.unreadable || self.wrong
    }

    /// Of the file as it is now.
    fn digest(&self) -> io::Result<Digest> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Digest::of(&bytes))
    }
}
