//! `held`, `release`, `dismiss`, `undecide`: what the gate holds, and what operators decide about it.

use std::fmt::{self, Write};

use super::args::{DismissArgs, HeldArgs, ReleaseArgs, ServerArgs, UndecideArgs};
use super::lists::json;
use super::output::{self, Plain, Style, complain, counted, note};
use super::{Exit, load, settings};
use crate::admin::{self, AskError, HeldLine, HeldList, HeldLists, Request, Ruled, Ruling, RulingVerb};
use crate::app;
use crate::reload;

/// `held`
pub(super) fn held(args: &HeldArgs) -> Exit {
    let settings = match settings(&args.server.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let mut known = settings.lists.iter().map(|list| list.spec.name.as_str());
    if let Some(list) = &args.list
        && !known.clone().any(|known| known == list)
    {
        return complain(&Plain(&reload::no_such_list(list, &mut known)));
    }
    let held = match admin::ask::<HeldLists>(&settings.state_dir, &Request::Held) {
        Ok(held) => held,
        Err(AskError::NotRunning(_)) => {
            note(&format_args!("no server is running; this is what one started now would hold"));
            match load::lists(&settings) {
                Ok(loaded) => app::held_lists(&loaded.reports),
                Err(exit) => return exit,
            }
        }
        Err(error) => return complain(&error),
    };
    show(pick(held, args), args)
}

/// `release`
pub(super) fn release(args: ReleaseArgs) -> Exit {
    let ReleaseArgs { list, entries, whole, reason, server } = args;
    decide(Ruling { list, verb: RulingVerb::Release, entries, whole, reason }, &server)
}

/// `dismiss`
pub(super) fn dismiss(args: DismissArgs) -> Exit {
    let DismissArgs { list, entries, reason, server } = args;
    decide(Ruling { list, verb: RulingVerb::Dismiss, entries, whole: None, reason }, &server)
}

/// `undecide`
pub(super) fn undecide(args: UndecideArgs) -> Exit {
    let UndecideArgs { list, entries, whole, reason, server } = args;
    decide(Ruling { list, verb: RulingVerb::Undecide, entries, whole, reason }, &server)
}

/// Has the server decide.
fn decide(ruling: Ruling, args: &ServerArgs) -> Exit {
    let settings = match settings(&args.config) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match admin::ask::<Ruled>(&settings.state_dir, &Request::Decide(ruling)) {
        Ok(ruled) if args.json => json(&ruled, Exit::Fine),
        Ok(ruled) => output::print(&told(&ruled), Exit::Fine),
        Err(AskError::Refused(why)) => {
            let lines: Vec<String> = why.lines().map(|line| Plain(line).to_string()).collect();
            complain(&lines.join("\n       "))
        }
        Err(error) => complain(&error),
    }
}

/// What was decided, for people.
fn told(ruled: &Ruled) -> String {
    let done = match ruled.verb {
        RulingVerb::Release => "released: enforced from now on",
        RulingVerb::Dismiss => "dismissed: not enforced, and not asked about any more",
        RulingVerb::Undecide => "undecided: the checks hold again",
    };
    let mut text = String::new();
    for subject in &ruled.subjects {
        text += &format!("{} in list {} {done}\n", Plain(subject), Plain(&ruled.list));
    }
    text + &match ruled.open {
        0 => format!("nothing of list {} waits for a decision\n", Plain(&ruled.list)),
        open => format!("{} of the list still held; see qalqan held {}\n", counted(open, "entry"), Plain(&ruled.list)),
    }
}

/// What was asked for: one list or all, the open entries or all.
fn pick(mut held: HeldLists, args: &HeldArgs) -> HeldLists {
    held.lists.retain(|list| args.list.as_ref().is_none_or(|wanted| *wanted == list.name));
    if !args.all {
        held.lists.iter_mut().for_each(|list| list.entries.retain(|entry| entry.open));
        held.lists.retain(|list| list.open > 0 || list.refused.is_some());
    }
    held
}

/// Shows it, and says whether somebody has to decide.
fn show(held: HeldLists, args: &HeldArgs) -> Exit {
    let open = held.lists.iter().any(|list| list.open > 0 || list.refused.is_some());
    let exit = if open { Exit::Look } else { Exit::Fine };
    if args.server.json {
        return json(&held, exit);
    }
    let style = Style::of_stdout();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = held.lists.iter().try_for_each(|one| list(&mut text, one, style));
    if held.lists.iter().any(|list| list.open > 0) {
        text += "to enforce it    qalqan release LIST ENTRY --reason TEXT\n\
                 to keep it out   qalqan dismiss LIST ENTRY --reason TEXT\n";
    } else if !open {
        text += "nothing waits for a decision\n";
    }
    output::print(&text, exit)
}

/// One list.
fn list(to: &mut String, list: &HeldList, style: Style) -> fmt::Result {
    let name = Plain(&list.name);
    if let Some(refused) = &list.refused {
        writeln!(to, "{}", style.strong(format_args!("{name}: a version is refused; the one before stays in force")))?;
        writeln!(to, "  {}\n", style.bad(Plain(&refused.reason)))?;
    }
    let decided = list.released + list.dismissed;
    if list.open + decided == 0 {
        return Ok(());
    }
    let head = format!("{name}: {} held and not enforced", counted(list.open, "entry"));
    let further = match decided {
        0 => String::new(),
        _ => format!("; {} released, {} dismissed", list.released, list.dismissed),
    };
    writeln!(to, "{}", style.strong(head + &further))?;
    list.entries.iter().try_for_each(|line| entry(to, line, style))?;
    let shown = list.entries.iter().filter(|entry| entry.open).count() as u64;
    if shown < list.open {
        writeln!(to, "  … and {} more", list.open - shown)?;
    }
    writeln!(to)
}

/// One entry.
fn entry(to: &mut String, line: &HeldLine, style: Style) -> fmt::Result {
    let HeldLine { file, line, entry, reason, instead, open, decided, .. } = line;
    let place = format!("{}:{line}", Plain(file));
    match open {
        true => writeln!(to, "  {}  {place}", style.look(Plain(entry)))?,
        false => writeln!(to, "  {}  {place}", Plain(entry))?,
    }
    writeln!(to, "    held     {}", Plain(reason))?;
    if let Some(instead) = instead {
        writeln!(to, "    release  not possible: {}", Plain(instead))?;
    }
    if let Some(decided) = decided {
        let [verdict, by, why, time] =
            [&decided.verdict, &decided.by, &decided.reason, &decided.time].map(|text| Plain(text));
        writeln!(to, "    {verdict} by {by}, {time}: {why}")?;
    }
    Ok(())
}
