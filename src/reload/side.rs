//! A file beside the lists, read again when it has changed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Seen;

/// A file beside the lists. What was last read of it stays in use while it cannot be read.
#[derive(Debug)]
pub(super) struct Side<T> {
    pub(super) path: PathBuf,
    /// How much of it is wanted: another measure is another content.
    measure: u32,
    seen: Option<Seen>,
    /// What was last read.
    pub(super) value: Option<Arc<T>>,
    /// Why it cannot be read now.
    pub(super) trouble: Option<String>,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { path: PathBuf::new(), measure: 0, seen: None, value: None, trouble: None }
    }
}

impl<T> Side<T> {
    /// Nothing is known yet of the file there.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// What was last read there.
    pub(super) fn of(&self, path: &Path, measure: u32) -> Option<&T> {
        self.value.as_deref().filter(|_| self.path == path && self.measure == measure)
    }

    /// Reads it, unless its stamps prove that it is what it was.
    pub(super) fn look<E: fmt::Display>(
        &mut self,
        path: &Path,
        measure: u32,
        distrust: bool,
        read: impl FnOnce() -> Result<T, E>,
        same: impl FnOnce(&T, &T) -> bool,
    ) {
        if self.path != path || self.measure != measure {
            *self = Self { path: path.to_owned(), measure, ..Self::default() };
        }
        let now = Seen::of(path).ok();
        let unchanged = self.seen.zip(now).is_some_and(|(before, now)| before.proves_same(&now));
        if unchanged && !distrust {
            return;
        }
        match read() {
            Ok(value) => {
                // The very same one as long as it says the same: so nothing is looked at again.
                if !self.value.as_ref().is_some_and(|old| same(old, &value)) {
                    self.value = Some(Arc::new(value));
                }
                (self.seen, self.trouble) = (now, None);
            }
            Err(error) => (self.seen, self.trouble) = (None, Some(error.to_string())),
        }
    }
}
