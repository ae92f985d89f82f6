//! Which addresses are whose: the blocks of all `[[clients]]`, from the configuration and from files beside it.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::file;
use super::side::Side;
use crate::config::{ClientsSettings, Settings};
use crate::gate::NamedFile;
use crate::limit::{Cidr, Prefixes};
use crate::list::{Format, SourceFile, Spec};
use crate::util::Digest;

/// Octets of a file: two million blocks.
const MAX_FILE: u64 = 64 << 20;
/// Mistakes of a kind that are told one by one.
const MAX_TOLD: usize = 10;

/// A block and the line it stands in.
type Line = (Cidr, u32);

/// Which addresses are whose, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Belonging {
    /// Numbers of groups, from 1, in the order of the configuration; 0: none.
    pub prefixes: Arc<Prefixes<u16>>,
    /// Different blocks of each group.
    pub blocks: Vec<usize>,
    /// SHA-256 of the same in order of addresses, each followed by a newline.
    pub digests: Vec<Digest>,
    /// Why a server would not start with this.
    pub errors: Vec<String>,
    /// The same, and what is done about it, for one that is running.
    pub troubles: Vec<String>,
}

/// What groups are made of: their names, their own blocks, those of their files.
type Inputs = Vec<(String, Vec<Cidr>, Option<Arc<Vec<Line>>>)>;

/// Keeps the files in mind.
#[derive(Debug, Default)]
pub(super) struct Clientele {
    files: HashMap<PathBuf, Side<Vec<Line>>>,
    inputs: Inputs,
    built: Arc<Belonging>,
}

impl Clientele {
    /// Looks at the files, and says whose addresses are whose: the very same as before if nothing has changed.
    pub(super) fn look(&mut self, settings: &Settings, distrust: bool) -> Arc<Belonging> {
        let named = |path: &PathBuf| {
            settings.clients.iter().filter_map(|group| group.from_file.as_ref()).any(|file| file.path == *path)
        };
        self.files.retain(|path, _| named(path));
        let mut inputs = Inputs::new();
        let (mut errors, mut troubles) = (Vec::new(), Vec::new());
        for group in &settings.clients {
            let mut lines = None;
            if let Some(file) = &group.from_file {
                let side = self.files.entry(file.path.clone()).or_default();
                side.look(&file.path, 0, distrust, || read(file), |old, new| old == new);
                lines = side.value.clone();
                if let Some(why) = &side.trouble {
                    let why = format!("cannot use from_file {} of the clients \"{}\": {why}", file.shown, group.name);
                    let rest = match lines {
                        Some(_) => "what was read of it before stays in use",
                        None => "NOBODY IS OF THE GROUP BY IT until it can be read",
                    };
                    troubles.push(format!("{why}; {rest}"));
                    errors.push(why);
                }
            }
            inputs.push((group.name.clone(), group.from.clone(), lines));
        }
        if !same(&self.inputs, &inputs) {
            self.built = Arc::new(build(&settings.clients, &inputs));
            self.inputs = inputs;
        }
        if errors.is_empty() && troubles.is_empty() {
            return Arc::clone(&self.built);
        }
        let mut told = Belonging::clone(&self.built);
        told.errors.extend(errors);
        told.troubles.extend(troubles);
        Arc::new(told)
    }
}

/// The same blocks of the same groups.
fn same(a: &Inputs, b: &Inputs) -> bool {
    let file = |lines: &Option<Arc<Vec<Line>>>| lines.as_ref().map(Arc::as_ptr);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1 == b.1 && file(&a.2) == file(&b.2))
}

/// Where a block stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    group: &'a ClientsSettings,
    /// In its file; `None`: in the configuration.
    line: Option<u32>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientsSettings { name, from_file, .. } = self.group;
        match (from_file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line} (clients \"{name}\")", file.shown),
            _ => write!(f, "`from` of the clients \"{name}\""),
        }
    }
}

/// Puts the blocks of all groups together. Of two groups that claim a block, the first of the configuration has it.
fn build(groups: &[ClientsSettings], inputs: &Inputs) -> Belonging {
    let mut all: Vec<(Cidr, u16, Option<u32>)> = Vec::new();
    for (number, (_, own, lines)) in (1..).zip(inputs) {
        all.extend(own.iter().map(|&block| (block, number, None)));
        all.extend(lines.iter().flat_map(|lines| lines.iter()).map(|&(block, line)| (block, number, Some(line))));
    }
    all.sort_unstable();
    let mut belonging = Belonging { blocks: vec![0; groups.len()], ..Belonging::default() };
    let mut texts = vec![String::new(); groups.len()];
    let mut clashes = 0_usize;
    let mut blocks: Vec<(Cidr, u16)> = Vec::with_capacity(all.len());
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let [first, ..] = same else { continue };
        blocks.push((first.0, first.1));
        if let Some(count) = belonging.blocks.get_mut(usize::from(first.1) - 1) {
            *count += 1;
        }
        if let Some(text) = texts.get_mut(usize::from(first.1) - 1) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", first.0);
        }
        let Some(other) = same.iter().find(|other| other.1 != first.1) else { continue };
        clashes += 1;
        let place = |&(_, number, line): &(Cidr, u16, Option<u32>)| {
            groups.get(usize::from(number) - 1).map(|group| Place { group, line })
        };
        if let (Some(one), Some(other), true) = (place(first), place(other), clashes <= MAX_TOLD) {
            let why = format!("{} stands in {one} and in {other}; it can be of one group only", first.0);
            belonging.troubles.push(format!("{why}; the first of the configuration has it until then"));
            belonging.errors.push(why);
        }
    }
    if clashes > MAX_TOLD {
        let more = format!("… and {} more address blocks stand in two groups", clashes - MAX_TOLD);
        belonging.troubles.push(more.clone());
        belonging.errors.push(more);
    }
    belonging.digests = texts.iter().map(|text| Digest::of(text.as_bytes())).collect();
    belonging.prefixes = Arc::new(Prefixes::new(blocks, 0));
    belonging
}

/// Reads a file of blocks, one a line, all or nothing: half a list of clients is worse than the last whole one.
fn read(file: &NamedFile) -> Result<Vec<Line>, String> {
    let spec = Spec { max_bytes: MAX_FILE, ..Spec::new("", file.path.clone(), Format::Domains) };
    let source = SourceFile { path: file.path.clone(), shown: file.shown.as_str().into() };
    let (bytes, _) = file::read(&spec, &source).map_err(|error| error.to_string())?;
    let (lines, wrong) = parse(&bytes);
    if wrong.is_empty() {
        return Ok(lines);
    }
    let told = wrong.iter().take(MAX_TOLD).map(|wrong| format!("{}:{wrong}", file.shown));
    let more = wrong.len().saturating_sub(MAX_TOLD);
    let more = (more > 0).then(|| format!("… and {more} more lines"));
    Err(told.chain(more).collect::<Vec<_>>().join("; "))
}

/// The blocks of a text, and what is wrong with it: `line:column: why`.
fn parse(bytes: &[u8]) -> (Vec<Line>, Vec<String>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let column = 1 + line.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let entry = line.trim_ascii();
        if entry.is_empty() {
            continue;
        }
        let block = str::from_utf8(entry).map_err(|_| "not UTF-8".to_owned());
        match block.and_then(|text| text.parse::<Cidr>().map_err(|error| error.to_string())) {
            Ok(block) => lines.push((block, number)),
            Err(why) => {
                let shown: String = String::from_utf8_lossy(entry).chars().take(60).collect();
                wrong.push(format!("{number}:{column}: {shown:?}: {why}"));
            }
        }
    }
    (lines, wrong)
}

#[cfg(test)]
mod tests;
