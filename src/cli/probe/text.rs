//! The receipt as people read it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::receipt::{FailureLine, GroupLine, Receipt};
use super::tally::Counts;
use crate::cli::output::{Plain, Style, counted, table};
use crate::reload::Digest;

/// Everything, with the first `failures` of them.
pub fn show(receipt: &Receipt, digest: Digest, failures: usize, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = fill(receipt, digest, failures, style, &mut text);
    text
}

/// Section by section.
fn fill(receipt: &Receipt, digest: Digest, failures: usize, style: Style, out: &mut String) -> std::fmt::Result {
    let names = &receipt.names;
    let picked = match names.sample {
        Some(sample) => format!("a sample of {sample} of {}", counted(names.patterns, "pattern")),
        None => counted(names.patterns, "pattern"),
    };
    writeln!(out, "{picked} from {}, seed {}", Plain(&names.from), names.seed)?;
    writeln!(out, "{} to {}, at most {} a second\n", receipt.started, receipt.ended, receipt.asking.rate)?;
    out.push_str(&table(&rows(receipt), &[false, false, false, false, true, true, true, true, true]));
    section(receipt, failures, style, out)?;
    out.push_str(&left_out(receipt));
    out.push_str(&in_force(receipt));
    for server in &receipt.servers {
        if let Some(error) = &server.error {
            let place = format!("{} over {}", server.address, server.transport);
            writeln!(out, "\n{} {place}: {error}", style.bad("not all was asked of"))?;
        }
    }
    writeln!(out, "\nreceipt {digest}")?;
    let failed = receipt.failures_total;
    match (receipt.complete, failed) {
        (_, 1..) => {
            let asked = receipt.counts.asked;
            let verb = if failed == 1 { "is" } else { "are" };
            writeln!(out, "{}", style.bad(format!("{failed} of {asked} {verb} not as expected")))
        }
        (true, 0) if names.rejected > 0 => writeln!(out, "{}", style.look("all that could be asked is blocked")),
        (true, 0) => writeln!(out, "all is blocked"),
        (false, 0) => writeln!(out, "{}", style.bad("this proves nothing about what was not asked")),
    }
}

/// One row a group, then the sums.
fn rows(receipt: &Receipt) -> Vec<Vec<String>> {
    let heads = ["server", "list", "type", "over", "asked", "as expected", "differently", "NOT blocked", "no answer"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(receipt.groups.iter().map(|group| row(keys(group), &group.counts)));
    if receipt.groups.len() > 1 {
        for column in 0..4 {
            let mut sums: BTreeMap<String, Counts> = BTreeMap::new();
            for group in &receipt.groups {
                let key = keys(group).into_iter().nth(column).unwrap_or_default();
                sums.entry(key).or_default().join(&group.counts);
            }
            // One of a kind is the total again, and as many as there are rows are the rows again.
            let new = (2..receipt.groups.len()).contains(&sums.len());
            for (key, counts) in sums.iter().filter(|_| new) {
                let cells = std::array::from_fn(|at| if at == column { key.clone() } else { "all".to_owned() });
                rows.push(row(cells, counts));
            }
        }
    }
    rows.push(row(["total".to_owned(), String::new(), String::new(), String::new()], &receipt.counts));
    rows
}

/// What a group is of.
fn keys(group: &GroupLine) -> [String; 4] {
    let list = group.list.as_ref().map_or_else(|| "(given names)".to_owned(), |list| Plain(list).to_string());
    [group.server.clone(), list, group.rtype.clone(), group.transport.to_owned()]
}

/// One row.
fn row(keys: [String; 4], counts: &Counts) -> Vec<String> {
    let Counts { asked, as_expected, differently, not_blocked, no_answer } = counts;
    let numbers = [asked, as_expected, differently, not_blocked, no_answer].map(ToString::to_string);
    keys.into_iter().chain(numbers).collect()
}

/// The first failures.
fn section(receipt: &Receipt, failures: usize, style: Style, out: &mut String) -> std::fmt::Result {
    for (verdict, head) in [
        ("not_blocked", "NOT blocked"),
        ("differently", "blocked, but not as this configuration says"),
        ("no_answer", "no answer after all tries"),
    ] {
        let these: Vec<&FailureLine> = receipt.failures.iter().filter(|failure| failure.verdict == verdict).collect();
        let all = match verdict {
            "not_blocked" => receipt.counts.not_blocked,
            "differently" => receipt.counts.differently,
            _ => receipt.counts.no_answer,
        };
        if all == 0 {
            continue;
        }
        writeln!(out, "\n{}", style.strong(head))?;
        for failure in these.iter().take(failures) {
            let FailureLine { server, name, rtype, transport, expected, got, .. } = failure;
            writeln!(out, "  {} {rtype}, {server} over {transport}", Plain(name))?;
            writeln!(out, "    got       {}", Plain(got))?;
            writeln!(out, "    expected  {}", Plain(expected))?;
        }
        let more = all.saturating_sub(these.len().min(failures) as u64);
        if more > 0 {
            writeln!(out, "  and {more} more; --failures N shows more, --receipt FILE the first 1000")?;
        }
    }
    Ok(())
}

/// Since when the server has each list in force, and how long that took.
fn in_force(receipt: &Receipt) -> String {
    let mut text = String::new();
    for list in &receipt.lists {
        let Some(line) = &list.in_force else { continue };
        let version = line.version.map(|version| format!(" version {version}")).unwrap_or_default();
        let since = line.published.as_deref().unwrap_or("a time it does not tell");
        let _ = write!(text, "\nlist {}{version}, in force since {since}", Plain(&list.name));
        if let Some(took) = line.publish_to_enforced_ms {
            let _ = write!(text, ", {}.{:03} s after its source was seen changed", took / 1000, took % 1000);
        }
        if !line.as_read {
            text.push_str("; what was read here is another version");
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    if receipt.published.as_ref().is_some_and(|published| published.changed == Some(true)) {
        text.push_str("\nthe server put something else in force meanwhile; ask again\n");
    }
    text
}

/// What was not asked, and what else there is to say.
fn left_out(receipt: &Receipt) -> String {
    let (names, notes) = (&receipt.names, &receipt.notes);
    let remarks = [
        (names.rejected, "given entries that are no names, not asked"),
        (names.repeated, "patterns that stand in the lists more than once, asked once"),
        (names.excepted, "names that exceptions let pass, not asked"),
        (names.held, "names of entries that the gate holds, not asked (qalqan held)"),
        (names.not_in_force, "patterns on orders not in force, not asked"),
        (names.too_long, "patterns too long to ask below them"),
        (notes.passed_by_transport, "questions that pass over this transport (rpz-tcp-only), not asked"),
        (notes.silence_as_expected, "questions left without an answer, as they should be (drop)"),
        (notes.asked_again_over_tcp, "truncated answers, asked for again over TCP"),
        (notes.retries, "questions sent again because no answer came"),
        (notes.ignored_messages, "messages that answered no question, ignored"),
    ];
    let mut text = String::new();
    for (count, what) in remarks.into_iter().filter(|&(count, _)| count > 0) {
        let _ = writeln!(text, "{}{what}: {count}", if text.is_empty() { "\n" } else { "" });
    }
    if notes.orders_changed {
        text.push_str("\nan order began or ended meanwhile: names that rest on it may be told wrongly; ask again\n");
    }
    text
}

/// A time in seconds, roughly.
pub fn lasting(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e9).round() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
