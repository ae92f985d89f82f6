//! `[gate]`, and a list's overrides of its checks.

use std::path::Path;

use super::reader::{Limits, Table};
use super::units;
use super::values::{self, ValueError};
use super::{ClientsSettings, ListSettings, local};
use crate::gate::{Checks, NamedFile, Pattern, PopularSettings, Settings, SizeLimits, Why};
use crate::policy::AnswerSettings;

/// What a check does with what it finds.
const HOLD: [(&str, bool); 2] = [("hold", true), ("enforce", false)];
/// How many names `never_block` may have; `never_block_file` has room for more.
const MAX_NEVER_BLOCK: usize = 1000;
/// `top`: rank lists have a million lines.
const TOP: Limits<usize> = Limits { default: Checks::DEFAULT_TOP as usize, min: 0, max: 1_000_000 };
/// `slack`, `min_entries`, `max_entries`: a set holds 2^30 rules.
const ENTRIES: Limits<usize> = Limits { default: 0, min: 0, max: 1 << 30 };

/// Reads `[gate]`. The names of qalqan's own come later, see [`own_names`].
pub(super) fn read(mut table: Table<'_>, folder: &Path) -> Settings {
    let never_block = table.texts("never_block", 0..=MAX_NEVER_BLOCK, pattern).unwrap_or_default();
    let never_block_file = table.text("never_block_file", named_file(folder)).flatten();
    let mut popular = table.table("popular");
    let file = popular.text("file", named_file(folder)).flatten();
    let top = popular.count("top", Limits { min: 1, ..TOP });
    popular.finish();
    let top = u32::try_from(top).unwrap_or(u32::MAX);
    let checks = checks(&mut table, &Checks { top, ..Checks::default() });
    table.finish();
    let popular = file.map(|file| PopularSettings { file, top });
    Settings { checks, never_block, never_block_file, popular, own: Vec::new() }
}

/// Reads a list's `gate = { … }`; what it does not say stays as in `[gate]`.
pub(super) fn of_list(mut table: Table<'_>, base: &Checks) -> Checks {
    let top = table.count("top", Limits { default: base.top as usize, ..TOP });
    let checks = checks(&mut table, &Checks { top: u32::try_from(top).unwrap_or(u32::MAX), ..base.clone() });
    table.finish();
    checks
}

/// The keys that `[gate]` and a list's `gate` have in common.
fn checks(table: &mut Table<'_>, base: &Checks) -> Checks {
    let size = &base.size;
    let entries = |table: &mut Table<'_>, key, default: u64| {
        let default = usize::try_from(default).unwrap_or(usize::MAX);
        table.count(key, Limits { default, ..ENTRIES }) as u64
    };
    let size = SizeLimits {
        max_growth: table.text("max_growth", units::growth).unwrap_or(size.max_growth),
        max_shrink: table.text("max_shrink", units::share).unwrap_or(size.max_shrink),
        slack: entries(table, "slack", size.slack),
        min_entries: entries(table, "min_entries", size.min_entries),
        max_entries: entries(table, "max_entries", size.max_entries),
    };
    if size.max_entries > 0 && size.max_entries < size.min_entries {
        table.problem("`max_entries` is less than `min_entries`: no version of a list would do");
    }
    Checks {
        public_suffixes: table.choice("public_suffixes", &HOLD, base.public_suffixes),
        own_names: table.choice("own_names", &HOLD, base.own_names),
        top: base.top,
        size,
    }
}

/// Names that answers, local hosts and zones of this very configuration need.
pub(super) fn own_names(
    local: &local::Settings,
    answer: &AnswerSettings,
    lists: &[ListSettings],
    clients: &[ClientsSettings],
) -> Vec<(Pattern, Why)> {
    let hosts = local.hosts.iter().map(|(name, _)| (Pattern::exact(name.clone()), Why::Host));
    // The zone as a whole: what an order blocks in it by its own name is blocked, whoever serves it.
    let zones = local.zones.iter().map(|zone| (Pattern::exact(zone.name.clone()), Why::Zone));
    let answers = std::iter::once(answer).chain(lists.iter().map(|list| &list.answer));
    let of_groups = clients.iter().filter_map(|group| group.answer.as_ref()?.cname.clone());
    let targets = answers.filter_map(|answer| answer.cname.clone()).chain(of_groups);
    let targets = targets.map(|name| (Pattern::exact(name), Why::Cname));
    let mut own: Vec<(Pattern, Why)> = Vec::new();
    for name in hosts.chain(zones).chain(targets) {
        if !own.contains(&name) {
            own.push(name);
        }
    }
    own
}

/// A name with a scope, but not all names there are.
fn pattern(text: &str) -> Result<Pattern, ValueError> {
    match Pattern::parse(text) {
        Ok(pattern) if !pattern.name.is_root() => Ok(pattern),
        _ => Err(ValueError::Pattern),
    }
}

/// A file relative to `folder`, or the empty text for none.
pub(super) fn named_file(folder: &Path) -> impl Fn(&str) -> Result<Option<NamedFile>, ValueError> {
    move |text| match text {
        "" => Ok(None),
        text => values::path(text).map(|shown| Some(NamedFile { path: folder.join(&shown), shown })),
    }
}
