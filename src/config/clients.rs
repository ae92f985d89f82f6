//! `[[clients]]`: groups of clients for whom other lists hold, or other answers, or none.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;

use super::answer;
use super::gate::named_file;
use super::reader::{Field, Table};
use super::values;
use super::wording::did_you_mean;
use super::{ClientsSettings, ListSettings};
use crate::limit::{Cidr, door_name};
use crate::policy::{AnswerMode, AnswerOverride, AnswerSettings};
use crate::snapshot::MAX_GROUPS;

/// How many address blocks one key may have; files have room for more.
pub(super) const MAX_BLOCKS: usize = 65_536;
/// How many doors a group may have.
const MAX_DOORS: usize = 1000;
/// How many lists a group may name.
const MAX_LISTS: usize = 1000;

/// What groups have claimed so far, each with its place and the group's name.
#[derive(Default)]
struct Claims<'a> {
    names: HashSet<String>,
    blocks: HashMap<Cidr, (Field<'a>, String)>,
    doors: HashMap<String, (Field<'a>, String)>,
}

/// Reads them all. `lists` are the lists of the configuration, and `answer` what blocked queries get otherwise.
pub(super) fn read<'a>(
    top: &mut Table<'a>,
    folder: &Path,
    lists: &[ListSettings],
    answer: &AnswerSettings,
) -> Vec<ClientsSettings> {
    let mut claims = Claims::default();
    let tables = top.tables("clients", MAX_GROUPS);
    tables.into_iter().map(|table| one(table, folder, lists, answer, &mut claims)).collect()
}

/// Reads one group.
fn one<'a>(
    mut table: Table<'a>,
    folder: &Path,
    lists: &[ListSettings],
    base: &AnswerSettings,
    claims: &mut Claims<'a>,
) -> ClientsSettings {
    let name_field = table.required("name", "\"kids\"");
    let name = name_field.as_ref().and_then(|field| field.read(values::list_name)).unwrap_or_default();
    if let Some(field) = name_field.filter(|_| !name.is_empty() && !claims.names.insert(name.clone())) {
        field.wrong("another group has this name; names must differ");
    }
    let from: Vec<_> = table.field("from").map(|field| blocks(&field, 0..=MAX_BLOCKS)).unwrap_or_default();
    let from_file = table.text("from_file", named_file(folder)).flatten();
    let doors: Vec<_> = table.field("via").map(|field| doors(&field)).unwrap_or_default();
    let of_lists = which(&mut table, lists);
    let answer = answer_of(&mut table, lists, base);
    let exempt = table.flag("exempt", false);
    let statistics = table.flag("statistics", true);
    if from.is_empty() && from_file.is_none() && doors.is_empty() {
        table.problem("nobody is in this group; say who: from = [\"10.1.0.0/16\"], from_file or via = [\"kids\"]");
    }
    if exempt && (of_lists.is_some() || answer.is_some()) {
        table.problem("`exempt` means that no list holds, so there are no `lists`, `except_lists` or `answer` for it");
    }
    table.finish();
    for (block, field) in &from {
        claim(&mut claims.blocks, *block, field, &name);
    }
    for (door, field) in &doors {
        claim(&mut claims.doors, door.clone(), field, &name);
    }
    ClientsSettings {
        name,
        from: from.into_iter().map(|(block, _)| block).collect(),
        from_file,
        via: doors.into_iter().map(|(door, _)| door).collect(),
        lists: of_lists,
        answer,
        exempt,
        statistics,
    }
}

/// Notes at both places that two groups claim the same.
fn claim<'a, T: Eq + std::hash::Hash>(
    claims: &mut HashMap<T, (Field<'a>, String)>,
    what: T,
    field: &Field<'a>,
    group: &str,
) {
    match claims.get(&what) {
        Some((other, owner)) if owner != group => {
            field.wrong(format_args!("the group \"{owner}\" has it too; it can be of one only"));
            other.wrong(format_args!("the group \"{group}\" has it too; it can be of one only"));
        }
        Some(_) => {}
        None => {
            claims.insert(what, (field.clone(), group.to_owned()));
        }
    }
}

/// A list of so many different address blocks, each with its place.
pub(super) fn blocks<'a>(field: &Field<'a>, many: RangeInclusive<usize>) -> Vec<(Cidr, Field<'a>)> {
    let mut seen = HashSet::new();
    let mut blocks = Vec::new();
    for item in field.items(many) {
        match item.read(str::parse::<Cidr>) {
            Some(block) if seen.insert(block) => blocks.push((block, item)),
            Some(_) => item.wrong("stands here twice"),
            None => {}
        }
    }
    blocks
}

/// `via`: doors, each with its place.
fn doors<'a>(field: &Field<'a>) -> Vec<(String, Field<'a>)> {
    let mut doors: Vec<(String, Field<'a>)> = Vec::new();
    for item in field.items(0..=MAX_DOORS) {
        match item.read(door_name) {
            Some(door) if doors.iter().any(|(known, _)| *known == door) => item.wrong("stands here twice"),
            Some(door) => doors.push((door, item)),
            None => {}
        }
    }
    doors
}

/// `lists` or `except_lists`: the places of the lists that hold; `None`: all.
fn which(table: &mut Table<'_>, lists: &[ListSettings]) -> Option<Vec<usize>> {
    let mut named = |key| {
        let items = table.field(key)?.items(0..=MAX_LISTS);
        let place = |item: &Field<'_>| {
            let name = item.text()?;
            let found = lists.iter().position(|list| list.spec.name == name);
            if found.is_none() {
                let hint = did_you_mean(name, lists.iter().map(|list| list.spec.name.as_str()));
                item.wrong(format_args!("no [[list]] has this name{hint}"));
            }
            found
        };
        Some(items.iter().filter_map(place).collect::<HashSet<usize>>())
    };
    let (only, except) = (named("lists"), named("except_lists"));
    if only.is_some() && except.is_some() {
        table.problem("either `lists` or `except_lists` can be given, not both");
    }
    let holds = |place: &usize| match (&only, &except) {
        (Some(only), _) => only.contains(place),
        (None, Some(except)) => !except.contains(place),
        (None, None) => true,
    };
    (only.is_some() || except.is_some()).then(|| (0..lists.len()).filter(holds).collect())
}

/// `answer = "nxdomain"`, or a table of what differs from what lists say.
fn answer_of(table: &mut Table<'_>, lists: &[ListSettings], base: &AnswerSettings) -> Option<AnswerOverride> {
    let field = table.field("answer")?;
    let over = if field.is_text() {
        AnswerOverride { mode: answer::mode(&field), ..AnswerOverride::default() }
    } else if field.is_table() {
        let mut table = table.table("answer");
        let over = answer::read_override(&mut table);
        table.finish();
        over
    } else {
        field.wrong_type("a mode like \"nxdomain\" or a table like { mode = \"nxdomain\", ttl = \"1m\" }");
        AnswerOverride::default()
    };
    let no_target = |base: &AnswerSettings| {
        let answer = over.over(base);
        answer.mode == AnswerMode::Cname && answer.cname.is_none()
    };
    let changed = over.mode == Some(AnswerMode::Cname);
    if changed && (no_target(base) || lists.iter().any(|list| no_target(&list.answer))) {
        field.wrong("needs a target; write it like answer = { mode = \"cname\", cname = \"blocked.example\" }");
    }
    Some(over)
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, parse};
    use super::*;
    use crate::rule::Role;

    /// Two lists to name.
    const LISTS: &str =
        "[[list]]\nname = \"a\"\nsource = \"a.txt\"\n[[list]]\nname = \"b\"\nsource = \"b.txt\"\nrole = \"allow\"\n";

    fn good(text: &str) -> Settings {
        match parse(&format!("{LISTS}{text}"), Path::new("etc/config.toml")) {
            Ok(settings) => settings,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// Problems of a text that must be bad: the column, and how it begins.
    fn bad(text: &str) -> Vec<String> {
        let lines = LISTS.lines().count() as u32;
        let problems = parse(&format!("{LISTS}{text}"), Path::new("c")).expect_err("this must not be accepted");
        problems.shown().iter().map(|p| format!("{}:{}: {}", p.line - lines, p.column, p.message)).collect()
    }

    #[test]
    fn a_group_says_who_which_lists_and_what() {
        let settings = good(concat!(
            "[[clients]]\nname = \"kids\"\nfrom = [\"10.1.0.0/16\", \"::ffff:10.2.0.0/112\"]\n",
            "from_file = \"kids.txt\"\nvia = [\"Kids\"]\nlists = [\"b\"]\n",
            "answer = { ttl = \"5s\", ede = 0 }\nstatistics = false\n",
            "[[clients]]\nname = \"x\"\nvia = [\"x\"]\nexcept_lists = [\"b\"]\nanswer = \"nodata\"\n",
            "[[clients]]\nname = \"y\"\nfrom = [\"10.1.0.0/17\"]\nexempt = true\n",
        ));
        let [kids, x, y] = &settings.clients[..] else { panic!("three groups") };
        let shown: Vec<_> = kids.from.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.1.0.0/16", "10.2.0.0/16"]);
        assert_eq!(kids.from_file.as_ref().map(|file| file.path.as_path()), Some(Path::new("etc/kids.txt")));
        assert_eq!((&kids.via[..], &kids.lists), (&["kids".to_owned()][..], &Some(vec![1])));
        assert_eq!((kids.exempt, kids.statistics, x.exempt, x.statistics), (false, false, false, true));
        assert_eq!((&x.lists, &y.lists, y.exempt), (&Some(vec![0]), &None, true));
        let list = &settings.lists[0];
        assert_eq!(list.spec.role, Role::Block);
        let over = kids.answer.as_ref().expect("an answer").over(&list.answer);
        assert_eq!(over, AnswerSettings { ttl: 5, ede: None, ..list.answer.clone() });
        let over = x.answer.as_ref().expect("an answer").over(&list.answer);
        assert_eq!(over, AnswerSettings { mode: AnswerMode::Nodata, ..list.answer.clone() });
        assert_eq!(good("").clients, []);
    }

    #[test]
    fn what_two_groups_claim_is_told_at_both_places() {
        let found = bad(concat!(
            "[[clients]]\nname = \"a\"\nfrom = [\"10.1.0.0/16\", \"10.2.0.0/16\"]\nvia = [\"door\"]\n",
            "[[clients]]\nname = \"b\"\nfrom = [\"::ffff:10.2.0.0/112\"]\nvia = [\"DOOR\"]\n",
        ));
        let starts = [
            "3:24: [[clients]] from = \"10.2.0.0/16\": the group \"b\" has it too",
            "4:8: [[clients]] via = \"door\": the group \"b\" has it too",
            "7:9: [[clients]] from = \"::ffff:10.2.0.0/112\": the group \"a\" has it too",
            "8:8: [[clients]] via = \"DOOR\": the group \"a\" has it too",
        ];
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found}\nshould start with\n{start}");
        }
        assert_eq!(found.len(), starts.len(), "{found:#?}");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let who = "[[clients]]\nname = \"a\"\nfrom = [\"10.0.0.0/8\"]\n";
        let cases = [
            ("[[clients]]\nfrom = [\"10.0.0.0/8\"]\n".to_owned(), "1:1: [[clients]]: `name` is missing"),
            ("[[clients]]\nname = \"a\"\n".to_owned(), "1:1: [[clients]]: nobody is in this group"),
            (
                format!("{who}[[clients]]\nname = \"a\"\nvia = [\"x\"]\n"),
                "5:8: [[clients]] name = \"a\": another group",
            ),
            (format!("{who}via = [\"a.b\"]\n"), "4:8: [[clients]] via = \"a.b\": not a label"),
            (format!("{who}via = [\"x\", \"X\"]\n"), "4:13: [[clients]] via = \"X\": stands here twice"),
            (format!("{who}lists = [\"a\", \"c\"]\n"), "4:15: [[clients]] lists = \"c\": no [[list]] has this name"),
            (format!("{who}lists = []\nexcept_lists = []\n"), "1:1: [[clients]]: either `lists` or `except_lists`"),
            (format!("{who}exempt = true\nlists = [\"a\"]\n"), "1:1: [[clients]]: `exempt` means that no list holds"),
            (format!("{who}answer = \"cname\"\n"), "4:10: [[clients]] answer = \"cname\": needs a target"),
            (format!("{who}answer = 5\n"), "4:10: [[clients]] answer = 5: expected a mode"),
            (format!("{who}answer = {{ mod = \"drop\" }}\n"), "4:12: unknown key \"mod\" in [clients.answer]"),
            (
                "[[clients]]\nname = \"a\"\nfrom = [\"10.0.0.0/8\", \"::ffff:10.0.0.0/104\", \"10.1/16\"]\n".to_owned(),
                "3:23: [[clients]] from = \"::ffff:10.0.0.0/104\": stands here twice",
            ),
        ];
        for (text, start) in cases {
            let found = bad(&text);
            assert!(found[0].starts_with(start), "{found:#?}\nshould start with\n{start}");
        }
    }

    #[test]
    fn sixty_thousand_blocks_are_read_at_once_and_no_more() {
        let blocks = |count: u32| {
            let block = |n: u32| format!("\"{}\"", std::net::Ipv4Addr::from_bits(n));
            (0..count).map(block).collect::<Vec<_>>().join(",")
        };
        let most = good(&format!("[server]\nallow_from = [{}]\n", blocks(MAX_BLOCKS as u32)));
        assert_eq!(most.limit.allow_from.len(), MAX_BLOCKS);
        let found = bad(&format!("[server]\nallow_from = [{}]\n", blocks(MAX_BLOCKS as u32 + 1)));
        assert_eq!(found, ["2:14: [server] allow_from = […]: at most 65536 may be given"]);
    }
}
