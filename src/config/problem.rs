//! What is wrong with a configuration file, each with its place.

use std::fmt;
use std::path::{Path, PathBuf};

/// How many problems are kept with their text; the rest is counted.
const MAX_SHOWN: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// In characters, from 1; 0 when the file as a whole is meant.
    pub column: u32,
    /// What was found, why it will not do, and what will.
    pub message: String,
}

/// Everything that is wrong with a configuration file, in the order it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    shown: Vec<Problem>,
    count: usize,
}

impl Problems {
    /// The file cannot be read at all.
    pub(super) fn whole_file(path: &Path, message: String) -> Self {
        Self { path: path.into(), shown: vec![Problem { line: 0, column: 0, message }], count: 1 }
    }

    /// From byte offsets into `text`, in any order, and the number of problems that were not kept.
    pub(super) fn at_offsets(path: &Path, text: &str, mut found: Vec<(usize, String)>, more: usize) -> Self {
        found.sort();
        found.dedup();
        let count = found.len() + more;
        let mut place = Place { text, at: 0, line: 1, line_start: 0 };
        let shown: Vec<Problem> = found
            .into_iter()
            .take(MAX_SHOWN)
            .map(|(at, message)| {
                let (line, column) = place.go_to(at);
                Problem { line, column, message }
            })
            .collect();
        Self { path: path.into(), shown, count }
    }

    /// The first problems, at most a hundred.
    pub fn shown(&self) -> &[Problem] {
        &self.shown
    }

    /// How many there are in all.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for Problem { line, column, message } in &self.shown {
            if *line == 0 {
                writeln!(f, "{path}: {message}")?;
            } else {
                writeln!(f, "{path}:{line}:{column}: {message}")?;
            }
        }
        let hidden = self.count - self.shown.len();
        if hidden > 0 {
            writeln!(f, "{path}: … and {hidden} more")?;
        }
        write!(f, "{} problem{} in {path}", self.count, if self.count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Problems {}

/// Walks a text forward, so that many offsets cost one pass.
struct Place<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
}

impl Place<'_> {
    /// Line and column of a byte offset that is not before the last one asked for.
    fn go_to(&mut self, offset: usize) -> (u32, u32) {
        let offset = (self.at..=offset.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at));
        let offset = offset.unwrap_or(self.at);
        for (i, _) in self.text[self.at..offset].match_indices('\n') {
            self.line = self.line.saturating_add(1);
            self.line_start = self.at + i + 1;
        }
        self.at = offset;
        let column = self.text[self.line_start..offset].chars().count() + 1;
        (self.line, u32::try_from(column).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_characters() {
        let text = "a = 1\nключ = 2\n\nb";
        let at = text.find('2').expect("there");
        let found = vec![(text.len(), "end".into()), (at, "two".into()), (0, "start".into()), (9999, "far".into())];
        let problems = Problems::at_offsets(Path::new("x.toml"), text, found, 0);
        let shown = problems.to_string();
        assert_eq!(shown, "x.toml:1:1: start\nx.toml:2:8: two\nx.toml:4:2: end\nx.toml:4:2: far\n4 problems in x.toml");
    }

    #[test]
    fn a_flood_of_problems_is_counted_not_kept() {
        let found = (0..5000).map(|i| (i, format!("number {i}"))).collect();
        let problems = Problems::at_offsets(Path::new("x"), &"\n".repeat(5000), found, 7);
        assert_eq!((problems.shown().len(), problems.count()), (MAX_SHOWN, 5007));
        assert!(problems.to_string().ends_with("… and 4907 more\n5007 problems in x"));
    }
}
